import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from "@apollo/client";
import {
  ApolloProvider,
  useQuery as useApolloQuery,
  useSubscription as useApolloSubscription,
} from "@apollo/client/react";
import { cacheExchange } from "@urql/exchange-graphcache";
import { parse } from "graphql";
import { StrictMode, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import {
  Client as UrqlClient,
  fetchExchange,
  Provider as UrqlProvider,
  useQuery as useUrqlQuery,
  useSubscription as useUrqlSubscription,
} from "urql";
import { afterEach, beforeEach, expect, vi } from "vitest";
import { channelLink, typePolicies } from "../src/apollo.js";
import {
  createClient,
  type Client,
  type ClientOptions,
  type TypedDocument,
} from "../src/client.js";
import { RxProvider, useChannelState } from "../src/react.js";
import type { StaleNode } from "../src/stale.js";
import { channelExchange, graphcacheConfig } from "../src/urql.js";
import { channelMap, ChatRoomChannel, type ChatRoom } from "./chat.js";
import { fetcher } from "./http.js";
import type { PageSocket, Site } from "./site.js";

/**
 * The same rooms in three pages: the hook, Apollo and urql, each with a socket of its own and, the hook aside, a query of the same
 * room mounted beside the subscription.
 */

export const NAMES = ["hook", "apollo", "urql"] as const;
export type Name = (typeof NAMES)[number];

const USER = "id username name status away";
const FIELDS = `
  id name topic members { ${USER} }
  messages { id text sentAt editedAt author { ${USER} } reactions { id emoji user { ${USER} } } }`;
type Args = { readonly name: string };
const SUBSCRIPTION = parse(
  `subscription Live($name: String!) { chatRoom(name: $name) { state { ${FIELDS} } } }`,
) as TypedDocument<{ readonly chatRoom: { readonly state: ChatRoom | null } }, Args>;
const QUERY = parse(
  `query Once($name: String!) { chatRoom(name: $name) { ${FIELDS} } }`,
) as TypedDocument<{ readonly chatRoom: ChatRoom | null }, Args>;

/** What components show now, by client and room: of the subscription and of the query. */
export class Shown {
  state: ChatRoom | null | undefined;
  query: ChatRoom | null | undefined;
  error: string | undefined;
  status: string | undefined;
  stale: readonly StaleNode[] | undefined;
  /** Each state that was ever rendered. */
  readonly states: ChatRoom[] = [];

  note(state: ChatRoom | null | undefined, error?: string): void {
    this.state = state;
    this.error = error;
    if (state && state !== this.states.at(-1)) this.states.push(state);
  }
}

export interface Page {
  readonly name: Name;
  readonly rx: Client;
  readonly socket: PageSocket;
  /** Of the room that is shown; `as` names another component on the same room. */
  of(room: string, as?: string): Shown;
  show(node: ReactNode): void;
  subscribes(): number;
}

/** Requests over HTTP of all pages, and all that was said on the console. */
export const http: string[] = [];
export const said: unknown[][] = [];
const open: { client: Client; root: Root }[] = [];

beforeEach(() => {
  http.length = said.length = 0;
  for (const method of ["error", "warn", "info", "log"] as const)
    vi.spyOn(console, method).mockImplementation((...words: unknown[]) => void said.push(words));
});
afterEach(() => {
  for (const { client, root } of open.splice(0)) {
    root.unmount();
    client.dispose();
  }
  vi.restoreAllMocks();
  expect(said).toEqual([]);
});

interface Kind {
  readonly Room: (props: { name: string; shown: Shown }) => ReactNode;
  readonly wrap: (rx: Client, fetch_: typeof fetch, url: string) => (node: ReactNode) => ReactNode;
}

const KINDS: Record<Name, Kind> = {
  hook: {
    Room({ name, shown }) {
      const { state, error, status, stale } = useChannelState(ChatRoomChannel, { name });
      shown.note(state, error?.code);
      Object.assign(shown, { status, stale });
      return null;
    },
    wrap: (rx) => (node) => <RxProvider client={rx}>{node}</RxProvider>,
  },
  apollo: {
    Room({ name, shown }) {
      const { data, error } = useApolloSubscription(SUBSCRIPTION, { variables: { name } });
      shown.note(data?.chatRoom.state, error && (error as { code?: string }).code);
      shown.query = useApolloQuery(QUERY, { variables: { name } }).data?.chatRoom;
      const { status, stale } = useChannelState(
        ChatRoomChannel,
        { name },
        { select: (room) => room.id },
      );
      Object.assign(shown, { status, stale });
      return null;
    },
    wrap: (rx, fetch_, uri) => {
      const client = new ApolloClient({
        link: ApolloLink.from([channelLink(rx), new HttpLink({ uri, fetch: fetch_ })]),
        cache: new InMemoryCache({ typePolicies: typePolicies(channelMap) }),
      });
      return (node) => (
        <ApolloProvider client={client}>
          <RxProvider client={rx}>{node}</RxProvider>
        </ApolloProvider>
      );
    },
  },
  urql: {
    Room({ name, shown }) {
      const [{ data, error, extensions }] = useUrqlSubscription({
        query: SUBSCRIPTION,
        variables: { name },
      });
      shown.note(
        data?.chatRoom.state,
        error && String(error.graphQLErrors[0]?.extensions["code"] ?? error.message),
      );
      Object.assign(shown, extensions);
      shown.query = useUrqlQuery({ query: QUERY, variables: { name } })[0].data?.chatRoom;
      return null;
    },
    wrap: (rx, fetch_, url) => {
      const client = new UrqlClient({
        url,
        fetch: fetch_,
        preferGetMethod: false,
        exchanges: [
          cacheExchange(graphcacheConfig(channelMap)),
          channelExchange(rx),
          fetchExchange,
        ],
      });
      return (node) => <UrqlProvider value={client}>{node}</UrqlProvider>;
    },
  },
};

export type RoomOf = Page & {
  readonly Room: (props: { readonly name: string; readonly as?: string }) => ReactNode;
};

/** A page of each client, by a token that may change. */
export async function pages(
  site: Site,
  token: () => string,
  options: Partial<ClientOptions> = {},
): Promise<RoomOf[]> {
  const made: RoomOf[] = [];
  for (const name of NAMES) {
    const socket = await site.page();
    const rx = createClient({
      url: site.proxy.url,
      channelMap,
      webSocketImpl: socket,
      connectionParams: () => ({ token: token() }),
      linger: 50,
      retryWait: () => 50,
      ...options,
    });
    const root = createRoot(document.createElement("div"));
    open.push({ client: rx, root });
    const all = new Map<string, Shown>();
    const of = (room: string, as = room): Shown => {
      let shown = all.get(as);
      if (!shown) all.set(as, (shown = new Shown()));
      return shown;
    };
    const { Room, wrap } = KINDS[name];
    const headers = () => ({ authorization: `Token ${token()}` });
    const wrapped = wrap(
      rx,
      fetcher((body) => http.push(body), headers),
      site.proxy.url,
    );
    made.push({
      name,
      rx,
      socket,
      of,
      show: (node) => root.render(<StrictMode>{wrapped(node)}</StrictMode>),
      subscribes: () => socket.sent.filter(({ type }) => type === "subscribe").length,
      Room: ({ name: room, as }) => <Room name={room} shown={of(room, as)} />,
    });
  }
  return made;
}

/** Without what the caches add. */
export function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value ?? null, (key, item: unknown) =>
      key === "__typename" ? undefined : item,
    ),
  );
}

export const patience = { timeout: 15_000, interval: 10 };

/** Waits until all pages show what the database says, in the subscription and in the query. */
export async function agree(site: Site, all: readonly Page[], ...rooms: string[]): Promise<void> {
  for (const room of rooms) {
    const now = await site.room(room);
    for (const page of all) {
      const shown = page.of(room);
      await vi.waitFor(() => {
        expect(plain(shown.state), page.name).toEqual(now);
        if (page.name !== "hook") expect(plain(shown.query), page.name).toEqual(now);
      }, patience);
    }
  }
}
