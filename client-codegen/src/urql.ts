import {
  CombinedError,
  makeOperation,
  type Exchange,
  type Operation,
  type OperationResult,
} from "@urql/core";
import type { DocumentNode } from "graphql";
import { filter, fromArray, makeSubject, merge, mergeMap } from "wonka";
import { createClient, type Client, type ClientOptions, type Live } from "./client.js";
import { FlattenError } from "./rows.js";
import { changes } from "./urql-cache.js";
import { channelDocument, type ChannelDocument } from "./urql-document.js";

export { graphcacheConfig, type GraphcacheOptions } from "./urql-cache.js";

/**
 * Answers subscriptions to a channel's `state`, and hands all else on. It stands after the cache:
 * `exchanges: [cacheExchange(graphcacheConfig(channelMap)), channelExchange(client), fetchExchange]`.
 *
 * Each result has the whole nested state, in which what didn't change is the same object. `stale` is true while the
 * connection is away, and `extensions.status` says more. All components that ask for the same share one subscription of the
 * server, which outlives the last of them for `linger`.
 */
export function channelExchange(source: Client | ClientOptions): Exchange {
  const rx = "open" in source ? source : createClient(source);
  const { channelMap } = rx;
  if (!channelMap)
    throw new Error("channelExchange() needs a `channelMap`: the generated module has it.");
  const documents = new WeakMap<DocumentNode, ChannelDocument | null>();

  function documentOf(operation: Operation): ChannelDocument | null {
    const query = operation.query as DocumentNode;
    let found = documents.get(query);
    if (found === undefined)
      documents.set(query, (found = channelDocument(query, channelMap!) ?? null));
    return found;
  }

  return ({ client, forward }) =>
    (operations$) => {
      const { source: results$, next } = makeSubject<OperationResult>();
      const shown = new Map<number, Shown>();
      // what was shown when a request went out: its answer may be older than what came since
      const before = new Map<number, ReadonlyMap<Shown, unknown>>();

      function show(operation: Operation): boolean {
        const known = shown.get(operation.key);
        if (known) known.show();
        else {
          try {
            const document = documentOf(operation);
            if (!document) return false;
            const live = rx.open(document.keyed, operation.variables as object);
            const made = new Shown(operation, document, live, next);
            shown.set(operation.key, made);
            made.start();
          } catch (error) {
            if (!(error instanceof FlattenError)) throw error;
            const failed = failure(error.message, error.name);
            next({ operation, data: undefined, error: failed, stale: false, hasNext: false });
            return true;
          }
        }
        // urql dispatches an equal subscription only once. After this the next component's comes here too, and sees the state
        const { context } = operation;
        client.reexecuteOperation(
          makeOperation("subscription", operation, { ...context, requestPolicy: "cache-first" }),
        );
        return true;
      }

      function take(operation: Operation): boolean {
        const { key, kind } = operation;
        if (kind === "subscription") return show(operation);
        if (kind === "teardown") {
          before.delete(key);
          shown.get(key)?.stop();
          return shown.delete(key);
        }
        before.set(key, new Map([...shown.values()].map((one) => [one, one.state])));
        return false;
      }

      /** The answer, and then again what changed while it was under way: the cache would hold the older. */
      function settle(result: OperationResult): OperationResult[] {
        const { key } = result.operation;
        const states = before.get(key);
        if (!result.hasNext) before.delete(key);
        if (!states || !result.data) return [result];
        return [
          result,
          ...[...shown.values()].flatMap((one) => one.since(states.get(one) ?? null)),
        ];
      }

      const others$ = forward(filter((operation: Operation) => !take(operation))(operations$));
      return merge([
        mergeMap((result: OperationResult) => fromArray(settle(result)))(others$),
        results$,
      ]);
    };
}

/** A subscription as urql runs it. */
class Shown {
  /** What the cache was told last. */
  state: unknown = null;
  stop: () => void = () => undefined;
  private readonly operation: Operation;
  private last: OperationResult | null = null;

  constructor(
    operation: Operation,
    private readonly document: ChannelDocument,
    private readonly live: Live<unknown>,
    private readonly next: (result: OperationResult) => void,
  ) {
    const { key, variables, context } = operation;
    const request = { key, variables, query: document.opaque };
    this.operation = makeOperation("subscription", request, context);
  }

  start(): void {
    this.stop = this.live.subscribe(() => this.show());
    // who subscribes after an error wants to try again
    this.live.get().retry();
    this.show();
  }

  show(): void {
    const { state, status, error, stale } = this.live.get();
    if (status === "connecting" || status === "idle") return;
    const last: OperationResult = {
      operation: this.operation,
      data: this.data(this.state, state),
      ...(error && { error: failure(error.message, error.code) }),
      extensions: { status, stale },
      stale: status === "reconnecting",
      hasNext: status === "live" || status === "reconnecting",
    };
    this.state = state;
    this.last = last;
    this.next(last);
  }

  /** What the cache should be told again, if anything changed. */
  since(before: unknown): OperationResult[] {
    if (!this.last || before === this.state) return [];
    return [{ ...this.last, data: this.data(before, this.state) }];
  }

  private data(before: unknown, after: unknown) {
    const { key, stateKey, channel, root } = this.document;
    const event = { __typename: channel.event, [stateKey]: after };
    changes.set(event, { root, before, after });
    return { [key]: event };
  }
}

/** None of the network: `retryExchange` would try again what the client already does. */
function failure(message: string, code: string): CombinedError {
  return new CombinedError({ graphQLErrors: [{ message, extensions: { code } }] });
}
