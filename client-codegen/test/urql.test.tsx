// @vitest-environment happy-dom
import { act, StrictMode } from "react";
import { describe, expect, it } from "vitest";
import {
  agree,
  both,
  EDIT,
  has,
  hasNot,
  listed,
  Live,
  Once,
  page,
  python,
  renders,
  say,
  show,
  signIn,
  site,
  until,
} from "./urql-page.js";

/** Plain components of urql's, while rows change. */

describe("A subscription and a query that are mounted", () => {
  it("follow creates, updates, deletes, cascades and shared children, with no request", async () => {
    const { requests } = await both();
    agree();
    await say("created");
    await has("created");
    agree();
    await python("message.text = 'edited'; message.save()");
    await hasNot("created");
    agree();
    await python("message.reactions.create(user=User.objects.get(username='ada'), emoji='🚀')");
    await has("🚀Ada Lovelace");
    agree();
    // its reaction goes with it
    await python("message.delete()");
    await hasNot("edited");
    agree();
    await python(
      "user = User.objects.get(username='grace'); user.status = 'Everywhere'; user.save()",
    );
    await has("Everywhere");
    agree();
    expect(listed("live").filter((text) => text?.includes("Everywhere"))).toHaveLength(2);
    // User:1 and ChatRoom:1 stay
    const [first = "", ...others] = listed("live");
    await python("Message.objects.get(pk=1).delete()");
    await until(() => !listed("live").includes(first));
    expect(listed("live")).toEqual(others);
    agree();
    expect(requests).toEqual([]);
  });

  it("keep the order of a list", async () => {
    const { requests } = await both();
    const [first, second] = listed("live");
    await python(`
from datetime import timedelta
first, second = ChatRoom.objects.get(name="lobby").messages.all()[:2]
first.sent_at = second.sent_at + timedelta(seconds=1)
first.save()`);
    await until(() => listed("live")[0] === second);
    expect(listed("live")[1]).toBe(first);
    agree();
    expect(requests).toEqual([]);
  });

  it("show a message that moves to another room there and no longer here, whoever hears of it first", async () => {
    const ada = await both();
    await show(
      ada,
      <>
        <Live name="lobby" />
        <Once name="lobby" />
        <Live name="launch" />
        <Once name="launch" />
      </>,
    );
    await until(() => listed("once launch").length > 0);
    ada.requests.splice(0);
    for (const [from, to] of [
      ["lobby", "launch"],
      ["launch", "lobby"],
    ] as const) {
      await say(`moves from ${from}`, from);
      await has(`moves from ${from}`);
      const isIn = (title: string) =>
        listed(title).some((text) => text?.includes(`moves from ${from}`));
      await python(`message.room = ChatRoom.objects.get(name="${to}"); message.save()`);
      await until(() => isIn(`live ${to}`));
      await until(() => {
        expect(isIn(`live ${to}`) && isIn(`once ${to}`)).toBe(true);
        return !isIn(`live ${from}`);
      });
      agree("lobby");
      agree("launch");
      await python("message.delete()");
      await until(() => !isIn(`live ${to}`));
      agree(to);
    }
    expect(ada.requests).toEqual([]);
  });

  it("lose nothing of a burst", async () => {
    const { requests } = await both("launch");
    const before = listed("live").length;
    await python(`
room = ChatRoom.objects.get(name="launch")
author = User.objects.get(username="ada")
for number in range(200):
    Message.objects.create(room=room, author=author, text=f"burst {number};")`);
    await until(() => listed("live").length === before + 200);
    expect(
      listed("live")
        .slice(before)
        .map((text) => text?.split(";")[0]),
    ).toEqual(Array.from({ length: 200 }, (_, number) => `burst ${number}`));
    agree("launch");
    expect(requests).toEqual([]);
  });

  it("render one row for one edited message", async () => {
    const ada = await signIn("ada");
    await show(ada, <Live name="lobby" />);
    await say("to be edited");
    await has("to be edited");
    renders.splice(0);
    await python("message.text = 'and edited'; message.save()");
    await has("and edited");
    expect(renders).toEqual(["and edited"]);
    await python("message.delete()");
    expect(ada.requests).toEqual([]);
  });

  it("aren't set back by an answer that is older than what came meanwhile", async () => {
    const ada = await signIn("ada");
    const release = ada.hold();
    await show(
      ada,
      <>
        <Live name="lobby" />
        <Once name="lobby" />
      </>,
    );
    await until(() => listed("live").length > 0);
    await say("newer than the answer");
    await has("newer than the answer");
    expect(ada.requests).toHaveLength(1);
    await act(async () => release());
    await until(() => listed("once").length > 0);
    agree();
    await python("message.delete()");
    await hasNot("newer than the answer");
    agree();
    expect(ada.requests).toHaveLength(1);
  });

  it("take the result of a mutation, and what the channel says of it", async () => {
    const { urql, requests, hold } = await both();
    await say("written by Ada", "lobby", "ada");
    await has("written by Ada");
    const message = String(await site.run("out = str(message.pk)"));
    const release = hold();
    const edited = urql.mutation(EDIT, { message, text: "by a slow mutation" }).toPromise();
    await has("by a slow mutation");
    await python("message.refresh_from_db(); message.text = 'by somebody faster'; message.save()");
    await has("by somebody faster");
    await act(async () => {
      release();
      expect((await edited).data?.editMessage.text).toBe("by a slow mutation");
    });
    await has("by somebody faster");
    agree();
    await python("message.delete()");
    expect(requests).toHaveLength(1);
  });
});

describe("A component that mounts later", () => {
  it("sees all at once by the same subscription, which ends with the last", async () => {
    const ada = await signIn("ada");
    await show(
      ada,
      <StrictMode>
        <Live name="lobby" />
      </StrictMode>,
    );
    await until(() => listed("live").length > 0);
    await show(
      ada,
      <StrictMode>
        <Live name="lobby" />
        <section>
          <Live key="late" name="lobby" />
        </section>
      </StrictMode>,
    );
    await until(() => page.querySelectorAll("section li").length > 0, "the late one");
    expect(page.querySelector("section ul")?.outerHTML).toBe(page.querySelector("ul")?.outerHTML);
    expect(ada.subscribes()).toHaveLength(1);
    await show(ada, <Live key="late" name="lobby" />);
    await say("for who is still there");
    await has("for who is still there");
    await python("message.delete()");
    expect(ada.subscribes()).toHaveLength(1);
    await show(ada, <p>Another page</p>);
    await until(() => ada.socket.sent.at(-1)?.type === "complete", "the end");
    expect(ada.requests).toEqual([]);
  });

  it("has its query answered from what the subscription brought", async () => {
    const ada = await signIn("ada");
    await show(ada, <Live name="lobby" />);
    await until(() => listed("live").length > 0);
    await show(
      ada,
      <>
        <Live name="lobby" />
        <Once name="lobby" />
      </>,
    );
    await until(() => listed("once").length > 0);
    agree();
    expect(ada.requests).toEqual([]);
  });
});
