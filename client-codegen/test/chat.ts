import { defineChannel } from "../src/channel.js";
import type { ChannelMap } from "../src/map.js";
import type { ChannelEvent, ListChange } from "../src/store.js";

/** The example's channels, as codegen writes them, and small events of them. */

export const channelMap = {
  channels: {
    chatRoom: {
      name: "ChatRoom",
      field: "chatRoom",
      event: "ChatRoomEvent",
      root: "ChatRoom",
      arguments: { name: "String!" },
      lists: { ChatRoom: "chatRooms", Message: "messages", Reaction: "reactions", User: "users" },
    },
  },
  types: {
    ChatRoom: {
      leaves: ["name", "topic"],
      edges: {
        members: { type: "User", many: true, nullable: false },
        messages: { type: "Message", many: true, nullable: false },
      },
    },
    Message: {
      leaves: ["text", "sentAt", "editedAt"],
      edges: {
        author: { type: "User", many: false, nullable: false },
        reactions: { type: "Reaction", many: true, nullable: false },
      },
    },
    Reaction: {
      leaves: ["emoji"],
      edges: { user: { type: "User", many: false, nullable: false } },
    },
    User: { leaves: ["username", "name", "status", "away"], edges: {} },
  },
} as const satisfies ChannelMap;

export interface User {
  readonly id: string;
  readonly username: string;
  readonly name: string;
  readonly status: string;
  readonly away: boolean;
}

export interface Message {
  readonly id: string;
  readonly text: string;
  readonly sentAt: string;
  readonly editedAt: string | null;
  readonly author: User;
  readonly reactions: readonly {
    readonly id: string;
    readonly emoji: string;
    readonly user: User;
  }[];
}

export interface ChatRoom {
  readonly id: string;
  readonly name: string;
  readonly topic: string;
  readonly members: readonly User[];
  readonly messages: readonly Message[];
}

export class ChatRoomChannel extends defineChannel<
  ChatRoom,
  { readonly name: string },
  [name: string]
>(channelMap, "chatRoom") {}

interface Parts {
  readonly removed?: readonly string[];
  readonly lists?: readonly ListChange[];
  readonly chatRooms?: readonly object[];
  readonly messages?: readonly object[];
  readonly reactions?: readonly object[];
  readonly users?: readonly object[];
}

export function event(kind: ChannelEvent["kind"], parts: Parts = {}, cursor = "c"): ChannelEvent {
  const empty = { removed: [], lists: [], chatRooms: [], messages: [], reactions: [], users: [] };
  return { ...empty, kind, cursor, ...parts };
}

export function change(
  node: string,
  field: string,
  { index = 0, removed = [], inserted = [] }: Partial<ListChange>,
): ListChange {
  return { node, field, index, removed, inserted };
}

export function message(id: number, text = `text ${id}`, author = 1) {
  return { id: String(id), text, sentAt: "", editedAt: null, author: { id: String(author) } };
}

export function user(id: number, name = `user ${id}`) {
  return { id: String(id), username: `u${id}`, name, status: "", away: false };
}

/** A room with messages 1 to `count` of two members. */
export function snapshot(count: number, cursor = "c0"): ChannelEvent {
  const ids = Array.from({ length: count }, (_, index) => index + 1);
  return event(
    "SNAPSHOT",
    {
      chatRooms: [{ id: "1", name: "lobby", topic: "All" }],
      messages: ids.map((id) => message(id, `text ${id}`, 1 + (id % 2))),
      users: [user(1), user(2)],
      lists: [
        change("ChatRoom:1", "members", { inserted: ["User:1", "User:2"] }),
        change("ChatRoom:1", "messages", { inserted: ids.map((id) => `Message:${id}`) }),
      ],
    },
    cursor,
  );
}
