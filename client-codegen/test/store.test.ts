import { describe, expect, it } from "vitest";
import { everything } from "../src/flatten.js";
import type { Selection } from "../src/selection.js";
import { Store, type ChannelEvent } from "../src/store.js";
import { change, channelMap, event, message, snapshot, user, type ChatRoom } from "./chat.js";

const info = channelMap.channels.chatRoom;

function open(first: ChannelEvent = snapshot(3)): Store {
  const store = new Store(info, everything(info, channelMap).select({}));
  store.fold(first);
  return store;
}

const room = (store: Store): ChatRoom => store.state as ChatRoom;
const texts = (store: Store): string[] => room(store).messages.map((one) => one.text);

describe("A snapshot", () => {
  it("becomes the nested tree", () => {
    const { messages, ...rest } = room(open());
    expect(rest).toMatchObject({ id: "1", name: "lobby", members: [{ id: "1" }, { id: "2" }] });
    expect(messages[0]).toEqual({ ...message(1), author: user(2), reactions: [] });
  });

  it("after a drop replaces only what differs", () => {
    const store = open();
    const before = room(store);
    expect(store.fold(snapshot(3))).toBe(false);
    const next = snapshot(3);
    const changed = { ...next, messages: [message(1), message(2, "new"), message(3, "text 3", 2)] };
    store.fold(changed);
    expect(texts(store)).toEqual(["text 1", "new", "text 3"]);
    expect(room(store).messages[2]).toBe(before.messages[2]);
    expect(room(store).members).toBe(before.members);
  });

  it("takes away what it doesn't name, lists included", () => {
    const store = open();
    store.fold(snapshot(0));
    expect(room(store).messages).toEqual([]);
    store.fold(snapshot(2));
    expect(texts(store)).toEqual(["text 1", "text 2"]);
  });
});

describe("A change", () => {
  it("of one message makes new objects on its path to the root only", () => {
    const store = open();
    const before = room(store);
    store.fold(event("CHANGE", { messages: [message(2, "edited")] }));
    const after = room(store);
    expect(texts(store)).toEqual(["text 1", "edited", "text 3"]);
    expect(after).not.toBe(before);
    expect(after.members).toBe(before.members);
    expect(after.messages.map((one, index) => one === before.messages[index])).toEqual([
      true,
      false,
      true,
    ]);
    expect(after.messages[1]?.author).toBe(after.members[0]);
  });

  it("of a shared child is seen at every place, as one object", () => {
    const store = open();
    const before = room(store);
    store.fold(event("CHANGE", { users: [user(1, "Ada")] }));
    const { members, messages } = room(store);
    expect(members[0]?.name).toBe("Ada");
    expect(messages[1]?.author).toBe(members[0]);
    expect(messages[0]).toBe(before.messages[0]);
  });

  it("twice changes nothing", () => {
    const store = open();
    const both = event("CHANGE", {
      removed: ["Message:2"],
      messages: [message(4), message(1, "edited")],
      lists: [
        change("ChatRoom:1", "messages", {
          index: 0,
          removed: ["Message:2"],
          inserted: ["Message:4"],
        }),
        change("ChatRoom:1", "members", { index: 1, removed: ["User:1"], inserted: ["User:1"] }),
      ],
    });
    expect(store.fold(both)).toBe(true);
    const state = store.state;
    expect(texts(store)).toEqual(["text 4", "edited", "text 3"]);
    expect(room(store).members.map((one) => one.id)).toEqual(["2", "1"]);
    expect(store.fold(both)).toBe(false);
    expect(store.state).toBe(state);
  });

  it("that is empty keeps the state and takes the cursor", () => {
    const store = open();
    expect(store.fold(event("CHANGE", {}, "c9"))).toBe(false);
    expect(store.cursor).toBe("c9");
  });

  it("may name a message in a list before its row comes", () => {
    const store = open();
    const inserted = change("ChatRoom:1", "messages", { index: 3, inserted: ["Message:4"] });
    expect(store.fold(event("CHANGE", { lists: [inserted] }))).toBe(false);
    expect(texts(store)).toHaveLength(3);
    store.fold(event("CHANGE", { messages: [message(4)] }));
    expect(texts(store)).toEqual(["text 1", "text 2", "text 3", "text 4"]);
  });

  it("may bring a message before its author", () => {
    const store = open();
    const messages = [message(4, "text 4", 9)];
    const lists = [change("ChatRoom:1", "messages", { index: 3, inserted: ["Message:4"] })];
    store.fold(event("CHANGE", { messages, lists }));
    expect(texts(store)).toHaveLength(3);
    store.fold(event("CHANGE", { users: [user(9)] }));
    expect(texts(store)).toHaveLength(4);
  });

  it("may remove a row that a list still names: it is left out until it is back", () => {
    const store = open();
    store.fold(event("CHANGE", { removed: ["Message:2"] }));
    expect(texts(store)).toEqual(["text 1", "text 3"]);
    store.fold(event("CHANGE", { messages: [message(2, "back")] }));
    expect(texts(store)).toEqual(["text 1", "back", "text 3"]);
  });

  it("that removes the anchor ends it", () => {
    const store = open();
    store.fold(event("CHANGE", { removed: ["ChatRoom:1", "Message:1"] }));
    expect(store.state).toBeNull();
    expect(store.ended).toBe(true);
  });

  it("that removes a row and brings it again is done once too", () => {
    const store = open();
    const ada = { ...user(1, "Ada"), status: { emoji: ["🚀"] } };
    const again = event("CHANGE", { removed: ["User:1"], users: [ada] });
    expect(store.fold(again)).toBe(true);
    expect(room(store).members[0]?.name).toBe("Ada");
    const twice = event("CHANGE", JSON.parse(JSON.stringify(again)) as object);
    expect(store.fold(twice)).toBe(false);
  });

  it("shows a row that came late in the list to which a snapshot had moved its key", () => {
    const reactions = (id: number) =>
      change(`Message:${id}`, "reactions", { inserted: ["Reaction:1"] });
    const store = open();
    store.fold(event("CHANGE", { lists: [reactions(1)] }));
    const moved = snapshot(3);
    store.fold({ ...moved, lists: [...moved.lists, reactions(2)] });
    store.fold(event("CHANGE", { reactions: [{ id: "1", emoji: "!", user: { id: "1" } }] }));
    expect(room(store).messages.map((one) => one.reactions.length)).toEqual([0, 1, 0]);
  });

  it("holds no row that nothing refers to and that was removed", () => {
    const store = open();
    for (let id = 10; id < 200; id++) {
      const key = `Message:${id}`;
      const inserted = change("ChatRoom:1", "messages", { inserted: [key] });
      store.fold(event("CHANGE", { messages: [message(id)], lists: [inserted] }));
      const lists = [change("ChatRoom:1", "messages", { removed: [key] })];
      store.fold(event("CHANGE", { removed: [key], lists }));
    }
    store.fold(event("CHANGE", { messages: [message(1, "by 9", 9)], users: [user(9)] }));
    store.fold(event("CHANGE", { messages: [message(1, "by 1", 1)], removed: ["User:9"] }));
    expect((store as unknown as { nodes: Map<string, unknown> }).nodes.size).toBe(1 + 3 + 2);
  });
});

describe("A tree", () => {
  it("beneath itself is one of objects that refer to each other", () => {
    const fields: Selection["fields"][number][] = [{ key: "id", from: "id" }];
    const selection: Selection = { type: "User", index: 0, fields };
    fields.push({ key: "name", from: "name" });
    fields.push({
      key: "friends",
      from: "friends",
      edge: { many: true, nullable: false, selection },
    });
    const store = new Store({ ...info, root: "User", lists: { User: "users" } }, selection);
    store.fold(
      event("SNAPSHOT", {
        users: [user(1), user(2)],
        lists: [
          change("User:1", "friends", { inserted: ["User:2"] }),
          change("User:2", "friends", { inserted: ["User:1"] }),
        ],
      }),
    );
    interface Person {
      name: string;
      friends: Person[];
    }
    const person = store.state as Person;
    expect(person.friends[0]?.friends[0]).toBe(person);
    store.fold(event("CHANGE", { users: [user(2, "Grace")] }));
    const after = store.state as Person;
    expect(after.friends[0]?.name).toBe("Grace");
    expect(after.friends[0]?.friends[0]).toBe(after);
  });

  it("has null where a nullable reference is null, and leaves out what lacks one that may not be", () => {
    const userSelection: Selection = {
      type: "User",
      index: 2,
      fields: [{ key: "id", from: "id" }],
    };
    const read = (nullable: boolean): unknown => {
      const author = { many: false, nullable, selection: userSelection };
      const messages = {
        type: "Message",
        index: 1,
        fields: [
          { key: "id", from: "id" },
          { key: "by", from: "author", edge: author },
        ],
      };
      const edge = { many: true, nullable: false, selection: messages };
      const fields = [{ key: "messages", from: "messages", edge }];
      const store = new Store(info, { type: "ChatRoom", index: 0, fields });
      const lists = [change("ChatRoom:1", "messages", { inserted: ["Message:1"] })];
      const messageRows = [{ ...message(1), author: null }];
      store.fold(event("SNAPSHOT", { chatRooms: [{ id: "1" }], messages: messageRows, lists }));
      return store.state;
    };
    expect(read(true)).toEqual({ messages: [{ id: "1", by: null }] });
    expect(read(false)).toEqual({ messages: [] });
  });
});
