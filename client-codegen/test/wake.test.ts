// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createClient, type Client } from "../src/client.js";
import { address } from "../src/connection.js";
import { ChatRoomChannel, event, snapshot } from "./chat.js";
import { FakeServer } from "./fake.js";
import { Watch } from "./watch.js";

/** A page that sleeps, wakes up, and loses its network. */

let server: FakeServer;
let client: Client;
let visibility: DocumentVisibilityState = "visible";

beforeEach(async () => {
  server = await FakeServer.start();
  client = createClient({
    url: server.url,
    webSocketImpl: server.socket,
    pongTimeout: 300,
    retryWait: () => 1_000_000,
  });
  vi.spyOn(document, "visibilityState", "get").mockImplementation(() => visibility);
});
afterEach(async () => {
  visibility = "visible";
  client.dispose();
  await server.stop();
});

async function live() {
  const watch = new Watch(client.channel(ChatRoomChannel, { name: "lobby" }));
  await server.send(snapshot(1));
  await watch.is("live");
  return watch;
}

function show(state: DocumentVisibilityState): void {
  visibility = state;
  document.dispatchEvent(new Event("visibilitychange"));
}

it("asks when it is shown whether the connection lives, and goes on if it does", async () => {
  const watch = await live();
  show("hidden");
  show("visible");
  await server.until(() => server.pings === 1);
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(watch.statuses).toEqual(["connecting", "live"]);
});

it("leaves a connection that died meanwhile, and connects again without waiting", async () => {
  const watch = await live();
  server.deaf = true;
  show("visible");
  await watch.is("reconnecting");
  server.deaf = false;
  // graphql-ws tells its operations of the loss a few microtasks after the connection
  await new Promise((resolve) => setTimeout(resolve));
  show("visible");
  await server.until(() => server.subscribed.length === 2);
  await server.send(event("CHANGE"));
  await watch.is("live");
});

it("connects again as soon as the network is back", async () => {
  const watch = await live();
  server.terminate();
  await watch.is("reconnecting");
  window.dispatchEvent(new Event("online"));
  await server.until(() => server.subscribed.length === 2);
});

it("listens to the page only while something is subscribed", async () => {
  const watch = await live();
  client.dispose();
  watch.stop();
  show("visible");
  window.dispatchEvent(new Event("online"));
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(server.pings).toBe(0);
  expect(server.connections).toBe(1);
});

it("reaches its own host by a path", () => {
  vi.stubGlobal("location", new URL("https://example.org/rooms/1"));
  expect(address("/graphql/")).toBe("wss://example.org/graphql/");
  vi.unstubAllGlobals();
});
