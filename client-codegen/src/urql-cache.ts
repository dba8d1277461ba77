import type { Cache, CacheExchangeOpts, UpdateResolver } from "@urql/exchange-graphcache";
import type { ChannelMap } from "./map.js";
import type { Place, PlaceEdge } from "./urql-document.js";

/** A node as a document selects it, with its key. */
interface Tree {
  readonly __typename: string;
  readonly id: string;
  readonly [key: string]: unknown;
}

/** What a cache has to do for an event: to hold `after` where it holds `before`. */
export interface Change {
  readonly root: Place;
  readonly before: unknown;
  readonly after: unknown;
}

/** By the value that a cache is given for the channel's field. */
export const changes = new WeakMap<object, Change>();

export interface GraphcacheOptions extends CacheExchangeOpts {
  /** Of the generated module: types without an `id`, which the cache holds in their parents. */
  readonly keylessTypes?: readonly string[];
}

/**
 * The options of Graphcache for a schema's channels: `cacheExchange(graphcacheConfig(channelMap, { keylessTypes }))`.
 *
 * With what `channelExchange()` hands through it, the cache holds each channel's state where `Query` has it, and so
 * mounted queries follow. Options of your own are kept: `updates` of a channel's field run after ours.
 */
export function graphcacheConfig(
  map: ChannelMap,
  { keylessTypes, ...own }: GraphcacheOptions = {},
): CacheExchangeOpts {
  const channels = Object.values(map.channels);
  const keyless = keylessTypes ?? ["ListChange", ...channels.map(({ event }) => event)];
  const theirs = own.updates?.["Subscription"] ?? {};
  const updates = channels.map(({ field }): [string, UpdateResolver] => [
    field,
    (parent, args, cache, info) => {
      const value = parent[field];
      const change = typeof value === "object" && value !== null ? changes.get(value) : undefined;
      if (change) new Writer(cache, info.variables).show(field, args, change);
      theirs[field]?.(parent, args, cache, info);
    },
  ]);
  return {
    ...own,
    keys: { ...Object.fromEntries(keyless.map((type) => [type, () => null])), ...own.keys },
    updates: { ...own.updates, Subscription: { ...theirs, ...Object.fromEntries(updates) } },
  };
}

type Variables = NonNullable<Parameters<Cache["writeFragment"]>[2]>;

/** Writes what differs of a state; where an object is the same, all beneath it is. */
class Writer {
  private readonly written = new Set<Tree>();

  constructor(
    private readonly cache: Cache,
    private readonly variables: Variables,
  ) {}

  /** As the result of the channel's query. */
  show(field: string, args: Variables, { root, before, after }: Change): void {
    const was = before as Tree | null;
    const now = after as Tree | null;
    if (now) this.write(root, now, was?.id === now.id ? was : null);
    if (now?.id === was?.id && now) return;
    const named = Object.keys(args).length > 0 ? args : null;
    // nothing was there: what the cache may know from elsewhere stands
    if (now || was) this.cache.link("Query", field, named, now && this.key(now));
  }

  private write(place: Place, now: Tree, was: Tree | null | undefined): void {
    if (now === was || this.written.has(now)) return;
    this.written.add(now);
    if (!was) {
      this.cache.writeFragment(place.whole, now, this.variables);
      return;
    }
    if (this.differs(place, now, was)) this.cache.writeFragment(place.own, now, this.variables);
    for (const edge of place.edges) {
      const value = now[edge.key];
      const before = was[edge.key];
      if (value === before || typeof value !== "object" || value === null) continue;
      if (edge.many) this.writeList(edge, now, value as Tree[], before as Tree[]);
      else this.write(edge.place, value as Tree, sameNode(value as Tree, before as Tree | null));
    }
  }

  private differs({ leaves, edges }: Place, now: Tree, was: Tree): boolean {
    return (
      leaves.some((key) => now[key] !== was[key]) ||
      edges.some(({ key, many }) => !many && idOf(now[key]) !== idOf(was[key]))
    );
  }

  private writeList(
    { name, place }: PlaceEdge,
    parent: Tree,
    now: readonly Tree[],
    was: readonly Tree[],
  ): void {
    const [items, before] = different(now, was);
    if (
      items.length !== before.length ||
      items.some((item, index) => item.id !== before[index]?.id)
    ) {
      const keys = now.map((item) => this.key(item));
      this.cache.link(this.key(parent), name, keys);
    }
    const known = new Map(before.map((item) => [item.id, item]));
    for (const item of items) this.write(place, item, known.get(item.id));
  }

  private key(node: Tree): string | null {
    return this.cache.keyOfEntity(node as Parameters<Cache["keyOfEntity"]>[0]);
  }
}

/** Two lists without what they have in common at their beginnings and ends. */
function different(now: readonly Tree[], was: readonly Tree[]): [readonly Tree[], readonly Tree[]] {
  const least = Math.min(now.length, was.length);
  let start = 0;
  while (start < least && now[start] === was[start]) start += 1;
  let end = 0;
  while (end < least - start && now.at(-1 - end) === was.at(-1 - end)) end += 1;
  return [now.slice(start, now.length - end), was.slice(start, was.length - end)];
}

function sameNode(now: Tree, was: Tree | null | undefined): Tree | undefined {
  return was?.id === now.id ? was : undefined;
}

function idOf(value: unknown): unknown {
  return (value as Tree | null | undefined)?.id;
}
