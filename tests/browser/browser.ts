import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";

const SCREENSHOTS = path.resolve(import.meta.dirname, "../../build/screenshots");

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launch(): Promise<Browser> {
  const names = ["chromium", "chromium-browser", "google-chrome"].map((name) => `/usr/bin/${name}`);
  const executablePath = process.env["CHROMIUM"] ?? names.find(existsSync) ?? "chromium";
  return chromium.launch({ executablePath, args: FLAGS });
}

/** What went wrong in a page, and whom it talked to. */
export class Watch {
  readonly errors: string[] = [];
  readonly origins = new Set<string>();
  readonly scripts = new Set<string>();
  /** What it asked over HTTP: "query Me", "mutation SendMessage". */
  readonly operations: string[] = [];

  constructor(page: Page) {
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.errors.push(message.text());
    });
    page.on("pageerror", (error) => this.errors.push(error.message));
    page.on("requestfailed", (request) => {
      const why = request.failure()?.errorText ?? "";
      // A page that goes away lets go of its requests.
      if (why !== "net::ERR_ABORTED") this.errors.push(`${request.url()} ${why}`);
    });
    page.on("request", (request) => {
      this.origins.add(origin(request.url()));
      if (request.resourceType() === "script") this.scripts.add(path.basename(request.url()));
      const query = queryOf(request.url(), request.postData());
      if (query) this.operations.push(/\w+ \w+/.exec(query)?.[0] ?? query);
    });
    page.on("websocket", (socket) => this.origins.add(origin(socket.url())));
    page.on("worker", (worker) => this.origins.add(origin(worker.url())));
  }
}

/** Of `ws:` addresses too, as the page's own; data and blob addresses belong to the page. */
function origin(url: string): string {
  const address = new URL(url.replace(/^ws/, "http"));
  return ["data:", "blob:"].includes(address.protocol) ? "page" : address.origin;
}

/** Of GraphQL, by GET or POST. */
function queryOf(url: string, body: string | null): string | null | undefined {
  if (!body?.startsWith("{")) return new URL(url).searchParams.get("query");
  return (JSON.parse(body) as { query?: string }).query;
}

export interface Visitor {
  page: Page;
  watch: Watch;
}

type Session = Awaited<ReturnType<BrowserContext["storageState"]>>;

/** The cookies of those who have signed in: the form is slow, as its password hash must be. */
const sessions = new Map<string, Session>();

/** A browser of somebody's own, signed in and at the chat. */
export async function signIn(
  browser: Browser,
  url: string,
  username: string,
  { path = "/", ...options }: BrowserContextOptions & { path?: string } = {},
): Promise<Visitor> {
  const session = sessions.get(username);
  const context = await browser.newContext({
    baseURL: url,
    viewport: { width: 1280, height: 800 },
    locale: "en-GB",
    ...(session && { storageState: session }),
    ...options,
  });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const watch = new Watch(page);
  await page.goto(path);
  if (!session) {
    await page.getByLabel("Name").fill(username);
    await page.getByLabel("Password").fill("demo");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL((address) => !address.pathname.startsWith("/login"));
    sessions.set(username, await context.storageState());
  }
  return { page, watch };
}

export async function screenshot(page: Page, name: string): Promise<void> {
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), animations: "disabled" });
}
