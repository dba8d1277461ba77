// @vitest-environment happy-dom
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ChatRoom } from "./chat.js";
import { agree, http, pages, patience, type RoomOf } from "./clients.js";
import { Site } from "./site.js";

/** All that may happen to rows, in the hook, Apollo and urql at once; what each does besides is in the tests of its name. */

let site: Site;
let token: string;
beforeAll(async () => {
  site = await Site.start();
  token = await site.token("ada");
  await site.run(`
grace = User.objects.get(username="grace")
lobby, launch = ChatRoom.objects.get(name="lobby"), ChatRoom.objects.get(name="launch")`);
}, 60_000);
afterAll(() => site.stop());

async function mounted(...rooms: string[]): Promise<RoomOf[]> {
  const all = await pages(site, () => token);
  for (const { show, Room } of all) show(rooms.map((name) => <Room key={name} name={name} />));
  await agree(site, all, ...rooms);
  // each query once at most, before its subscription had brought the same
  http.length = 0;
  return all;
}

it("Whatever is written, all clients show it, with one subscription, no request and no word on the console", async () => {
  const all = await mounted("lobby");
  const untouched = all.map((page) => page.of("lobby").state?.messages[0]);
  const steps = {
    create: `message = Message.objects.create(room=lobby, author=grace, text="created")`,
    update: `message.text = "edited"; message.save()`,
    "a child": `reaction = Reaction.objects.create(message=message, user=grace, emoji="👍")`,
    "no child": `reaction.delete()`,
    "the root": `lobby.topic = "Another"; lobby.save()`,
    "order, to the front": `message.sent_at = message.sent_at.replace(year=2000); message.save()`,
    "order, to the end": `message.sent_at = message.sent_at.replace(year=2040); message.save()`,
    "a list without order": `lobby.members.remove(grace)`,
    "who left it is still an author": `grace.status = "Not a member"; grace.save()`,
    "and comes back": `lobby.members.add(grace)`,
    delete: `message.delete()`,
  };
  for (const [what, code] of Object.entries(steps)) {
    await site.run(code);
    await agree(site, all, "lobby");
    expect(http, what).toEqual([]);
  }
  for (const [index, page] of all.entries()) {
    expect(page.subscribes(), page.name).toBe(1);
    const [first] = page.of("lobby").state?.messages ?? [];
    expect(first?.id, page.name).toBe(untouched[index]?.id);
  }
});

it("A child that many rows share is the same everywhere, and one object in the hook", async () => {
  const all = await mounted("lobby", "launch");
  await site.run(`grace.name = "Amazing Grace"; grace.save()`);
  await agree(site, all, "lobby", "launch");
  for (const page of all) {
    const { messages, members } = page.of("lobby").state as ChatRoom;
    const shown = messages.filter(({ author }) => author.name === "Amazing Grace");
    expect(shown.length, page.name).toBeGreaterThan(1);
    const member = members.find(({ name }) => name === "Amazing Grace");
    expect(member, page.name).toBeDefined();
    if (page.name === "hook") for (const { author } of shown) expect(author).toBe(member);
  }
  expect(http).toEqual([]);
});

it("Of two types that have the same id, one goes and the other stays; a cascade takes all that hangs on it", async () => {
  const all = await mounted("lobby", "launch");
  await site.run(`
guest = User(pk=9000, username="guest", name="Guest")
guest.save()
for room in (lobby, launch):
    room.members.add(guest)
    Message.objects.create(room=room, author=guest, text="hello")
message = Message(pk=9000, room=lobby, author=guest, text="same id")
message.save()
Reaction(pk=9000, message=message, user=guest, emoji="👀").save()
Reaction.objects.create(message=lobby.messages.first(), user=guest, emoji="👍")`);
  await agree(site, all, "lobby", "launch");
  await site.run(`Reaction.objects.get(pk=9000).delete()`);
  await agree(site, all, "lobby");
  for (const page of all)
    expect(page.of("lobby").state?.messages.some(({ id }) => id === "9000")).toBe(true);
  await site.run(`message.delete()`);
  await agree(site, all, "lobby");
  for (const page of all)
    expect(page.of("lobby").state?.members.some(({ id }) => id === "9000")).toBe(true);
  await site.run(`guest.delete()`);
  await agree(site, all, "lobby", "launch");
  expect(http).toEqual([]);
});

it("A row that moves between two rooms is never missing from where it went", async () => {
  const all = await mounted("lobby", "launch");
  await site.run(`message = Message.objects.create(room=lobby, author=grace, text="moving")`);
  const id = String(await site.run("out = str(message.pk)"));
  await agree(site, all, "lobby", "launch");
  for (const there of ["launch", "lobby", "launch"]) {
    const from = all.map((page) => page.of(there).states.length);
    await site.run(`message.room = ${there}; message.save()`);
    await agree(site, all, "lobby", "launch");
    for (const [index, page] of all.entries()) {
      const shown = page.of(there).states.slice(from[index]);
      const has = shown.map(({ messages }) => messages.some((one) => one.id === id));
      expect(has, page.name).toContain(true);
      expect(has.slice(has.indexOf(true)), page.name).not.toContain(false);
    }
  }
  await site.run(`message.delete()`);
  await agree(site, all, "launch");
  expect(http).toEqual([]);
});

it("A row that leaves one room is still there where a single field of another refers to it", async () => {
  await site.run(`
guest = User.objects.create(username="passer-by", name="Passer-by")
lobby.members.add(guest)
Message.objects.create(room=launch, author=guest, text="from elsewhere")`);
  const all = await mounted("lobby", "launch");
  await site.run(`lobby.members.remove(guest)`);
  await agree(site, all, "lobby", "launch");
  for (const page of all)
    expect(page.of("launch").state?.messages.at(-1)?.author.name, page.name).toBe("Passer-by");
  await site.run(`guest.status = "Elsewhere"; guest.save()`);
  await agree(site, all, "lobby", "launch");
  await site.run(`guest.delete()`);
  await agree(site, all, "lobby", "launch");
  expect(http).toEqual([]);
});

it("Of a burst of 200 events none is lost", async () => {
  const all = await mounted("launch");
  await site.run(`
for number in range(200):
    Message.objects.create(room=launch, author=grace, text=f"burst {number}")`);
  await agree(site, all, "launch");
  for (const page of all) {
    const texts = page.of("launch").state?.messages.map(({ text }) => text) ?? [];
    expect(texts.slice(-200)).toEqual(Array.from({ length: 200 }, (_, n) => `burst ${n}`));
  }
  expect(http).toEqual([]);
});

it("A late second component sees all at once by the same subscription, which ends with the last", async () => {
  const all = await mounted("lobby");
  for (const { show, Room } of all)
    show([<Room key="1" name="lobby" />, <Room key="2" name="lobby" as="late" />]);
  for (const page of all)
    await expect
      .poll(() => page.of("lobby", "late").state, patience)
      .toEqual(page.of("lobby").state);
  for (const { show, Room } of all) show(<Room key="2" name="lobby" as="late" />);
  await site.run(`lobby.topic = "For the late"; lobby.save()`);
  for (const page of all) {
    await expect.poll(() => page.of("lobby", "late").state?.topic, patience).toBe("For the late");
    expect(page.subscribes(), page.name).toBe(1);
    page.show(null);
    await expect.poll(() => page.socket.sent.at(-1)?.type, patience).toBe("complete");
  }
  expect(http).toEqual([]);
});
