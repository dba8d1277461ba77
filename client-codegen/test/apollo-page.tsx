import {
  ApolloClient,
  ApolloLink,
  gql,
  HttpLink,
  InMemoryCache,
  type TypedDocumentNode,
} from "@apollo/client";
import { ApolloProvider, useFragment, useQuery, useSubscription } from "@apollo/client/react";
import type { ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from "vitest";
import { channelLink, typePolicies } from "../src/apollo.js";
import { createClient, type Client, type ClientOptions } from "../src/client.js";
import { channelMap, type ChatRoom, type Message } from "./chat.js";
import { fetcher } from "./http.js";
import { Site, type PageSocket } from "./site.js";

/** A page with real components of Apollo's, against the example: see site.ts. Each test file has a site of its own. */

type Room = { readonly chatRoom: ChatRoom | null };
type Live = { readonly chatRoom: { readonly state: ChatRoom | null } };
type Name = { readonly name: string };

const FIELDS = `
  id name topic
  members { id username name status away }
  messages {
    id text sentAt editedAt author { id username name status away } reactions { id emoji user { id username name status away } }
  }`;
const QUERY: TypedDocumentNode<Room, Name> = gql(
  `query Room($name: String!) { chatRoom(name: $name) { ${FIELDS} } }`,
);
const ALL: TypedDocumentNode<Live, Name> = gql(
  `subscription All($name: String!) { chatRoom(name: $name) { state { ${FIELDS} } } }`,
);
/** Less than the query has, under other names, and not even with ids. */
const SOME: TypedDocumentNode<
  {
    readonly room: {
      readonly state: { readonly said: readonly { readonly text: string }[] } | null;
    };
  },
  Name
> = gql(`subscription Some($name: String!) {
  room: chatRoom(name: $name) { state { said: messages { text ...By } } }
}
fragment By on Message { by: author { name } }`);
export const MESSAGE: TypedDocumentNode<Message> = gql(`fragment MessageFields on Message {
  id text author { id name } reactions { id emoji }
}`);

export let site: Site;
let token: string;
let root: Root;
export let http: string[];
let warnings: unknown[][];
const clients: Client[] = [];

beforeAll(async () => {
  site = await Site.start();
  token = await site.token("ada");
  await site.run(`
grace = User.objects.get(username="grace")
lobby, launch = ChatRoom.objects.get(name="lobby"), ChatRoom.objects.get(name="launch")`);
}, 60_000);
beforeEach(() => {
  http = [];
  warnings = [];
  for (const method of ["error", "warn", "info", "log"] as const)
    vi.spyOn(console, method).mockImplementation((...said: unknown[]) => void warnings.push(said));
  root = createRoot(document.createElement("div"));
});
afterEach(() => {
  root.unmount();
  for (const client of clients.splice(0)) client.dispose();
  vi.restoreAllMocks();
  expect(warnings).toEqual([]);
});
afterAll(() => site.stop());

export interface Page {
  readonly apollo: ApolloClient;
  readonly rx: Client;
  readonly socket: PageSocket;
  subscribes(): number;
  show(node: ReactNode): void;
}

export async function open(
  options: Partial<ClientOptions> = {},
  hold: (operation: string) => Promise<void> = () => Promise.resolve(),
): Promise<Page> {
  const socket = await site.page("ada");
  const rx = createClient({
    url: site.proxy.url,
    channelMap,
    webSocketImpl: socket,
    linger: 50,
    retryWait: () => 50,
    ...options,
  });
  clients.push(rx);
  const nameOf = (body: string) => (JSON.parse(body) as { operationName: string }).operationName;
  const fetched = fetcher(
    (body) => http.push(nameOf(body)),
    () => ({ authorization: `Token ${token}` }),
    (body) => hold(nameOf(body)),
  );
  const httpLink = new HttpLink({ uri: site.proxy.url, fetch: fetched });
  const apollo = new ApolloClient({
    link: ApolloLink.from([channelLink(rx), httpLink]),
    cache: new InMemoryCache({ typePolicies: typePolicies(channelMap) }),
  });
  return {
    apollo,
    rx,
    socket,
    subscribes: () => socket.sent.filter((one) => one.type === "subscribe").length,
    show: (node) => root.render(<ApolloProvider client={apollo}>{node}</ApolloProvider>),
  };
}

/** What the components show, by their names; `rooms` has each that a subscription ever showed. */
export const seen = new Map<string, unknown>();
export const rooms: ChatRoom[] = [];
beforeEach(() => {
  seen.clear();
  rooms.length = 0;
});

export function Subscribed({ name, as = name }: { name: string; as?: string }) {
  const { data, error, restart } = useSubscription(ALL, { variables: { name } });
  const state = data?.chatRoom.state;
  seen.set(as, error ?? state);
  seen.set(`restart ${as}`, restart);
  if (state) rooms.push(state);
  return state?.messages.map(({ id }) => <Row key={id} id={id} />);
}

function Row({ id }: { id: string }) {
  const { data, complete } = useFragment({
    fragment: MESSAGE,
    from: { __typename: "Message", id },
  });
  seen.set(`Message:${id}`, complete ? data : "incomplete");
  return null;
}

export function Queried({ name }: { name: string }) {
  const { data, loading } = useQuery(QUERY, { variables: { name } });
  seen.set(`query ${name}`, loading ? "loading" : data?.chatRoom);
  return null;
}

export function Some({ name }: { name: string }) {
  const { data } = useSubscription(SOME, { variables: { name } });
  seen.set(`some ${name}`, data?.room.state?.said);
  return null;
}

/** Without what Apollo adds. Lists that have no order in the database are sorted. */
export function plain(value: unknown): unknown {
  const text = JSON.stringify(value ?? null, (key, item: unknown) => {
    if (key === "__typename") return undefined;
    if (key !== "members" && key !== "reactions") return item;
    return [...(item as { id: string }[])].sort(
      (left, right) => Number(left.id) - Number(right.id),
    );
  });
  return JSON.parse(text);
}

export const patience = { timeout: 10_000, interval: 10 };

/** Waits until all components show what the database says. */
export function agree(...names: string[]): Promise<void> {
  return vi.waitFor(async () => {
    for (const name of names) {
      const now = (await site.room(name)) as ChatRoom | null;
      expect(plain(seen.get(name))).toEqual(now);
      if (seen.has(`query ${name}`)) expect(plain(seen.get(`query ${name}`))).toEqual(now);
      const messages = now?.messages ?? [];
      if (seen.has(`some ${name}`))
        expect(plain(seen.get(`some ${name}`))).toEqual(
          messages.map(({ text, author }) => ({ text, by: { name: author.name } })),
        );
      for (const { id, text, author, reactions } of messages)
        expect(plain(seen.get(`Message:${id}`))).toEqual({
          id,
          text,
          author: { id: author.id, name: author.name },
          reactions: reactions.map(({ id, emoji }) => ({ id, emoji })),
        });
    }
  }, patience);
}

export const lobby = () => seen.get("lobby") as ChatRoom;
