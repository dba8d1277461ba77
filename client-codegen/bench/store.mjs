// What a fold costs at 10,000 nodes, minified as in production, beside a store that builds the tree anew for each event:
// `npm run bench`. Medians in milliseconds. Fails beyond the limits.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";

const NODES = 10_000;
const USERS = 100;
const MESSAGES = NODES - USERS - 1;
const LIMITS = { update: 1, create: 1, delete: 1, snapshot: 100 };

async function production() {
  const folder = await mkdtemp(path.join(tmpdir(), "rxgraphql-bench-"));
  const source = new URL("../src/", import.meta.url).pathname;
  const code = `export { Store } from "${source}store.ts"; export { everything } from "${source}flatten.ts";`;
  const plugin = {
    name: "entry",
    resolveId: (id) => (id === "entry" ? "\0entry" : null),
    load: (id) => (id === "\0entry" ? code : null),
  };
  const { output } = await build({
    logLevel: "error",
    configFile: false,
    plugins: [plugin],
    build: {
      write: false,
      target: "es2022",
      rollupOptions: { input: "entry", preserveEntrySignatures: "strict" },
    },
  });
  const file = path.join(folder, "store.mjs");
  await writeFile(file, output[0].code);
  const modules = await import(pathToFileURL(file).href);
  await rm(folder, { recursive: true });
  return modules;
}

const user = { type: "User", many: false, nullable: false };
const map = {
  channels: {},
  types: {
    ChatRoom: {
      leaves: ["name", "topic"],
      edges: { messages: { type: "Message", many: true, nullable: false } },
    },
    Message: { leaves: ["text", "sentAt", "editedAt"], edges: { author: user } },
    User: { leaves: ["username", "name", "status", "away"], edges: {} },
  },
};
const channel = {
  ...{ name: "ChatRoom", field: "chatRoom", event: "ChatRoomEvent", root: "ChatRoom" },
  arguments: { name: "String!" },
  lists: { ChatRoom: "chatRooms", Message: "messages", User: "users" },
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
const snapshot = JSON.stringify(
  event(
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
  ),
);

/** Rows by key, and the whole tree from them after each event. */
class Naive {
  fold(event) {
    if (event.kind === "SNAPSHOT") [this.rows, this.lists] = [new Map(), new Map()];
    for (const key of event.removed) this.rows.delete(key);
    for (const [type, list] of Object.entries(channel.lists))
      for (const row of event[list]) this.rows.set(`${type}:${row.id}`, row);
    for (const { node, field, index, removed, inserted } of event.lists) {
      const at = `${node}.${field}`;
      const left = (this.lists.get(at) ?? []).filter((key) => !removed.includes(key));
      const held = new Set(left);
      const wanted = inserted.filter((key) => !held.has(key));
      this.lists.set(at, [...left.slice(0, index), ...wanted, ...left.slice(index)]);
    }
    this.state = this.tree("ChatRoom", "ChatRoom:1");
  }

  tree(type, key) {
    const tree = { ...this.rows.get(key) };
    for (const [field, edge] of Object.entries(map.types[type].edges))
      tree[field] = edge.many
        ? (this.lists.get(`${key}.${field}`) ?? []).map((child) => this.tree(edge.type, child))
        : this.tree(edge.type, `${edge.type}:${tree[field].id}`);
    return tree;
  }
}

const { Store, everything } = await production();
const stores = {
  ours: () => new Store(channel, everything(channel, map).select({})),
  naive: () => new Naive(),
};

function median(times) {
  return times.sort((left, right) => left - right)[Math.floor(times.length / 2)];
}

/** The median of `count` folds; the events are parsed before, as graphql-ws does it. */
function time(store, count, make) {
  return median(
    Array.from({ length: count }, (_, turn) => {
      const parsed = JSON.parse(JSON.stringify(make(turn)));
      const before = performance.now();
      (typeof store === "function" ? store() : store).fold(parsed);
      return performance.now() - before;
    }),
  );
}

const results = {};
for (const [name, make] of Object.entries(stores)) {
  const first = JSON.parse(snapshot);
  const held = make();
  held.fold(first);
  const middle = Math.floor(MESSAGES / 2);
  const edited = (turn) => event({ messages: [message(middle + turn, `edit ${turn}`)] });
  results[name] = {
    snapshot: time(make, 15, () => first),
    "snapshot again": time(held, 15, () => first),
    update: time(held, 200, edited),
    "the same twice": time(held, 200, () => edited(199)),
    create: time(held, 200, (turn) => {
      const id = NODES + turn;
      const lists = change(MESSAGES + turn, [], [`Message:${id}`]);
      return event({ messages: [message(id, "new")], lists });
    }),
    delete: time(held, 200, (turn) => {
      const key = `Message:${middle + turn}`;
      return event({ removed: [key], lists: change(middle, [key], []) });
    }),
    "a user of 100 messages": time(held, 100, (turn) =>
      event({
        users: [{ id: "7", username: "u7", name: `Name ${turn}`, status: "", away: false }],
      }),
    ),
  };
}

for (const [what, ours] of Object.entries(results.ours)) {
  const naive = results.naive[what].toFixed(3);
  process.stdout.write(`${what.padEnd(24)} ${ours.toFixed(3)} ms (naive: ${naive})\n`);
  if (ours > (LIMITS[what] ?? Infinity)) {
    process.stderr.write(`${what}: more than ${LIMITS[what]} ms\n`);
    process.exitCode = 1;
  }
}
