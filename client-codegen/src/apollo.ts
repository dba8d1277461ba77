import {
  ApolloLink,
  Observable,
  type ApolloCache,
  type ApolloClient,
  type TypePolicies,
} from "@apollo/client";
import { OperationTypeNode, type DocumentNode } from "graphql";
import { ChannelCache, type Data, type Tree } from "./apollo-cache.js";
import { ChannelDocument, channelField, NO_CHANGES } from "./apollo-document.js";
import { createClient, type Client, type ClientOptions, type Live } from "./client.js";
import type { ChannelMap } from "./map.js";

export interface PolicyOptions {
  /** Of the generated module: the types that have no key, which the cache holds in their parents. */
  readonly keylessTypes?: readonly string[];
}

/**
 * The type policies of a schema's channels: `new InMemoryCache({ typePolicies: typePolicies(channelMap, { keylessTypes }) })`.
 *
 * Lists are replaced when they change, and events aren't entities. `cache.policies.addTypePolicies()` adds yours to them.
 */
export function typePolicies(
  map: ChannelMap,
  { keylessTypes = [] }: PolicyOptions = {},
): TypePolicies {
  const replaced = { merge: false } as const;
  const policies: TypePolicies = {};
  for (const type of keylessTypes) policies[type] = { keyFields: false, merge: true };
  for (const [type, { edges }] of Object.entries(map.types)) {
    const lists = Object.keys(edges).filter((field) => edges[field]?.many);
    policies[type] = { fields: Object.fromEntries(lists.map((field) => [field, replaced])) };
  }
  const channels = Object.values(map.channels);
  for (const { event } of channels) policies[event] = { keyFields: false };
  policies["Subscription"] = {
    fields: Object.fromEntries(channels.map(({ field }) => [field, replaced])),
  };
  return policies;
}

/**
 * Answers subscriptions to the `state` of a channel, and hands all else on: `from([channelLink(client), httpLink])`.
 *
 * All documents on a channel and its arguments share one subscription of the server, also with `useChannelState()` of the same
 * client. Rows are written to Apollo's cache as they change, so that fragments and queries on the same entities follow. Queries
 * and mutations that go through the link don't overwrite what came while they were under way.
 */
export function channelLink(source: Client | ClientOptions): ApolloLink {
  const client = "open" in source ? source : createClient(source);
  const { channelMap: map } = client;
  if (!map) throw new Error("channelLink() needs a `channelMap`: the generated module has it.");
  const documents = new WeakMap<DocumentNode, ChannelDocument | null>();
  const caches = new WeakMap<ApolloCache, ChannelCache>();

  const documentOf = (query: DocumentNode): ChannelDocument | null => {
    let document = documents.get(query);
    if (document === undefined)
      documents.set(query, (document = ChannelDocument.of(query, map) ?? null));
    return document;
  };

  const cacheOf = (apollo: ApolloClient): ChannelCache => {
    const { cache } = apollo;
    const known = caches.get(cache);
    if (known) return known;
    const made = new ChannelCache(cache, map);
    caches.set(cache, made);
    apollo.onClearStore(() => Promise.resolve(made.clear()));
    askForEach(apollo, (query) => channelField(query, map) !== undefined);
    return made;
  };

  return new ApolloLink((operation, forward) => {
    const cache = cacheOf(operation.client);
    const { query, variables } = operation;
    if (operation.operationType !== OperationTypeNode.SUBSCRIPTION)
      return protect(cache, forward(operation));
    let document: ChannelDocument | null;
    try {
      document = documentOf(query);
    } catch (error) {
      return new Observable((observer) => observer.error(error));
    }
    if (!document) return forward(operation);
    const { key, channel, withIds } = document;
    if (document.isWhole(variables)) {
      const live = client.open({ map, field: channel.field }, document.args(variables));
      const show = cache.show.bind(cache, document, variables);
      return follow(live, (state) => show(state as Tree | null), cache);
    }
    // what the channel has only for this document: Apollo writes all of it
    const event = { __typename: channel.event, ...NO_CHANGES };
    return follow(
      client.open(withIds, variables),
      (state) => ({ [key]: { ...event, state } }),
      cache,
    );
  });
}

function follow(
  live: Live<unknown>,
  dataOf: (state: unknown) => Data,
  cache: ChannelCache,
): Observable<ApolloLink.Result> {
  return new Observable((observer) => {
    let shown: unknown = null;
    let data: Data | undefined;
    const show = (state: unknown): void => {
      shown = state;
      const before = data;
      data = dataOf(state);
      if (data !== before) observer.next({ data });
    };
    const look = (): void => {
      if (observer.closed) return;
      const { state, status, error } = live.get();
      if (status === "error") {
        // refused: queries on it are not to show it either
        if (state === null && shown !== null) dataOf(null);
        observer.error(error);
      } else if (status === "ended") {
        if (shown !== null) show(null);
        observer.complete();
      } else if (state !== null && state !== shown) show(state);
    };
    const leave = live.subscribe(look);
    const unlisten = cache.onClear(() => {
      if (shown !== null) show(shown);
    });
    // who subscribes after an error wants to try again
    live.get().retry();
    // components that mount together may share this observable: the last of them is to hear it too
    queueMicrotask(look);
    return () => {
      unlisten();
      leave();
    };
  });
}

function protect(
  cache: ChannelCache,
  results: Observable<ApolloLink.Result>,
): Observable<ApolloLink.Result> {
  return new Observable((observer) => {
    const changed = new Map();
    const unprotect = cache.protect(changed);
    const subscription = results.subscribe({
      next: (result) => {
        // Apollo writes it before this returns, and renders later
        observer.next(result);
        cache.rewrite(changed);
      },
      error: (error) => observer.error(error),
      complete: () => observer.complete(),
    });
    return () => {
      unprotect();
      subscription.unsubscribe();
    };
  });
}

/**
 * Apollo hands a second subscriber of an equal subscription only what comes next. All of a channel's are to ask the link,
 * which shares by itself.
 */
function askForEach(apollo: ApolloClient, isChannel: (query: DocumentNode) => boolean): void {
  const subscribe = apollo.subscribe.bind(apollo) as ApolloClient["subscribe"];
  apollo.subscribe = ((options: ApolloClient.SubscribeOptions) =>
    subscribe(
      isChannel(options.query)
        ? { ...options, context: { queryDeduplication: false, ...options.context } }
        : options,
    )) as ApolloClient["subscribe"];
}
