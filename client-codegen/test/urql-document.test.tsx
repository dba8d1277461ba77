// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import path from "node:path";
import { cacheExchange } from "@urql/exchange-graphcache";
import { buildSchema, introspectionFromSchema, parse } from "graphql";
import { cacheExchange as documentCache } from "urql";
import { describe, expect, it } from "vitest";
import { channelExchange, graphcacheConfig } from "../src/urql.js";
import { channelMap } from "./chat.js";
import {
  agree,
  has,
  hasNot,
  listed,
  Live,
  MINE,
  Once,
  python,
  say,
  show,
  signIn,
  site,
  until,
  type Room,
} from "./urql-page.js";

/** What urql's documents and Graphcache's options may be. */

describe("A document", () => {
  it("may have aliases, fragments, conditions and arguments of its own, also two for one room", async () => {
    const ada = await signIn("ada");
    const odd = parse(`
      subscription Odd($room: String!, $who: Boolean = false) {
        here: chatRoom(name: $room) { ...Event }
      }
      fragment Event on ChatRoomEvent { kind all: state { subject: topic ...Said } }
      fragment Said on ChatRoom {
        messages { ... on Message { said: text } ...By @include(if: $who) }
        members { id username }
      }
      fragment By on Message { author { name } by: author { id status } }`);
    const said: unknown[] = [];
    const stop = ada.urql
      .subscription(odd, { room: "kernel", who: true })
      .subscribe(({ data }) => said.push(data)).unsubscribe;
    await until(() => said.length > 0);
    expect(said[0]).toMatchObject({
      here: {
        __typename: "ChatRoomEvent",
        all: {
          subject: "Strong opinions, kindly put",
          messages: [
            {
              __typename: "Message",
              said: "Talk is cheap. Show me the code.",
              author: { name: "Linus Torvalds" },
              by: { status: "Reviewing" },
            },
            {},
          ],
        },
      },
    });
    const query = parse(`{
      chatRoom(name: "kernel") { id topic messages { id text author { id name status } } members { id username } }
    }`);
    const known = () => ada.urql.readQuery(query, {})?.data as { chatRoom: Room } | undefined;
    expect(known()?.chatRoom.messages[0]?.author.status).toBe("Reviewing");
    await site.run("user = User.objects.get(username='linus'); user.status = 'Gone'; user.save()");
    await expect.poll(() => known()?.chatRoom.messages[0]?.author.status).toBe("Gone");
    stop();
    expect(ada.requests).toEqual([]);
  });

  it("that can't be read is an error of its result", async () => {
    const { urql } = await signIn("ada");
    const bad = parse(`subscription { chatRoom(name: "lobby") { state { nothing } } }`);
    const { error } = await urql.subscription(bad, {}).toPromise();
    expect(error?.graphQLErrors[0]).toMatchObject({ extensions: { code: "FlattenError" } });
    expect(error?.message).toContain("ChatRoom has no field `nothing`");
  });

  it("that selects less than a mounted query makes the query ask for what is new", async () => {
    const ada = await signIn("ada");
    const texts = parse(`subscription { chatRoom(name: "lobby") { state { messages { text } } } }`);
    const { unsubscribe } = ada.urql.subscription(texts, {}).subscribe(() => undefined);
    await show(ada, <Once name="lobby" />);
    await until(() => listed("once").length > 0);
    ada.requests.splice(0);
    await say("with an author that the subscription doesn't know");
    await has("doesn't know by Grace Hopper");
    expect(ada.requests).toHaveLength(1);
    await python("message.delete()");
    await hasNot("doesn't know");
    expect(ada.requests).toHaveLength(1);
    unsubscribe();
  });

  it("is live without Graphcache all the same, but no query follows", async () => {
    const ada = await signIn("ada", [documentCache]);
    await show(
      ada,
      <>
        <Live name="lobby" />
        <Once name="lobby" />
      </>,
    );
    await until(() => listed("live").length > 0 && listed("once").length > 0);
    const before = listed("once");
    await say("in the subscription only");
    await has("in the subscription only");
    expect(listed("once")).toEqual(before);
    expect(ada.requests).toHaveLength(1);
    await python("message.delete()");
  });
});

describe("graphcacheConfig", () => {
  it("keeps options of one's own, and runs updates of one's own after the cache has the state", async () => {
    const seen: unknown[] = [];
    const own = graphcacheConfig(channelMap, {
      keylessTypes: ["ChatRoomEvent", "Money"],
      keys: { Day: ({ date }) => String(date) },
      updates: {
        Mutation: { sendMessage: () => undefined },
        Subscription: {
          other: () => undefined,
          chatRoom: (_, args, cache) =>
            void seen.push(
              cache.resolve(cache.resolve("Query", "chatRoom", args) as string, "topic"),
            ),
        },
      },
    });
    expect(own.keys?.["Money"]?.({ __typename: "Money" })).toBeNull();
    expect(own.keys?.["Day"]?.({ __typename: "Day", date: "today" })).toBe("today");
    expect(Object.keys(own.updates?.["Subscription"] ?? {})).toEqual(["other", "chatRoom"]);
    expect(own.updates?.["Mutation"]).toHaveProperty("sendMessage");
    const { urql } = await signIn("ada", [cacheExchange(own)]);
    const { unsubscribe } = urql.subscription(MINE, { name: "kernel" }).subscribe(() => undefined);
    await expect.poll(() => seen).toEqual(["Strong opinions, kindly put"]);
    unsubscribe();
  });

  it("knows the schema where Graphcache does", async () => {
    const sdl = readFileSync(
      path.resolve(import.meta.dirname, "../../schema/schema.graphql"),
      "utf8",
    );
    const schema = introspectionFromSchema(buildSchema(sdl));
    const ada = await signIn("ada", [cacheExchange(graphcacheConfig(channelMap, { schema }))]);
    await show(
      ada,
      <>
        <Live name="kernel" />
        <Once name="kernel" />
      </>,
    );
    await until(() => listed("live").length > 0 && listed("once").length > 0);
    await say("as the schema has it", "kernel");
    await has("as the schema has it");
    agree("kernel");
    await python("message.delete()");
    expect(ada.requests).toHaveLength(1);
  });

  it("says at once what the exchange lacks", () => {
    expect(() => channelExchange({ url: "/graphql/" })).toThrow("needs a `channelMap`");
  });
});
