// @vitest-environment happy-dom
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import type { ClientOptions } from "../src/client.js";
import type { ChatRoom } from "./chat.js";
import { agree, http, NAMES, pages, patience, type RoomOf } from "./clients.js";
import { Site } from "./site.js";

/** What connections and servers go through, in the hook, Apollo and urql at once. */

let site: Site;
let token: string;
beforeAll(async () => {
  site = await Site.start();
  await site.run(`
import redis
from django.conf import settings
from rxgraphql.embedded import running_url
grace = User.objects.get(username="grace")
lobby, launch = ChatRoom.objects.get(name="lobby"), ChatRoom.objects.get(name="launch")

def say(text):
    return Message.objects.create(room=lobby, author=grace, text=text)

def create(name):
    room = ChatRoom.objects.create(name=name)
    room.members.set(User.objects.all())
    return room`);
}, 60_000);
beforeEach(async () => {
  token = await site.token("ada");
});
afterAll(() => site.stop());

async function mounted(
  names: readonly string[] = ["lobby"],
  options: Partial<ClientOptions> = {},
): Promise<RoomOf[]> {
  const all = await pages(site, () => token, options);
  for (const { show, Room } of all) show(names.map((name) => <Room key={name} name={name} />));
  await agree(site, all, ...names);
  http.length = 0;
  return all;
}

const each = <Value,>(all: readonly RoomOf[], take: (page: RoomOf) => Value) =>
  Object.fromEntries(all.map((page) => [page.name, take(page)])) as Record<string, Value>;
const everywhere = <Value,>(value: Value) =>
  Object.fromEntries(NAMES.map((name) => [name, value])) as Record<string, Value>;

const is = (all: readonly RoomOf[], status: string, room = "lobby") =>
  expect
    .poll(() => each(all, (page) => page.of(room).status), patience)
    .toEqual(everywhere(status));

/** What the pages show stays as it is while they are away; what they hold of it stays the same object afterwards. */
function kept(all: readonly RoomOf[]) {
  const before = each(all, ({ of }) => of("lobby").state as ChatRoom);
  return {
    isShown: () => expect(each(all, ({ of }) => of("lobby").state)).toEqual(before),
    isShared: (): void => {
      for (const { name, of } of all) {
        const now = of("lobby").state as ChatRoom;
        expect(now, name).not.toBe(before[name]);
        expect(now.messages[0], name).toBe(before[name]?.messages[0]);
        expect(now.members, name).toBe(before[name]?.members);
      }
    },
  };
}

const afters = (all: readonly RoomOf[]) =>
  each(
    all,
    ({ socket }) =>
      socket.sent.filter(({ type }) => type === "subscribe").at(-1)?.payload?.variables?.["after"],
  );

it("After a drop they go on where they were, and learn what was written, moved and deleted meanwhile", async () => {
  const all = await mounted(["lobby", "launch"], { retryWait: () => 300 });
  await site.run(`gone, moved = say("deleted while away"), say("moved while away")`);
  await agree(site, all, "lobby");
  const before = kept(all);
  site.proxy.cut();
  await is(all, "reconnecting");
  await site.run(`say("written while away"); gone.delete(); moved.room = launch; moved.save()`);
  before.isShown();
  await agree(site, all, "lobby", "launch");
  before.isShared();
  expect(afters(all)).toEqual(everywhere(expect.any(String)));
  for (const { name, socket } of all)
    expect(
      socket.kinds.filter((kind) => kind === "SNAPSHOT"),
      name,
    ).toHaveLength(2);
  expect(http).toEqual([]);
});

it("A deploy in the middle is a drop: they go on by their cursors at the process that comes", async () => {
  const all = await mounted();
  const before = kept(all);
  await site.down();
  await is(all, "reconnecting");
  await site.run(`say("between two processes")`);
  before.isShown();
  await site.up();
  await agree(site, all, "lobby");
  await is(all, "live");
  before.isShared();
  await site.run(
    `say("to the new one"); Message.objects.filter(text="between two processes").delete()`,
  );
  await agree(site, all, "lobby");
  expect(each(all, ({ socket }) => socket.kinds[0])).toEqual(everywhere("SNAPSHOT"));
  expect(each(all, ({ socket }) => socket.kinds.slice(1).includes("SNAPSHOT"))).toEqual(
    everywhere(false),
  );
  expect(http).toEqual([]);
}, 60_000);

it("Where a cursor has expired they get a snapshot, and keep what is equal in it", async () => {
  const all = await mounted();
  const before = kept(all);
  await site.down();
  await is(all, "reconnecting");
  await site.run(`
say("after the cursor")
found = redis.Redis.from_url(running_url())
trimmed = [found.xtrim(key, maxlen=0, approximate=False) for key in found.scan_iter() if found.type(key) == b"stream"]
call_command("rxcache", "clear", stdout=sys.stderr)
out = sum(trimmed)`);
  await site.up();
  await agree(site, all, "lobby");
  before.isShared();
  expect(each(all, ({ socket }) => socket.kinds.slice(0, 2))).toEqual(
    everywhere(["SNAPSHOT", "SNAPSHOT"]),
  );
  await site.run(`say("and on")`);
  await agree(site, all, "lobby");
  expect(http).toEqual([]);
}, 60_000);

it("With a token that has expired they ask for another until one is good, and show the state meanwhile", async () => {
  const all = await mounted();
  const before = kept(all);
  const expired = token;
  const fresh = await site.token("ada");
  for (const { socket } of all) socket.sent.length = 0;
  site.proxy.cut();
  await is(all, "reconnecting");
  await expect
    .poll(() => Math.min(...all.map(({ socket }) => inits(socket).length)), patience)
    .toBeGreaterThanOrEqual(2);
  before.isShown();
  await is(all, "reconnecting");
  token = fresh;
  await is(all, "live");
  await site.run(`say("with a fresh token")`);
  await agree(site, all, "lobby");
  before.isShared();
  for (const { name, socket } of all) {
    expect(inits(socket).slice(0, 2), name).toEqual([expired, expired]);
    expect(inits(socket).at(-1), name).toBe(fresh);
  }
  expect(http).toEqual([]);
});

function inits({ sent }: RoomOf["socket"]): unknown[] {
  return sent
    .filter(({ type }) => type === "connection_init")
    .map(({ payload }) => (payload as { token?: unknown }).token);
}

it("An anchor that is deleted while they are away is not found, and is shown no more", async () => {
  await site.run(`room = create("gone")`);
  const all = await mounted(["gone"], { retryWait: () => 300 });
  site.proxy.cut();
  await is(all, "reconnecting", "gone");
  await site.run(`room.delete()`);
  await expect
    .poll(() => each(all, ({ of }) => of("gone").error), patience)
    .toEqual(everywhere("NOT_FOUND"));
  // what Apollo's hook does with an error is to show no data
  expect(each(all, ({ of }) => of("gone").state ?? null)).toEqual(everywhere(null));
  const queries = all.filter(({ name }) => name !== "hook");
  await expect
    .poll(() => queries.map(({ of }) => of("gone").query), patience)
    .toEqual([null, null]);
  expect(http).toEqual([]);
});
