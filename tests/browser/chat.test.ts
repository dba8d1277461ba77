import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { launch, screenshot, signIn, type Visitor } from "./browser.js";
import { rendersOf, watchRenders } from "./renders.js";
import { Site } from "./site.js";

let site: Site;
let browser: Browser;

beforeAll(async () => {
  [site, browser] = await Promise.all([Site.start(), launch()]);
});

afterAll(async () => {
  await browser?.close();
  await site?.stop();
});

const status = (page: Page, text: string) =>
  page.getByRole("status").filter({ hasText: text }).waitFor();
const message = (page: Page, text: string) => page.getByRole("article").filter({ hasText: text });
const members = (page: Page) => page.getByRole("complementary", { name: "Members" });
const room = (page: Page, name: string) => page.getByRole("link", { name, exact: true });

/** Waits until it holds in all of their windows. */
function inAll(
  visitors: Visitor[],
  locate: (page: Page) => Locator,
  state: "visible" | "detached" = "visible",
): Promise<unknown> {
  return Promise.all(visitors.map(({ page }) => locate(page).waitFor({ state })));
}

async function send(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message to #lobby").fill(text);
  await page.keyboard.press("Enter");
}

/** Uses a tool of a message, all of which show when one points at it. */
async function use(page: Page, text: string, tool: string): Promise<void> {
  await message(page, text).hover();
  await message(page, text).getByRole("button", { name: tool }).click();
}

/** Nothing to complain of, and nothing asked over HTTP but who is signed in. */
function expectQuiet({ watch }: Visitor): void {
  expect(watch.errors).toEqual([]);
  expect([...watch.origins]).toEqual([site.url]);
  const asked = watch.operations.filter((operation) => !operation.startsWith("mutation "));
  expect(new Set(asked)).toEqual(new Set(["query Me"]));
}

const PAGES = [
  ["hook", ""],
  ["apollo", "/apollo"],
  ["urql", "/urql"],
] as const;

describe.each(PAGES)("The page with %s", (name, path) => {
  let ada: Visitor;
  let grace: Visitor;

  beforeAll(async () => {
    [ada, grace] = await Promise.all([
      signIn(browser, site.url, "ada", { path: `${path}/` }),
      signIn(browser, site.url, "grace", { path: `${path}/`, colorScheme: "dark" }),
    ]);
  });

  beforeEach(async () => {
    for (const { page } of [ada, grace]) {
      if (!page.url().endsWith("/lobby/")) await room(page, "lobby").click();
      await status(page, "Live");
      await page.getByRole("article").first().waitFor();
    }
  });

  afterEach(() => [ada, grace].forEach(expectQuiet));

  afterAll(async () => {
    const asked = [ada, grace].map(({ watch }) => watch.operations);
    await Promise.all([ada, grace].map(({ page }) => page.context().close()));
    // once for each load of the page
    for (const operations of asked)
      expect(operations.filter((operation) => operation === "query Me")).toHaveLength(1);
  });

  test("shows what one says and others think of it", async () => {
    const text = `Said with ${name}`;
    await send(grace.page, text);
    await inAll([ada, grace], (page) => message(page, text));

    await use(ada.page, text, "Add a reaction");
    await ada.page.getByRole("button", { name: "React with rocket" }).click();
    const rocket = (page: Page) => message(page, text).getByRole("button", { name: /^rocket/ });
    await inAll([ada, grace], rocket);
    await rocket(grace.page).click();
    await inAll([ada, grace], (page) =>
      message(page, text).getByRole("button", { name: "rocket, 2: Ada Lovelace, Grace Hopper" }),
    );
    await ada.page.mouse.move(0, 0);
    await screenshot(ada.page, `${name}-light`);
    await screenshot(grace.page, `${name}-dark`);

    await rocket(grace.page).click();
    await rocket(ada.page).click();
    await inAll([ada, grace], rocket, "detached");
  });

  test("renders one message when one is edited", async () => {
    const text = `With a tpyo and ${name}`;
    const better = `Without a typo and ${name}`;
    await watchRenders(ada.page);
    await ada.page.reload();
    ada.watch.operations.length = 0;
    await send(grace.page, text);
    await inAll([ada, grace], (page) => message(page, text));

    const rendered = await rendersOf(ada.page, async () => {
      await use(grace.page, text, "Edit the message");
      await grace.page.getByLabel("Message", { exact: true }).fill(better);
      await grace.page.getByRole("button", { name: "Save" }).click();
      await inAll([ada, grace], (page) => message(page, `${better}edited`));
    });
    expect(rendered).toEqual(new Set([`${better}edited`]));
  });

  test("loses what its author deletes", async () => {
    const text = `Soon to be deleted with ${name}`;
    await send(ada.page, text);
    await inAll([ada, grace], (page) => message(page, text));

    await use(ada.page, text, "Delete the message");

    await inAll([ada, grace], (page) => message(page, text), "detached");
  });

  test("shows who goes away", async () => {
    const listed = (away: string) => (page: Page) =>
      members(page)
        .getByRole("listitem")
        .filter({ hasText: new RegExp(`Grace Hopper\\s*${away}`) });
    await inAll([ada, grace], listed("Catching moths"));

    await grace.page.getByRole("button", { name: "Available" }).click();
    await grace.page.getByRole("button", { name: "Away" }).waitFor();
    await inAll([ada, grace], listed("Away"));

    await grace.page.getByRole("button", { name: "Away" }).click();
    await inAll([ada, grace], listed("Catching moths"));
  });

  test("goes from room to room, and back", async () => {
    await room(ada.page, "launch").click();
    await message(ada.page, "Priority displays").waitFor();
    await message(ada.page, "Has anybody tried").waitFor({ state: "detached" });
    await members(ada.page).getByText("Margaret Hamilton").waitFor();
    expect(new URL(ada.page.url()).pathname).toBe(`${path}/rooms/launch/`);
    expect(await ada.page.title()).toBe("#launch · Team chat");

    await send(grace.page, `While Ada is elsewhere with ${name}`);
    await ada.page.goBack();

    await message(ada.page, `While Ada is elsewhere with ${name}`).waitFor();
    expect(await members(ada.page).getByRole("listitem").count()).toBe(4);
  });

  test("shows a room as soon as somebody is put into it, until it is deleted", async () => {
    await site.run(`
harbour = ChatRoom.objects.create(name="harbour")
harbour.members.add(User.objects.get(username="grace"))`);

    await room(grace.page, "harbour").click();
    await grace.page.getByRole("heading", { name: "Nothing said yet" }).waitFor();
    await status(grace.page, "Live");
    expect(await room(ada.page, "harbour").count()).toBe(0);

    await site.run(`harbour.delete()`);
    await grace.page.getByRole("heading", { name: "This room is gone" }).waitFor();
    await status(grace.page, "Ended");
    await room(grace.page, "harbour").waitFor({ state: "detached" });
  });

  test("says that a room can't be shown, and tries again when it is asked to", async () => {
    const margaret = await signIn(browser, site.url, "margaret", { path: `${path}/rooms/kernel/` });
    const refused = margaret.page.getByRole("heading", { name: "This room can't be shown" });
    await refused.waitFor();
    await status(margaret.page, "Error");
    if (name === "hook") await screenshot(margaret.page, "refused");

    await site.run(`
kernel = ChatRoom.objects.get(name="kernel")
kernel.members.add(User.objects.get(username="margaret"))`);
    await margaret.page.getByRole("button", { name: "Try again" }).click();

    await message(margaret.page, "Talk is cheap").waitFor();
    await status(margaret.page, "Live");
    await site.run(`kernel.members.remove(User.objects.get(username="margaret"))`);
    await refused.waitFor();
    await room(margaret.page, "kernel").waitFor({ state: "detached" });
    expectQuiet(margaret);
    await margaret.page.context().close();
  });
});

describe("The three pages side by side", () => {
  let ada: Visitor;
  let grace: Visitor;
  let margaret: Visitor;
  let all: Visitor[];

  beforeAll(async () => {
    all = await Promise.all([
      signIn(browser, site.url, "ada", { path: "/rooms/lobby/" }),
      signIn(browser, site.url, "grace", { path: "/apollo/rooms/lobby/" }),
      signIn(browser, site.url, "margaret", { path: "/urql/rooms/lobby/" }),
    ]);
    [ada, grace, margaret] = all as [Visitor, Visitor, Visitor];
    for (const { page } of all) await status(page, "Live");
  });

  afterEach(() => all.forEach(expectQuiet));
  afterAll(() => Promise.all(all.map(({ page }) => page.context().close())));

  /** Ada's admin, at a message. */
  async function admin(text: string): Promise<Page> {
    const page = await ada.page.context().newPage();
    await page.goto("/admin/chat/message/");
    await page.getByRole("link", { name: text }).click();
    return page;
  }

  test("show the same", async () => {
    const shown = await Promise.all(
      all.map(({ page }) =>
        page.getByRole("log").evaluate((log) => [log, log.nextSibling].map((n) => n?.textContent)),
      ),
    );
    expect(shown[0]?.[0]).toContain("Has anybody tried this chat in two windows yet?");
    expect(shown[1]).toEqual(shown[0]);
    expect(shown[2]).toEqual(shown[0]);
  });

  test("follow what is edited, hidden and deleted in the admin", async () => {
    await send(margaret.page, "Written in the chat");
    await inAll(all, (page) => message(page, "Written in the chat"));

    const page = await admin("Written in the chat");
    await page.getByLabel("Text:").fill("Rewritten in the admin");
    await screenshot(page, "admin");
    await page.getByRole("button", { name: "Save and continue editing" }).click();
    await inAll(all, (page) => message(page, "Rewritten in the admin"));
    await inAll(all, (page) => message(page, "Written in the chat"), "detached");

    await page.getByLabel("Hidden").check();
    await page.getByRole("button", { name: "Save and continue editing" }).click();
    await inAll(all, (page) => message(page, "Rewritten in the admin"), "detached");
    await page.getByLabel("Hidden").uncheck();
    await page.getByRole("button", { name: "Save and continue editing" }).click();
    await inAll(all, (page) => message(page, "Rewritten in the admin"));

    await page.getByRole("link", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Yes, I’m sure" }).click();
    await inAll(all, (page) => message(page, "Rewritten in the admin"), "detached");
    await page.close();
  });

  test("stay when the server is gone, say so, and catch up", async () => {
    await send(ada.page, "Before the restart");
    await inAll(all, (page) => message(page, "Before the restart"));
    all.forEach(expectQuiet);

    await site.down();
    await Promise.all(all.map(({ page }) => status(page, "Reconnecting")));
    await screenshot(ada.page, "reconnecting");
    for (const { page } of all) expect(await message(page, "Before the restart").count()).toBe(1);
    await site.run(`
Message.objects.create(
    room=ChatRoom.objects.get(name="lobby"), author=User.objects.get(username="linus"), text="Said meanwhile"
)`);
    await site.serve();

    await Promise.all(all.map(({ page }) => status(page, "Live")));
    await inAll(all, (page) => message(page, "Said meanwhile"));
    await send(grace.page, "After the restart");
    await inAll(all, (page) => message(page, "After the restart"));
    // The browser itself reports each refused connection.
    for (const { watch } of all) watch.errors.length = 0;
  });

  test("are one click apart, in the same room, and each loads only its own client", async () => {
    const { page, watch } = ada;
    const loaded = () =>
      [...watch.scripts].filter((script) => /apollo|urql/.test(script)).map((s) => s.slice(0, 4));
    expect(loaded()).toEqual([]);
    await room(page, "launch").click();

    for (const [label, path] of [
      ["Apollo", "/apollo/rooms/launch/"],
      ["urql", "/urql/rooms/launch/"],
      ["Hook", "/rooms/launch/"],
    ] as const) {
      await page
        .getByRole("navigation", { name: "Client" })
        .getByRole("link", { name: label })
        .click();
      await page.waitForURL(`${site.url}${path}`);
      await message(page, "Priority displays").waitFor();
      await status(page, "Live");
    }
    expect(loaded()).toEqual(["apol", "urql"]);
  });

  test("put the rooms and the members a tap away on a phone", async () => {
    for (const colorScheme of ["light", "dark"] as const) {
      const phone = await signIn(browser, site.url, "margaret", {
        path: "/apollo/rooms/lobby/",
        viewport: { width: 390, height: 844 },
        hasTouch: true,
        isMobile: true,
        colorScheme,
      });
      await status(phone.page, "Live");
      await screenshot(phone.page, `phone-${colorScheme}`);
      await phone.page.getByRole("button", { name: "Members, 4" }).click();
      await phone.page.getByText("Writing notes").waitFor();
      await screenshot(phone.page, `phone-members-${colorScheme}`);
      await phone.page.getByRole("button", { name: "Members, 4" }).click();
      await phone.page.getByRole("button", { name: "Open the menu" }).click();
      await phone.page.getByRole("navigation", { name: "Client" }).waitFor();
      await screenshot(phone.page, `phone-menu-${colorScheme}`);
      await room(phone.page, "launch").click();
      await message(phone.page, "Priority displays").waitFor();
      expectQuiet(phone);
      await phone.page.context().close();
    }
  });
});
