import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { launch, screenshot, signIn, type Visitor } from "./browser.js";
import { Site } from "./site.js";

let site: Site;
let browser: Browser;
let ada: Visitor;
let grace: Visitor;

beforeAll(async () => {
  [site, browser] = await Promise.all([Site.start(), launch()]);
});

afterAll(async () => {
  await browser?.close();
  await site?.stop();
});

beforeEach(async () => {
  ada = await signIn(browser, site.url, "ada");
  grace = await signIn(browser, site.url, "grace", { colorScheme: "dark" });
  for (const { page } of [ada, grace]) await live(page);
});

afterEach(async () => {
  for (const { page, watch } of [ada, grace]) {
    await page.context().close();
    expect(watch.errors).toEqual([]);
    expect([...watch.origins]).toEqual([site.url]);
  }
});

const live = (page: Page) => page.getByRole("status").filter({ hasText: "Live" }).waitFor();
const message = (page: Page, text: string) => page.getByRole("article").filter({ hasText: text });
const inBoth = (locate: (page: Page) => Locator, state: "visible" | "detached" = "visible") =>
  Promise.all([ada, grace].map(({ page }) => locate(page).waitFor({ state })));

async function send(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message to #lobby").fill(text);
  await page.keyboard.press("Enter");
}

/** Ada's admin, at a message. */
async function admin(text: string): Promise<Page> {
  const page = await ada.page.context().newPage();
  await page.goto("/admin/chat/message/");
  await page.getByRole("link", { name: text }).click();
  return page;
}

test("a message sent in one window appears in both", async () => {
  await send(grace.page, "Typed in one window");

  await inBoth((page) => message(page, "Typed in one window"));
  await message(ada.page, "Typed in one window").hover();
  await message(ada.page, "Typed in one window")
    .getByRole("button", { name: "Add a reaction" })
    .click();
  await ada.page.getByRole("button", { name: "React with rocket" }).click();
  await inBoth((page) =>
    message(page, "Typed in one window").getByRole("button", { name: "rocket, 1: Ada Lovelace" }),
  );
  await ada.page.mouse.move(0, 0);
  await screenshot(ada.page, "chat-light");
  await screenshot(grace.page, "chat-dark");
});

test("an edit in the admin appears in both", async () => {
  await send(ada.page, "Written in the chat");
  await inBoth((page) => message(page, "Written in the chat"));

  const page = await admin("Written in the chat");
  await page.getByLabel("Text:").fill("Rewritten in the admin");
  await screenshot(page, "admin");
  await page.getByRole("button", { name: "Save", exact: true }).click();

  await inBoth((page) => message(page, "Rewritten in the admin"));
  await inBoth((page) => message(page, "Written in the chat"), "detached");
});

test("a delete in the admin appears in both", async () => {
  await send(ada.page, "Soon to be deleted");
  await inBoth((page) => message(page, "Soon to be deleted"));

  const page = await admin("Soon to be deleted");
  await page.getByRole("link", { name: "Delete", exact: true }).click();
  await page.getByRole("button", { name: "Yes, I’m sure" }).click();

  await inBoth((page) => message(page, "Soon to be deleted"), "detached");
});

test("what its author deletes is gone for both, and comes back when the admin shows it again", async () => {
  await send(ada.page, "Out of sight");
  await inBoth((page) => message(page, "Out of sight"));

  await message(ada.page, "Out of sight").hover();
  await message(ada.page, "Out of sight")
    .getByRole("button", { name: "Delete the message" })
    .click();
  await inBoth((page) => message(page, "Out of sight"), "detached");

  const page = await admin("Out of sight");
  await page.getByLabel("Hidden").uncheck();
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await inBoth((page) => message(page, "Out of sight"));
});

test("an author edits a message where it stands", async () => {
  await send(ada.page, "With a tpyo");
  await message(ada.page, "With a tpyo").hover();
  await message(ada.page, "With a tpyo").getByRole("button", { name: "Edit the message" }).click();

  await ada.page.getByLabel("Message", { exact: true }).fill("Without a typo");
  await ada.page.getByRole("button", { name: "Save" }).click();

  await inBoth((page) => message(page, "Without a typoedited"));
});

test("who goes away is seen to be away", async () => {
  const members = (page: Page) => page.getByRole("complementary", { name: "Members" });
  await members(ada.page).getByText("Catching moths").waitFor();

  await grace.page.getByRole("button", { name: "Available" }).click();

  await grace.page.getByRole("button", { name: "Away" }).waitFor();
  await inBoth((page) =>
    members(page)
      .getByRole("listitem")
      .filter({ hasText: /Grace Hopper\s*Away/ }),
  );
});

test("a room appears as soon as somebody is put into it", async () => {
  await site.manage(
    "shell",
    "-c",
    "from chat.models import *; r = ChatRoom.objects.create(name='harbour'); r.members.add(User.objects.get(username='grace'))",
  );

  await grace.page.getByRole("link", { name: "harbour" }).click();
  await grace.page.getByRole("heading", { name: "Nothing said yet" }).waitFor();
  expect(await ada.page.getByRole("link", { name: "harbour" }).count()).toBe(0);
});

test("a room that one is not in says so", async () => {
  await grace.page.goto("/rooms/kernel/");

  await grace.page.getByRole("heading", { name: "This room can't be shown" }).waitFor();
});

test("on a phone the rooms and the members are a tap away", async () => {
  const phone = await signIn(browser, site.url, "margaret", {
    viewport: { width: 390, height: 760 },
    hasTouch: true,
    isMobile: true,
  });
  await live(phone.page);
  await screenshot(phone.page, "phone");

  await phone.page.getByRole("button", { name: "Members, 4" }).click();
  await phone.page.getByText("Writing notes").waitFor();
  await phone.page.getByRole("button", { name: "Members, 4" }).click();
  await phone.page.getByRole("button", { name: "Open the menu" }).click();
  await phone.page.getByRole("link", { name: "launch" }).click();
  await phone.page.getByText("Priority displays").waitFor();

  expect(phone.watch.errors).toEqual([]);
  await phone.page.context().close();
});

test("when the server is gone the chat stays, says so, and catches up", async () => {
  await send(ada.page, "Before the restart");
  await inBoth((page) => message(page, "Before the restart"));
  const quiet = [ada.watch.errors.length, grace.watch.errors.length];

  await site.down();
  await inBoth((page) => page.getByRole("status").filter({ hasText: "Reconnecting" }));
  await screenshot(ada.page, "reconnecting");
  expect(await message(ada.page, "Before the restart").count()).toBe(1);
  await site.manage(
    "shell",
    "-c",
    "from chat.models import *; Message.objects.create(room=ChatRoom.objects.get(name='lobby'), author=User.objects.get(username='linus'), text='Said meanwhile')",
  );
  await site.serve();

  await inBoth((page) => page.getByRole("status").filter({ hasText: "Live" }));
  await inBoth((page) => message(page, "Said meanwhile"));
  expect(quiet).toEqual([0, 0]);
  // The browser itself reports each refused connection.
  for (const { watch } of [ada, grace]) watch.errors.length = 0;
});
