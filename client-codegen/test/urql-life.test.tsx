// @vitest-environment happy-dom
import { act } from "react";
import { useSubscription } from "urql";
import { describe, expect, it } from "vitest";
import {
  agree,
  both,
  has,
  hasNot,
  listed,
  MINE,
  page,
  python,
  say,
  show,
  signIn,
  site,
  until,
} from "./urql-page.js";

/** Drops and ends in urql; what is the same in all clients is in life.test.tsx. */

describe("After a drop", () => {
  it("it says that it is stale, and goes on by its cursor", async () => {
    const { requests, subscribes } = await both();
    const before = listed("live");
    await act(() => site.proxy.cut());
    await until(() => page.querySelector("ul")?.title === "live lobby reconnecting stale");
    expect(listed("live")).toEqual(before);
    await say("while away");
    await has("while away");
    expect(page.querySelector("ul")?.title).toBe("live lobby live");
    agree();
    await python("message.delete()");
    await hasNot("while away");
    expect(subscribes().at(-1)?.payload?.variables?.["after"]).toEqual(expect.any(String));
    expect(requests).toEqual([]);
  });
});

describe("What can't be shown", () => {
  it("is an error with its code, and may be asked for again", async () => {
    const grace = await signIn("grace");
    let again = (): void => undefined;
    function Kernel() {
      const [{ data, error }, execute] = useSubscription({
        query: MINE,
        variables: { name: "kernel" },
      });
      again = execute;
      return error?.graphQLErrors[0]?.message ?? data?.chatRoom.state?.topic;
    }
    await show(grace, <Kernel />);
    await until(() => page.textContent !== "");
    const refusal = page.textContent;
    await python(
      `ChatRoom.objects.get(name="kernel").members.add(User.objects.get(username="grace"))`,
    );
    expect(page.textContent).toBe(refusal);
    await act(() => again());
    await has("Strong opinions");
    expect(grace.requests).toEqual([]);
  });

  it("is null in the query too when the anchor is deleted", async () => {
    await python(`
room = ChatRoom.objects.create(name="short", topic="Short-lived")
room.members.set(User.objects.all())`);
    await say("hello", "short");
    const { requests } = await both("short");
    await python("room.delete()");
    await until(() => page.querySelector("ul")?.title === "live short ended");
    await hasNot("Short-lived");
    expect(requests).toEqual([]);
  });
});
