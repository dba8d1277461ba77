// @vitest-environment happy-dom
import { StrictMode } from "react";
import { describe, expect, it } from "vitest";
import {
  agree,
  http,
  lobby,
  open,
  patience,
  plain,
  Queried,
  rooms,
  seen,
  site,
  Some,
  Subscribed,
} from "./apollo-page.js";
import { ChatRoomChannel, type ChatRoom } from "./chat.js";
import { Watch } from "./watch.js";

/** Plain components of Apollo's, while rows change. */

describe("Plain components of Apollo's", () => {
  it("follow all that happens, without a request over HTTP", async () => {
    const page = await open();
    page.show(
      <StrictMode>
        <Subscribed name="lobby" />
        <Some name="lobby" />
        <Queried name="lobby" />
      </StrictMode>,
    );
    await agree("lobby");
    const first = http.length;
    expect(first).toBeLessThanOrEqual(1);
    expect(page.subscribes()).toBe(1);
    const untouched = lobby().messages[0];

    const steps = {
      create: `message = Message.objects.create(room=lobby, author=grace, text="created")`,
      update: `message.text = "edited"; message.save()`,
      "a child": `reaction = Reaction.objects.create(message=message, user=grace, emoji="👍")`,
      "a child's child": `grace.name = "Amazing Grace"; grace.save()`,
      "the root": `lobby.topic = "Another"; lobby.save()`,
      "no child": `reaction.delete()`,
      order: `message.sent_at = Message.objects.order_by("sent_at")[0].sent_at.replace(year=2000); message.save()`,
      back: `message.sent_at = message.sent_at.replace(year=2040); message.save()`,
      membership: `lobby.members.remove(grace)`,
      "membership again": `lobby.members.add(grace)`,
      delete: `message.delete()`,
    };
    for (const [what, code] of Object.entries(steps)) {
      await site.run(code);
      await agree("lobby");
      expect(http, what).toHaveLength(first);
    }
    expect(lobby().messages[0]?.id).toBe(untouched?.id);
    expect(page.subscribes()).toBe(1);
  });

  it("follow a cascade, also where a node of another type has the same id", async () => {
    const page = await open();
    page.show(
      <>
        <Queried name="lobby" />
        <Subscribed name="lobby" />
        <Subscribed name="launch" />
      </>,
    );
    await site.run(`
guest = User.objects.create(username="guest", name="Guest")
for room in (lobby, launch):
    room.members.add(guest)
    Message.objects.create(room=room, author=guest, text="hello")
message = Message(pk=guest.pk + 1000, room=lobby, author=guest, text="same id")
message.save()
Reaction(pk=message.pk, message=message, user=guest, emoji="👀").save()
Reaction.objects.create(message=lobby.messages.first(), user=guest, emoji="👍")`);
    await agree("lobby", "launch");
    const first = http.length;
    await site.run(`Reaction.objects.get(pk=message.pk).delete()`);
    await agree("lobby");
    expect(lobby().messages.some((one) => one.text === "same id")).toBe(true);
    await site.run(`guest.delete()`);
    await agree("lobby", "launch");
    expect(lobby().members.some((one) => one.username === "guest")).toBe(false);
    expect(http).toHaveLength(first);
  });

  it("never miss a row that moves between two rooms that are shown", async () => {
    const page = await open();
    page.show(
      <>
        <Subscribed name="lobby" />
        <Subscribed name="launch" />
        <Queried name="lobby" />
        <Queried name="launch" />
      </>,
    );
    await site.run(`message = Message.objects.create(room=lobby, author=grace, text="moving")`);
    await agree("lobby", "launch");
    const first = http.length;
    const id = lobby().messages.find((one) => one.text === "moving")?.id ?? "";
    for (const there of ["launch", "lobby", "launch"]) {
      rooms.length = 0;
      await site.run(`message.room = ${there}; message.save()`);
      await agree("lobby", "launch");
      // once it is there, it stays
      const shown = rooms.filter((room) => room.name === there);
      const has = shown.map((room) => room.messages.some((one) => one.id === id));
      expect(has.slice(has.indexOf(true))).not.toContain(false);
      expect(seen.get(`Message:${id}`)).not.toBe("incomplete");
    }
    await site.run(`message.delete()`);
    await agree("launch");
    expect(http).toHaveLength(first);
  });

  it("lose nothing of a burst of 200", async () => {
    const page = await open();
    page.show(
      <>
        <Subscribed name="launch" />
        <Queried name="launch" />
      </>,
    );
    await agree("launch");
    const first = http.length;
    await site.run(`
for number in range(200):
    Message.objects.create(room=launch, author=grace, text=f"burst {number}")`);
    await agree("launch");
    const texts = (seen.get("launch") as ChatRoom).messages.map((one) => one.text);
    expect(texts.slice(-200)).toEqual(Array.from({ length: 200 }, (_, n) => `burst ${n}`));
    expect(http).toHaveLength(first);
    await site.run(`Message.objects.filter(text__startswith="burst").delete()`);
    await agree("launch");
  });
});

describe("A second component", () => {
  it("sees all at once by the same subscription of the server, which ends with the last", async () => {
    const page = await open();
    page.show(<Subscribed name="lobby" key="1" />);
    await agree("lobby");
    page.show([
      <Subscribed name="lobby" key="1" />,
      <Subscribed name="lobby" key="2" as="late" />,
      <Some name="lobby" key="3" />,
    ]);
    await expect.poll(() => seen.get("late"), patience).toBe(lobby());
    await expect.poll(() => seen.get("some lobby"), patience).toHaveLength(lobby().messages.length);
    const hook = new Watch(page.rx.channel(ChatRoomChannel, { name: "lobby" }));
    expect(hook.current.status).toBe("live");
    hook.stop();
    page.show(<Subscribed name="lobby" key="2" as="late" />);
    await site.run(`lobby.topic = "For the late"; lobby.save()`);
    await expect.poll(() => (seen.get("late") as ChatRoom).topic, patience).toBe("For the late");
    expect(page.subscribes()).toBe(1);
    page.show(null);
    await expect.poll(() => page.socket.sent.at(-1)?.type, patience).toBe("complete");
    expect(http).toEqual([]);
  });

  it("that is mounted together with the very first sees all, also if it was known before", async () => {
    const page = await open();
    const hook = new Watch(page.rx.channel(ChatRoomChannel, { name: "lobby" }));
    await hook.is("live");
    page.show([
      <Subscribed name="lobby" key="1" as="one" />,
      <Subscribed name="lobby" key="2" as="two" />,
    ]);
    await expect.poll(() => plain(seen.get("two")), patience).toEqual(plain(hook.state));
    expect(plain(seen.get("one"))).toEqual(plain(hook.state));
    expect(page.subscribes()).toBe(1);
    hook.stop();
  });

  it("that asks for what the channel has already brought needs no request", async () => {
    const page = await open();
    page.show(<Subscribed name="kernel" />);
    await agree("kernel");
    page.show([<Subscribed name="kernel" key="1" />, <Queried name="kernel" key="2" />]);
    await expect
      .poll(() => plain(seen.get("query kernel")), patience)
      .toEqual(plain(seen.get("kernel")));
    expect(http).toEqual([]);
  });
});
