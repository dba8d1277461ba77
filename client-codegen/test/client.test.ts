import { createClient as createSocketClient } from "graphql-ws";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createClient, type Client, type ClientOptions } from "../src/client.js";
import { address, backoff } from "../src/connection.js";
import { ChatRoomChannel, event, message, snapshot } from "./chat.js";
import { FakeServer } from "./fake.js";
import { Watch } from "./watch.js";

/** The real graphql-ws over real sockets; the server says only what the test lets it say. */

let server: FakeServer;
let client: Client;

const open = (options: Partial<ClientOptions> = {}): Client =>
  (client = createClient({
    url: server.url,
    webSocketImpl: server.socket,
    linger: 20,
    retryWait: () => 10,
    ...options,
  }));
const lobby = () => new Watch(client.channel(ChatRoomChannel, { name: "lobby" }));
const after = () => server.subscribed.map((one) => one.variables["after"]);

beforeEach(async () => {
  server = await FakeServer.start();
  open();
});
afterEach(async () => {
  client.dispose();
  await server.stop();
});

describe("One subscription", () => {
  it("serves all listeners, and outlives the last one for a moment", async () => {
    const [one, two] = [lobby(), lobby()];
    await server.send(snapshot(1));
    await Promise.all([one.is("live"), two.is("live")]);
    one.stop();
    two.stop();
    const third = lobby();
    expect(third.current).toMatchObject({ status: "live", state: { name: "lobby" } });
    third.stop();
    await server.until(() => server.completed.length === 1);
    expect(server.subscribed).toHaveLength(1);
    expect(third.current).toMatchObject({ status: "connecting", state: null });
  });

  it("is of one order of the arguments as of another, and of other arguments another", async () => {
    const channel = { map: ChatRoomChannel.map, field: "chatRoom" };
    const watch = (args: object) => new Watch(client.open(channel, args));
    [watch({ name: "a", b: 1 }), watch({ b: 1, name: "a" }), watch({ name: "a" })];
    await server.until(() => server.subscribed.length === 2);
    expect(server.connections).toBe(1);
  });

  it("survives a listener that throws", async () => {
    const uncaught = new Promise((resolve) => process.once("uncaughtException", resolve));
    const handlers = process.listeners("uncaughtException").slice(0, -1);
    for (const handler of handlers) process.off("uncaughtException", handler);
    client.channel(ChatRoomChannel, { name: "lobby" }).subscribe(() => {
      throw new Error("of a listener");
    });
    const watch = lobby();
    await server.send(snapshot(1));
    await watch.is("live");
    expect(await uncaught).toMatchObject({ message: "of a listener" });
    for (const handler of handlers) process.on("uncaughtException", handler);
    expect(server.connections).toBe(1);
  });

  it("tells its listeners at once, then for each frame", async () => {
    const watch = lobby();
    await server.send(snapshot(1));
    await watch.is("live");
    const edits = Array.from({ length: 200 }, (_, turn) => `edit ${turn}`);
    await server.send(...edits.map((text) => event("CHANGE", { messages: [message(1, text)] })));
    await watch.until(() => watch.state.messages[0]?.text === "edit 199");
    expect(watch.calls).toBeLessThan(100);
  });
});

describe("After a drop", () => {
  it.each([1000, 1001, 1006, 1011, 1012, 1013, 4408, 4499])(
    "with %i it subscribes again with the last cursor",
    async (code) => {
      const watch = lobby();
      await server.send(snapshot(1, "first"), event("CHANGE", {}, "second"));
      await watch.is("live");
      if (code === 1006) server.terminate();
      else server.close(code);
      await watch.is("reconnecting");
      expect(watch.state.name).toBe("lobby");
      await server.until(() => server.subscribed.length === 2);
      expect(after()).toEqual([null, "second"]);
      await server.send(event("CHANGE", {}, "third"));
      await watch.is("live");
      expect(watch.statuses).toEqual(["connecting", "live", "reconnecting", "live"]);
    },
  );

  it.each([1009, 4400, 4401, 4406, 4409, 4429, 4500])("with %i it has failed", async (code) => {
    const watch = lobby();
    await server.send(snapshot(1, "first"));
    await watch.is("live");
    server.close(code);
    const { error, state, retry } = await watch.is("error");
    expect(error).toMatchObject({ code: String(code), message: `Closed with ${code}` });
    expect(state === null).toBe(code === 4401);
    retry();
    await server.until(() => server.subscribed.length === 2);
    expect(after()).toEqual([null, code === 4401 ? null : "first"]);
  });

  it("tries on for as long as it takes, and asks for fresh parameters each time", async () => {
    let turn = 0;
    client.dispose();
    open({
      connectionParams: () => {
        turn += 1;
        if (turn === 3) throw new Error("The token's server is away");
        return Promise.resolve({ token: `t${turn}` });
      },
    });
    server.closing.push(1013, 4403, 1012, 1013, 4403);
    const watch = lobby();
    await server.send(snapshot(0));
    await watch.is("live");
    expect(watch.statuses).toEqual(["connecting", "live"]);
    const tokens = server.params.map((params) => (params as { token: string }).token);
    expect(tokens).toEqual(["t1", "t2", "t4", "t5", "t6", "t7"]);
  });

  it("takes fresh parameters that are refused five times in a row for refused", async () => {
    client.dispose();
    open({ connectionParams: () => ({ token: "never right" }) });
    server.closing.push(4403, 4403, 4403, 4403, 4403, 4403);
    const { error } = await lobby().is("error");
    expect(error?.code).toBe("4403");
    expect(server.params).toHaveLength(5);
  });

  it("counts its tries from the last event on", async () => {
    client.dispose();
    const attempts: number[] = [];
    open({ retryWait: (attempt) => attempts.push(attempt) });
    server.closing.push(1013, 1013, 1013);
    const watch = lobby();
    await server.send(snapshot(0));
    await watch.is("live");
    server.close(1012);
    await server.until(() => server.subscribed.length === 2);
    expect(attempts).toEqual([0, 1, 2, 0]);
  });

  it("doesn't try for somebody who has left", async () => {
    client.dispose();
    open({ linger: 0, retryWait: () => 200 });
    const leaves = lobby();
    new Watch(client.channel(ChatRoomChannel, { name: "kernel" }));
    await server.until(() => server.subscribed.length === 2);
    server.terminate();
    // until the loss was told; the try is later
    await new Promise((resolve) => setTimeout(resolve, 50));
    leaves.stop();
    await server.until(() => server.subscribed.length > 2);
    await server.settled();
    expect(server.subscribed.slice(2).map((one) => one.variables["name"])).toEqual(["kernel"]);
  });

  it("waits longer each time, up to 15 seconds, and never all pages alike", () => {
    const waits = [0, 1, 2, 20, 2000].map(backoff);
    for (const [turn, most] of [250, 500, 1000, 15_000, 15_000].entries()) {
      expect(waits[turn]).toBeGreaterThanOrEqual(most * 0.5);
      expect(waits[turn]).toBeLessThanOrEqual(most * 1.5);
    }
    expect(new Set(Array.from({ length: 20 }, () => backoff(3))).size).toBeGreaterThan(1);
  });
});

describe("What the server says", () => {
  it.each(["UNAVAILABLE", "DATABASE_ERROR"])(
    "%s in an event: the state may be old, until the next event",
    async (code) => {
      const watch = lobby();
      const errors = [{ message: "Nothing for now", extensions: { code } }];
      await server.send(snapshot(1), { data: null, errors });
      await watch.is("reconnecting");
      expect(watch.state.name).toBe("lobby");
      await server.send(event("CHANGE"));
      await watch.is("live");
      expect(server.subscribed).toHaveLength(1);
    },
  );

  it("another error in the place of an event: the event is fetched by the cursor", async () => {
    const watch = lobby();
    const errors = [{ message: "?", extensions: { code: "INTERNAL" } }];
    await server.send(snapshot(1, "first"), { data: null, errors });
    await server.until(() => server.subscribed.length === 2);
    expect(after()).toEqual([null, "first"]);
    await server.send(event("CHANGE"));
    await watch.is("live");
  });

  it.each(["UNAVAILABLE", "DATABASE_ERROR"])("%s at first: it tries again", async (code) => {
    const watch = lobby();
    await server.refuse(code);
    await server.send(snapshot(0));
    await watch.is("live");
    expect(watch.statuses).toEqual(["connecting", "live"]);
  });

  it.each(["NOT_FOUND", "LIMIT_EXCEEDED", "GRAPHQL_VALIDATION_FAILED"])(
    "%s: it has failed, with that code",
    async (code) => {
      const watch = lobby();
      await server.refuse(code);
      const { error } = await watch.is("error");
      expect(error?.code).toBe(code);
      await server.until(() => server.subscribed.length === 1);
    },
  );

  it("an error, to somebody who has left: the next one asks again", async () => {
    const first = lobby();
    await server.refuse("NOT_FOUND");
    await first.is("error");
    const second = lobby();
    expect(second.current.status).toBe("error");
    first.stop();
    second.stop();
    const third = lobby();
    await server.send(snapshot(0));
    await third.is("live");
  });

  it("that it is complete: it has ended, and may be started again", async () => {
    const watch = lobby();
    await server.send(snapshot(1));
    await watch.is("live");
    await server.complete();
    const { state, retry } = await watch.is("ended");
    expect(state).toBeNull();
    retry();
    await server.send(snapshot(1));
    await watch.is("live");
    expect(after()).toEqual([null, null]);
  });

  it("nothing, for long: it is asked, and left if it doesn't answer", async () => {
    client.dispose();
    open({ keepAlive: 50, pongTimeout: 300 });
    const watch = lobby();
    await server.send(snapshot(1));
    await watch.is("live");
    await server.until(() => server.pings >= 2);
    expect(watch.statuses).toEqual(["connecting", "live"]);
    server.deaf = true;
    await watch.is("reconnecting");
    server.deaf = false;
    await server.until(() => server.subscribed.length === 2);
    await server.send(event("CHANGE"));
    await watch.is("live");
  });
});

describe("An address", () => {
  it.each([
    ["ws://a/graphql/", "ws://a/graphql/"],
    ["https://a/graphql/", "wss://a/graphql/"],
    ["http://a:1/x?y", "ws://a:1/x?y"],
  ])("%s is %s", (given, expected) => expect(address(given)).toBe(expected));

  it.each(["/graphql/", "ftp://a/", "wss://"])("%s is none, and is told", async (url) => {
    expect(() => address(url)).toThrowError(`\`${url}\` is no address of a WebSocket`);
    const other = createClient({ url, webSocketImpl: server.socket });
    const { error } = await new Watch(other.channel(ChatRoomChannel, { name: "a" })).is("error");
    expect(error?.code).toBe("CONNECTION");
  });

  it("and a WebSocket are not needed until something is subscribed", () => {
    vi.stubGlobal("WebSocket", undefined);
    const other = createClient({ url: "/graphql/" });
    expect(other.channel(ChatRoomChannel, { name: "a" }).get().status).toBe("connecting");
    vi.unstubAllGlobals();
  });
});

it("graphql-ws serializes a payload anew when it subscribes again by itself", async () => {
  // after 1000 it does so without asking: the cursor of then must be in it
  let cursor = "old";
  const variables = {
    get after() {
      return cursor;
    },
  };
  const socket = createSocketClient({
    url: server.url,
    webSocketImpl: server.socket,
    retryAttempts: 0,
  });
  const end = socket.subscribe(
    { query: "subscription { a }", variables },
    { next() {}, error() {}, complete() {} },
  );
  await server.until(() => server.subscribed.length === 1);
  cursor = "new";
  server.close(1000);
  await server.until(() => server.subscribed.length === 2);
  expect(after()).toEqual(["old", "new"]);
  end();
});
