import { channel, map } from "./room.mjs";

/** The store that is behind the hook: folds each event into the nested state. */
export function hook({ Store, everything }) {
  return class Hook {
    static label = "hook";
    static folds = 25;
    store = new Store(channel, everything(channel, map).select({}));

    /** The milliseconds that it took. */
    fold(event) {
      const before = performance.now();
      this.store.fold(event);
      return performance.now() - before;
    }
  };
}

/** Rows by key, and the whole tree from them after each event: what one writes first. */
export class Naive {
  static label = "naive";
  static folds = 3;

  fold(event) {
    const before = performance.now();
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
    return performance.now() - before;
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

/** The state as a server would answer that sends it whole. */
export function named(value, type = channel.root) {
  if (Array.isArray(value)) return value.map((item) => named(item, type));
  const tree = { __typename: type };
  for (const [key, child] of Object.entries(value)) {
    const edge = map.types[type].edges[key];
    tree[key] = edge ? named(child, edge.type) : child;
  }
  return tree;
}
