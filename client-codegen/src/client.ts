import type { DocumentNode } from "graphql";
import type { Channel, ChannelClass } from "./channel.js";
import { Connection, type ConnectionOptions } from "./connection.js";
import { everything, flatten, FlattenError, type Flat, type Variables } from "./flatten.js";
import type { ChannelMap } from "./map.js";
import { CONNECTING, Subscription, type ChannelState } from "./subscription.js";

export interface ClientOptions extends ConnectionOptions {
  /** Of the generated module: it is needed to read documents. */
  readonly channelMap?: ChannelMap;
  /** Milliseconds for which a subscription outlives its last listener, so that another page can take it over; 2,000. */
  readonly linger?: number;
}

/** A document that knows its types: the `TypedDocumentNode` of all code generators. */
export type TypedDocument<Data, Variables> = DocumentNode & {
  __apiType?: (variables: Variables) => Data;
};

/** The type of `state` in a document's data, whatever its aliases are. */
export type StateOf<Data> = unknown extends Data
  ? unknown
  : { [Field in keyof Data]: StateIn<NonNullable<Data[Field]>> }[keyof Data];

type StateIn<Event> = Event extends string
  ? never
  : Event extends { readonly state: infer State }
    ? NonNullable<State>
    : Exclude<Event[keyof Event], string | null | undefined | readonly unknown[]>;

/** One channel, document and arguments. It subscribes while it has listeners. */
export interface Live<State> {
  /** The same object until something changes. */
  get(): ChannelState<State>;
  /** Calls the listener after changes, at most once for each frame; returns how to stop. */
  subscribe(listener: () => void): () => void;
}

export const IDLE: ChannelState<never> = { ...CONNECTING, status: "idle" };

/** The client of a project: one socket, and one subscription for each channel, document and arguments. */
export function createClient(options: ClientOptions): Client {
  return new Client(options);
}

export class Client {
  private readonly connection: Connection;
  private readonly shared = new Map<string, Shared>();
  private readonly flats = new WeakMap<DocumentNode, Flat>();
  private readonly clients = new Map<string, Client>();

  /** Use `createClient`. */
  constructor(private readonly options: ClientOptions) {
    this.connection = new Connection(options);
  }

  /** Of the schema, as it was given. */
  get channelMap(): ChannelMap | undefined {
    return this.options.channelMap;
  }

  /** The whole state of a channel. */
  channel<State, Args extends object>(channel: ChannelClass<State, Args>, args: Args): Live<State>;
  channel<State, Args extends object>(channel: Channel<State, Args>): Live<State>;
  /** What a document selects of it. Raises FlattenError. */
  channel<Data, Values>(
    document: TypedDocument<Data, Values>,
    variables: Values,
  ): Live<StateOf<Data>>;
  channel(source: Source, args?: object): Live<unknown> {
    return this.open(source, args);
  }

  /** `channel()` without its types. */
  open(source: Source, args: object = {}): Live<unknown> {
    if ("definitions" in source) return this.live(this.flat(source), args);
    if (!("map" in source)) throw new FlattenError(NOT_GENERATED);
    if (!("args" in source)) return this.live(wholeOf(source), args);
    const client = source.token === undefined ? this : this.as(source.token);
    return client.live(wholeOf(source), source.args);
  }

  /** The client of somebody else: the same with another token, over a socket of its own. */
  as(token: string): Client {
    let client = this.clients.get(token);
    if (!client) {
      client = new Client({ ...this.options, connectionParams: { token } });
      this.clients.set(token, client);
    }
    return client;
  }

  /** Ends all subscriptions and closes the socket. */
  dispose(): void {
    for (const { subscription, timer } of this.shared.values()) {
      clearTimeout(timer);
      subscription.end();
    }
    this.shared.clear();
    for (const client of this.clients.values()) client.dispose();
    this.clients.clear();
  }

  private live(flat: Flat, args: object): Live<unknown> {
    const variables = args as Variables;
    const key = `${flat.key} ${stable(variables)}`;
    return {
      get: () => this.shared.get(key)?.subscription.current ?? CONNECTING,
      subscribe: (listener) => this.join(key, flat, variables, listener),
    };
  }

  private join(key: string, flat: Flat, variables: Variables, listener: () => void): () => void {
    let shared = this.shared.get(key);
    if (!shared) {
      const subscription = new Subscription(this.connection, flat, variables);
      this.shared.set(key, (shared = { subscription, users: 0, timer: undefined }));
    }
    const joined = shared;
    clearTimeout(joined.timer);
    // whoever comes to it anew may have better luck
    if (joined.users === 0) joined.subscription.current.retry();
    joined.users += 1;
    const unlisten = joined.subscription.listen(listener);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      unlisten();
      joined.users -= 1;
      if (joined.users > 0) return;
      joined.timer = setTimeout(() => {
        joined.subscription.end();
        if (this.shared.get(key) === joined) this.shared.delete(key);
      }, this.options.linger ?? 2_000);
    };
  }

  private flat(document: DocumentNode): Flat {
    let flat = this.flats.get(document);
    if (!flat) {
      const { channelMap } = this.options;
      if (!channelMap)
        throw new FlattenError(
          "Documents need createClient({ channelMap }): the generated module has it.",
        );
      this.flats.set(document, (flat = flatten(document, channelMap)));
    }
    return flat;
  }
}

/** What `channel()` and `useChannelState()` take. */
export type Source =
  DocumentNode | Channel<unknown, object> | { readonly map: ChannelMap; readonly field: string };

interface Shared {
  readonly subscription: Subscription;
  users: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

const wholes = new WeakMap<ChannelMap, Map<string, Flat>>();

function wholeOf({ map, field }: { readonly map: ChannelMap; readonly field: string }): Flat {
  let flats = wholes.get(map);
  if (!flats) wholes.set(map, (flats = new Map()));
  let flat = flats.get(field);
  if (!flat) {
    const info = map.channels[field];
    if (!info) throw new FlattenError(`There is no channel \`${field}\`.`);
    flats.set(field, (flat = everything(info, map)));
  }
  return flat;
}

const defaults = new Map<string, Client>();

const NO_PROVIDER =
  "A document needs a client that has the channel map: put <RxProvider client={createClient({ url, channelMap })}> around.";

/** The generated `graphql()` gives an empty object for what it doesn't know. */
const NOT_GENERATED =
  "The document is not among the generated ones. Run manage.py makefrontend, again after each change of it.";

/** The client of the address that the generated module has, for pages without a provider. */
export function defaultClient(source: Source): Client {
  if (!("map" in source))
    throw new FlattenError("definitions" in source ? NO_PROVIDER : NOT_GENERATED);
  const { map } = source;
  const { url } = map;
  if (url === undefined)
    throw new Error("There is no RxProvider, and the channel map has no `url`.");
  let client = defaults.get(url);
  if (!client) defaults.set(url, (client = createClient({ url, channelMap: map })));
  return client;
}

/** JSON with sorted names: equal for equal arguments. */
export function stable(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([left], [right]) => (left < right ? -1 : 1)))
      : item,
  );
}
