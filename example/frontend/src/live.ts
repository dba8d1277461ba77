/**
 * Folds the events of a channel into its nested state.
 *
 * A snapshot brings every node, a change only what differs: nodes are replaced by key, lists are patched, and what didn't
 * change keeps its identity, so that React renders one message for one edit. Folding an event twice changes nothing.
 */

/** `removed`, `lists` and one list of nodes per type, each node with `__typename` and `id`. */
export interface ChannelEvent {
  readonly kind: "SNAPSHOT" | "CHANGE";
  readonly removed: readonly string[];
  readonly lists: readonly ListChange[];
}

export interface ListChange {
  readonly node: string;
  readonly field: string;
  readonly index: number;
  readonly removed: readonly string[];
  readonly inserted: readonly string[];
}

/** What the state looks like: the type at its root, and which fields of a type are lists of nodes. */
export interface Shape {
  readonly root: string;
  readonly lists: Readonly<Record<string, readonly string[]>>;
}

interface Node {
  readonly __typename: string;
  readonly id: string;
  readonly [field: string]: unknown;
}

type Tree = Readonly<Record<string, unknown>>;

export class LiveState<State> {
  private nodes = new Map<string, Node>();
  /** By `Message:5.reactions`: the keys in a list. */
  private lists = new Map<string, readonly string[]>();
  private trees = new Map<string, Tree>();

  constructor(private readonly shape: Shape) {}

  /** The state after the event; the same object if nothing in it changed, null if the root is gone. */
  fold(event: ChannelEvent): State | null {
    if (event.kind === "SNAPSHOT") {
      this.nodes.clear();
      this.lists.clear();
    }
    for (const key of event.removed) this.nodes.delete(key);
    for (const node of nodesOf(event)) this.nodes.set(keyOf(node), node);
    for (const change of event.lists) {
      const name = `${change.node}.${change.field}`;
      this.lists.set(name, patch(this.lists.get(name) ?? [], change));
    }
    const previous = this.trees;
    this.trees = new Map();
    const root = [...this.nodes.values()].find((node) => node.__typename === this.shape.root);
    return root ? (this.tree(root, previous) as State) : null;
  }

  /** A node with the nodes it refers to in their places. */
  private tree(node: Node, previous: ReadonlyMap<string, Tree>): Tree {
    const key = keyOf(node);
    const known = this.trees.get(key);
    if (known) return known;
    const before = previous.get(key);
    const tree: Record<string, unknown> = {};
    for (const [field, value] of Object.entries(node)) {
      const target = isReference(value) ? this.nodes.get(keyOf(value)) : undefined;
      tree[field] = target ? this.tree(target, previous) : value;
    }
    for (const field of this.shape.lists[node.__typename] ?? []) {
      const keys = this.lists.get(`${key}.${field}`) ?? [];
      const items = keys.flatMap((key) => this.nodes.get(key) ?? []);
      const list = items.map((item) => this.tree(item, previous));
      const listBefore = before?.[field];
      tree[field] = Array.isArray(listBefore) && sameItems(listBefore, list) ? listBefore : list;
    }
    const result = before && sameFields(before, tree) ? before : tree;
    this.trees.set(key, result);
    return result;
  }
}

function patch(keys: readonly string[], { index, removed, inserted }: ListChange): string[] {
  const left = removed.length > 0 ? keys.filter((key) => !removed.includes(key)) : [...keys];
  const absent = inserted.filter((key) => !left.includes(key));
  left.splice(index, 0, ...absent);
  return left;
}

function nodesOf(event: ChannelEvent): Node[] {
  return Object.values(event)
    .filter((value): value is unknown[] => Array.isArray(value))
    .flatMap((items) => items.filter(isReference));
}

function isReference(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "__typename" in value && "id" in value;
}

function keyOf({ __typename, id }: Node): string {
  return `${__typename}:${id}`;
}

function sameItems(left: readonly unknown[], right: readonly unknown[]): boolean {
  return left.length === right.length && left.every((item, index) => item === right[index]);
}

function sameFields(left: Tree, right: Tree): boolean {
  const fields = Object.keys(right);
  return (
    fields.length === Object.keys(left).length && fields.every((name) => left[name] === right[name])
  );
}
