import { isDeepStrictEqual } from "node:util";
import { parse } from "graphql";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createClient, type Client, type ClientOptions } from "../src/client.js";
import { channelMap, ChatRoomChannel } from "./chat.js";
import { SEED } from "./seed.js";
import { Site, type PageSocket } from "./site.js";
import { Watch } from "./watch.js";

/** Against the example, served by uvicorn with an embedded Valkey: see site.ts. */

let site: Site;
const clients: Client[] = [];

beforeAll(async () => {
  site = await Site.start();
}, 60_000);
afterEach(() => {
  for (const client of clients.splice(0)) client.dispose();
});
afterAll(() => site.stop());

function open(page: PageSocket, options: Partial<ClientOptions> = {}): Client {
  const client = createClient({
    url: site.proxy.url,
    channelMap,
    webSocketImpl: page,
    linger: 50,
    retryWait: () => 50,
    ...options,
  });
  clients.push(client);
  return client;
}

async function watch(name = "lobby", options: Partial<ClientOptions> = {}) {
  const page = await site.page("ada");
  const client = open(page, options);
  const watch = new Watch(client.channel(ChatRoomChannel, { name }));
  await watch.is("live");
  const subscribes = () => page.sent.filter((one) => one.type === "subscribe");
  const says = (text: string) =>
    watch.until(({ state }) => state?.messages.some((one) => one.text === text) ?? false);
  return { client, page, watch, subscribes, says };
}

const say = (text: string, name = "lobby") =>
  site.run(`
message = Message.objects.create(
    room=ChatRoom.objects.get(name=${JSON.stringify(name)}), author=User.objects.get(username="grace"), text=${JSON.stringify(text)}
)`);
const edit = (text: string) => site.run(`message.text = ${JSON.stringify(text)}; message.save()`);

describe("A channel", () => {
  it("is its nested state, follows what is written, and ends with its last listener", async () => {
    const { watch: lobby, says, page, client, subscribes } = await watch();
    expect(lobby.state.topic).toBe("Everybody, about everything");
    const [first] = lobby.state.messages;
    expect(first?.author.name).toBe("Grace Hopper");
    expect(first?.reactions.map((one) => one.user.name)).toEqual([
      "Ada Lovelace",
      "Linus Torvalds",
    ]);

    await say("created");
    await says("created");
    expect(lobby.state.messages.at(-1)?.author).toBe(first?.author);
    await edit("edited");
    await says("edited");
    expect(lobby.state.messages[0]).toBe(first);
    await site.run("message.delete()");
    await lobby.until(
      ({ state }) => state?.messages.every((one) => one.text !== "edited") ?? false,
    );

    // a late one sees all of it at once, by the same subscription of the server
    const late = new Watch(client.channel(new ChatRoomChannel("lobby")));
    expect(late.state).toBe(lobby.state);
    expect(subscribes()).toHaveLength(1);
    lobby.stop();
    late.stop();
    await expect.poll(() => page.sent.at(-1)?.type, { timeout: 10_000 }).toBe("complete");
  });

  it("is what a document selects of it", async () => {
    const document = parse(`
      subscription Mine($name: String!, $who: Boolean = false) {
        chatRoom(name: $name) {
          state { topic said: messages { text author @include(if: $who) { name } reactions { emoji } } }
        }
      }`);
    const client = open(await site.page("ada"));
    const kernel = new Watch(client.channel(document, { name: "kernel" }));
    await kernel.is("live");
    expect(kernel.state).toEqual({
      topic: "Strong opinions, kindly put",
      said: [
        { text: "Talk is cheap. Show me the code.", reactions: [{ emoji: "😂" }] },
        {
          text: "It weaves algebraic patterns, just as the loom weaves flowers and leaves.",
          reactions: [],
        },
      ],
    });
    const full = new Watch(client.channel(document, { name: "kernel", who: true }));
    await full.is("live");
    expect(full.state).toMatchObject({ said: [{ author: { name: "Linus Torvalds" } }, {}] });
  });

  it("loses nothing of a burst, and tells its listeners for each frame", async () => {
    const { watch: launch } = await watch("launch");
    const before = launch.state.messages.length;
    await site.run(`
room = ChatRoom.objects.get(name="launch")
author = User.objects.get(username="ada")
for number in range(200):
    Message.objects.create(room=room, author=author, text=f"burst {number}")`);
    await launch.until(({ state }) => state?.messages.length === before + 200);
    expect(launch.state.messages.slice(before).map((one) => one.text)).toEqual(
      Array.from({ length: 200 }, (_, number) => `burst ${number}`),
    );
  });
});

describe("Whatever is written, and however often the connection drops,", () => {
  it(`two rooms become what the serializer says, rows that move between them included (SEED=${SEED})`, async () => {
    await site.run(`
import random
rooms = [ChatRoom.objects.create(name=name) for name in ("left", "right")]
for room in rooms:
    room.members.set(User.objects.all())
chance = random.Random(${SEED})

def one():
    messages = list(Message.objects.filter(room__in=rooms))
    people = list(User.objects.all())
    kind = chance.randrange(9)
    if kind < 3 or not messages:
        Message.objects.create(room=chance.choice(rooms), author=chance.choice(people), text=str(chance.random()))
        return
    message = chance.choice(messages)
    if kind == 3:
        message.delete()
    elif kind == 4:
        message.room = rooms[1] if message.room == rooms[0] else rooms[0]
        message.save()
    elif kind == 5:
        message.text = str(chance.random())
        message.author = chance.choice(people)
        message.save()
    elif kind == 6:
        Reaction.objects.get_or_create(message=message, user=chance.choice(people), emoji=chance.choice("abc"))
    elif kind == 7:
        person = chance.choice(people)
        person.status = str(chance.random())
        person.save()
    else:
        chance.choice(rooms).members.set(chance.sample(people, chance.randrange(1, 4)) + [User.objects.get(username="ada")])`);
    const page = await site.page("ada");
    const client = open(page, { retryWait: () => 20 });
    const rooms = ["left", "right"].map((name) => ({
      name,
      watch: new Watch(client.channel(ChatRoomChannel, { name })),
    }));
    await Promise.all(rooms.map(({ watch }) => watch.is("live")));
    for (let round = 0; round < 8; round++) {
      await site.run("for _ in range(8): one()");
      if (round % 2) site.proxy.cut();
    }
    for (const { name, watch } of rooms) {
      const expected = await site.room(name);
      await watch.until(({ state }) => isDeepStrictEqual(state, expected));
      expect(watch.state).toEqual(expected);
    }
  });
});

describe("After a drop", () => {
  it("it goes on by its cursor, with the state still there", async () => {
    const { watch: lobby, subscribes, says } = await watch();
    const before = lobby.state;
    site.proxy.cut();
    const { state } = await lobby.is("reconnecting");
    expect(state).toBe(before);
    await say("while away");
    await says("while away");
    expect(lobby.statuses).toEqual(["connecting", "live", "reconnecting", "live"]);
    expect(lobby.state.messages.slice(0, -1)).toEqual(before.messages);
    expect(lobby.state.messages[0]).toBe(before.messages[0]);
    const [first, second] = subscribes().map((one) => one.payload?.variables?.["after"]);
    expect(first).toBeNull();
    expect(second).toEqual(expect.any(String));
  });

  it("a snapshot that comes instead keeps what didn't change", async () => {
    const { watch: lobby, says } = await watch();
    const before = lobby.state;
    await site.run(`
import redis
from rxgraphql.embedded import running_url
redis.Redis.from_url(running_url()).flushall()`);
    site.proxy.cut();
    await lobby.is("reconnecting");
    await say("after the log was lost");
    await says("after the log was lost");
    expect(lobby.state.messages[0]).toBe(before.messages[0]);
    expect(lobby.state.members).toBe(before.members);
  });

  it("a dead connection is found when the page looks for it", async () => {
    const { watch: lobby, says, client } = await watch("lobby", { pongTimeout: 100 });
    site.proxy.freeze();
    await say("not heard");
    expect(lobby.current.status).toBe("live");
    (client as unknown as { connection: { check(): void } }).connection.check();
    await says("not heard");
    expect(lobby.statuses).toEqual(["connecting", "live", "reconnecting", "live"]);
  });
});

describe("Whoever may not see it", () => {
  it("is told so, and may try again", async () => {
    const page = await site.page("grace");
    const kernel = new Watch(open(page).channel(ChatRoomChannel, { name: "kernel" }));
    const { error, state, retry } = await kernel.is("error");
    expect(error?.code).toBe("NOT_FOUND");
    expect(state).toBeNull();
    await site.run(
      `ChatRoom.objects.get(name="kernel").members.add(User.objects.get(username="grace"))`,
    );
    retry();
    await kernel.is("live");
    expect(kernel.current.error).toBeNull();
  });

  it("on a page of another origin is told why, at once, whoever is signed in", async () => {
    const page = await site.page("ada", "http://elsewhere.example");
    const lobby = new Watch(open(page).channel(ChatRoomChannel, { name: "lobby" }));
    const { error, state } = await lobby.is("error");
    expect(error?.code).toBe("1008");
    expect(error?.message).toContain("RX_ALLOWED_ORIGINS");
    expect(state).toBeNull();
    expect(page.kinds).toEqual([]);
  });

  it("with a token that never changes is refused once", async () => {
    const client = open(await site.page(), { connectionParams: { token: "bad" } });
    const lobby = new Watch(client.channel(ChatRoomChannel, { name: "lobby" }));
    const { error } = await lobby.is("error");
    expect(error).toMatchObject({ code: "4403", message: "Invalid token." });
  });

  it("is asked for a fresh token, at each connect", async () => {
    const good = await site.token("ada");
    const tokens = ["expired", good];
    const connectionParams = () => Promise.resolve({ token: tokens.shift() ?? good });
    const client = open(await site.page(), { connectionParams });
    const lobby = new Watch(client.channel(ChatRoomChannel, { name: "lobby" }));
    await lobby.is("live");
    expect(tokens).toEqual([]);
    const own = new Watch(open(await site.page()).channel(new ChatRoomChannel("lobby", good)));
    await own.is("live");
  });
});

describe("When its anchor is deleted", () => {
  const create = (name: string) =>
    site.run(`
room = ChatRoom.objects.create(name=${JSON.stringify(name)})
room.members.set(User.objects.all())`);

  it("it ends", async () => {
    await create("short");
    const { watch: short } = await watch("short");
    await site.run("room.delete()");
    const { state } = await short.is("ended");
    expect(state).toBeNull();
  });

  it("while away, it is not found", async () => {
    await create("gone");
    const { watch: gone } = await watch("gone", { retryWait: () => 500 });
    site.proxy.cut();
    await gone.is("reconnecting");
    await site.run("room.delete()");
    const { state, error } = await gone.until(
      ({ status }) => status === "error" || status === "ended",
    );
    expect(state).toBeNull();
    expect(error?.code ?? "ended").toBe("NOT_FOUND");
  });
});
