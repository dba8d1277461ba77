import type { ChannelMap } from "./map.js";

/** A channel with its arguments: `new ChatRoomChannel("lobby", token)`. */
export interface Channel<State, Args extends object> {
  readonly map: ChannelMap;
  /** The field of `Subscription`. */
  readonly field: string;
  readonly args: Args;
  /** A token of Django REST framework, for this channel instead of the client's `connectionParams`. */
  readonly token: string | undefined;
  /** Never there: it carries the type of the state. */
  readonly __state?: State;
}

/** What a generated channel class is: `useChannelState(ChatRoomChannel, { name: "lobby" })`. */
export interface ChannelClass<
  State,
  Args extends object,
  Values extends readonly unknown[] = never[],
> {
  readonly map: ChannelMap;
  readonly field: string;
  /** The arguments in the schema's order, then a token. */
  new (...values: Values): Channel<State, Args>;
}

/**
 * The base of a generated channel class.
 *
 * `class ChatRoomChannel extends defineChannel<ChatRoomState, { name: string }, [name: string]>(channelMap, "chatRoom") {}`
 *
 * `State` is the whole nested tree: each object has `id`, all leaves and all edges, and no `__typename`.
 * `Values` are the arguments in the schema's order, as the constructor takes them.
 */
export function defineChannel<
  State,
  Args extends object,
  Values extends readonly unknown[] = [value: Args[keyof Args]],
>(map: ChannelMap, field: string): ChannelClass<State, Args, [...Values, token?: string]> {
  const info = map.channels[field];
  if (!info) throw new Error(`There is no channel \`${field}\`. Run manage.py makefrontend again.`);
  const names = Object.keys(info.arguments);
  return class implements Channel<State, Args> {
    static readonly map = map;
    static readonly field = field;
    readonly map = map;
    readonly field = field;
    readonly args: Args;
    readonly token: string | undefined;
    declare readonly __state?: State;

    constructor(...values: [...Values, token?: string]) {
      this.args = Object.fromEntries(names.map((name, index) => [name, values[index]])) as Args;
      this.token = values[names.length] as string | undefined;
    }
  };
}
