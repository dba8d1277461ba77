import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { parse } from "graphql";
import { describe, expect, it } from "vitest";
import { everything, flatten, type Flat } from "../src/flatten.js";
import type { Selection } from "../src/selection.js";
import { Store, type ChannelEvent, type ListChange } from "../src/store.js";
import { change, channelMap, event } from "./chat.js";
import { SEED } from "./seed.js";

/** Any events that a server may send, and some that it never would, against rows in a map and a tree made anew. */

const info = channelMap.channels.chatRoom;
const ALIASED = `
  subscription ($name: String!) {
    chatRoom(name: $name) { state {
      said: messages { text by: author { name } reactions { emoji who: user { status } } }
      members { name }
      topic
    } }
  }`;

type Row = Record<string, unknown>;

/** As docs/events.md says it. */
class Model {
  rows = new Map<string, Row>();
  lists = new Map<string, string[]>();

  fold(event: ChannelEvent): void {
    if (event.kind === "SNAPSHOT") [this.rows, this.lists] = [new Map(), new Map()];
    for (const key of event.removed) {
      this.rows.delete(key);
      for (const at of [...this.lists.keys()]) if (at.startsWith(`${key}.`)) this.lists.delete(at);
    }
    for (const [type, list] of Object.entries(info.lists))
      for (const row of event[list] as Row[]) this.rows.set(`${type}:${String(row["id"])}`, row);
    for (const { node, field, index, removed, inserted } of event.lists) {
      const at = `${node}.${field}`;
      const left = (this.lists.get(at) ?? []).filter((key) => !removed.includes(key));
      left.splice(index, 0, ...new Set(inserted.filter((key) => !left.includes(key))));
      this.lists.set(at, left);
    }
  }

  tree(key: string, selection: Selection): Row | null {
    const row = this.rows.get(key);
    if (!row) return null;
    const tree: Row = {};
    for (const { key: response, from, edge } of selection.fields) {
      if (!edge) tree[response] = row[from] ?? null;
      else if (edge.many)
        tree[response] = (this.lists.get(`${key}.${from}`) ?? []).flatMap(
          (child) => this.tree(child, edge.selection) ?? [],
        );
      else {
        const reference = row[from] as { id: string } | null;
        const child = reference && `${edge.selection.type}:${reference.id}`;
        const value = child && this.tree(child, edge.selection);
        if (!value && !edge.nullable) return null;
        tree[response] = value;
      }
    }
    return tree;
  }
}

const id = fc.integer({ min: 1, max: 5 }).map(String);
const text = fc.constantFrom("a", "b", null);
const rows = {
  chatRooms: fc.record({ id: fc.constant("1"), name: text, topic: text }),
  messages: fc.record({ id, text, sentAt: text, editedAt: text, author: fc.record({ id }) }),
  reactions: fc.record({ id, emoji: text, user: fc.option(fc.record({ id })) }),
  users: fc.record({
    id,
    username: text,
    name: text,
    status: fc.oneof(text, fc.constantFrom({ at: [1] }, { at: [2] })),
    away: fc.boolean(),
  }),
};
const few = <Value>(value: fc.Arbitrary<Value>) => fc.array(value, { maxLength: 4 });
const distinct = <Value extends { id: string }>(value: fc.Arbitrary<Value>) =>
  fc.uniqueArray(value, { maxLength: 4, selector: (row) => row.id });
const keys = (type: string) => few(id.map((one) => `${type}:${one}`));
const LISTS = [
  ["ChatRoom:1", "messages", "Message"],
  ["ChatRoom:1", "members", "User"],
  ...["1", "2", "3"].map((one) => [`Message:${one}`, "reactions", "Reaction"] as const),
] as const;
const lists = few(
  fc.constantFrom(...LISTS).chain(([node, field, type]) =>
    fc
      .record({
        index: fc.integer({ min: 0, max: 6 }),
        removed: keys(type),
        inserted: keys(type),
      })
      .map((parts): ListChange => change(node, field, parts)),
  ),
);
const anyEvent = fc
  .record({
    kind: fc.constantFrom("CHANGE", "CHANGE", "CHANGE", "SNAPSHOT" as const),
    removed: few(
      fc
        .constantFrom("Message", "User", "Reaction")
        .chain((type) => id.map((one) => `${type}:${one}`)),
    ),
    chatRooms: fc.array(rows.chatRooms, { maxLength: 1 }),
    messages: distinct(rows.messages),
    reactions: distinct(rows.reactions),
    users: distinct(rows.users),
    lists,
  })
  .map(({ kind, ...parts }) => event(kind as ChannelEvent["kind"], parts));

/** Lists are those of rows that are held: the server names no others. */
function sensible(found: ChannelEvent, model: Model): ChannelEvent {
  const snapshot = found.kind === "SNAPSHOT";
  const rooms = found["chatRooms"] as Row[];
  const messages = (found["messages"] as Row[]).map((row) => `Message:${String(row["id"])}`);
  const held = (key: string) => !snapshot && model.rows.has(key) && !found.removed.includes(key);
  return {
    ...found,
    removed: snapshot ? [] : found.removed,
    chatRooms: snapshot && rooms.length === 0 ? [{ id: "1", name: "a", topic: "a" }] : rooms,
    lists: found.lists.filter(
      ({ node }) => node === "ChatRoom:1" || messages.includes(node) || held(node),
    ),
  };
}

/** What is equal at a place is the same object there. */
function expectShared(before: unknown, after: unknown): void {
  if (typeof before !== "object" || typeof after !== "object" || !before || !after) return;
  if (before === after) return;
  expect(after).not.toEqual(before);
  const old = Array.isArray(before) ? byId(before) : (before as Row);
  for (const [key, value] of Object.entries(Array.isArray(after) ? byId(after) : after))
    expectShared(old[key], value);
}

function byId(items: unknown[]): Row {
  return Object.fromEntries(
    items.map((item, index) => [String((item as Row)["id"] ?? index), item]),
  );
}

describe.each<[string, Flat]>([
  ["all of a channel", everything(info, channelMap)],
  ["a document with aliases", flatten(parse(ALIASED), channelMap)],
])("Folding %s", (_, flat) => {
  const selection = flat.select({});

  it(`gives what a rebuild from scratch gives, keeps what is equal, and does nothing twice (SEED=${SEED})`, () => {
    fc.assert(
      fc.property(anyEvent, fc.array(anyEvent, { maxLength: 12 }), (first, more) => {
        const [store, model] = [new Store(info, selection), new Model()];
        for (const [turn, found] of [first, ...more].entries()) {
          const next = sensible({ ...found, kind: turn === 0 ? "SNAPSHOT" : found.kind }, model);
          const before = store.state;
          const changed = store.fold(next);
          model.fold(next);
          expect(store.state).toEqual(model.tree("ChatRoom:1", selection));
          expect(changed).toBe(store.state !== before);
          // without ids another row may look the same
          if (selection.fields[0]?.key === "id") expectShared(before, store.state);
        }
        const last = more.at(-1);
        if (last?.kind !== "CHANGE") return;
        const again = sensible(last, model);
        store.fold(again);
        model.fold(again);
        const once = model.tree("ChatRoom:1", selection);
        model.fold(again);
        // two changes of one list with indices beyond its end: such an event moves something each time
        if (isDeepStrictEqual(model.tree("ChatRoom:1", selection), once))
          expect(store.fold(again)).toBe(false);
      }),
      { numRuns: 400, seed: SEED },
    );
  });
});
