import type { Live } from "../src/client.js";
import type { ChannelState, Status } from "../src/subscription.js";

/** A listener of a channel as a component is one. */
export class Watch<State> {
  /** Each status that it went through. */
  readonly statuses: Status[] = [];
  calls = 0;
  readonly stop: () => void;
  private readonly waiting = new Set<() => void>();

  constructor(private readonly live: Live<State>) {
    this.stop = live.subscribe(() => {
      this.calls += 1;
      this.note();
      for (const check of [...this.waiting]) check();
    });
    this.note();
  }

  get current(): ChannelState<State> {
    return this.live.get();
  }

  get state(): State {
    const { state, status } = this.current;
    if (state === null) throw new Error(`There is no state: ${status}`);
    return state;
  }

  /** Resolves when it holds. */
  until(holds: (current: ChannelState<State>) => boolean): Promise<ChannelState<State>> {
    return new Promise((resolve, reject) => {
      const patience = setTimeout(() => {
        this.waiting.delete(check);
        reject(
          new Error(`It never came to be; last: ${JSON.stringify(this.current).slice(0, 500)}`),
        );
      }, 20_000);
      const check = (): void => {
        if (!holds(this.current)) return;
        clearTimeout(patience);
        this.waiting.delete(check);
        resolve(this.current);
      };
      this.waiting.add(check);
      check();
    });
  }

  is(status: Status): Promise<ChannelState<State>> {
    return this.until((current) => current.status === status);
  }

  private note(): void {
    const { status } = this.current;
    if (this.statuses.at(-1) !== status) this.statuses.push(status);
  }
}
