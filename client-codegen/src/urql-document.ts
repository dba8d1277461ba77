import { formatDocument } from "@urql/core";
import type {
  DefinitionNode,
  DirectiveNode,
  DocumentNode,
  FieldNode,
  FragmentDefinitionNode,
  InlineFragmentNode,
  OperationDefinitionNode,
  SelectionNode,
  SelectionSetNode,
} from "graphql";
import type { ChannelInfo, ChannelMap } from "./map.js";
import { FlattenError } from "./rows.js";

/** What is selected at one place of a document, as a normalizing cache writes it. */
export interface Place {
  /** All that is selected, at any depth. */
  readonly whole: DocumentNode;
  /** The object's own fields and the keys of its to-one edges. */
  readonly own: DocumentNode;
  /** The response keys of its own fields. */
  readonly leaves: readonly string[];
  readonly edges: readonly PlaceEdge[];
}

export interface PlaceEdge {
  /** The response key. */
  readonly key: string;
  /** The schema's name. */
  readonly name: string;
  readonly many: boolean;
  readonly place: Place;
}

/** A document that selects a channel's `state`. */
export interface ChannelDocument {
  readonly channel: ChannelInfo;
  /** The response key of the channel. */
  readonly key: string;
  /** That of its state. */
  readonly stateKey: string;
  /** The document with `__typename` and `id` of each node. */
  readonly keyed: DocumentNode;
  /** The document with nothing selected of the channel: a cache hands its value through as it is. */
  readonly opaque: DocumentNode;
  readonly root: Place;
}

/** Undefined if it isn't a subscription of a channel's `state`. Raises FlattenError. */
export function channelDocument(
  document: DocumentNode,
  map: ChannelMap,
): ChannelDocument | undefined {
  const operation = document.definitions.find(isOperation);
  if (operation?.operation !== "subscription") return undefined;
  const fragments = new Map(
    document.definitions.filter(isFragment).map((node) => [node.name.value, node]),
  );
  const { types, channels } = map;

  const withFragments = (first: DefinitionNode): DocumentNode => ({
    kind: "Document" as DocumentNode["kind"],
    definitions: [first, ...fragments.values()],
  });

  /** The fields of a selection set, fragments opened, each with the conditions of all that it is in. */
  function open(
    set: SelectionSetNode | undefined,
    type: string,
    within: readonly DirectiveNode[] = [],
    spread: readonly string[] = [],
  ): FieldNode[] {
    return (set?.selections ?? []).flatMap((node) => {
      const directives = [...within, ...(node.directives ?? [])];
      if (node.kind === "Field") return { ...node, directives };
      const name = node.kind === "FragmentSpread" ? node.name.value : "";
      const fragment = node.kind === "FragmentSpread" ? fragments.get(name) : node;
      if (!fragment || spread.includes(name))
        throw new FlattenError(
          fragment
            ? `The fragment \`${name}\` spreads itself.`
            : `There is no fragment \`${name}\`.`,
        );
      const on = fragment.typeCondition?.name.value ?? type;
      if (on !== type && Object.hasOwn(types, on)) return [];
      return open(fragment.selectionSet, type, directives, name ? [...spread, name] : spread);
    });
  }

  function keyed(set: SelectionSetNode | undefined, type: string): SelectionSetNode {
    const fields = open(set, type).map((node) => {
      const edge = edgeOf(type, node);
      return edge ? { ...node, selectionSet: keyed(node.selectionSet, edge.type) } : node;
    });
    return setOf([...KEY, ...fields.map(nested)]);
  }

  function edgeOf(type: string, { name }: FieldNode) {
    const edges = types[type]?.edges ?? {};
    return Object.hasOwn(edges, name.value) ? edges[name.value] : undefined;
  }

  function fragmentOn(type: string, selections: readonly FieldNode[]): DocumentNode {
    const fragment: FragmentDefinitionNode = {
      kind: "FragmentDefinition" as FragmentDefinitionNode["kind"],
      name: { kind: NAME, value: `__${type}` },
      typeCondition: {
        kind: "NamedType" as FragmentDefinitionNode["typeCondition"]["kind"],
        name: { kind: NAME, value: type },
      },
      selectionSet: setOf(selections.map(nested)),
    };
    return formatDocument(withFragments(fragment)) as DocumentNode;
  }

  function place(type: string, fields: readonly FieldNode[]): Place {
    const own: FieldNode[] = [];
    const leaves = new Set<string>();
    const edges = new Map<string, FieldNode[]>();
    for (const node of fields) {
      const key = keyOf(node);
      const edge = edgeOf(type, node);
      if (!edge) {
        own.push(node);
        leaves.add(key);
      } else {
        if (!edge.many) own.push({ ...node, selectionSet: setOf(KEY) });
        edges.set(key, [...(edges.get(key) ?? []), node]);
      }
    }
    return {
      whole: fragmentOn(type, fields),
      own: fragmentOn(type, own),
      leaves: [...leaves],
      edges: [...edges].flatMap(([key, nodes]) => {
        const edge = nodes[0] && edgeOf(type, nodes[0]);
        if (!edge || !nodes[0]) return [];
        const below = nodes.flatMap((node) => open(node.selectionSet, edge.type, node.directives));
        return { key, name: nodes[0].name.value, many: edge.many, place: place(edge.type, below) };
      }),
    };
  }

  const [field] = open(operation.selectionSet, "").filter(
    ({ name }) => name.value !== "__typename",
  );
  const channel = field && Object.hasOwn(channels, field.name.value) && channels[field.name.value];
  if (!field || !channel) return undefined;
  const event = open(field.selectionSet, channel.event);
  const states = event.filter(({ name }) => name.value === "state");
  if (!states[0]) return undefined;
  const wanted = event.map((node) =>
    states.includes(node)
      ? { ...node, selectionSet: keyed(node.selectionSet, channel.root) }
      : node,
  );
  const { selectionSet: _, ...bare } = field;
  const withField = (node: FieldNode) =>
    withFragments({ ...operation, selectionSet: setOf([node]) });
  return {
    channel,
    key: keyOf(field),
    stateKey: keyOf(states[0]),
    keyed: withField({ ...field, selectionSet: setOf(wanted) }),
    opaque: withField(bare),
    root: place(
      channel.root,
      wanted
        .filter(({ name }) => name.value === "state")
        .flatMap((node) => open(node.selectionSet, channel.root)),
    ),
  };
}

const FIELD = "Field" as FieldNode["kind"];
const NAME = "Name" as FieldNode["name"]["kind"];

const setOf = (selections: readonly SelectionNode[]): SelectionSetNode => ({
  kind: "SelectionSet" as SelectionSetNode["kind"],
  selections,
});
const leaf = (name: string): FieldNode => ({ kind: FIELD, name: { kind: NAME, value: name } });
const KEY = [leaf("__typename"), leaf("id")];

/** Graphcache looks at one condition of a field: each further one gets a fragment of its own around it. */
function nested(node: FieldNode): SelectionNode {
  const [first, ...others] = node.directives ?? [];
  return others.reduce<SelectionNode>(
    (inner, one) => ({
      kind: "InlineFragment" as InlineFragmentNode["kind"],
      directives: [one],
      selectionSet: setOf([inner]),
    }),
    { ...node, directives: first ? [first] : [] },
  );
}

function keyOf({ alias, name }: FieldNode): string {
  return (alias ?? name).value;
}

function isOperation(node: { readonly kind: string }): node is OperationDefinitionNode {
  return node.kind === "OperationDefinition";
}

function isFragment(node: { readonly kind: string }): node is FragmentDefinitionNode {
  return node.kind === "FragmentDefinition";
}
