// @vitest-environment happy-dom
import { gql } from "@apollo/client";
import { describe, expect, it } from "vitest";
import {
  agree,
  http,
  lobby,
  MESSAGE,
  open,
  patience,
  plain,
  Queried,
  seen,
  site,
  Some,
  Subscribed,
} from "./apollo-page.js";
import type { Message } from "./chat.js";

/** Apollo's cache, which others than channels change too. */

describe("What else changes the cache", () => {
  it("is no stale answer to a mutation", async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const page = await open({}, (name) => (name === "Edit" ? held : Promise.resolve()));
    await site.run(
      `message = Message.objects.create(room=lobby, author=User.objects.get(username="ada"), text="0")`,
    );
    page.show(
      <>
        <Subscribed name="lobby" />
        <Queried name="lobby" />
      </>,
    );
    await agree("lobby");
    const id = lobby().messages.at(-1)?.id;
    const texts = () => lobby().messages.map((one) => one.text);
    // its answer says 1, and is under way while the channel says 1, then 2
    const answer = page.apollo.mutate<{ editMessage: { text: string } }>({
      mutation: gql(`mutation Edit($id: ID!) {
        editMessage(message: $id, text: "1") { id text reactions { id } author { id name } }
      }`),
      variables: { id },
    });
    await expect.poll(texts, patience).toContain("1");
    await site.run(`
message.refresh_from_db(); message.text = "2"; message.save()
Reaction.objects.create(message=message, user=grace, emoji="👍")`);
    await expect.poll(texts, patience).toContain("2");
    await expect.poll(() => lobby().messages.at(-1)?.reactions, patience).toHaveLength(1);
    release();
    const { data } = await answer;
    expect(data?.editMessage.text).toBe("1");
    await agree("lobby");
    expect(page.apollo.readFragment({ id: `Message:${id}`, fragment: MESSAGE })?.text).toBe("2");
    await site.run(`message.delete()`);
    await agree("lobby");
  });

  it("is a row that is new, complete for a query that selects more than the subscription", async () => {
    const page = await open();
    page.show(
      <>
        <Some name="launch" />
        <Queried name="launch" />
      </>,
    );
    const shown = () => plain(seen.get("query launch"));
    const isCurrent = async () =>
      expect.poll(shown, patience).toEqual(plain(await site.room("launch")));
    await isCurrent();
    const first = http.length;
    await site.run(
      `message = Message.objects.create(room=launch, author=grace, text="more of it")`,
    );
    await isCurrent();
    await site.run(`message.delete()`);
    await isCurrent();
    expect(http).toHaveLength(first);
  });

  it("may be the optimist", async () => {
    const page = await open();
    await site.run(
      `message = Message.objects.create(room=lobby, author=User.objects.get(username="ada"), text="before")`,
    );
    page.show(<Subscribed name="lobby" />);
    await agree("lobby");
    const id = lobby().messages.at(-1)?.id ?? "";
    const answer = page.apollo.mutate({
      mutation: gql(
        `mutation Edit($id: ID!) { editMessage(message: $id, text: "after") { id text } }`,
      ),
      variables: { id },
      optimisticResponse: { editMessage: { __typename: "Message", id, text: "after" } },
    });
    const text = () => (seen.get(`Message:${id}`) as Message).text;
    await expect.poll(text, { interval: 0 }).toBe("after");
    await answer;
    await agree("lobby");
    expect(text()).toBe("after");
    await site.run(`message.delete()`);
  });

  it("may throw it away", async () => {
    const page = await open();
    page.show(<Subscribed name="lobby" />);
    await agree("lobby");
    await page.apollo.clearStore();
    await agree("lobby");
    page.apollo.cache.evict({ id: `User:${lobby().messages[1]?.author.id}` });
    await site.run(`lobby.topic = "After the eviction"; lobby.save()`);
    await agree("lobby");
    expect(http).toEqual([]);
  });

  it("may be a collection of garbage: only what left all trees goes", async () => {
    const page = await open();
    await site.run(`message = Message.objects.create(room=lobby, author=grace, text="short")`);
    page.show(<Subscribed name="lobby" />);
    await agree("lobby");
    expect(page.apollo.cache.gc()).toEqual([]);
    const id = lobby().messages.at(-1)?.id ?? "";
    await site.run(`message.delete()`);
    await agree("lobby");
    seen.delete(`Message:${id}`);
    await expect.poll(() => page.apollo.cache.gc(), patience).toEqual([`Message:${id}`]);
  });
});
