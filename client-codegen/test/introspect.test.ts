import {
  buildClientSchema,
  buildSchema,
  introspectionFromSchema,
  lexicographicSortSchema,
  parse,
  validate,
} from "graphql";
import { describe, expect, test } from "vitest";
import { everything, flatten } from "../src/flatten.js";
import { findChannels } from "../src/introspect.js";
import { AWKWARD, CHAT } from "./schemas.js";

describe("findChannels", () => {
  test("tells of each channel what the client must know, and its app", () => {
    const found = findChannels(buildSchema(CHAT));

    expect(found.map.channels["chatRoom"]).toEqual({
      name: "ChatRoom",
      field: "chatRoom",
      event: "ChatRoomEvent",
      root: "ChatRoom",
      arguments: { name: "String!" },
      lists: { ChatRoom: "chatRooms", Message: "messages", User: "users" },
    });
    expect(found.map.types["Message"]).toEqual({
      leaves: ["editedAt", "kind", "tags", "text"],
      edges: {
        author: { type: "User", many: false, nullable: true },
        replies: { type: "Message", many: true, nullable: false },
      },
    });
    expect(found.channels.map(({ info, app }) => [info.field, app])).toEqual([
      ["chatRoom", "chat"],
      ["profile", "people"],
    ]);
  });

  test("finds the same by introspection, but for the apps", () => {
    const schema = buildSchema(CHAT);
    const introspected = findChannels(buildClientSchema(introspectionFromSchema(schema)));

    expect(introspected.map).toEqual(findChannels(schema).map);
    expect(introspected.channels.map(({ app }) => app)).toEqual([undefined, undefined]);
  });

  test("keeps the arguments in the order of the SDL when a tool has sorted it", () => {
    const sorted = findChannels(lexicographicSortSchema(buildSchema(AWKWARD)));

    expect(Object.keys(sorted.map.channels["listing"]?.arguments ?? {})).toEqual([
      "zone",
      "kinds",
      "filter",
      "area",
    ]);
  });

  test("lets a variable be left out where the argument has a default", () => {
    const { map } = findChannels(buildSchema(AWKWARD));

    expect(map.channels["listing"]?.arguments["area"]).toBe("Int");
    expect(map.channels["listing"]?.arguments["filter"]).toBe("Box!");
  });

  test("names the types that have no key", () => {
    expect(findChannels(buildSchema(CHAT)).keyless).toEqual([
      "ChatRoomEvent",
      "ListChange",
      "ProfileEvent",
      "Receipt",
    ]);
  });

  test("leaves fields of the user's own subscription alone", () => {
    expect(Object.keys(findChannels(buildSchema(CHAT)).map.channels)).not.toContain("ticks");
  });

  test("finds nothing in a schema without channels", () => {
    const found = findChannels(buildSchema("type Query { ping: String }"));

    expect(found.map).toEqual({ channels: {}, types: {} });
  });
});

describe.each([
  ["a chat", CHAT],
  ["awkward names", AWKWARD],
])("the generated documents of %s", (_, sdl) => {
  const schema = buildSchema(sdl);
  const { map, channels } = findChannels(schema);

  test.each(channels.map(({ info }) => [info.field, info] as const))(
    "%s: all of it fits the schema",
    (_field, info) => {
      expect(validate(schema, parse(everything(info, map).query))).toEqual([]);
    },
  );

  test.each(channels.map(({ info }) => [info.field, info] as const))(
    "%s: a nested selection fits before and after it is rewritten",
    (_field, info) => {
      const nested = (type: string, depth: number): string => {
        const { leaves, edges } = map.types[type] ?? { leaves: [], edges: {} };
        const below = Object.entries(edges).map(
          ([name, edge]) =>
            `a${depth}_${name}: ${name} ${depth > 0 ? nested(edge.type, depth - 1) : "{ id }"}`,
        );
        // a fixed alias: what one place calls so is another field elsewhere
        const same = leaves.map((leaf, index) => `x${(index + depth) % leaves.length}: ${leaf}`);
        return `{ id ${[...leaves, ...same, ...below].join(" ")} }`;
      };
      const entries = Object.entries(info.arguments);
      const variables = entries.map(([name, type]) => `$${name}: ${type}`).join(", ");
      const values = entries.map(([name]) => `${name}: $${name}`).join(", ");
      const document = parse(
        `subscription Nested${variables && `(${variables})`} { ${info.field}${values && `(${values})`} { state ${nested(info.root, 3)} } }`,
      );

      expect(validate(schema, document)).toEqual([]);
      expect(validate(schema, parse(flatten(document, map).query))).toEqual([]);
    },
  );
});
