// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import { request } from "node:http";
import path from "node:path";
import { cacheExchange } from "@urql/exchange-graphcache";
import { buildSchema, introspectionFromSchema, parse } from "graphql";
import { act, memo, StrictMode, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import {
  cacheExchange as documentCache,
  Client as UrqlClient,
  fetchExchange,
  Provider,
  useQuery,
  useSubscription,
  type Exchange,
} from "urql";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { createClient, type Client, type TypedDocument } from "../src/client.js";
import { channelExchange, graphcacheConfig } from "../src/urql.js";
import { channelMap, type ChatRoom, type Message } from "./chat.js";
import { Site } from "./site.js";

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

/** urql and Graphcache in a page of React, against the example: see site.ts. */

type Room = Pick<ChatRoom, "id" | "topic" | "messages">;
type Name = { readonly name: string };

const FIELDS = `
  topic members { name status }
  messages { text editedAt author { name status } reactions { emoji user { name } } }`;
const MINE = parse(
  `subscription Mine($name: String!) { chatRoom(name: $name) { state { ${FIELDS} } } }`,
) as TypedDocument<{ readonly chatRoom: { readonly state: Room | null } }, Name>;
const ONCE = parse(
  `query Once($name: String!) { chatRoom(name: $name) { id ${FIELDS.replaceAll("{", "{ id")} } }`,
) as TypedDocument<{ readonly chatRoom: Room | null }, Name>;
const EDIT = parse(
  `mutation Edit($message: ID!, $text: String!) { editMessage(message: $message, text: $text) { id text editedAt } }`,
) as TypedDocument<{ readonly editMessage: Message }, { message: string; text: string }>;

let site: Site;
beforeAll(async () => {
  site = await Site.start();
}, 60_000);
afterAll(() => site.stop());

const console_ = {
  warn: vi.spyOn(console, "warn"),
  error: vi.spyOn(console, "error"),
};
let root: Root;
let page: HTMLElement;
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
async function signIn(
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
  const fetch_ = async (url: unknown, options: RequestInit = {}): Promise<Response> => {
    const body = String(options.body);
    requests.push(body);
    const answer = await post(String(url), body, session);
    await held;
    return new Response(answer, { headers: { "content-type": "application/json" } });
  };
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
    fetch: fetch_ as typeof fetch,
    preferGetMethod: false,
    exchanges: [...caches, channelExchange(rx), fetchExchange],
  });
  const subscribes = () => socket.sent.filter(({ type }) => type === "subscribe");
  return { urql, rx, requests, subscribes, hold, socket };
}

function post(url: string, body: string, session: string): Promise<string> {
  const csrf = "a".repeat(32);
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": "application/json",
      cookie: `sessionid=${session}; csrftoken=${csrf}`,
      "x-csrftoken": csrf,
    };
    const sent = request(url, { method: "POST", headers }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve(text));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

type Page = Awaited<ReturnType<typeof signIn>>;

const show = ({ urql }: Page, node: ReactNode) =>
  act(() => root.render(<Provider value={urql}>{node}</Provider>));

/** Resolves when it holds of what is on the page. */
async function until(holds: () => boolean, what = "it"): Promise<void> {
  for (let turn = 0; turn < 500; turn++) {
    if (holds()) return;
    await act(() => new Promise((resolve) => setTimeout(resolve, 10)));
  }
  throw new Error(`${what} never came to be: ${page.innerHTML.slice(0, 2_000)}`);
}
const has = (text: string) => until(() => page.textContent.includes(text), text);
const hasNot = (text: string) => until(() => !page.textContent.includes(text), `not ${text}`);

const renders: string[] = [];
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

function Live({ name }: { name: string }) {
  const [{ data, error, extensions, stale }] = useSubscription({
    query: MINE,
    variables: { name },
  });
  const status = (extensions as { status?: string } | undefined)?.status;
  const title = `live ${name} ${error?.graphQLErrors[0]?.extensions["code"] ?? status}${stale ? " stale" : ""}`;
  return <Rows room={data?.chatRoom.state} title={title} />;
}

function Once({ name }: { name: string }) {
  const [{ data }] = useQuery({ query: ONCE, variables: { name } });
  return <Rows room={data?.chatRoom} title={`once ${name}`} />;
}

const listed = (title: string) =>
  [...(page.querySelector(`ul[title^="${title}"]`)?.querySelectorAll("li") ?? [])].map(
    (item) => item.textContent,
  );
/** Both ways show the same, and something. */
function agree(name = "lobby"): void {
  const live = listed(`live ${name}`);
  expect(live.length).toBeGreaterThan(0);
  expect(listed(`once ${name}`)).toEqual(live);
}

const python = (code: string) => act(() => site.run(code));
const say = (text: string, name = "lobby", author = "grace") =>
  python(`
message = Message.objects.create(
    room=ChatRoom.objects.get(name=${JSON.stringify(name)}), author=User.objects.get(username=${JSON.stringify(author)}), text=${JSON.stringify(text)}
)`);

async function both(name = "lobby"): Promise<Page> {
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

describe("A document", () => {
  it("may have aliases, fragments, conditions and arguments of its own, also two for one room", async () => {
    const ada = await signIn("ada");
    const odd = parse(`
      subscription Odd($room: String!, $who: Boolean = false) {
        here: chatRoom(name: $room) { ...Event }
      }
      fragment Event on ChatRoomEvent { kind all: state { subject: topic ...Said } }
      fragment Said on ChatRoom {
        messages { ... on Message { said: text } ...By @include(if: $who) }
        members { id username }
      }
      fragment By on Message { author { name } by: author { id status } }`);
    const said: unknown[] = [];
    const stop = ada.urql
      .subscription(odd, { room: "kernel", who: true })
      .subscribe(({ data }) => said.push(data)).unsubscribe;
    await until(() => said.length > 0);
    expect(said[0]).toMatchObject({
      here: {
        __typename: "ChatRoomEvent",
        all: {
          subject: "Strong opinions, kindly put",
          messages: [
            {
              __typename: "Message",
              said: "Talk is cheap. Show me the code.",
              author: { name: "Linus Torvalds" },
              by: { status: "Reviewing" },
            },
            {},
          ],
        },
      },
    });
    const query = parse(`{
      chatRoom(name: "kernel") { id topic messages { id text author { id name status } } members { id username } }
    }`);
    const known = () => ada.urql.readQuery(query, {})?.data as { chatRoom: Room } | undefined;
    expect(known()?.chatRoom.messages[0]?.author.status).toBe("Reviewing");
    await site.run("user = User.objects.get(username='linus'); user.status = 'Gone'; user.save()");
    await expect.poll(() => known()?.chatRoom.messages[0]?.author.status).toBe("Gone");
    stop();
    expect(ada.requests).toEqual([]);
  });

  it("that can't be read is an error of its result", async () => {
    const { urql } = await signIn("ada");
    const bad = parse(`subscription { chatRoom(name: "lobby") { state { nothing } } }`);
    const { error } = await urql.subscription(bad, {}).toPromise();
    expect(error?.graphQLErrors[0]).toMatchObject({ extensions: { code: "FlattenError" } });
    expect(error?.message).toContain("ChatRoom has no field `nothing`");
  });

  it("that selects less than a mounted query makes the query ask for what is new", async () => {
    const ada = await signIn("ada");
    const texts = parse(`subscription { chatRoom(name: "lobby") { state { messages { text } } } }`);
    const { unsubscribe } = ada.urql.subscription(texts, {}).subscribe(() => undefined);
    await show(ada, <Once name="lobby" />);
    await until(() => listed("once").length > 0);
    ada.requests.splice(0);
    await say("with an author that the subscription doesn't know");
    await has("doesn't know by Grace Hopper");
    expect(ada.requests).toHaveLength(1);
    await python("message.delete()");
    await hasNot("doesn't know");
    expect(ada.requests).toHaveLength(1);
    unsubscribe();
  });

  it("is live without Graphcache all the same, but no query follows", async () => {
    const ada = await signIn("ada", [documentCache]);
    await show(
      ada,
      <>
        <Live name="lobby" />
        <Once name="lobby" />
      </>,
    );
    await until(() => listed("live").length > 0 && listed("once").length > 0);
    const before = listed("once");
    await say("in the subscription only");
    await has("in the subscription only");
    expect(listed("once")).toEqual(before);
    expect(ada.requests).toHaveLength(1);
    await python("message.delete()");
  });
});

describe("graphcacheConfig", () => {
  it("keeps options of one's own, and runs updates of one's own after the cache has the state", async () => {
    const seen: unknown[] = [];
    const own = graphcacheConfig(channelMap, {
      keylessTypes: ["ChatRoomEvent", "Money"],
      keys: { Day: ({ date }) => String(date) },
      updates: {
        Mutation: { sendMessage: () => undefined },
        Subscription: {
          other: () => undefined,
          chatRoom: (_, args, cache) =>
            void seen.push(
              cache.resolve(cache.resolve("Query", "chatRoom", args) as string, "topic"),
            ),
        },
      },
    });
    expect(own.keys?.["Money"]?.({ __typename: "Money" })).toBeNull();
    expect(own.keys?.["Day"]?.({ __typename: "Day", date: "today" })).toBe("today");
    expect(Object.keys(own.updates?.["Subscription"] ?? {})).toEqual(["other", "chatRoom"]);
    expect(own.updates?.["Mutation"]).toHaveProperty("sendMessage");
    const { urql } = await signIn("ada", [cacheExchange(own)]);
    const { unsubscribe } = urql.subscription(MINE, { name: "kernel" }).subscribe(() => undefined);
    await expect.poll(() => seen).toEqual(["Strong opinions, kindly put"]);
    unsubscribe();
  });

  it("knows the schema where Graphcache does", async () => {
    const sdl = readFileSync(
      path.resolve(import.meta.dirname, "../../schema/schema.graphql"),
      "utf8",
    );
    const schema = introspectionFromSchema(buildSchema(sdl));
    const ada = await signIn("ada", [cacheExchange(graphcacheConfig(channelMap, { schema }))]);
    await show(
      ada,
      <>
        <Live name="kernel" />
        <Once name="kernel" />
      </>,
    );
    await until(() => listed("live").length > 0 && listed("once").length > 0);
    await say("as the schema has it", "kernel");
    await has("as the schema has it");
    agree("kernel");
    await python("message.delete()");
    expect(ada.requests).toHaveLength(1);
  });

  it("says at once what the exchange lacks", () => {
    expect(() => channelExchange({ url: "/graphql/" })).toThrow("needs a `channelMap`");
  });
});
