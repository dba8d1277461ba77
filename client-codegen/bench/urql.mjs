// What urql adds at 10,000 nodes, minified as in production: `node bench/urql.mjs`. Medians in milliseconds from the event until
// all is told: of the store that the hook has, of the exchange with Graphcache, of that with a query of the whole room mounted
// beside the subscription, and of plain urql, where Graphcache is handed the whole state with each event.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";

const NODES = 10_000;
const USERS = 100;
const MESSAGES = NODES - USERS - 1;

async function production() {
  const folder = await mkdtemp(path.join(tmpdir(), "rxgraphql-bench-"));
  const source = new URL("../src/", import.meta.url).pathname;
  const code = `
    export { Client, gql, subscriptionExchange } from "@urql/core";
    export { cacheExchange } from "@urql/exchange-graphcache";
    export { Store } from "${source}store.ts";
    export { flatten } from "${source}flatten.ts";
    export { channelExchange, graphcacheConfig } from "${source}urql.ts";`;
  const plugin = {
    name: "entry",
    resolveId: (id) => (id === "entry" ? path.join(source, "entry.js") : null),
    load: (id) => (id.endsWith("src/entry.js") ? code : null),
  };
  const { output } = await build({
    logLevel: "error",
    configFile: false,
    plugins: [plugin],
    define: { "process.env.NODE_ENV": '"production"' },
    build: {
      write: false,
      target: "es2022",
      rollupOptions: { input: "entry", preserveEntrySignatures: "strict" },
    },
  });
  const file = path.join(folder, "urql.mjs");
  await writeFile(file, output[0].code);
  const modules = await import(pathToFileURL(file).href);
  await rm(folder, { recursive: true });
  return modules;
}

const user = { type: "User", many: false, nullable: false };
const channel = {
  ...{ name: "ChatRoom", field: "chatRoom", event: "ChatRoomEvent", root: "ChatRoom" },
  arguments: { name: "String!" },
  lists: { ChatRoom: "chatRooms", Message: "messages", User: "users" },
};
const map = {
  channels: { chatRoom: channel },
  types: {
    ChatRoom: {
      leaves: ["name", "topic"],
      edges: { messages: { type: "Message", many: true, nullable: false } },
    },
    Message: { leaves: ["text", "sentAt", "editedAt"], edges: { author: user } },
    User: { leaves: ["username", "name", "status", "away"], edges: {} },
  },
};

const message = (id, text) => ({
  ...{ id: `${id}`, text, sentAt: "2026-01-01T00:00:00Z", editedAt: null },
  author: { id: `${id % USERS}` },
});
const change = (index, removed, inserted) => [
  { node: "ChatRoom:1", field: "messages", index, removed, inserted },
];
const event = (parts, kind = "CHANGE") => ({
  ...{ kind, cursor: "c", removed: [], lists: [], chatRooms: [], messages: [], users: [] },
  ...parts,
});
const ids = Array.from({ length: MESSAGES }, (_, id) => id);
const snapshot = event(
  {
    chatRooms: [{ id: "1", name: "lobby", topic: "" }],
    messages: ids.map((id) => message(id, `message ${id}`)),
    users: Array.from({ length: USERS }, (_, id) => ({
      ...{ id: `${id}`, username: `u${id}`, name: `User ${id}`, status: "", away: false },
    })),
    lists: change(
      0,
      [],
      ids.map((id) => `Message:${id}`),
    ),
  },
  "SNAPSHOT",
);

const { Client, gql, subscriptionExchange, cacheExchange, ...ours } = await production();
const FIELDS = `id name topic messages { id text sentAt editedAt author { id username name status away } }`;
const DOCUMENT = gql`subscription Room($name: String!) { chatRoom(name: $name) { state { ${FIELDS} } } }`;
const QUERY = gql`query Once($name: String!) { chatRoom(name: $name) { ${FIELDS} } }`;
const variables = { name: "lobby" };
const settled = () => new Promise((resolve) => setTimeout(resolve));

class Hook {
  open(document) {
    this.store = new ours.Store(channel, ours.flatten(document, map).select(variables));
  }
  start() {
    this.open(DOCUMENT);
  }
  /** Resolves to the milliseconds that it took. */
  async fold(event) {
    const before = performance.now();
    this.store.fold(event);
    return performance.now() - before;
  }
}

class Exchange extends Hook {
  start() {
    const live = {
      get: () => ({
        ...{ state: this.store?.state ?? null, status: "live", error: null, retry: () => {} },
      }),
      subscribe: (listener) => ((this.tell = listener), () => {}),
    };
    const rx = { channelMap: map, open: (document) => (this.open(document), live) };
    this.run(ours.channelExchange(rx), ours.graphcacheConfig(map));
  }
  run(exchange, config) {
    this.urql = new Client({
      url: "http://localhost/",
      fetch: () => this.missed(),
      exchanges: [cacheExchange(config), exchange],
    });
    this.urql.subscription(DOCUMENT, variables).subscribe((result) => this.took("data", result));
  }
  took(what, { data, error }) {
    if (error) throw error;
    if (data !== this[what]) this.last = performance.now();
    this[what] = data;
  }
  missed() {
    throw new Error("The cache has asked the server.");
  }
  async fold(event) {
    const before = performance.now();
    this.store.fold(event);
    this.tell();
    await settled();
    return this.last - before;
  }
}

class Mounted extends Exchange {
  async fold(event) {
    const held = this.query;
    const took = await super.fold(event);
    if (this.query !== undefined && this.query === held)
      throw new Error("The query didn't follow.");
    return took;
  }
  mount() {
    this.urql.query(QUERY, variables).subscribe((result) => this.took("query", result));
    if (!this.query) throw new Error("The query isn't there.");
  }
}

const named = (value, type) =>
  Array.isArray(value)
    ? value.map((item) => named(item, type))
    : Object.fromEntries([
        ["__typename", type],
        ...Object.entries(value).map(([key, child]) => {
          const edge = map.types[type].edges[key];
          return [key, edge ? named(child, edge.type) : child];
        }),
      ]);

class Plain extends Exchange {
  start() {
    this.open(DOCUMENT);
    const subscribe = (sink) => ((this.sink = sink), { unsubscribe: () => {} });
    this.run(subscriptionExchange({ forwardSubscription: () => ({ subscribe }) }), {
      keys: { ChatRoomEvent: () => null },
    });
  }
  async fold(event) {
    await settled();
    this.store.fold(event);
    const state = named(this.store.state, "ChatRoom");
    const before = performance.now();
    this.sink.next({ data: { chatRoom: { __typename: "ChatRoomEvent", state } } });
    await settled();
    return this.last - before;
  }
}

async function time(target, count, make) {
  const times = [];
  for (let turn = 0; turn < count; turn++) {
    const parsed = JSON.parse(JSON.stringify(make(turn)));
    const own = typeof target === "function" ? new target() : target;
    if (own !== target) own.start();
    times.push(await own.fold(parsed));
  }
  return times.sort((left, right) => left - right)[Math.floor(times.length / 2)];
}

async function measure(kind) {
  const held = new kind();
  held.start();
  await held.fold(JSON.parse(JSON.stringify(snapshot)));
  held.mount?.();
  const middle = Math.floor(MESSAGES / 2);
  const count = kind === Plain ? 10 : 50;
  return {
    snapshot: await time(kind, 7, () => snapshot),
    update: await time(held, count, (turn) =>
      event({ messages: [message(middle + turn, `edit ${turn}`)] }),
    ),
    create: await time(held, count, (turn) => {
      const id = NODES + turn;
      const lists = change(MESSAGES + turn, [], [`Message:${id}`]);
      return event({ messages: [message(id, "new")], lists });
    }),
    delete: await time(held, count, (turn) => {
      const key = `Message:${middle + turn}`;
      return event({ removed: [key], lists: change(middle, [key], []) });
    }),
  };
}

const results = {};
for (const [name, kind] of Object.entries({
  ...{ hook: Hook, exchange: Exchange, "and a query": Mounted, "plain urql": Plain },
}))
  results[name] = await measure(kind);
for (const what of ["snapshot", "update", "create", "delete"]) {
  const each = Object.entries(results).map(([name, took]) => `${name} ${took[what].toFixed(2)}`);
  process.stdout.write(`${what.padEnd(10)} ${each.join(", ")}\n`);
}
