import type { OperationVariables } from "@apollo/client";
import {
  Kind,
  OperationTypeNode,
  valueFromASTUntyped,
  visit,
  type ASTNode,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type NameNode,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
} from "graphql";
import { flatten, type Flat } from "./flatten.js";
import type { ChannelInfo, ChannelMap } from "./map.js";
import type { Selection } from "./selection.js";

/** What an event has beside `state` and its lists, where `state` is all there is to know. */
export const NO_CHANGES = { kind: "SNAPSHOT", cursor: "", removed: [], lists: [] };

/** A document that selects a channel's state, and what Apollo's cache is written and read with. */
export class ChannelDocument {
  readonly channel: ChannelInfo;
  /** The response key of the channel. */
  readonly key: string;
  /** The document as a query, with the very selection set that Apollo writes with: it knows its own results by it. */
  readonly asQuery: DocumentNode;
  /** The channel's event, and beside it rows of all its types; what they refer to are references. */
  readonly event: DocumentNode;
  /** The field for the rows, which no schema has: an event that stays equal is no change for what only reads its state. */
  readonly rows: string;
  /** The query for the same state. */
  readonly query: DocumentNode;
  /** The document with the `id` of each node. */
  readonly withIds: DocumentNode;
  private readonly flat: Flat;
  private takesArguments = false;

  private constructor(
    document: DocumentNode,
    private readonly field: FieldNode,
    readonly map: ChannelMap,
  ) {
    this.flat = flatten(document, map);
    const { channel } = this.flat;
    this.channel = channel;
    this.key = (field.alias ?? field.name).value;
    this.asQuery = withOperation(document, { operation: OperationTypeNode.QUERY });
    const lists = Object.entries(channel.lists).map(([type, list]) =>
      fieldNode(list, fieldsOf(map, type)),
    );
    const ofEvent = fieldNode("", ["__typename", "state", ...Object.keys(NO_CHANGES)]);
    const { alias: _, selectionSet: __, ...bare } = field;
    this.rows = `_${channel.field}Rows`;
    this.event = withOperation(document, {
      selectionSet: setOf([
        { ...ofEvent, ...bare },
        { ...leaf(this.rows), selectionSet: setOf(lists) },
      ]),
    });
    this.query = withOperation(this.asQuery, { selectionSet: setOf([bare]) });
    this.withIds = this.identified(document);
  }

  /** Undefined if it is of no channel, or of one without its `state`. Raises FlattenError. */
  static of(document: DocumentNode, map: ChannelMap): ChannelDocument | undefined {
    const field = channelField(document, map);
    return field && new ChannelDocument(document, field, map);
  }

  /** The arguments of the channel. */
  args(variables: OperationVariables): Record<string, unknown> {
    const given = (this.field.arguments ?? []).map(({ name, value }) => [
      name.value,
      valueFromASTUntyped(value, variables),
    ]);
    return Object.fromEntries(given) as Record<string, unknown>;
  }

  /** Whether the channel as a whole, without a document, has all that is selected. */
  isWhole(variables: OperationVariables): boolean {
    if (this.takesArguments) return false;
    const seen = new Set<Selection>();
    const has = (selection: Selection): boolean => {
      if (seen.has(selection)) return true;
      seen.add(selection);
      const leaves = fieldsOf(this.map, selection.type);
      return selection.fields.every(({ from, edge }) =>
        edge ? has(edge.selection) : leaves.includes(from),
      );
    };
    return has(this.flat.select(variables));
  }

  private identified(document: DocumentNode): DocumentNode {
    const { types } = this.map;
    const path: (string | undefined)[] = [];
    const enter = (type: string | undefined): void => void path.push(type);
    const onType = (name: NameNode | undefined) =>
      enter(name && Object.hasOwn(types, name.value) ? name.value : path.at(-1));
    const leave = (): void => void path.pop();
    return visit(document, {
      Field: {
        enter: (node) => {
          if (node !== this.field && node.arguments?.length) this.takesArguments = true;
          const parent = path.at(-1);
          if (parent === EVENT) enter(this.channel.root);
          else
            enter(
              node === this.field ? EVENT : parent && types[parent]?.edges[node.name.value]?.type,
            );
        },
        leave: (node) => {
          const type = path.pop();
          if (!type || type === EVENT || !node.selectionSet) return undefined;
          return {
            ...node,
            selectionSet: setOf([leaf("__typename"), leaf("id"), ...node.selectionSet.selections]),
          };
        },
      },
      FragmentDefinition: { enter: (node) => onType(node.typeCondition.name), leave },
      InlineFragment: { enter: (node) => onType(node.typeCondition?.name), leave },
    }) as DocumentNode;
  }
}

/** No type of GraphQL has this name. */
const EVENT = "";

/** The channel that a subscription selects the state of. */
export function channelField(document: DocumentNode, map: ChannelMap): FieldNode | undefined {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const node of document.definitions)
    if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
  const find = (
    set: SelectionSetNode | undefined,
    is: (name: string) => boolean,
  ): FieldNode | undefined => {
    for (const node of set?.selections ?? []) {
      if (node.kind === Kind.FIELD) {
        if (is(node.name.value)) return node;
        continue;
      }
      const fragment = node.kind === Kind.INLINE_FRAGMENT ? node : fragments.get(node.name.value);
      const found = find(fragment?.selectionSet, is);
      if (found) return found;
    }
    return undefined;
  };
  for (const node of document.definitions) {
    if (node.kind !== Kind.OPERATION_DEFINITION) continue;
    if (node.operation !== OperationTypeNode.SUBSCRIPTION) continue;
    const field = find(node.selectionSet, (name) => Object.hasOwn(map.channels, name));
    return find(field?.selectionSet, (name) => name === "state") && field;
  }
  return undefined;
}

/** All rows of a type, with their edges as references. */
export function fragmentOf(map: ChannelMap, type: string): DocumentNode {
  const definition: FragmentDefinitionNode = {
    kind: Kind.FRAGMENT_DEFINITION,
    name: nameOf(`${type}Row`),
    typeCondition: { kind: Kind.NAMED_TYPE, name: nameOf(type) },
    selectionSet: setOf(fieldsOf(map, type).map(leaf)),
  };
  return { kind: Kind.DOCUMENT, definitions: [definition] };
}

function fieldsOf(map: ChannelMap, type: string): string[] {
  const { leaves = [], edges = {} } = map.types[type] ?? {};
  return ["__typename", "id", ...leaves, ...Object.keys(edges)];
}

function withOperation(
  document: DocumentNode,
  change: Partial<OperationDefinitionNode>,
): DocumentNode {
  const changed = (node: ASTNode) =>
    node.kind === Kind.OPERATION_DEFINITION ? { ...node, ...change } : node;
  return { ...document, definitions: document.definitions.map(changed) } as DocumentNode;
}

function fieldNode(name: string, fields: readonly string[]): FieldNode {
  return { kind: Kind.FIELD, name: nameOf(name), selectionSet: setOf(fields.map(leaf)) };
}

const nameOf = (value: string): NameNode => ({ kind: Kind.NAME, value });
const leaf = (name: string): FieldNode => ({ kind: Kind.FIELD, name: nameOf(name) });
const setOf = (selections: readonly SelectionNode[]) =>
  ({ kind: Kind.SELECTION_SET, selections }) as const;
