import { cacheExchange } from "@urql/exchange-graphcache";
import { parse } from "graphql";
import { act, memo, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import {
  Client as UrqlClient,
  fetchExchange,
  Provider,
  useQuery,
  useSubscription,
  type Exchange,
} from "urql";
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from "vitest";
import { createClient, type Client, type TypedDocument } from "../src/client.js";
import { channelExchange, graphcacheConfig } from "../src/urql.js";
import { channelMap, type ChatRoom, type Message } from "./chat.js";
import { fetcher } from "./http.js";
import { Site } from "./site.js";

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

/** A page with urql, Graphcache and React, against the example: see site.ts. Each test file has a site of its own. */

export type Room = Pick<ChatRoom, "id" | "topic" | "messages">;
type Name = { readonly name: string };

const FIELDS = `
  topic members { name status }
  messages { text editedAt author { name status } reactions { emoji user { name } } }`;
export const MINE = parse(
  `subscription Mine($name: String!) { chatRoom(name: $name) { state { ${FIELDS} } } }`,
) as TypedDocument<{ readonly chatRoom: { readonly state: Room | null } }, Name>;
const ONCE = parse(
  `query Once($name: String!) { chatRoom(name: $name) { id ${FIELDS.replaceAll("{", "{ id")} } }`,
) as TypedDocument<{ readonly chatRoom: Room | null }, Name>;
export const EDIT = parse(
  `mutation Edit($message: ID!, $text: String!) { editMessage(message: $message, text: $text) { id text editedAt } }`,
) as TypedDocument<{ readonly editMessage: Message }, { message: string; text: string }>;

export let site: Site;
beforeAll(async () => {
  site = await Site.start();
}, 60_000);
afterAll(() => site.stop());

const console_ = {
  warn: vi.spyOn(console, "warn"),
  error: vi.spyOn(console, "error"),
};
let root: Root;
export let page: HTMLElement;
const clients: Client[] = [];
beforeEach(() => {
  page = document.createElement("div");
  root = createRoot(page);
});
afterEach(async () => {
  await act(() => root.unmount());
  for (const client of clients.splice(0)) client.dispose();
  const said = [...console_.warn.mock.calls, ...console_.error.mock.calls];
  console_.warn.mockClear();
  console_.error.mockClear();
  expect(said).toEqual([]);
});

/** The browser of somebody who is signed in. */
export async function signIn(
  username: string,
  caches: Exchange[] = [cacheExchange(graphcacheConfig(channelMap))],
) {
  const socket = await site.page(username);
  const session = String(
    await site.run(`
from django.test import Client
client = Client()
client.force_login(User.objects.get(username=${JSON.stringify(username)}))
out = client.cookies["sessionid"].value`),
  );
  const requests: string[] = [];
  let held: Promise<void> = Promise.resolve();
  const csrf = "a".repeat(32);
  const fetched = fetcher(
    (body) => requests.push(body),
    () => ({ cookie: `sessionid=${session}; csrftoken=${csrf}`, "x-csrftoken": csrf }),
    () => held,
  );
  /** Keeps the answers of requests back until the returned function is called. */
  function hold(): () => void {
    let release = (): void => undefined;
    held = new Promise((resolve) => (release = resolve));
    return release;
  }
  const rx = createClient({
    url: site.proxy.url,
    channelMap,
    webSocketImpl: socket,
    linger: 20,
    retryWait: () => 50,
  });
  clients.push(rx);
  const urql = new UrqlClient({
    url: site.proxy.url,
    fetch: fetched,
    preferGetMethod: false,
    exchanges: [...caches, channelExchange(rx), fetchExchange],
  });
  const subscribes = () => socket.sent.filter(({ type }) => type === "subscribe");
  return { urql, rx, requests, subscribes, hold, socket };
}

type Page = Awaited<ReturnType<typeof signIn>>;

export const show = ({ urql }: Page, node: ReactNode) =>
  act(() => root.render(<Provider value={urql}>{node}</Provider>));

/** Resolves when it holds of what is on the page. */
export async function until(holds: () => boolean, what = "it"): Promise<void> {
  for (let turn = 0; turn < 500; turn++) {
    if (holds()) return;
    await act(() => new Promise((resolve) => setTimeout(resolve, 10)));
  }
  throw new Error(`${what} never came to be: ${page.innerHTML.slice(0, 2_000)}`);
}
export const has = (text: string) => until(() => page.textContent.includes(text), text);
export const hasNot = (text: string) =>
  until(() => !page.textContent.includes(text), `not ${text}`);

export const renders: string[] = [];
beforeEach(() => void renders.splice(0));

const Row = memo(function Row({ message }: { message: Message }) {
  renders.push(message.text);
  return (
    <li>
      {message.text} by {message.author.name}: {message.author.status}{" "}
      {message.reactions.map(({ emoji, user }) => emoji + user.name).join()}
    </li>
  );
});

function Rows({ room, title }: { room: Room | null | undefined; title: string }) {
  return (
    <ul title={title}>
      {room?.topic}
      {room?.messages.map((message) => (
        <Row key={message.id} message={message} />
      ))}
    </ul>
  );
}

export function Live({ name }: { name: string }) {
  const [{ data, error, extensions, stale }] = useSubscription({
    query: MINE,
    variables: { name },
  });
  const status = (extensions as { status?: string } | undefined)?.status;
  const title = `live ${name} ${error?.graphQLErrors[0]?.extensions["code"] ?? status}${stale ? " stale" : ""}`;
  return <Rows room={data?.chatRoom.state} title={title} />;
}

export function Once({ name }: { name: string }) {
  const [{ data }] = useQuery({ query: ONCE, variables: { name } });
  return <Rows room={data?.chatRoom} title={`once ${name}`} />;
}

export const listed = (title: string) =>
  [...(page.querySelector(`ul[title^="${title}"]`)?.querySelectorAll("li") ?? [])].map(
    (item) => item.textContent,
  );
/** Both ways show the same, and something. */
export function agree(name = "lobby"): void {
  const live = listed(`live ${name}`);
  expect(live.length).toBeGreaterThan(0);
  expect(listed(`once ${name}`)).toEqual(live);
}

export const python = (code: string) => act(() => site.run(code));
export const say = (text: string, name = "lobby", author = "grace") =>
  python(`
message = Message.objects.create(
    room=ChatRoom.objects.get(name=${JSON.stringify(name)}), author=User.objects.get(username=${JSON.stringify(author)}), text=${JSON.stringify(text)}
)`);

export async function both(name = "lobby"): Promise<Page> {
  const page = await signIn("ada");
  await show(
    page,
    <>
      <Live name={name} />
      <Once name={name} />
    </>,
  );
  await until(() => listed(`live ${name}`).length > 0 && listed(`once ${name}`).length > 0);
  page.requests.splice(0);
  return page;
}
