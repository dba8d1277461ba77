import type { ChannelInfo } from "./map.js";
import type { SelectedField, Selection } from "./selection.js";

/** One event of a channel: besides these, a list of rows for each node type. */
export interface ChannelEvent {
  readonly kind: "SNAPSHOT" | "CHANGE";
  readonly cursor: string;
  readonly removed: readonly string[];
  readonly lists: readonly ListChange[];
  readonly [list: string]: unknown;
}

export interface ListChange {
  readonly node: string;
  readonly field: string;
  readonly index: number;
  readonly removed: readonly string[];
  readonly inserted: readonly string[];
}

type Row = { readonly id: string; readonly [key: string]: unknown };
type Tree = { [key: string]: unknown };

/** A row, or only the key of one that something refers to and that isn't held (yet, or any more). */
class Node {
  row: Row | undefined;
  /** What its to-one edges refer to, by key in the row. */
  ones: Map<string, Node> | undefined;
  /** What its lists hold, by the schema's name. */
  lists: Map<string, readonly Node[]> | undefined;
  /** What refers to it, and how often. */
  readonly parents = new Map<Node, number>();
  /** The fold in which it, or what it refers to at any depth, last changed. */
  changed = 0;
  /** As it was last shown, by index of the selection. */
  readonly views: (View | undefined)[] = [];

  constructor(readonly key: string) {}
}

interface View {
  /** The fold by which it was right. */
  at: number;
  /** Undefined: it can't be shown. */
  value: Tree | undefined;
  /** A tree of this fold refers to it: it is beneath itself. */
  used: boolean;
}

/** What is followed of a node type at any place. */
interface Followed {
  readonly ones: Map<string, string>;
  readonly lists: Set<string>;
}

const NOTHING: readonly never[] = [];

/**
 * Folds the events of one subscription into the nested tree.
 *
 * What didn't change keeps its identity: an edited row makes new objects on its paths to the root and nowhere else, a row that is
 * reached by two paths is one object for each selection, and a snapshot after a drop replaces only what differs. Folding an
 * event twice changes nothing.
 */
export class Store {
  /** The tree; null before the first event and without an anchor. */
  state: unknown = null;
  /** To resume with. */
  cursor: string | null = null;
  private nodes = new Map<string, Node>();
  private root: Node | undefined;
  private folds = 0;
  /** What may be forgotten after the fold: until its end, something may refer to it again. */
  private readonly idle = new Set<Node>();
  private readonly followed = new Map<string, Followed>();

  constructor(
    private readonly channel: ChannelInfo,
    private readonly selection: Selection,
  ) {
    this.follow(selection, new Set());
  }

  /** Whether the anchor was there and is gone. */
  get ended(): boolean {
    return this.root !== undefined && this.root.row === undefined;
  }

  /** True if the state is another one now. */
  fold(event: ChannelEvent): boolean {
    this.folds += 1;
    const rows = this.rows(event);
    const snapshot = event.kind === "SNAPSHOT";
    const named = new Set(rows.map(([key]) => key));
    if (snapshot)
      for (const node of this.nodes.values())
        if (node.row && !named.has(node.key)) this.remove(node, false);
    for (const key of event.removed) {
      const node = this.nodes.get(key);
      if (node) this.remove(node, named.has(key));
    }
    for (const [key, row, followed] of rows) this.put(this.node(key), row, followed);
    if (snapshot) {
      const [first] = rowsOf(event, this.channel.lists[this.channel.root]);
      this.root = first && this.nodes.get(`${this.channel.root}:${first.id}`);
      this.replaceLists(event.lists);
    } else {
      for (const change of event.lists) {
        if (!this.follows(change)) continue;
        const node = this.node(change.node);
        const before = node.lists?.get(change.field) ?? NOTHING;
        const { after, inserted, removed } = this.patched(before, change);
        this.setList(node, change.field, after, inserted, removed);
      }
    }
    this.forget();
    this.cursor = event.cursor;
    const before = this.state;
    this.state = (this.root && this.view(this.root, this.selection)) ?? null;
    return this.state !== before;
  }

  private follow(selection: Selection, seen: Set<Selection>): void {
    if (seen.has(selection)) return;
    seen.add(selection);
    let followed = this.followed.get(selection.type);
    if (!followed)
      this.followed.set(selection.type, (followed = { ones: new Map(), lists: new Set() }));
    for (const { from, edge } of selection.fields) {
      if (!edge) continue;
      if (edge.many) followed.lists.add(from);
      else followed.ones.set(from, edge.selection.type);
      this.follow(edge.selection, seen);
    }
  }

  private follows({ node, field }: ListChange): boolean {
    const type = node.slice(0, node.indexOf(":"));
    return this.followed.get(type)?.lists.has(field) ?? false;
  }

  private rows(event: ChannelEvent): [key: string, row: Row, followed: Followed][] {
    const found: [string, Row, Followed][] = [];
    for (const [type, followed] of this.followed)
      for (const row of rowsOf(event, this.channel.lists[type]))
        found.push([`${type}:${row.id}`, row, followed]);
    return found;
  }

  private node(key: string): Node {
    let node = this.nodes.get(key);
    if (!node) this.nodes.set(key, (node = new Node(key)));
    return node;
  }

  private put(node: Node, row: Row, { ones }: Followed): void {
    const merged = node.row ? merge(node.row, row) : row;
    if (merged === node.row) return;
    node.row = merged;
    for (const [from, type] of ones) {
      const reference = row[from] as Row | null | undefined;
      const before = node.ones?.get(from);
      const after = reference ? this.node(`${type}:${reference.id}`) : undefined;
      if (before === after) continue;
      if (after) {
        (node.ones ??= new Map()).set(from, after);
        link(node, after);
      } else node.ones?.delete(from);
      if (before) this.unlink(node, before);
    }
    this.touch(node);
  }

  /** A row that the same event brings again only loses what it refers to. */
  private remove(node: Node, again: boolean): void {
    if (!again) node.row = undefined;
    this.touch(node);
    this.release(node);
    this.idle.add(node);
  }

  private release(node: Node): void {
    const { ones, lists } = node;
    if (!node.row) node.ones = undefined;
    node.lists = undefined;
    if (!node.row) for (const child of ones?.values() ?? NOTHING) this.unlink(node, child);
    for (const list of lists?.values() ?? NOTHING)
      for (const child of list) this.unlink(node, child);
  }

  /** A snapshot has each list whole, and those that are empty not at all. */
  private replaceLists(changes: readonly ListChange[]): void {
    const lists = new Map<Node, Map<string, readonly Node[]>>();
    for (const change of changes) {
      if (!this.follows(change)) continue;
      const node = this.node(change.node);
      let fields = lists.get(node);
      if (!fields) lists.set(node, (fields = new Map()));
      const before = fields.get(change.field) ?? NOTHING;
      fields.set(change.field, this.patched(before, change).after);
    }
    for (const node of this.nodes.values())
      for (const [field, before] of node.lists ?? NOTHING)
        if (!lists.get(node)?.has(field)) this.setList(node, field, NOTHING, NOTHING, before);
    for (const [node, fields] of lists)
      for (const [field, after] of fields)
        this.setList(node, field, after, after, node.lists?.get(field) ?? NOTHING);
  }

  private setList(
    node: Node,
    field: string,
    after: readonly Node[],
    inserted: readonly Node[],
    removed: readonly Node[],
  ): void {
    if (sameItems(node.lists?.get(field) ?? NOTHING, after)) return;
    (node.lists ??= new Map()).set(field, after);
    for (const child of inserted) link(node, child);
    for (const child of removed) this.unlink(node, child);
    this.touch(node);
  }

  /** `removed` out, then what isn't there of `inserted` in at `index`. */
  private patched(before: readonly Node[], change: ListChange) {
    const named = [...new Set(change.removed.flatMap((key) => this.nodes.get(key) ?? []))];
    const isNamed = isIn(named);
    const left = named.length > 0 ? before.filter((node) => !isNamed(node)) : before;
    const removed =
      left.length < before.length ? named.filter(isIn(before, named.length)) : NOTHING;
    const isLeft = isIn(left, change.inserted.length);
    const wanted = new Set(change.inserted.map((key) => this.node(key)));
    const inserted = [...wanted].filter((node) => !isLeft(node));
    const { index } = change;
    const after =
      inserted.length > 0 ? left.slice(0, index).concat(inserted, left.slice(index)) : left;
    return { after, inserted, removed };
  }

  private unlink(parent: Node, child: Node): void {
    const count = child.parents.get(parent) ?? 0;
    if (count > 1) child.parents.set(parent, count - 1);
    else child.parents.delete(parent);
    if (child.parents.size === 0) this.idle.add(child);
  }

  /** What is only a key, and nobody's. */
  private forget(): void {
    for (const node of this.idle) {
      if (node.row || node.parents.size > 0 || node === this.root) continue;
      this.nodes.delete(node.key);
      this.release(node);
    }
    this.idle.clear();
  }

  /** What shows the node, at any height, is to be looked at. */
  private touch(node: Node): void {
    const waiting = [node];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      if (next.changed === this.folds) continue;
      next.changed = this.folds;
      for (const parent of next.parents.keys()) waiting.push(parent);
    }
  }

  /** The node as the selection shows it: the object of before if nothing in it differs. Undefined if it can't be shown. */
  private view(node: Node, selection: Selection): Tree | undefined {
    const held = node.views[selection.index];
    if (held && held.at >= node.changed) {
      held.used = true;
      return held.value;
    }
    const tree: Tree = {};
    const view: View = { at: this.folds, value: tree, used: false };
    node.views[selection.index] = view;
    const before = held?.value;
    let same = before !== undefined;
    for (const field of selection.fields) {
      const value = this.value(node, selection, field, before?.[field.key]);
      if (value === undefined) {
        view.value = undefined;
        return undefined;
      }
      tree[field.key] = value;
      same &&= before?.[field.key] === value;
    }
    if (same && !view.used) view.value = before;
    return view.value;
  }

  private value(node: Node, selection: Selection, field: SelectedField, before: unknown): unknown {
    const { from, edge } = field;
    if (!node.row) return undefined;
    if (!edge) return from === "__typename" ? selection.type : (node.row[from] ?? null);
    if (edge.many) {
      const items: Tree[] = [];
      for (const child of node.lists?.get(from) ?? NOTHING) {
        const item = this.view(child, edge.selection);
        if (item) items.push(item);
      }
      return Array.isArray(before) && sameItems(before, items) ? before : items;
    }
    const child = node.ones?.get(from);
    // GraphQL's own rule: null goes up to where it may stand
    return (child && this.view(child, edge.selection)) ?? (edge.nullable ? null : undefined);
  }
}

function rowsOf(event: ChannelEvent, list: string | undefined): readonly Row[] {
  return (list === undefined ? undefined : (event[list] as readonly Row[] | undefined)) ?? NOTHING;
}

function link(parent: Node, child: Node): void {
  child.parents.set(parent, (child.parents.get(parent) ?? 0) + 1);
}

/** The old row if the new one is equal; else the new one, with the old values where they are. */
function merge(before: Row, after: Row): Row {
  const merged: { id: string; [key: string]: unknown } = { ...after };
  let same = true;
  for (const key in after) {
    if (equal(before[key], after[key])) merged[key] = before[key];
    else same = false;
  }
  return same ? before : merged;
}

/** Of JSON. */
function equal(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (typeof left !== "object" || typeof right !== "object" || !left || !right) return false;
  if (Array.isArray(left) !== Array.isArray(right)) return false;
  const names = Object.keys(left);
  return (
    names.length === Object.keys(right).length &&
    names.every((name) => name in right && equal((left as Tree)[name], (right as Tree)[name]))
  );
}

function sameItems(left: readonly unknown[], right: readonly unknown[]): boolean {
  return left.length === right.length && left.every((item, index) => item === right[index]);
}

/** Whether a node is among them; a set is made only if it is asked often enough. */
function isIn(nodes: readonly Node[], asked = Infinity): (node: Node) => boolean {
  if (nodes.length <= 4 || asked <= 4) return (node) => nodes.includes(node);
  const set = new Set(nodes);
  return (node) => set.has(node);
}
