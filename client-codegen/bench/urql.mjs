import { named } from "./hook.mjs";
import { channel, map, QUERY, SUBSCRIPTION, variables } from "./room.mjs";

const settled = () => new Promise((resolve) => setTimeout(resolve));

/** The exchange with Graphcache, from the event until all is told; with a query of the room mounted beside it; and urql that is handed the whole state. */
export function urql(Hook, { Client, cacheExchange, subscriptionExchange, gql, ...ours }) {
  const document = gql(SUBSCRIPTION);

  class Exchange extends Hook {
    static label = "urql, channelExchange";
    static folds = 15;

    constructor() {
      super();
      const live = {
        get: () => ({ state: this.store.state, status: "live", error: null, retry: () => {} }),
        subscribe: (listener) => ((this.tell = listener), () => {}),
      };
      const open = (document) => {
        this.store = new ours.Store(channel, ours.flatten(document, map).select(variables));
        return live;
      };
      this.run(ours.channelExchange({ channelMap: map, open }), ours.graphcacheConfig(map));
    }

    run(exchange, config) {
      this.client = new Client({
        url: "http://localhost/",
        fetch: () => {
          throw new Error("The cache has asked the server.");
        },
        exchanges: [cacheExchange(config), exchange],
      });
      this.listen("data", this.client.subscription(document, variables));
    }

    listen(what, results) {
      results.subscribe(({ data, error }) => {
        if (error) throw error;
        if (data !== this[what]) this.last = performance.now();
        this[what] = data;
      });
    }

    async fold(event) {
      const before = performance.now();
      this.store.fold(event);
      this.tell();
      return this.told(before);
    }

    async told(before) {
      const held = this.last;
      await settled();
      if (!(this.last > before)) throw new Error(`urql has told nothing (${held}).`);
      return this.last - before;
    }
  }

  class Mounted extends Exchange {
    static label = "the same and a query";

    async fold(event) {
      const held = this.query;
      const took = await super.fold(event);
      if (!held) this.listen("query", this.client.query(gql(QUERY), variables));
      if (this.query === held) throw new Error("The query didn't follow.");
      return took;
    }
  }

  class Plain extends Exchange {
    static label = "urql alone";
    static folds = 1;

    run() {
      const subscribe = (sink) => ((this.sink = sink), { unsubscribe: () => {} });
      super.run(subscriptionExchange({ forwardSubscription: () => ({ subscribe }) }), {
        keys: { ChatRoomEvent: () => null },
      });
    }

    async fold(event) {
      await settled(); // its subscriptions begin in a turn of their own
      this.store.fold(event);
      const state = named(this.store.state);
      const before = performance.now();
      this.sink.next({ data: { chatRoom: { __typename: "ChatRoomEvent", state } } });
      return this.told(before);
    }
  }

  return [Exchange, Mounted, Plain];
}
