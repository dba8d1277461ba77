import { ApolloClient, ApolloLink, gql, InMemoryCache, Observable } from "@apollo/client";
import { parse, validate, buildSchema } from "graphql";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { channelLink, typePolicies } from "../src/apollo.js";
import { createClient, type Client } from "../src/client.js";
import { channelMap, change, event, message, snapshot, user } from "./chat.js";
import { FakeServer } from "./fake.js";

/** What the example doesn't have, or what must come in a certain order: against a server that says what a test lets it say. */

const SOME = gql`
  subscription Some($name: String!) {
    chatRoom(name: $name) {
      state {
        id
        name
        messages {
          id
          ...Shown
        }
      }
    }
  }
  fragment Shown on Message {
    text
    author {
      id
      name
    }
  }
`;

let server: FakeServer;
let rx: Client;
let http: ApolloLink.Operation[];
let answers: Observable<ApolloLink.Result>;
let warnings: unknown[][];

beforeEach(async () => {
  server = await FakeServer.start();
  rx = createClient({ url: server.url, channelMap, webSocketImpl: server.socket, linger: 20 });
  http = [];
  answers = new Observable();
  warnings = [];
  for (const method of ["error", "warn", "info", "log"] as const)
    vi.spyOn(console, method).mockImplementation((...said: unknown[]) => void warnings.push(said));
});
afterEach(async () => {
  rx.dispose();
  await server.stop();
  vi.restoreAllMocks();
  expect(warnings).toEqual([]);
  expect(http).toEqual([]);
});

function apollo(options: Partial<ApolloClient.Options> = {}): ApolloClient {
  const forwarded = new ApolloLink((operation) => {
    http.push(operation);
    return answers;
  });
  return new ApolloClient({
    link: ApolloLink.from([channelLink(rx), forwarded]),
    cache: new InMemoryCache({ typePolicies: typePolicies(channelMap) }),
    ...options,
  });
}

function subscribe(client: ApolloClient, query = SOME) {
  const results: ApolloLink.Result[] = [];
  const variables = { name: "lobby" };
  const subscription = client.subscribe({ query, variables }).subscribe((result) => {
    results.push(result as ApolloLink.Result);
  });
  const state = () =>
    (results.at(-1)?.data?.["chatRoom"] as { state: Record<string, never> } | undefined)?.state;
  return { results, state, stop: () => subscription.unsubscribe() };
}

describe("channelLink", () => {
  it("asks for all of the channel once, whatever documents select of it", async () => {
    const client = apollo();
    const { state } = subscribe(client);
    const other = subscribe(
      client,
      gql(`subscription { chatRoom(name: "lobby") { kind cursor removed state { id topic } } }`),
    );
    await server.send(snapshot(2));
    await expect.poll(other.state).toEqual({ __typename: "ChatRoom", id: "1", topic: "All" });
    expect(state()).toMatchObject({ messages: [{ id: "1", author: { name: "user 2" } }, {}] });
    expect(server.subscribed).toHaveLength(1);
    expect(server.subscribed[0]?.query).toContain("editedAt");

    // nothing that it selects
    await server.send(event("CHANGE", { messages: [message(1, "edited")] }));
    await expect.poll(() => JSON.stringify(state())).toContain("edited");
    expect(other.results).toHaveLength(1);
  });

  it("leaves what didn't change the same object", async () => {
    const { state } = subscribe(apollo());
    await server.send(snapshot(3));
    await expect.poll(state).toBeDefined();
    const before = state()?.["messages"] as unknown as readonly object[];
    await server.send(event("CHANGE", { messages: [message(2, "edited")] }));
    await expect.poll(() => state()?.["messages"]).not.toBe(before);
    const after = state()?.["messages"] as unknown as readonly object[];
    expect(after.map((row, index) => row === before[index])).toEqual([true, false, true]);
  });

  it("reads objects that are no nodes as the document has them, and normalizes the rest", async () => {
    const client = apollo();
    const query = gql(`subscription Places($name: String!) {
      chatRoom(name: $name) { state { name said: messages { text place { city } author { name } } } }
    }`);
    const { state } = subscribe(client, query);
    const place = { __typename: "Place", city: "Paris" };
    await server.send(
      event("SNAPSHOT", {
        chatRooms: [{ id: "1", name: "lobby" }],
        messages: [{ ...message(1), place }],
        users: [user(1)],
        lists: [change("ChatRoom:1", "messages", { inserted: ["Message:1"] })],
      }),
    );
    await expect.poll(state).toBeDefined();
    expect(state()).toMatchObject({
      name: "lobby",
      said: [{ text: "text 1", place, author: { name: "user 1" } }],
    });
    expect(client.cache.extract()).toMatchObject({
      "ChatRoom:1": { messages: [{ __ref: "Message:1" }] },
      "Message:1": { author: { __ref: "User:1" } },
      "User:1": { name: "user 1" },
    });
    await server.send(
      event("CHANGE", { lists: [change("ChatRoom:1", "messages", { removed: ["Message:1"] })] }),
    );
    await expect.poll(state).toMatchObject({ said: [] });
  });

  it("keeps what two documents select of an object without a key", async () => {
    const policies = typePolicies(channelMap, { keylessTypes: ["Place"] });
    const client = apollo({ cache: new InMemoryCache({ typePolicies: policies }) });
    for (const [before, field] of ["city", "country"].entries()) {
      const query = gql(
        `subscription { chatRoom(name: "lobby") { state { id messages { id place { ${field} } } } } }`,
      );
      const { state } = subscribe(client, query);
      await expect.poll(() => server.subscribed.length).toBe(before + 1);
      const place = { __typename: "Place", [field]: "Luxembourg" };
      await server.send(
        event("SNAPSHOT", {
          chatRooms: [{ id: "1" }],
          messages: [{ id: "1", place }],
          lists: [change("ChatRoom:1", "messages", { inserted: ["Message:1"] })],
        }),
      );
      await expect.poll(state).toMatchObject({ messages: [{ place }] });
    }
    const place = { __typename: "Place", city: "Luxembourg", country: "Luxembourg" };
    expect(client.cache.extract()).toMatchObject({ "Message:1": { place } });
  });

  it("lets data masking mask", async () => {
    const { state } = subscribe(apollo({ dataMasking: true }));
    await server.send(snapshot(1));
    await expect.poll(state).toBeDefined();
    expect(state()?.["messages"]).toEqual([{ __typename: "Message", id: "1" }]);
  });

  it("may stand behind a split", async () => {
    const forwarded = new ApolloLink((operation) => {
      http.push(operation);
      return new Observable();
    });
    const link = ApolloLink.split(
      ({ operationType }) => operationType === "subscription",
      channelLink(rx),
      forwarded,
    );
    const { state } = subscribe(apollo({ link }));
    await server.send(snapshot(1));
    await expect.poll(state).toBeDefined();
  });

  it("hands on subscriptions that are of no channel, or select no state", () => {
    const client = apollo();
    for (const text of [
      `{ ticks }`,
      `{ chatRoom(name: "lobby") { cursor messages { id state } } }`,
    ])
      client.subscribe({ query: gql(`subscription ${text}`) }).subscribe();
    expect(http.splice(0)).toHaveLength(2);
    expect(server.subscribed).toHaveLength(0);
  });

  it("needs a map, and says so", () => {
    expect(() => channelLink({ url: "/graphql/" })).toThrow(/channelMap/);
  });
});

describe("An answer over HTTP", () => {
  it("doesn't bring back what left a list while it was under way, and is taken where nothing came", async () => {
    const client = apollo();
    const { state } = subscribe(client);
    await server.send(snapshot(2));
    await expect.poll(state).toBeDefined();
    let answer: (result: ApolloLink.Result) => void = () => undefined;
    answers = new Observable((observer) => {
      answer = (result) => {
        observer.next(result);
        observer.complete();
      };
    });
    // 1. the query is sent, and read by the server
    const query = gql(`query { chatRoom(name: "lobby") { id topic messages { id text } } }`);
    const done = client.query({ query, fetchPolicy: "network-only" });
    await expect.poll(() => http.splice(0)).toHaveLength(1);
    // 2. the channel tells of what happens then
    await server.send(
      event("CHANGE", {
        removed: ["Message:1"],
        lists: [change("ChatRoom:1", "messages", { removed: ["Message:1"] })],
      }),
    );
    await expect.poll(state).toMatchObject({ messages: [{ id: "2" }] });
    // 3. the answer comes
    const row = (id: string, text: string) => ({ __typename: "Message", id, text });
    const messages = [row("1", "text 1"), row("2", "from the query")];
    const chatRoom = { __typename: "ChatRoom", id: "1", topic: "Old", messages };
    answer({ data: { chatRoom } });
    await done;
    expect(client.readQuery({ query })).toMatchObject({
      chatRoom: { topic: "All", messages: [{ id: "2", text: "from the query" }] },
    });
  });
});

describe("What is sent to the server", () => {
  it("fits its schema where ids are added", async () => {
    const schema = buildSchema(`
      type Query { ok: Boolean }
      type Subscription { chatRoom(name: String!, after: String): ChatRoomEvent! }
      type ListChange { node: ID! field: String! index: Int! removed: [ID!]! inserted: [ID!]! }
      type ChatRoomEvent { kind: String! cursor: String! removed: [ID!]! lists: [ListChange!]!
        chatRooms: [ChatRoom!]! messages: [Message!]! users: [User!]! state: ChatRoom }
      type ChatRoom { id: ID! messages: [Message!]! }
      type Message { id: ID! text: String! place: Place author(as: String): User! }
      type Place { city: String! }
      type User { id: ID! name: String! }`);
    const query = gql(`subscription Places($name: String!) {
      chatRoom(name: $name) { state { ... on ChatRoom { messages { ...M } } } }
    }
    fragment M on Message { text place { city } author(as: "x") { name } }`);
    subscribe(apollo(), query);
    await expect.poll(() => server.subscribed.length).toBe(1);
    const sent = server.subscribed[0]?.query ?? "";
    // Apollo asks for the type of whatever is no node
    expect(validate(schema, parse(sent)).map(String)).toEqual([]);
    expect(sent).toMatch(/place \{ city __typename \}/);
  });
});
