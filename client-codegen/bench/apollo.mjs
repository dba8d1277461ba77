// What Apollo adds at 10,000 nodes, minified as in production: `node bench/apollo.mjs`. Medians, in milliseconds of the
// processor, of the store that the hook has, of the link with it (the event until Apollo hands the state to its subscriber),
// and of plain Apollo, which is handed the whole state with each event.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";

/** Of the processor: other work on the machine doesn't count. */
const now = () => process.cpuUsage().user / 1000;

const NODES = 10_000;
const USERS = 100;
const MESSAGES = NODES - USERS - 1;

async function production() {
  const folder = await mkdtemp(path.join(tmpdir(), "rxgraphql-bench-"));
  const source = new URL("../src/", import.meta.url).pathname;
  const code = `
    export { ApolloClient, ApolloLink, gql, InMemoryCache, Observable } from "@apollo/client";
    export { Store } from "${source}store.ts";
    export { everything } from "${source}flatten.ts";
    export { channelLink, typePolicies } from "${source}apollo.ts";`;
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
  const file = path.join(folder, "apollo.mjs");
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

const { ApolloClient, ApolloLink, gql, InMemoryCache, Observable, ...ours } = await production();
const FIELDS = `id name topic messages { id text sentAt editedAt author { id username name status away } }`;
const DOCUMENT = gql`subscription Room($name: String!) { chatRoom(name: $name) { state { ${FIELDS} } } }`;
const variables = { name: "lobby" };

class Hook {
  store = new ours.Store(channel, ours.everything(channel, map).select({}));
  fold(event) {
    this.store.fold(event);
  }
}

class Link extends Hook {
  listeners = new Set();
  constructor() {
    super();
    const live = {
      get: () => ({ state: this.store.state, status: "live", error: null, retry: () => {} }),
      subscribe: (listener) => (this.listeners.add(listener), () => {}),
    };
    this.subscribe(ours.channelLink({ open: () => live, channelMap: map }), ours.typePolicies(map));
  }
  subscribe(link, typePolicies) {
    const client = new ApolloClient({ link, cache: new InMemoryCache({ typePolicies }) });
    client.subscribe({ query: DOCUMENT, variables }).subscribe(({ data, error }) => {
      if (error) throw error;
      this.data = data;
    });
  }
  fold(event) {
    const before = this.data;
    super.fold(event);
    this.tell();
    if (this.data === before) throw new Error("Nothing came.");
  }
  tell() {
    for (const listener of this.listeners) listener();
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

class Plain extends Link {
  constructor() {
    super();
    this.subscribe(
      new ApolloLink(() => new Observable((observer) => void (this.observer = observer))),
    );
  }
  tell() {
    const state = named(this.store.state, "ChatRoom");
    const before = now();
    this.observer.next({ data: { chatRoom: { __typename: "ChatRoomEvent", state } } });
    this.took = now() - before;
  }
}

function median(times) {
  return times.sort((left, right) => left - right)[Math.floor(times.length / 2)];
}

function time(target, count, make) {
  return median(
    Array.from({ length: count }, (_, turn) => {
      const parsed = JSON.parse(JSON.stringify(make(turn)));
      const own = typeof target === "function" ? new target() : target;
      const before = now();
      own.fold(parsed);
      return own.took ?? now() - before;
    }),
  );
}

const results = [Hook, Link, Plain].map((kind) => {
  const held = new kind();
  held.fold(JSON.parse(JSON.stringify(snapshot)));
  const middle = Math.floor(MESSAGES / 2);
  const count = kind === Plain ? 7 : 30;
  return {
    snapshot: time(kind, 5, () => snapshot),
    update: time(held, count, (turn) =>
      event({ messages: [message(middle + turn, `edit ${turn}`)] }),
    ),
    create: time(held, count, (turn) => {
      const id = NODES + turn;
      const lists = change(MESSAGES + turn, [], [`Message:${id}`]);
      return event({ messages: [message(id, "new")], lists });
    }),
    delete: time(held, count, (turn) => {
      const key = `Message:${middle + turn}`;
      return event({ removed: [key], lists: change(middle, [key], []) });
    }),
  };
});
for (const what of Object.keys(results[0])) {
  const [hook, link, plain] = results.map((result) => result[what].toFixed(2));
  process.stdout.write(`${what.padEnd(10)} hook ${hook}, link ${link}, plain Apollo ${plain}\n`);
}
