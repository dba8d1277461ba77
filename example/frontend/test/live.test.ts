import { expect, test } from "vitest";
import { type ChannelEvent, type ListChange, LiveState, type Shape } from "../src/live";

const SHAPE: Shape = {
  root: "ChatRoom",
  lists: { ChatRoom: ["members", "messages"], Message: ["reactions"] },
};

interface User {
  id: string;
  name: string;
}
interface Message {
  id: string;
  text: string;
  author: User;
  reactions: { id: string; emoji: string }[];
}
interface ChatRoom {
  id: string;
  topic: string;
  members: User[];
  messages: Message[];
}

const ada = { __typename: "User", id: "1", name: "Ada" };
const grace = { __typename: "User", id: "2", name: "Grace" };
const message = (id: string, text: string, author = ada) => ({
  __typename: "Message",
  id,
  text,
  author: { __typename: "User", id: author.id },
});

function listed(node: string, field: string, inserted: string[], more = {}): ListChange {
  return { node, field, index: 0, removed: [], inserted, ...more };
}

const SNAPSHOT = {
  kind: "SNAPSHOT",
  removed: [],
  lists: [
    listed("ChatRoom:7", "members", ["User:1", "User:2"]),
    listed("ChatRoom:7", "messages", ["Message:1", "Message:2"]),
    listed("Message:2", "reactions", ["Reaction:1"]),
  ],
  chatRooms: [{ __typename: "ChatRoom", id: "7", topic: "Everything" }],
  users: [ada, grace],
  messages: [message("1", "one"), message("2", "two", grace)],
  reactions: [{ __typename: "Reaction", id: "1", emoji: "👍" }],
} satisfies ChannelEvent & Record<string, unknown>;

function change(parts: Partial<ChannelEvent> & Record<string, unknown>): ChannelEvent {
  return { kind: "CHANGE", removed: [], lists: [], ...parts };
}

/** The state after the snapshot, and a way on from there. */
function start(): { before: ChatRoom; fold: (event: ChannelEvent) => ChatRoom } {
  const live = new LiveState<ChatRoom>(SHAPE);
  const fold = (event: ChannelEvent): ChatRoom => {
    const state = live.fold(event);
    if (!state) throw new Error("The root is gone.");
    return state;
  };
  return { before: fold(SNAPSHOT), fold };
}

const texts = (room: ChatRoom) => room.messages.map(({ text }) => text);

test("a snapshot becomes the nested tree, empty lists included", () => {
  const { before } = start();

  expect(before.topic).toBe("Everything");
  expect(before.members.map(({ name }) => name)).toEqual(["Ada", "Grace"]);
  expect(before.messages.map(({ text, author }) => [text, author.name])).toEqual([
    ["one", "Ada"],
    ["two", "Grace"],
  ]);
  expect(before.messages[0]?.reactions).toEqual([]);
  expect(before.messages[1]?.reactions.map(({ emoji }) => emoji)).toEqual(["👍"]);
});

test("one edited message leaves every other node as it was", () => {
  const { before, fold } = start();

  const after = fold(change({ messages: [message("1", "ONE")] }));

  expect(texts(after)).toEqual(["ONE", "two"]);
  expect(after.messages[1]).toBe(before.messages[1]);
  expect(after.members).toBe(before.members);
  expect(after).not.toBe(before);
});

test("a node that many refer to changes everywhere, and only there", () => {
  const { before, fold } = start();

  const after = fold(change({ users: [{ ...grace, name: "Rear Admiral Hopper" }] }));

  expect(after.messages[1]?.author.name).toBe("Rear Admiral Hopper");
  expect(after.members[1]).toBe(after.messages[1]?.author);
  expect(after.messages[0]).toBe(before.messages[0]);
});

test("a new message is inserted where the list says", () => {
  const { fold } = start();

  const after = fold(
    change({
      messages: [message("3", "between")],
      lists: [listed("ChatRoom:7", "messages", ["Message:3"], { index: 1 })],
    }),
  );

  expect(texts(after)).toEqual(["one", "between", "two"]);
});

test("a message that moved is taken out and put in again", () => {
  const { before, fold } = start();

  const after = fold(
    change({
      lists: [
        listed("ChatRoom:7", "messages", ["Message:1"], { index: 1, removed: ["Message:1"] }),
      ],
    }),
  );

  expect(texts(after)).toEqual(["two", "one"]);
  expect(after.messages[1]).toBe(before.messages[0]);
});

test("what is removed is gone, also from a list that nobody mentions", () => {
  const { fold } = start();

  const after = fold(change({ removed: ["Message:2", "Reaction:1"] }));

  expect(texts(after)).toEqual(["one"]);
});

test("the same event twice changes nothing", () => {
  const { fold } = start();
  const event = change({
    removed: ["Message:1"],
    messages: [message("3", "three")],
    lists: [listed("ChatRoom:7", "messages", ["Message:3"], { index: 1, removed: ["Message:1"] })],
  });

  const once = fold(event);
  expect(texts(once)).toEqual(["two", "three"]);
  expect(fold(event)).toBe(once);
});

test("a new snapshot replaces everything, and keeps what is equal", () => {
  const { before, fold } = start();

  const after = fold({
    ...SNAPSHOT,
    lists: [listed("ChatRoom:7", "messages", ["Message:1"])],
    users: [ada],
    messages: [message("1", "one")],
    reactions: [],
  } as ChannelEvent);

  expect(texts(after)).toEqual(["one"]);
  expect(after.members).toEqual([]);
  expect(after.messages[0]?.author.name).toBe("Ada");
  expect(before.members).toHaveLength(2);
});

test("a root that left leaves nothing", () => {
  const live = new LiveState<ChatRoom>(SHAPE);
  live.fold(SNAPSHOT);

  expect(live.fold(change({ removed: ["ChatRoom:7"] }))).toBeNull();
});
