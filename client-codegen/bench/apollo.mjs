import { named } from "./hook.mjs";
import { map, SUBSCRIPTION, variables } from "./room.mjs";

/** The link with the hook's store, from the event until Apollo hands the state to its subscriber; and Apollo that is handed the whole state. */
export function apollo(
  Hook,
  { ApolloClient, ApolloLink, InMemoryCache, Observable, gql, ...ours },
) {
  const query = gql(SUBSCRIPTION);

  class Link extends Hook {
    static label = "Apollo, channelLink";
    static folds = 5;
    listeners = new Set();

    constructor() {
      super();
      const open = () => ({
        get: () => ({ state: this.store.state, status: "live", error: null, retry: () => {} }),
        subscribe: (listener) => (this.listeners.add(listener), () => {}),
      });
      this.run(ours.channelLink({ open, channelMap: map }), ours.apolloTypePolicies(map));
    }

    run(link, typePolicies) {
      const client = new ApolloClient({ link, cache: new InMemoryCache({ typePolicies }) });
      client.subscribe({ query, variables }).subscribe(({ data, error }) => {
        if (error) throw error;
        this.data = data;
      });
    }

    fold(event) {
      const held = this.data;
      const before = performance.now();
      this.store.fold(event);
      for (const listener of this.listeners) listener();
      return this.told(held, before);
    }

    told(held, before) {
      if (this.data === held) throw new Error("Apollo has told nothing.");
      return performance.now() - before;
    }
  }

  class Plain extends Link {
    static label = "Apollo alone";
    static folds = 1;

    run(_link, typePolicies) {
      const whole = () => new Observable((observer) => void (this.observer = observer));
      super.run(new ApolloLink(whole), typePolicies);
    }

    fold(event) {
      const held = this.data;
      this.store.fold(event);
      const state = named(this.store.state);
      const before = performance.now();
      this.observer.next({ data: { chatRoom: { __typename: "ChatRoomEvent", state } } });
      return this.told(held, before);
    }
  }

  return [Link, Plain];
}
