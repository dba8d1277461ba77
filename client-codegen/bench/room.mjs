// A chat room of 10,000 nodes, as a channel map tells it, and the events of the server about it.

export const NODES = 10_000;
const USERS = 100;
const MESSAGES = NODES - USERS - 1;
const MIDDLE = Math.floor(MESSAGES / 2);

const author = { type: "User", many: false, nullable: false };
const messages = { type: "Message", many: true, nullable: false };

export const channel = {
  name: "ChatRoom",
  field: "chatRoom",
  event: "ChatRoomEvent",
  root: "ChatRoom",
  arguments: { name: "String!" },
  lists: { ChatRoom: "chatRooms", Message: "messages", User: "users" },
};

export const map = {
  channels: { chatRoom: channel },
  types: {
    ChatRoom: { leaves: ["name", "topic"], edges: { messages } },
    Message: { leaves: ["text", "sentAt", "editedAt"], edges: { author } },
    User: { leaves: ["username", "name", "status", "away"], edges: {} },
  },
};

export const variables = { name: "lobby" };
export const FIELDS = `id name topic messages { id text sentAt editedAt author { id username name status away } }`;
export const SUBSCRIPTION = `subscription Room($name: String!) { chatRoom(name: $name) { state { ${FIELDS} } } }`;
export const QUERY = `query Once($name: String!) { chatRoom(name: $name) { ${FIELDS} } }`;

const event = (parts) => ({
  kind: "CHANGE",
  cursor: "c",
  removed: [],
  lists: [],
  chatRooms: [],
  messages: [],
  users: [],
  ...parts,
});

const message = (id, text) => ({
  id: `${id}`,
  text,
  sentAt: "2026-01-01T00:00:00Z",
  editedAt: null,
  author: { id: `${id % USERS}` },
});

const user = (id, name) => ({
  id: `${id}`,
  username: `u${id}`,
  name,
  status: "",
  away: false,
});

const list = (index, removed, inserted) => [
  { node: "ChatRoom:1", field: "messages", index, removed, inserted },
];

const count = (length) => Array.from({ length }, (_, index) => index);

/** The whole room: the first event of a subscription. */
export const snapshot = event({
  kind: "SNAPSHOT",
  chatRooms: [{ id: "1", name: "lobby", topic: "" }],
  messages: count(MESSAGES).map((id) => message(id, `message ${id}`)),
  users: count(USERS).map((id) => user(id, `User ${id}`)),
  lists: list(
    0,
    [],
    count(MESSAGES).map((id) => `Message:${id}`),
  ),
});

/** By name, the event of turn 0, 1, 2, ...; they are to be played in this order, and each from turn 0 on. */
export const changes = {
  update: (turn) => event({ messages: [message(MIDDLE + turn, `edit ${turn}`)] }),
  create: (turn) =>
    event({
      messages: [message(NODES + turn, "new")],
      lists: list(MESSAGES + turn, [], [`Message:${NODES + turn}`]),
    }),
  delete: (turn) => {
    const key = `Message:${MIDDLE + turn}`;
    return event({ removed: [key], lists: list(MIDDLE, [key], []) });
  },
  "a user of 100 messages": (turn) => event({ users: [user(7, `Name ${turn}`)] }),
};
