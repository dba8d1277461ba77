import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { launch, screenshot, signIn, type Visitor } from "./browser.js";
import { Site } from "./site.js";

let site: Site;
let browser: Browser;
let ada: Visitor;
let page: Page;

beforeAll(async () => {
  [site, browser] = await Promise.all([Site.start(), launch()]);
});

afterAll(async () => {
  await browser?.close();
  await site?.stop();
});

beforeEach(async () => {
  ada = await signIn(browser, site.url, "ada", {
    permissions: ["clipboard-read", "clipboard-write"],
  });
  page = ada.page;
  await page.goto("/graphql/");
  await expect.poll(() => shown(".graphiql-query-editor")).toContain("subscription Live {");
});

afterEach(async () => {
  await page.context().close();
  expect(ada.watch.errors).toEqual([]);
  expect([...ada.watch.origins].filter((origin) => origin !== "page")).toEqual([site.url]);
});

/** What an editor shows. */
async function shown(pane: string): Promise<string> {
  const lines = await page.locator(`${pane} .view-lines:visible`).first().innerText();
  return lines.replaceAll("\u00a0", " ");
}

/**
 * Pastes into an editor: what is typed gets brackets and indentation added. Again until it is there, as an
 * editor that has only just appeared may still be given its first text.
 */
async function write(pane: string, text: string): Promise<void> {
  const [line = ""] = text.split("\n");
  await page.evaluate((copied) => navigator.clipboard.writeText(copied), text);
  await expect
    .poll(
      async () => {
        await page.locator(`${pane} .monaco-editor:visible`).first().click();
        await page.keyboard.press("Control+A");
        await page.keyboard.press("Control+V");
        return shown(pane);
      },
      { timeout: 15_000, interval: 500 },
    )
    .toContain(line.trim());
}

/** Runs a document, once GraphiQL has read the name of its operation. */
async function run(document: string): Promise<void> {
  await write(".graphiql-query-editor", document);
  const name = /\w+ (\w+)/.exec(document)?.[1] ?? "";
  await page.getByRole("tab", { name }).waitFor();
  await page.getByRole("button", { name: /Execute query/ }).click();
}

const answer = (text: string) =>
  page.locator(".graphiql-response").getByText(text, { exact: false }).first().waitFor();

const LIVE = `subscription Live {
  chatRoom(name: "launch") {
    kind
    state {
      topic
      messages { text author { name } }
    }
  }
}`;

test("the first document is a live query of the schema's first channel", async () => {
  const text = await shown(".graphiql-query-editor");

  expect(text).toContain('chatRoom(name: "") {');
  expect(text).toContain("topic");
});

test("a subscription streams what is committed elsewhere", async () => {
  await run(LIVE);
  await answer("SNAPSHOT");
  await answer("Countdown to the first release");

  const chat = await page.context().newPage();
  await chat.goto("/rooms/launch/");
  await chat.getByLabel("Message to #launch").fill("Seen in GraphiQL");
  await chat.keyboard.press("Enter");

  await answer("CHANGE");
  await answer("Seen in GraphiQL");
  await page.getByRole("button", { name: "Show GraphiQL Explorer" }).click();
  await page.locator(".graphiql-explorer-root").getByText("cursor").waitFor();
  await screenshot(page, "graphiql");
});

test("a mutation passes the check against forgery", async () => {
  await run(
    `mutation Send { sendMessage(room: "lobby", text: "From GraphiQL") { text author { name } } }`,
  );

  await answer("From GraphiQL");
  await answer("Ada Lovelace");
});

test("the headers pane becomes the connection parameters", async () => {
  await write(".graphiql-editor-tool", `{"X-Request-Id": "from the pane"}`);
  const sent: string[] = [];
  page.once("websocket", (socket) => {
    socket.on("framesent", ({ payload }) => sent.push(String(payload)));
  });
  await run(LIVE);
  await answer("SNAPSHOT");

  expect(JSON.parse(sent[0] ?? "")).toEqual({
    type: "connection_init",
    payload: { "X-Request-Id": "from the pane" },
  });
});

test("completion knows the schema", async () => {
  await write(".graphiql-query-editor", 'subscription { chatRoom(name: "lobby") { ');
  const suggested = page.locator(".suggest-widget").getByText("messages").first();

  // asked again until the editor's language worker has read the schema: before that it has nothing to suggest
  await expect
    .poll(
      async () => {
        await page.keyboard.press("Escape");
        await page.keyboard.press("Control+Space");
        await suggested.waitFor({ timeout: 2_000 }).catch(() => undefined);
        return suggested.isVisible();
      },
      { timeout: 45_000 },
    )
    .toBe(true);
});
