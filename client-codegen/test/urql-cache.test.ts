import { Client as UrqlClient, fetchExchange } from "@urql/core";
import { cacheExchange } from "@urql/exchange-graphcache";
import fc from "fast-check";
import { parse } from "graphql";
import { expect, it, vi } from "vitest";
import { createClient, type Client } from "../src/client.js";
import { flatten } from "../src/flatten.js";
import { Store } from "../src/store.js";
import { channelExchange, graphcacheConfig } from "../src/urql.js";
import { change, channelMap, event } from "./chat.js";
import { FakeServer } from "./fake.js";
import { SEED } from "./seed.js";

/** Any two rooms, from one state of the database to any other, against what a query of each gives from the cache. */

const SELECTION = `
  topic
  members { id name }
  messages { id text by: author { id name } reactions { id emoji user { id status } } author { id status } }`;
const SUBSCRIPTION = parse(
  `subscription ($name: String!) { chatRoom(name: $name) { state { ${SELECTION} } } }`,
);
const QUERY = parse(`query ($name: String!) { chatRoom(name: $name) { id ${SELECTION} } }`);

const ids = ["1", "2", "3", "4"] as const;
const id = fc.constantFrom(...ids);
const value = fc.constantFrom("a", "b", null);
const some = fc.uniqueArray(id);
const record = <Value>(of: fc.Arbitrary<Value>) =>
  fc.tuple(of, of, of, of).map((all) => new Map(ids.map((one, index) => [one, all[index]!])));
const database = fc.record({
  rooms: record(fc.record({ topic: value, members: some })),
  // in which room each message is, and where in it: it may move
  order: fc.shuffledSubarray([...ids], { minLength: 4 }),
  messages: record(
    fc.record({ room: fc.constantFrom("1", "2", null), text: value, author: id, reactions: some }),
  ),
  reactions: record(fc.record({ emoji: value, user: id })),
  users: record(fc.record({ name: value, status: value })),
});
type Database = typeof database extends fc.Arbitrary<infer Value> ? Value : never;

function snapshot(db: Database, room: "1" | "2") {
  const shown = db.order.filter((one) => db.messages.get(one)?.room === room);
  const { topic, members } = db.rooms.get(room)!;
  const messages = shown.map((one) => ({ id: one, ...db.messages.get(one)! }));
  const keys = (type: string, all: readonly string[]) => ({
    inserted: all.map((one) => `${type}:${one}`),
  });
  return event("SNAPSHOT", {
    chatRooms: [{ id: room, topic }],
    users: ids.map((one) => ({ id: one, ...db.users.get(one)! })),
    messages: messages.map(({ id, text, author }) => ({
      ...{ id, text, author: { id: author } },
    })),
    reactions: ids.map((one) => {
      const { emoji, user } = db.reactions.get(one)!;
      return { id: one, emoji, user: { id: user } };
    }),
    lists: [
      change(`ChatRoom:${room}`, "members", keys("User", members)),
      change(`ChatRoom:${room}`, "messages", keys("Message", shown)),
      ...messages.map((one) =>
        change(`Message:${one.id}`, "reactions", keys("Reaction", one.reactions)),
      ),
    ],
  });
}

/** As urql gives it to who didn't select `__typename`. */
const named = (state: unknown): unknown =>
  JSON.parse(
    JSON.stringify(state, (key, value: unknown) => (key === "__typename" ? undefined : value)),
  );

it(`Graphcache holds what the rooms show, whatever changes and wherever rows move, and asks for nothing (SEED=${SEED})`, async () => {
  const warn = vi.spyOn(console, "warn");
  const error = vi.spyOn(console, "error");
  const fetch = vi.fn();
  const steps = fc.array(fc.tuple(database, fc.boolean(), fc.boolean()), {
    minLength: 1,
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const rooms = new Map<"1" | "2", { store: Store; tell: () => void }>();
      const rx = {
        channelMap,
        open(document: typeof SUBSCRIPTION, variables: { name: "1" | "2" }) {
          const flat = flatten(document, channelMap);
          const store = new Store(flat.channel, flat.select(variables));
          const room = { store, tell: () => undefined as void };
          rooms.set(variables.name, room);
          return {
            get: () => ({
              ...{ state: store.state, error: null, retry: () => undefined },
              status: store.state === null ? "connecting" : "live",
            }),
            subscribe: (listener: () => void) => ((room.tell = listener), () => undefined),
          };
        },
      } as unknown as Client;
      const urql = new UrqlClient({
        url: "http://localhost/",
        preferGetMethod: false,
        fetch: fetch as typeof globalThis.fetch,
        exchanges: [
          cacheExchange(graphcacheConfig(channelMap)),
          channelExchange(rx),
          fetchExchange,
        ],
      });
      const queries = new Map<string, unknown>();
      for (const name of ["1", "2"])
        urql.subscription(SUBSCRIPTION, { name }).subscribe(() => undefined);
      for (const [turn, [db, backwards, pause]] of all.entries()) {
        for (const name of backwards ? (["2", "1"] as const) : (["1", "2"] as const)) {
          const room = rooms.get(name)!;
          room.store.fold(snapshot(db, name));
          room.tell();
          if (turn === 0)
            urql.query(QUERY, { name }).subscribe(({ data }) => void queries.set(name, data));
        }
        // Graphcache collects what nothing refers to; urql reads queries again
        if (pause) await new Promise((resolve) => setTimeout(resolve));
        await Promise.resolve();
      }
      await new Promise((resolve) => setTimeout(resolve));
      for (const [name, { store }] of rooms)
        expect(queries.get(name)).toEqual({ chatRoom: named(store.state) });
    }),
    { numRuns: 100, seed: SEED },
  );
  expect(fetch).not.toHaveBeenCalled();
  expect([...warn.mock.calls, ...error.mock.calls]).toEqual([]);
});

it.each(["cache-first", "network-only", "cache-and-network"] as const)(
  "urql hands a second subscriber the state that is there, once, with requestPolicy %s",
  async (requestPolicy) => {
    const state = { __typename: "ChatRoom", id: "1", topic: "a" };
    const rx = {
      channelMap,
      open: () => ({
        get: () => ({ state, status: "live", error: null, retry: () => undefined }),
        subscribe: () => () => undefined,
      }),
    } as unknown as Client;
    const urql = new UrqlClient({
      ...{ url: "http://localhost/", preferGetMethod: false, requestPolicy },
      exchanges: [cacheExchange(graphcacheConfig(channelMap)), channelExchange(rx), fetchExchange],
    });
    const document = parse(`subscription { chatRoom(name: "a") { state { topic } } }`);
    const [first, second]: [unknown[], unknown[]] = [[], []];
    for (const seen of [first, second]) {
      urql.subscription(document, {}).subscribe(({ data }) => void seen.push(data));
      await new Promise((resolve) => setTimeout(resolve));
    }
    expect(second).toEqual([{ chatRoom: { __typename: "ChatRoomEvent", state } }]);
    expect(first).toHaveLength(2);
  },
);

it("A field whose conditions stand within others is written where all of them hold", async () => {
  const server = await FakeServer.start();
  const warned = vi.spyOn(console, "warn");
  const rx = createClient({ url: server.url, channelMap, webSocketImpl: server.socket });
  const client = new UrqlClient({
    url: server.url,
    exchanges: [cacheExchange(graphcacheConfig(channelMap)), channelExchange(rx), fetchExchange],
  });
  const document = parse(`subscription ($all: Boolean!, $topic: Boolean!) {
    chatRoom(name: "lobby") { state { name ... @include(if: $all) { topic @include(if: $topic) } } }
  }`);
  const seen: unknown[] = [];
  const { unsubscribe } = client
    .subscription(document, { all: false, topic: true })
    .subscribe(({ data }) => seen.push(data));
  await server.send(event("SNAPSHOT", { chatRooms: [{ id: "1", name: "lobby" }] }));
  await expect.poll(() => seen).toMatchObject([{ chatRoom: { state: { name: "lobby" } } }]);
  expect(warned).not.toHaveBeenCalled();
  unsubscribe();
  rx.dispose();
  await server.stop();
});
