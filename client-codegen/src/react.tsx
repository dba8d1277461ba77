import {
  createContext,
  useContext,
  useMemo,
  useSyncExternalStore,
  type Context,
  type ReactNode,
} from "react";
import type { Channel, ChannelClass } from "./channel.js";
import {
  defaultClient,
  IDLE,
  stable,
  type Client,
  type Source,
  type StateOf,
  type TypedDocument,
} from "./client.js";
import { CONNECTING, type ChannelState } from "./subscription.js";

const RxContext: Context<Client | null> = /* @__PURE__ */ createContext<Client | null>(null);

/** Hands a client to all below it. */
export function RxProvider({ client, children }: { client: Client; children?: ReactNode }) {
  return <RxContext.Provider value={client}>{children}</RxContext.Provider>;
}

export interface ChannelOptions<State, Selected> {
  /** Ask for nothing: the same as arguments that are null. */
  readonly skip?: boolean;
  /**
   * Takes a part of the state; the component renders only when that part is another object. What it returns must be a part of
   * the state or a plain value, not an object made anew.
   */
  readonly select?: (state: State) => Selected;
}

/**
 * The nested state of a channel, live.
 *
 * `useChannelState(ChatRoomChannel, { name })`, `useChannelState(document, { name })` or
 * `useChannelState(new ChatRoomChannel(name, token))`. All components that ask for the same share one subscription. An
 * object that is still the same didn't change, at any depth: rows in `memo` render only when they must.
 */
export function useChannelState<State, Args extends object, Selected = State>(
  channel: ChannelClass<State, Args>,
  args: Args | null | undefined,
  options?: ChannelOptions<State, Selected>,
): ChannelState<Selected>;
export function useChannelState<Data, Variables, Selected = StateOf<Data>>(
  document: TypedDocument<Data, Variables>,
  variables: Variables | null | undefined,
  options?: ChannelOptions<StateOf<Data>, Selected>,
): ChannelState<Selected>;
export function useChannelState<State, Args extends object, Selected = State>(
  channel: Channel<State, Args> | null | undefined,
  options?: ChannelOptions<State, Selected>,
): ChannelState<Selected>;
export function useChannelState(
  source: Source | null | undefined,
  second?: object | null,
  third?: ChannelOptions<never, unknown>,
): ChannelState<unknown> {
  const provided = useContext(RxContext);
  const instance = source && "args" in source ? source : null;
  const args = instance ? instance.args : second;
  const options = (instance ? second : third) as typeof third;
  const asked = source && args && !options?.skip ? source : null;
  // components write `new ChatRoomChannel(name)` and `{ name }` anew in each render
  const key = asked && stable(args);
  const live = useMemo(() => {
    if (!asked) return null;
    const client = provided ?? defaultClient(asked);
    return client.open(asked, args ?? undefined);
    // `key` stands for `args`, and with these two for an instance
  }, [provided, key, instance?.field ?? asked, instance?.map, instance?.token]);

  const select = options?.select;
  const get = useMemo(() => {
    if (!live) return () => IDLE;
    return select ? selecting(live.get, select) : live.get;
  }, [live, select]);
  return useSyncExternalStore(live?.subscribe ?? nothing, get, live ? onServer : get);
}

const nothing = () => () => undefined;
const onServer = () => CONNECTING;

/** The same object while the part and all else is the same. */
function selecting(
  get: () => ChannelState<unknown>,
  select: (state: never) => unknown,
): () => ChannelState<unknown> {
  let source: ChannelState<unknown> | undefined;
  let selected: ChannelState<unknown> | undefined;
  return () => {
    const current = get();
    if (selected && current === source) return selected;
    source = current;
    const state = current.state === null ? null : select(current.state as never);
    if (
      selected?.status !== current.status ||
      selected.error !== current.error ||
      selected.stale !== current.stale ||
      !Object.is(selected.state, state)
    )
      selected = { ...current, state };
    return selected;
  };
}
