import type { Connection, Operation, Result } from "./connection.js";
import { ofErrors, REFUSALS, type ChannelError, type Failure } from "./failure.js";
import type { Flat, Variables } from "./flatten.js";
import { NONE, staleAfter, type StaleNode } from "./stale.js";
import { Store, type ChannelEvent } from "./store.js";

/**
 * - `idle`: nothing is asked for (`skip`)
 * - `connecting`: nothing has come yet
 * - `live`: the state is current
 * - `reconnecting`: the state is the last one that came, and may be old
 * - `error`: it can't be shown, and isn't tried again by itself
 * - `ended`: the server has ended it, because the anchor was deleted
 */
export type Status = "idle" | "connecting" | "live" | "reconnecting" | "error" | "ended";

/** What is known of a channel. A new object whenever something of it changes. */
export interface ChannelState<State> {
  /** The nested tree. Null before the first event, after the end, and where the server refuses to show it. */
  readonly state: State | null;
  readonly status: Status;
  /** Set exactly while `status` is `error`. */
  readonly error: ChannelError | null;
  /**
   * Rows that the server could not compute, for a fault in its own code: the state shows them as they were, and all else is current.
   * Empty as a rule.
   */
  readonly stale: readonly StaleNode[];
  /** Starts again after `error` or `ended`. */
  readonly retry: () => void;
}

const noop = (): void => undefined;
export const CONNECTING: ChannelState<never> = {
  state: null,
  status: "connecting",
  error: null,
  stale: NONE,
  retry: noop,
};

/** Milliseconds between two calls of the listeners: a burst of events is one render for each frame. */
const FRAME = 16;

/** One subscription of the server, shared by all that asked for the same. */
export class Subscription implements Operation {
  readonly payload: Operation["payload"];
  current: ChannelState<unknown>;
  private store: Store;
  private stop: (() => void) | undefined;
  private readonly listeners = new Set<() => void>();
  private told = -Infinity;
  private telling: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly flat: Flat,
    private readonly variables: Variables,
  ) {
    this.store = this.newStore();
    const cursor = () => this.store.cursor;
    // read at each subscribe, also at those that graphql-ws makes by itself
    const after = { enumerable: true, get: cursor };
    const all = Object.defineProperty({ ...variables }, flat.after, after);
    this.payload = { query: flat.query, variables: all };
    this.current = { ...CONNECTING, retry: () => this.retry() };
    this.start();
  }

  listen(listener: () => void): () => void {
    // a wrapper of its own: one function may listen twice
    const own = () => listener();
    this.listeners.add(own);
    return () => this.listeners.delete(own);
  }

  end(): void {
    clearTimeout(this.telling);
    this.stop?.();
    this.stop = undefined;
  }

  next({ data, errors }: Result): Failure | undefined {
    const event = data?.[this.flat.channel.field] as ChannelEvent | null | undefined;
    if (!event) {
      const found = ofErrors(errors);
      // the subscription goes on, and the next event says that it is current again
      if (found.again) this.lost();
      // an event is missing
      else return { ...found, again: true };
      return undefined;
    }
    this.store.fold(event);
    const { stale, status } = this.current;
    // the first event after an interruption names them all, as each snapshot does
    const known = status === "live" && event.kind === "CHANGE" ? stale : NONE;
    this.set({
      state: this.store.state,
      status: "live",
      stale: staleAfter(known, event, errors, this.flat.channel),
    });
    return undefined;
  }

  lost(): void {
    this.set({ status: this.store.cursor === null ? "connecting" : "reconnecting" });
  }

  failed({ error }: Failure): void {
    this.stop = undefined;
    if (REFUSALS.includes(error.code)) this.store = this.newStore();
    const { state } = this.store;
    this.set({ state, status: "error", error, ...(state === null && { stale: NONE }) });
  }

  completed(): void {
    this.stop = undefined;
    this.store = this.newStore();
    this.set({ state: null, status: "ended", stale: NONE });
  }

  private retry(): void {
    const { status } = this.current;
    if (status !== "error" && status !== "ended") return;
    this.lost();
    this.start();
  }

  private start(): void {
    this.stop = this.connection.run(this);
  }

  private newStore(): Store {
    return new Store(this.flat.channel, this.flat.select(this.variables));
  }

  private set(change: Partial<ChannelState<unknown>>): void {
    const { current } = this;
    const next = { ...current, error: null, ...change };
    if (
      next.state === current.state &&
      next.status === current.status &&
      next.error === current.error &&
      next.stale === current.stale
    )
      return;
    this.current = next;
    if (this.telling !== undefined) return;
    const now = performance.now();
    if (now - this.told >= FRAME) this.tell();
    else this.telling = setTimeout(() => this.tell(), this.told + FRAME - now);
  }

  private tell(): void {
    this.telling = undefined;
    this.told = performance.now();
    for (const listener of [...this.listeners]) {
      try {
        listener();
      } catch (error) {
        // its own fault, not the connection's: it goes where uncaught errors go
        setTimeout(() => {
          throw error;
        });
      }
    }
  }
}
