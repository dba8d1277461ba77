// @vitest-environment happy-dom
import { gql } from "@apollo/client";
import { describe, expect, it } from "vitest";
import {
  agree,
  http,
  lobby,
  open,
  patience,
  Queried,
  seen,
  site,
  Subscribed,
} from "./apollo-page.js";
import { ChatRoomChannel } from "./chat.js";
import { Watch } from "./watch.js";

/** Drops and ends in Apollo; what is the same in all clients is in life.test.tsx. */

describe("After a drop", () => {
  it("it goes on by its cursor, with the state still there", async () => {
    const page = await open();
    page.show(
      <>
        <Subscribed name="lobby" />
        <Queried name="lobby" />
      </>,
    );
    await agree("lobby");
    const first = http.length;
    const before = lobby();
    site.proxy.cut();
    await site.run(`message = Message.objects.create(room=lobby, author=grace, text="while away")`);
    expect(lobby()).toBe(before);
    await expect.poll(() => lobby().messages.at(-1)?.text, patience).toBe("while away");
    expect(lobby().messages[0]).toBe(before.messages[0]);
    await agree("lobby");
    const afters = page.socket.sent
      .filter((one) => one.type === "subscribe")
      .map((one) => one.payload?.variables?.["after"]);
    expect(afters).toEqual([null, expect.any(String)]);
    expect(http).toHaveLength(first);
    await site.run(`message.delete()`);
    await agree("lobby");
  });
});

describe("The end", () => {
  it("of the anchor is that of the state, in subscriptions and in the query", async () => {
    await site.run(`
room = ChatRoom.objects.create(name="short")
room.members.set(User.objects.all())`);
    const page = await open();
    page.show(
      <>
        <Subscribed name="short" />
        <Queried name="short" />
      </>,
    );
    await agree("short");
    const first = http.length;
    await site.run(`room.delete()`);
    await expect.poll(() => seen.get("short"), patience).toBeNull();
    await expect.poll(() => seen.get("query short"), patience).toBeNull();
    expect(http).toHaveLength(first);
  });

  it("with an error is told, and a restart tries again at once", async () => {
    await site.run(`
room = ChatRoom.objects.create(name="secret")
room.members.set([grace])`);
    const page = await open({ linger: 10_000 });
    const hook = new Watch(page.rx.channel(ChatRoomChannel, { name: "secret" }));
    page.show(<Subscribed name="secret" />);
    await expect.poll(() => seen.get("secret"), patience).toMatchObject({ code: "NOT_FOUND" });
    await hook.is("error");
    await site.run(`room.members.set(User.objects.all())`);
    (seen.get("restart secret") as () => void)();
    await agree("secret");
    await hook.is("live");
    hook.stop();
  });

  it("of a permission is that of the state, in the query too", async () => {
    await site.run(`
room = ChatRoom.objects.create(name="private")
room.members.set(User.objects.all())`);
    const page = await open();
    page.show(
      <>
        <Subscribed name="private" />
        <Queried name="private" />
      </>,
    );
    await agree("private");
    const first = http.length;
    await site.run(`room.members.remove(User.objects.get(username="ada"))`);
    site.proxy.cut();
    await expect.poll(() => seen.get("private"), patience).toMatchObject({ code: "NOT_FOUND" });
    await expect.poll(() => seen.get("query private"), patience).toBeNull();
    expect(http).toHaveLength(first);
  });

  it("comes at once for a document that is no selection of a state", async () => {
    const page = await open();
    const { error } = await new Promise<{ error?: { message: string } }>((resolve) => {
      const query = gql(`subscription { chatRoom(name: "lobby") { state { nonsense } } }`);
      page.apollo.subscribe({ query }).subscribe(resolve);
    });
    expect(error?.message).toContain("nonsense");
    expect(page.subscribes()).toBe(0);
  });
});
