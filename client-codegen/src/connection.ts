import { createClient, type Client } from "graphql-ws";
import { failure, isCloseEvent, type Failure } from "./failure.js";

export type ConnectionParams = Record<string, unknown> | undefined;

export interface ConnectionOptions {
  /** "wss://example.org/graphql/", also with http(s), or only a path on the page's own host. A function is asked at each connect. */
  readonly url: string | (() => string);
  /**
   * Who is asking: `{ token }`. A function is called for each connect, so that it can give a fresh one; while it fails, the
   * client goes on trying.
   */
  readonly connectionParams?:
    ConnectionParams | (() => ConnectionParams | Promise<ConnectionParams>);
  /** Milliseconds of silence after which the server is asked whether it is there; 12,000. */
  readonly keepAlive?: number;
  /** Milliseconds to wait for its answer before the connection counts as lost; 5,000. */
  readonly pongTimeout?: number;
  /** Milliseconds to wait before the nth try; default: doubling from 250 to 15,000, each ± 50 %. */
  readonly retryWait?: (attempt: number) => number;
  /** Where there is no global WebSocket: Node before version 22. */
  readonly webSocketImpl?: unknown;
}

/** A subscription as the connection runs it, again and again until it ends. */
export interface Operation {
  /** Serialized at each subscribe. */
  readonly payload: { readonly query: string; readonly variables: Record<string, unknown> };
  /** Gives why it must start anew, if it must. */
  next(result: Result): Failure | undefined;
  /** It is interrupted. */
  lost(): void;
  /** It has ended with an error. */
  failed(failure: Failure): void;
  /** The server has ended it. */
  completed(): void;
}

export interface Result {
  readonly data?: Record<string, unknown> | null | undefined;
  readonly errors?: readonly unknown[] | undefined;
}

const CONNECT_TIMEOUT = 15_000;
/** With fresh parameters each time. */
const MAX_REFUSALS = 5;
const FORBIDDEN = 4403;

/**
 * One socket for all operations, opened with the first and closed with the last.
 *
 * `graphql-ws` speaks the protocol. Trying again is ours: it is one wait for all operations, which a page that wakes up
 * cuts short, and each subscribes anew with what it knows then.
 */
export class Connection {
  private client: Client | undefined;
  private url = "";
  private readonly operations = new Set<Operation>();
  private readonly waiting = new Set<() => void>();
  private socket: { send(data: string): void } | undefined;
  private retryTimer: Timer;
  private deadline: Timer;
  private attempts = 0;
  private refusals = 0;

  constructor(private readonly options: ConnectionOptions) {}

  /** Runs the operation until it ends or the returned function is called. */
  run(operation: Operation): () => void {
    if (this.operations.size === 0) this.watchPage(true);
    this.operations.add(operation);
    let unsubscribe: (() => void) | undefined;
    // counts up whenever what is under way is given up: what still comes of it is nobody's
    let turn = 0;
    const stop = () => {
      turn += 1;
      this.waiting.delete(start);
      // also after an error: graphql-ws holds the socket open until then
      unsubscribe?.();
    };
    const end = () => {
      stop();
      if (this.operations.delete(operation) && this.operations.size === 0) this.rest();
    };
    const interrupt = (found: Failure) => {
      if (this.isFinal(found)) {
        end();
        operation.failed(found);
        return;
      }
      stop();
      operation.lost();
      this.wait(start);
    };
    const start = () => {
      const mine = turn;
      const unlessStopped = (act: () => void) => () => {
        if (mine === turn) act();
      };
      try {
        const { url } = this.options;
        this.url = address(typeof url === "function" ? url() : url);
        this.client ??= this.connect();
      } catch (error) {
        interrupt({ ...failure(error), again: false });
        return;
      }
      unsubscribe = this.client.subscribe<Record<string, unknown>>(operation.payload, {
        next: (result) =>
          unlessStopped(() => {
            const again = operation.next(result as Result);
            if (again) interrupt(again);
            else if (result.data) this.attempts = 0;
          })(),
        error: (reason) => unlessStopped(() => interrupt(failure(reason)))(),
        complete: unlessStopped(() => {
          end();
          operation.completed();
        }),
      });
    };
    start();
    return end;
  }

  /** Asks whether the connection still lives, or tries now instead of later: the page or the network is back. */
  readonly check = (): void => {
    if (typeof document !== "undefined" && document.visibilityState === "hidden") return;
    if (this.socket) {
      this.socket.send('{"type":"ping"}');
      this.expect(this.options.pongTimeout ?? 5_000);
    } else this.retry();
  };

  /** Not before there is something to run: a page that is rendered on a server may have no WebSocket. */
  private connect(): Client {
    const {
      connectionParams,
      webSocketImpl,
      keepAlive = 12_000,
      pongTimeout = 5_000,
    } = this.options;
    const alive = () => clearTimeout(this.deadline);
    return createClient({
      url: () => this.url,
      ...(connectionParams && { connectionParams }),
      ...(webSocketImpl !== undefined && { webSocketImpl }),
      keepAlive,
      retryAttempts: 0,
      on: {
        connecting: () => this.expect(CONNECT_TIMEOUT),
        connected: (socket) => {
          this.socket = socket as WebSocket;
          this.refusals = 0;
          alive();
        },
        ping: (received) => {
          if (!received) this.expect(pongTimeout);
        },
        message: alive,
        closed: (event) => {
          alive();
          this.socket = undefined;
          if (isCloseEvent(event) && event.code === FORBIDDEN) this.refusals += 1;
          for (const operation of this.operations) operation.lost();
        },
      },
    });
  }

  private isFinal({ error, again }: Failure): boolean {
    if (!again || error.code !== String(FORBIDDEN)) return !again;
    // the same parameters will be refused again
    return typeof this.options.connectionParams !== "function" || this.refusals >= MAX_REFUSALS;
  }

  private wait(start: () => void): void {
    this.waiting.add(start);
    if (this.retryTimer !== undefined) return;
    const { retryWait = backoff } = this.options;
    this.retryTimer = setTimeout(() => this.retry(), retryWait(this.attempts));
    this.attempts += 1;
  }

  private retry(): void {
    clearTimeout(this.retryTimer);
    this.retryTimer = undefined;
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const start of waiting) start();
  }

  /** Something must come within the time, or the connection is dead. */
  private expect(milliseconds: number): void {
    clearTimeout(this.deadline);
    this.deadline = setTimeout(() => this.client?.terminate(), milliseconds);
  }

  private rest(): void {
    clearTimeout(this.retryTimer);
    this.retryTimer = undefined;
    this.attempts = this.refusals = 0;
    this.watchPage(false);
  }

  private watchPage(on: boolean): void {
    if (typeof document === "undefined" || typeof window === "undefined") return;
    const change = on ? "addEventListener" : "removeEventListener";
    window[change]("online", this.check);
    window[change]("offline", this.check);
    document[change]("visibilitychange", this.check);
  }
}

type Timer = ReturnType<typeof setTimeout> | undefined;

/** Not all pages come back in the same second. */
export function backoff(attempt: number): number {
  return Math.min(250 * 2 ** attempt, 15_000) * (0.5 + Math.random());
}

/** "/graphql/" on the page's host, and http for ws. */
export function address(url: string): string {
  const base = typeof location === "undefined" ? undefined : location.href;
  const found = URL.canParse(url, base) ? new URL(url, base).href.replace(/^http/, "ws") : "";
  if (!/^wss?:/.test(found))
    throw new TypeError(`createClient: \`${url}\` is no address of a WebSocket.`);
  return found;
}
