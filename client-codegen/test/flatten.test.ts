import { readFileSync } from "node:fs";
import { buildSchema, parse, validate } from "graphql";
import { describe, expect, it } from "vitest";
import { everything, flatten, FlattenError, type Variables } from "../src/flatten.js";
import type { Selection } from "../src/selection.js";
import { channelMap } from "./chat.js";

const schema = buildSchema(
  readFileSync(new URL("../../schema/schema.graphql", import.meta.url), "utf8"),
);

/** Flattens, and checks both documents against the example's schema. */
function flat(text: string) {
  const document = parse(text);
  expect(validate(schema, document)).toEqual([]);
  const result = flatten(document, channelMap);
  expect(validate(schema, parse(result.query))).toEqual([]);
  return result;
}

function room(selection: string): string {
  return `subscription Mine($name: String!) { chatRoom(name: $name) { state { ${selection} } } }`;
}

/** A selection as text: `key:from`, beneath edges in brackets. */
function read({ fields }: Selection): string {
  return fields
    .map(
      ({ key, from, edge }) =>
        `${key === from ? key : `${key}:${from}`}${edge ? `{${read(edge.selection)}}` : ""}`,
    )
    .join(" ");
}

const EVENT = "kind cursor removed lists { node field index removed inserted }";

describe("A nested document", () => {
  it("becomes one list for each node type, lists by their changes and references by id", () => {
    const { query, channel, select } = flat(room("name messages { text author { name } }"));
    expect(query).toBe(
      `subscription Mine($name: String!, $after: String) { chatRoom(name: $name, after: $after) { ${EVENT} ` +
        "chatRooms { id name } messages { id text author { id } } users { id name } } }",
    );
    expect(channel.name).toBe("ChatRoom");
    expect(read(select({}))).toBe("name messages{text author{name}}");
  });

  it("asks for the union of all places, and reads each place as it was written", () => {
    const { query, select } = flat(
      room(
        "members { id who: name } messages { author { name: username } reactions { user { away } } }",
      ),
    );
    expect(query).toContain("users { id name username away }");
    expect(read(select({}))).toBe(
      "members{id who:name} messages{author{name:username} reactions{user{away}}}",
    );
  });

  it("may spread fragments, named and inline, and repeat fields", () => {
    const { query, select } = flat(
      `fragment Person on User { name ...Login }
       fragment Login on User { username }
       ${room("messages { author { ...Person } } ... on ChatRoom { messages { text } } messages { author { away } }")}`,
    );
    expect(query).toContain("messages { id author { id } text }");
    expect(read(select({}))).toBe("messages{author{name username away} text}");
  });

  it("may have aliases everywhere, of the channel too, and literal arguments", () => {
    const text = `subscription { here: chatRoom(name: "a \\"b\\"") { now: state { __typename n: name said: messages { t: text } } } }`;
    const { query, select } = flat(text);
    expect(query).toContain('chatRoom(name: "a \\"b\\"", after: $after)');
    expect(read(select({}))).toBe("__typename n:name said:messages{t:text}");
  });

  it("shares equal selections, however they were written", () => {
    const { select } = flat(
      `fragment Who on User { name } ${room("members { name } messages { author { ...Who } }")}`,
    );
    const [members, messages] = select({}).fields;
    expect(messages?.edge?.selection.fields[0]?.edge?.selection).toBe(members?.edge?.selection);
  });

  it("keeps its variables apart from the cursor's, and drops those that only stood beside `state`", () => {
    const text = `subscription ($after: String!, $kind: Boolean!) { chatRoom(name: $after) { kind @include(if: $kind) state { name } } }`;
    const { query, after } = flat(text);
    expect(after).toBe("after_");
    expect(query).toContain("subscription ($after: String!, $after_: String)");
  });
});

describe("@include and @skip", () => {
  const text = `
    subscription Mine($name: String!, $full: Boolean! = true, $few: Boolean!) {
      chatRoom(name: $name) { state {
        members @skip(if: $few) { name status @include(if: $full) }
        messages { text @include(if: $full) author @include(if: $full) @skip(if: $few) { name away } }
      } }
    }`;

  it("are the server's to decide, where a type is asked for only under conditions too", () => {
    const { query } = flat(text);
    expect(query).toContain("messages { id } ... @include(if: $full) { messages { id text } }");
    expect(query).toContain("... @skip(if: $few) { users { id name } }");
  });

  it("within others are asked for where all of them hold", () => {
    const { query } = flat(`
      subscription Mine($all: Boolean!, $texts: Boolean!) {
        chatRoom(name: "x") { state { messages @include(if: $all) { text @include(if: $texts) } } }
      }`);
    expect(query).toContain(
      "... @include(if: $all) { messages { id } } ... @include(if: $all) { ... @include(if: $texts) { messages { id text } } }",
    );
  });

  it.each<[Variables, string]>([
    [{ few: false }, "members{name status} messages{text author{name away}}"],
    [{ few: true }, "messages{text}"],
    [{ few: false, full: false }, "members{name} messages{}"],
  ])("decide with %o what is read", (variables, expected) => {
    expect(read(flat(text).select(variables))).toBe(expected);
  });

  it("with constants are decided at once", () => {
    const { query, select } = flat(
      room("name topic @include(if: false) messages @skip(if: false) { text }"),
    );
    expect(query).not.toContain("topic");
    expect(read(select({}))).toBe("name messages{text}");
  });

  it("that contradict each other select nothing", () => {
    const both = `subscription ($a: Boolean!) { chatRoom(name: "x") { state { name topic @include(if: $a) @skip(if: $a) } } }`;
    expect(read(flat(both).select({ a: true }))).toBe("name");
  });
});

describe("Fields with arguments", () => {
  // no generated type has them yet
  const map = {
    ...channelMap,
    types: { ...channelMap.types, User: { leaves: ["name", "name_2"], edges: {} } },
  };

  it("that differ between places are asked for under aliases", () => {
    const document = parse(
      room(
        `members { name(size: 1) } messages { author { name(size: 2) info { a } } reactions { user { n: name(size: 1) } } }`,
      ),
    );
    const { query, select } = flatten(document, map);
    expect(query).toContain("users { id name(size: 1) name_3: name(size: 2) info { a } }");
    expect(read(select({}))).toBe(
      "members{name} messages{author{name:name_3 info} reactions{user{n:name}}}",
    );
  });

  it("are one field where an object that is no node is selected in parts", () => {
    const document = parse(
      room(`members { info { a } } messages { author { info { a } info { b } } }`),
    );
    const { query, select } = flatten(document, map);
    expect(query).toContain("users { id info { a } info_2: info { ... { a } ... { b } } }");
    expect(read(select({}))).toBe("members{info} messages{author{info:info_2}}");
  });
});

describe("What can't be the selection of a state is told with its place:", () => {
  it.each([
    ["query { chatRoom { name } }", "one operation, a subscription"],
    ["subscription { me { id } }", "`me` is not a channel. There are: chatRoom."],
    [`subscription { chatRoom(name: "a") { kind } }`, "chatRoom: select `state { ... }`."],
    [
      `subscription { chatRoom(name: "a") { state { name } messages { id } } }`,
      "chatRoom.messages: select `state`, once, and nothing else.",
    ],
    [
      `subscription { chatRoom(name: "a", after: "x") { state { name } } }`,
      "leave the argument `after` out",
    ],
    [
      room("members { name: username name }"),
      "chatRoom.state.members.name: `username` and `name` have one key. Give one of them an alias.",
    ],
    [
      room("messages { author { nick } }"),
      "chatRoom.state.messages.author.nick: User has no field `nick`.",
    ],
    [
      room("messages(last: 5) { text }"),
      "chatRoom.state.messages: the lists of a channel take no arguments.",
    ],
    [room("name @defer"), "@defer can't be used in a channel's state."],
    [`fragment F on User { ...F } ${room("members { ...F }")}`, "the fragment `F` spreads itself"],
    [room("members { ...Nobody }"), "chatRoom.state.members: there is no fragment `Nobody`."],
  ])("%s", (text, message) => {
    expect(() => flatten(parse(text), channelMap)).toThrowError(FlattenError);
    expect(() => flatten(parse(text), channelMap)).toThrowError(message);
  });
});

describe("Without a document", () => {
  it("a channel is all its lists with all leaves and references", () => {
    const { query, select } = everything(channelMap.channels.chatRoom, channelMap);
    expect(validate(schema, parse(query))).toEqual([]);
    expect(query).toContain("messages { id text sentAt editedAt author { id } }");
    expect(read(select({}))).toContain("messages{id text sentAt editedAt author{id username");
  });

  it("a type beneath itself is read by one selection", () => {
    const users = { many: true, nullable: false, type: "User" };
    const types = { ...channelMap.types, User: { leaves: ["name"], edges: { friends: users } } };
    const info = { ...channelMap.channels.chatRoom, root: "User" };
    const root = everything(info, { channels: {}, types }).select({});
    expect(root.fields.at(-1)?.edge?.selection).toBe(root);
  });
});
