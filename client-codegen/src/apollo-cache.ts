import type { ApolloCache, OperationVariables, Reference } from "@apollo/client";
import type { DocumentNode } from "graphql";
import { fragmentOf, NO_CHANGES, type ChannelDocument } from "./apollo-document.js";
import type { ChannelMap } from "./map.js";

export type Tree = { readonly id: string; readonly [field: string]: unknown };
export type Data = Record<string, unknown>;

type Row = { readonly __typename: string; readonly [field: string]: unknown };
/** By id in the cache. */
type Rows = Map<string, Row>;

/**
 * Brings the states of channels into a cache of Apollo's, each row once.
 *
 * An object of a state that is still the same didn't change, at any depth: only what is new is looked at and written. Nothing
 * is evicted, because what left one tree may be in another.
 */
export class ChannelCache {
  private references = new WeakMap<object, Reference>();
  private written = new WeakSet<object>();
  private readonly fragments = new Map<string, DocumentNode>();
  /** Data that was read from the cache. */
  private readonly shown = new WeakSet<object>();
  /** What was written while each operation was under way. */
  private readonly underWay = new Set<Rows>();
  private readonly cleared = new Set<() => void>();

  constructor(
    private readonly cache: ApolloCache,
    private readonly map: ChannelMap,
  ) {
    const write = cache.write.bind(cache);
    // Apollo writes what a link hands to it; what was read from the cache is there, and walking all of it is slow
    cache.write = (options) =>
      this.shown.has(options.result as object)
        ? { __ref: options.dataId ?? "ROOT_QUERY" }
        : write(options);
  }

  /** Writes the state, and gives the document's data as it is in the cache: the same object if nothing of it changed. */
  show(document: ChannelDocument, variables: OperationVariables, state: Tree | null): Data {
    const read = () =>
      this.cache.diff<Data>({
        query: document.asQuery,
        variables,
        id: "ROOT_SUBSCRIPTION",
        optimistic: false,
        returnPartialData: true,
      });
    this.write(document, variables, state);
    let diff = read();
    if (!diff.complete) {
      // somebody has evicted something of it
      this.forget();
      this.write(document, variables, state);
      diff = read();
    }
    if (diff.complete) this.shown.add(diff.result);
    return diff.result as Data;
  }

  /** Keeps rows that came after an operation was sent from being overwritten by what it answers. */
  protect(rows: Rows): () => void {
    this.underWay.add(rows);
    return () => this.underWay.delete(rows);
  }

  rewrite(rows: Rows): void {
    for (const [id, row] of rows) {
      const { __typename: type } = row;
      let fragment = this.fragments.get(type);
      if (!fragment) this.fragments.set(type, (fragment = fragmentOf(this.map, type)));
      this.cache.writeFragment({ id, fragment, data: row });
      // or it were kept from garbage collection for ever
      (this.cache as { release?: (id: string) => unknown }).release?.(id);
    }
  }

  /** The cache was cleared: tells those who show something to write it again. */
  clear(): void {
    this.forget();
    for (const listener of [...this.cleared]) listener();
  }

  onClear(listener: () => void): () => void {
    this.cleared.add(listener);
    return () => this.cleared.delete(listener);
  }

  private forget(): void {
    this.written = new WeakSet();
  }

  private write(
    document: ChannelDocument,
    variables: OperationVariables,
    state: Tree | null,
  ): void {
    const { channel, event: query } = document;
    const { field, root, lists } = channel;
    if (state && this.written.has(state)) return;
    const rows: Record<string, Row[]> = {};
    for (const list of Object.values(lists)) rows[list] = [];
    const waiting: [Tree, string][] = state ? [[state, root]] : [];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const [tree, type] = next;
      if (this.written.has(tree)) continue;
      this.written.add(tree);
      const row = this.row(tree, type, waiting);
      rows[lists[type] ?? ""]?.push(row);
      for (const changed of this.underWay) changed.set(this.reference(tree, type).__ref, row);
    }
    const reference = state && this.reference(state, root);
    const event = { __typename: channel.event, ...NO_CHANGES, state: reference };
    const result = { [field]: event, [document.rows]: rows };
    this.cache.batch({
      update: (cache) => {
        cache.write({ dataId: "ROOT_SUBSCRIPTION", query, variables, result });
        const answer = { [field]: reference };
        cache.write({ dataId: "ROOT_QUERY", query: document.query, variables, result: answer });
      },
    });
  }

  /** As the cache has it: what it refers to is only named. */
  private row(tree: Tree, type: string, waiting: [Tree, string][]): Row {
    const row: { __typename: string; [field: string]: unknown } = { __typename: type, ...tree };
    for (const [field, edge] of Object.entries(this.map.types[type]?.edges ?? {})) {
      const value = tree[field] as Tree | readonly Tree[] | null;
      const refer = (child: Tree): Reference => {
        if (!this.written.has(child)) waiting.push([child, edge.type]);
        return this.reference(child, edge.type);
      };
      if (value) row[field] = Array.isArray(value) ? value.map(refer) : refer(value as Tree);
    }
    return row;
  }

  private reference(tree: Tree, type: string): Reference {
    let reference = this.references.get(tree);
    if (!reference) {
      const id = this.cache.identify({ __typename: type, ...tree });
      if (id === undefined)
        throw new Error(
          `Apollo's cache has no key for ${type}: its type policy has \`keyFields: false\`.`,
        );
      this.references.set(tree, (reference = { __ref: id }));
    }
    return reference;
  }
}
