// @vitest-environment happy-dom
import { request } from "node:http";
import {
  ApolloClient,
  ApolloLink,
  gql,
  HttpLink,
  InMemoryCache,
  type TypedDocumentNode,
} from "@apollo/client";
import { ApolloProvider, useFragment, useQuery, useSubscription } from "@apollo/client/react";
import { StrictMode, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { channelLink, typePolicies } from "../src/apollo.js";
import { createClient, type Client, type ClientOptions } from "../src/client.js";
import { channelMap, ChatRoomChannel, type ChatRoom, type Message } from "./chat.js";
import { Site, type PageSocket } from "./site.js";
import { Watch } from "./watch.js";

/** Real components of Apollo's against the example, served by uvicorn with an embedded Valkey: see site.ts. */

type Room = { readonly chatRoom: ChatRoom | null };
type Live = { readonly chatRoom: { readonly state: ChatRoom | null } };
type Name = { readonly name: string };

const FIELDS = `
  id name topic
  members { id username name status away }
  messages {
    id text sentAt editedAt author { id username name status away } reactions { id emoji user { id username name status away } }
  }`;
const QUERY: TypedDocumentNode<Room, Name> = gql(
  `query Room($name: String!) { chatRoom(name: $name) { ${FIELDS} } }`,
);
const ALL: TypedDocumentNode<Live, Name> = gql(
  `subscription All($name: String!) { chatRoom(name: $name) { state { ${FIELDS} } } }`,
);
/** Less than the query has, under other names, and not even with ids. */
const SOME: TypedDocumentNode<
  {
    readonly room: {
      readonly state: { readonly said: readonly { readonly text: string }[] } | null;
    };
  },
  Name
> = gql(`subscription Some($name: String!) {
  room: chatRoom(name: $name) { state { said: messages { text ...By } } }
}
fragment By on Message { by: author { name } }`);
const MESSAGE: TypedDocumentNode<Message> = gql(`fragment MessageFields on Message {
  id text author { id name } reactions { id emoji }
}`);

let site: Site;
let token: string;
let root: Root;
let http: string[];
let warnings: unknown[][];
const clients: Client[] = [];

beforeAll(async () => {
  site = await Site.start();
  token = String(
    await site.run(`
from rest_framework.authtoken.models import Token
out = Token.objects.get_or_create(user=User.objects.get(username="ada"))[0].key
grace = User.objects.get(username="grace")
lobby, launch = ChatRoom.objects.get(name="lobby"), ChatRoom.objects.get(name="launch")`),
  );
}, 60_000);
beforeEach(() => {
  http = [];
  warnings = [];
  for (const method of ["error", "warn", "info", "log"] as const)
    vi.spyOn(console, method).mockImplementation((...said: unknown[]) => void warnings.push(said));
  root = createRoot(document.createElement("div"));
});
afterEach(() => {
  root.unmount();
  for (const client of clients.splice(0)) client.dispose();
  vi.restoreAllMocks();
  expect(warnings).toEqual([]);
});
afterAll(() => site.stop());

/** Over HTTP, as the page's queries and mutations go. */
function post(body: string): Promise<string> {
  const headers = {
    "content-type": "application/json",
    accept: "application/graphql-response+json, application/json",
    authorization: `Token ${token}`,
  };
  return new Promise((resolve, reject) => {
    const sent = request(site.proxy.url, { method: "POST", headers }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve(text));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** What the database says now, as the serializer has it. */
async function truth(name: string): Promise<ChatRoom | null> {
  const data = await site.run(`
from chat.serializers import ChatRoomSerializer
room_now = ChatRoom.objects.filter(name=${JSON.stringify(name)}).first()
out = room_now and json.loads(json.dumps(ChatRoomSerializer(room_now).data, default=str))`);
  return plain(asGraphQL(data)) as ChatRoom | null;
}

function asGraphQL(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asGraphQL);
  if (typeof value !== "object" || value === null) return value;
  const camel = (name: string) =>
    name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      camel(name),
      name === "id" ? String(item) : asGraphQL(item),
    ]),
  );
}

interface Page {
  readonly apollo: ApolloClient;
  readonly rx: Client;
  readonly socket: PageSocket;
  subscribes(): number;
  show(node: ReactNode): void;
}

async function open(
  options: Partial<ClientOptions> = {},
  hold: (operation: string) => Promise<void> = () => Promise.resolve(),
): Promise<Page> {
  const socket = await site.page("ada");
  const rx = createClient({
    url: site.proxy.url,
    channelMap,
    webSocketImpl: socket,
    linger: 50,
    retryWait: () => 50,
    ...options,
  });
  clients.push(rx);
  const fetched = async (_: unknown, init?: RequestInit): Promise<Response> => {
    const body = String(init?.body);
    const { operationName } = JSON.parse(body) as { operationName: string };
    http.push(operationName);
    const text = await post(body);
    await hold(operationName);
    return new Response(text, { headers: { "content-type": "application/json" } });
  };
  const httpLink = new HttpLink({ uri: site.proxy.url, fetch: fetched as typeof fetch });
  const apollo = new ApolloClient({
    link: ApolloLink.from([channelLink(rx), httpLink]),
    cache: new InMemoryCache({ typePolicies: typePolicies(channelMap) }),
  });
  return {
    apollo,
    rx,
    socket,
    subscribes: () => socket.sent.filter((one) => one.type === "subscribe").length,
    show: (node) => root.render(<ApolloProvider client={apollo}>{node}</ApolloProvider>),
  };
}

/** What the components show, by their names; `rooms` has each that a subscription ever showed. */
const seen = new Map<string, unknown>();
const rooms: ChatRoom[] = [];
beforeEach(() => {
  seen.clear();
  rooms.length = 0;
});

function Subscribed({ name, as = name }: { name: string; as?: string }) {
  const { data, error, restart } = useSubscription(ALL, { variables: { name } });
  const state = data?.chatRoom.state;
  seen.set(as, error ?? state);
  seen.set(`restart ${as}`, restart);
  if (state) rooms.push(state);
  return state?.messages.map(({ id }) => <Row key={id} id={id} />);
}

function Row({ id }: { id: string }) {
  const { data, complete } = useFragment({
    fragment: MESSAGE,
    from: { __typename: "Message", id },
  });
  seen.set(`Message:${id}`, complete ? data : "incomplete");
  return null;
}

function Queried({ name }: { name: string }) {
  const { data, loading } = useQuery(QUERY, { variables: { name } });
  seen.set(`query ${name}`, loading ? "loading" : data?.chatRoom);
  return null;
}

function Some({ name }: { name: string }) {
  const { data } = useSubscription(SOME, { variables: { name } });
  seen.set(`some ${name}`, data?.room.state?.said);
  return null;
}

/** Without what Apollo adds. Lists that have no order in the database are sorted. */
function plain(value: unknown): unknown {
  const text = JSON.stringify(value ?? null, (key, item: unknown) => {
    if (key === "__typename") return undefined;
    if (key !== "members" && key !== "reactions") return item;
    return [...(item as { id: string }[])].sort(
      (left, right) => Number(left.id) - Number(right.id),
    );
  });
  return JSON.parse(text);
}

const patience = { timeout: 10_000, interval: 10 };

/** Waits until all components show what the database says. */
function agree(...names: string[]): Promise<void> {
  return vi.waitFor(async () => {
    for (const name of names) {
      const now = await truth(name);
      expect(plain(seen.get(name))).toEqual(now);
      if (seen.has(`query ${name}`)) expect(plain(seen.get(`query ${name}`))).toEqual(now);
      const messages = now?.messages ?? [];
      if (seen.has(`some ${name}`))
        expect(plain(seen.get(`some ${name}`))).toEqual(
          messages.map(({ text, author }) => ({ text, by: { name: author.name } })),
        );
      for (const { id, text, author, reactions } of messages)
        expect(plain(seen.get(`Message:${id}`))).toEqual({
          id,
          text,
          author: { id: author.id, name: author.name },
          reactions: reactions.map(({ id, emoji }) => ({ id, emoji })),
        });
    }
  }, patience);
}

const lobby = () => seen.get("lobby") as ChatRoom;

describe("Plain components of Apollo's", () => {
  it("follow all that happens, without a request over HTTP", async () => {
    const page = await open();
    page.show(
      <StrictMode>
        <Subscribed name="lobby" />
        <Some name="lobby" />
        <Queried name="lobby" />
      </StrictMode>,
    );
    await agree("lobby");
    const first = http.length;
    expect(first).toBeLessThanOrEqual(1);
    expect(page.subscribes()).toBe(1);
    const untouched = lobby().messages[0];

    const steps = {
      create: `message = Message.objects.create(room=lobby, author=grace, text="created")`,
      update: `message.text = "edited"; message.save()`,
      "a child": `reaction = Reaction.objects.create(message=message, user=grace, emoji="👍")`,
      "a child's child": `grace.name = "Amazing Grace"; grace.save()`,
      "the root": `lobby.topic = "Another"; lobby.save()`,
      "no child": `reaction.delete()`,
      order: `message.sent_at = Message.objects.order_by("sent_at")[0].sent_at.replace(year=2000); message.save()`,
      back: `message.sent_at = message.sent_at.replace(year=2040); message.save()`,
      membership: `lobby.members.remove(grace)`,
      "membership again": `lobby.members.add(grace)`,
      delete: `message.delete()`,
    };
    for (const [what, code] of Object.entries(steps)) {
      await site.run(code);
      await agree("lobby");
      expect(http, what).toHaveLength(first);
    }
    expect(lobby().messages[0]?.id).toBe(untouched?.id);
    expect(page.subscribes()).toBe(1);
  });

  it("follow a cascade, also where a node of another type has the same id", async () => {
    const page = await open();
    page.show(
      <>
        <Queried name="lobby" />
        <Subscribed name="lobby" />
        <Subscribed name="launch" />
      </>,
    );
    await site.run(`
guest = User.objects.create(username="guest", name="Guest")
for room in (lobby, launch):
    room.members.add(guest)
    Message.objects.create(room=room, author=guest, text="hello")
message = Message(pk=guest.pk + 1000, room=lobby, author=guest, text="same id")
message.save()
Reaction(pk=message.pk, message=message, user=guest, emoji="👀").save()
Reaction.objects.create(message=lobby.messages.first(), user=guest, emoji="👍")`);
    await agree("lobby", "launch");
    const first = http.length;
    await site.run(`Reaction.objects.get(pk=message.pk).delete()`);
    await agree("lobby");
    expect(lobby().messages.some((one) => one.text === "same id")).toBe(true);
    await site.run(`guest.delete()`);
    await agree("lobby", "launch");
    expect(lobby().members.some((one) => one.username === "guest")).toBe(false);
    expect(http).toHaveLength(first);
  });

  it("never miss a row that moves between two rooms that are shown", async () => {
    const page = await open();
    page.show(
      <>
        <Subscribed name="lobby" />
        <Subscribed name="launch" />
        <Queried name="lobby" />
        <Queried name="launch" />
      </>,
    );
    await site.run(`message = Message.objects.create(room=lobby, author=grace, text="moving")`);
    await agree("lobby", "launch");
    const first = http.length;
    const id = lobby().messages.find((one) => one.text === "moving")?.id ?? "";
    for (const there of ["launch", "lobby", "launch"]) {
      rooms.length = 0;
      await site.run(`message.room = ${there}; message.save()`);
      await agree("lobby", "launch");
      // once it is there, it stays
      const shown = rooms.filter((room) => room.name === there);
      const has = shown.map((room) => room.messages.some((one) => one.id === id));
      expect(has.slice(has.indexOf(true))).not.toContain(false);
      expect(seen.get(`Message:${id}`)).not.toBe("incomplete");
    }
    await site.run(`message.delete()`);
    await agree("launch");
    expect(http).toHaveLength(first);
  });

  it("lose nothing of a burst of 200", async () => {
    const page = await open();
    page.show(
      <>
        <Subscribed name="launch" />
        <Queried name="launch" />
      </>,
    );
    await agree("launch");
    const first = http.length;
    await site.run(`
for number in range(200):
    Message.objects.create(room=launch, author=grace, text=f"burst {number}")`);
    await agree("launch");
    const texts = (seen.get("launch") as ChatRoom).messages.map((one) => one.text);
    expect(texts.slice(-200)).toEqual(Array.from({ length: 200 }, (_, n) => `burst ${n}`));
    expect(http).toHaveLength(first);
    await site.run(`Message.objects.filter(text__startswith="burst").delete()`);
    await agree("launch");
  });
});

describe("A second component", () => {
  it("sees all at once by the same subscription of the server, which ends with the last", async () => {
    const page = await open();
    page.show(<Subscribed name="lobby" key="1" />);
    await agree("lobby");
    page.show([
      <Subscribed name="lobby" key="1" />,
      <Subscribed name="lobby" key="2" as="late" />,
      <Some name="lobby" key="3" />,
    ]);
    await expect.poll(() => seen.get("late"), patience).toBe(lobby());
    await expect.poll(() => seen.get("some lobby"), patience).toHaveLength(lobby().messages.length);
    const hook = new Watch(page.rx.channel(ChatRoomChannel, { name: "lobby" }));
    expect(hook.current.status).toBe("live");
    hook.stop();
    page.show(<Subscribed name="lobby" key="2" as="late" />);
    await site.run(`lobby.topic = "For the late"; lobby.save()`);
    await expect.poll(() => (seen.get("late") as ChatRoom).topic, patience).toBe("For the late");
    expect(page.subscribes()).toBe(1);
    page.show(null);
    await expect.poll(() => page.socket.sent.at(-1)?.type, patience).toBe("complete");
    expect(http).toEqual([]);
  });

  it("that is mounted together with the very first sees all, also if it was known before", async () => {
    const page = await open();
    const hook = new Watch(page.rx.channel(ChatRoomChannel, { name: "lobby" }));
    await hook.is("live");
    page.show([
      <Subscribed name="lobby" key="1" as="one" />,
      <Subscribed name="lobby" key="2" as="two" />,
    ]);
    await expect.poll(() => plain(seen.get("two")), patience).toEqual(plain(hook.state));
    expect(plain(seen.get("one"))).toEqual(plain(hook.state));
    expect(page.subscribes()).toBe(1);
    hook.stop();
  });

  it("that asks for what the channel has already brought needs no request", async () => {
    const page = await open();
    page.show(<Subscribed name="kernel" />);
    await agree("kernel");
    page.show([<Subscribed name="kernel" key="1" />, <Queried name="kernel" key="2" />]);
    await expect
      .poll(() => plain(seen.get("query kernel")), patience)
      .toEqual(plain(seen.get("kernel")));
    expect(http).toEqual([]);
  });
});

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
