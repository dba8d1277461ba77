import type {
  DirectiveNode,
  DocumentNode,
  FieldNode,
  FragmentDefinitionNode,
  OperationDefinitionNode,
  SelectionSetNode,
  VariableDefinitionNode,
} from "graphql";
import type { ChannelInfo, ChannelMap, EdgeInfo } from "./map.js";
import { printArguments, printSelectionSet, printType, printValue } from "./print.js";
import { AGAIN, FlattenError, Rows, typeInfo, type When } from "./rows.js";
import type { SelectedField, Selection } from "./selection.js";

export { FlattenError };

/** A nested `state` selection as the subscription to normalized rows, and the way back. */
export interface Flat {
  readonly channel: ChannelInfo;
  /** Equal for documents that ask for the same and read it in the same way. */
  readonly key: string;
  /** The normalized document. */
  readonly query: string;
  /** The variable that takes the cursor. */
  readonly after: string;
  /** How to read the tree; variables decide what @include and @skip leave. */
  select(variables: Variables): Selection;
}

export type Variables = { readonly [name: string]: unknown };

interface Found {
  readonly node: FieldNode;
  readonly when: When;
}

interface Sets {
  readonly set: SelectionSetNode;
  readonly when: When;
}

/** What is selected at one place, each field with the alternatives under which it is. */
interface Place {
  readonly type: string;
  readonly fields: readonly PlaceField[];
}

interface PlaceField {
  readonly key: string;
  readonly from: string;
  readonly when: readonly When[];
  readonly edge?: EdgeInfo & { readonly place: Place };
}

const IGNORED = ["__typename", "kind", "cursor", "removed", "lists"];

/**
 * Rewrites `subscription { chatRoom(name: $name) { state { ... } } }` into the lists of its node types.
 *
 * A type is asked for the union of what all places select of it. Where two places give one response key to different fields
 * or arguments, the rows have aliases of their own, and each place reads its own. Raises FlattenError.
 */
export function flatten(document: DocumentNode, map: ChannelMap): Flat {
  return new Reader(document, map).flat();
}

/** All of a channel: every list with all leaves and edges. */
export function everything(channel: ChannelInfo, map: ChannelMap): Flat {
  const rows = new Rows(map);
  const selections = new Map<string, Selection>();
  function select(type: string): Selection {
    const known = selections.get(type);
    if (known) return known;
    const { leaves, edges } = typeInfo(map, type);
    const fields: SelectedField[] = ["id", ...leaves].map((key) => ({ key, from: key }));
    const selection = { type, index: selections.size, fields };
    // before its edges: a type may be beneath itself
    selections.set(type, selection);
    rows.add(type, "");
    for (const leaf of leaves) rows.field(type, leaf, leaf, "");
    for (const [key, { type: child, many, nullable }] of Object.entries(edges)) {
      if (!many) rows.field(type, key, `${key} { id }`, "");
      fields.push({ key, from: key, edge: { many, nullable, selection: select(child) } });
    }
    return selection;
  }
  const root = select(channel.root);
  const names = Object.entries(channel.arguments);
  const definitions = names.map(([name, type]) => `$${name}: ${type}`);
  const values = names.map(([name]) => `${name}: $${name}`);
  const query = rows.query(channel, channel.name, definitions, values, "after");
  return { channel, key: query, query, after: "after", select: () => root };
}

class Reader {
  private readonly fragments = new Map<string, FragmentDefinitionNode>();
  private readonly rows: Rows;
  private readonly operation: OperationDefinitionNode;

  constructor(
    document: DocumentNode,
    private readonly map: ChannelMap,
  ) {
    this.rows = new Rows(map);
    const operations: OperationDefinitionNode[] = [];
    for (const node of document.definitions) {
      if (node.kind === "FragmentDefinition") this.fragments.set(node.name.value, node);
      if (node.kind === "OperationDefinition") operations.push(node);
    }
    const [operation] = operations;
    if (operations.length !== 1 || operation?.operation !== "subscription")
      throw new FlattenError("A channel's document has one operation, a subscription.");
    this.operation = operation;
  }

  flat(): Flat {
    const { field, channel } = this.channel();
    const root = this.place(channel.root, this.state(field, channel), `${channel.field}.state`);
    const definitions = this.operation.variableDefinitions ?? [];
    const names = definitions.map((node) => node.variable.name.value);
    let after = "after";
    while (names.includes(after)) after += "_";
    const args = (field.arguments ?? []).map(
      (arg) => `${arg.name.value}: ${printValue(arg.value)}`,
    );
    const name = this.operation.name?.value ?? "";
    const draft = this.rows.query(channel, name, [], args, after);
    // what only stood beside `state` would be an unused variable
    const used = definitions.filter((node) => uses(draft, node.variable.name.value));
    const query = this.rows.query(channel, name, used.map(printDefinition), args, after);
    const defaults = Object.fromEntries(
      definitions.flatMap(({ variable, defaultValue }) =>
        defaultValue?.kind === "BooleanValue" ? [[variable.name.value, defaultValue.value]] : [],
      ),
    );
    const known = new Map<string, Selection>();
    return {
      channel,
      key: `${query} ${printSelectionSet(this.operation.selectionSet, this.fragments)}`,
      query,
      after,
      select: (variables) => resolve(root, { ...defaults, ...variables }, known),
    };
  }

  private channel(): { field: FieldNode; channel: ChannelInfo } {
    const fields = this.collect([{ set: this.operation.selectionSet, when: "" }], "", "");
    fields.delete("__typename");
    const [found, ...others] = [...fields.values()].flat();
    const name = found?.node.name.value ?? "";
    const channel = this.map.channels[name];
    if (!found || !channel) {
      const known = Object.keys(this.map.channels).join(", ");
      throw new FlattenError(`\`${name}\` is not a channel. There are: ${known}. ${AGAIN}`);
    }
    if (fields.size > 1 || found.when !== "")
      throw new FlattenError("A channel's document selects one channel, always.");
    if (found.node.arguments?.some((arg) => arg.name.value === "after"))
      throw new FlattenError(
        `${name}: leave the argument \`after\` out. The client resumes by itself.`,
      );
    // the field may stand there more than once, with equal arguments
    const sets = [found, ...others].flatMap(({ node }) => node.selectionSet?.selections ?? []);
    return {
      channel,
      field: { ...found.node, selectionSet: { kind: SELECTION_SET, selections: sets } },
    };
  }

  private state(field: FieldNode, { event, field: name }: ChannelInfo): Sets[] {
    const fields = this.collect(setsOf([{ node: field, when: "" }]), event, name);
    let state: Sets[] | undefined;
    for (const [key, found] of fields) {
      const selected = found[0]?.node.name.value ?? "";
      if (IGNORED.includes(selected)) continue;
      if (selected !== "state" || state)
        throw new FlattenError(
          `${name}.${key}: select \`state\`, once, and nothing else. The client reads the lists by itself.`,
        );
      state = setsOf(found);
    }
    if (!state?.length) throw new FlattenError(`${name}: select \`state { ... }\`.`);
    return state;
  }

  private place(type: string, sets: readonly Sets[], path: string): Place {
    for (const { when } of sets) this.rows.add(type, when);
    const { leaves, edges } = typeInfo(this.map, type);
    const fields: PlaceField[] = [];
    for (const [key, found] of this.collect(sets, type, path)) {
      const name = found[0]?.node.name.value ?? "";
      const when = found.map((one) => one.when);
      const args = printArguments(found[0]?.node.arguments);
      // a field may be called as what every object has: `constructor`
      const edge = Object.hasOwn(edges, name) ? edges[name] : undefined;
      let from = name;
      if (edge) {
        if (edge.many && args)
          throw new FlattenError(`${path}.${key}: the lists of a channel take no arguments.`);
        if (!edge.many)
          for (const one of when) from = this.rows.field(type, name, `${name}${args} { id }`, one);
        const place = this.place(edge.type, setsOf(found), `${path}.${key}`);
        fields.push({ key, from, when, edge: { ...edge, place } });
        continue;
      }
      if (name !== "id" && name !== "__typename") {
        const below = setsOf(found).map(({ set }) => printSelectionSet(set, this.fragments));
        if (!leaves.includes(name) && below.length === 0)
          throw new FlattenError(`${path}.${key}: ${type} has no field \`${name}\`. ${AGAIN}`);
        // an object that is no node: taken as it is, and once, since an alias is of one field
        const object =
          below.length > 1 ? `{ ${below.map((set) => `... ${set}`).join(" ")} }` : below[0];
        const text = `${name}${args}${object ? ` ${object}` : ""}`;
        for (const one of when) from = this.rows.field(type, name, text, one);
      }
      fields.push({ key, from, when });
    }
    return { type, fields };
  }

  /** The fields of selection sets by response key, fragments opened. */
  private collect(sets: readonly Sets[], type: string, path: string): Map<string, Found[]> {
    const fields = new Map<string, Found[]>();
    const visit = (set: SelectionSetNode, within: When, spread: readonly string[]): void => {
      for (const node of set.selections) {
        const when = this.conditions(node.directives, within, path);
        if (when === null) continue;
        if (node.kind === "Field") {
          const key = (node.alias ?? node.name).value;
          const found = fields.get(key);
          if (!found) fields.set(key, [{ node, when }]);
          else if (found[0] && sameField(found[0].node, node)) found.push({ node, when });
          else
            throw new FlattenError(
              `${path}.${key}: \`${shown(found[0]?.node)}\` and \`${shown(node)}\` have one key. Give one of them an alias.`,
              [...found.map((one) => one.node), node],
            );
          continue;
        }
        const name = node.kind === "FragmentSpread" ? node.name.value : "";
        const fragment = node.kind === "FragmentSpread" ? this.fragments.get(name) : node;
        if (!fragment) throw new FlattenError(`${path}: there is no fragment \`${name}\`.`);
        if (name && spread.includes(name))
          throw new FlattenError(`${path}: the fragment \`${name}\` spreads itself.`);
        const on = fragment.typeCondition?.name.value ?? type;
        // any other name is an interface of the type: the document was validated
        if (on === type || !(on in this.map.types))
          visit(fragment.selectionSet, when, name ? [...spread, name] : spread);
      }
    };
    for (const { set, when } of sets) visit(set, when, []);
    return fields;
  }

  /** `within` and what the directives add; null if that never holds. */
  private conditions(
    directives: readonly DirectiveNode[] | undefined,
    within: When,
    path: string,
  ): When | null {
    const all = new Set(within === "" ? [] : within.split(","));
    for (const { name, arguments: args } of directives ?? []) {
      const wanted = name.value === "include";
      if (!wanted && name.value !== "skip")
        throw new FlattenError(`${path}: @${name.value} can't be used in a channel's state.`);
      const value = args?.[0]?.value;
      if (value?.kind === "BooleanValue") {
        if (value.value !== wanted) return null;
      } else if (value?.kind === "Variable") all.add(`${wanted ? "+" : "-"}${value.name.value}`);
    }
    for (const one of all) if (one.startsWith("+") && all.has(`-${one.slice(1)}`)) return null;
    return [...all].sort().join(",");
  }
}

const SELECTION_SET = "SelectionSet" as SelectionSetNode["kind"];

function resolve(place: Place, variables: Variables, known: Map<string, Selection>): Selection {
  const fields = place.fields
    .filter(({ when }) => when.some((all) => holds(all, variables)))
    .map(({ key, from, edge }): SelectedField => {
      if (!edge) return { key, from };
      const { many, nullable } = edge;
      return {
        key,
        from,
        edge: { many, nullable, selection: resolve(edge.place, variables, known) },
      };
    });
  const parts = fields.map(
    ({ key, from, edge }) => `${key}:${from}>${edge?.selection.index ?? ""}`,
  );
  const signature = `${place.type}{${parts.join()}}`;
  let selection = known.get(signature);
  if (!selection)
    known.set(signature, (selection = { type: place.type, index: known.size, fields }));
  return selection;
}

function holds(all: When, variables: Variables): boolean {
  return all
    .split(",")
    .every((one) => one === "" || Boolean(variables[one.slice(1)]) === one.startsWith("+"));
}

function setsOf(found: readonly Found[]): Sets[] {
  return found.flatMap(({ node, when }) =>
    node.selectionSet ? [{ set: node.selectionSet, when }] : [],
  );
}

function sameField(left: FieldNode, right: FieldNode): boolean {
  return shown(left) === shown(right);
}

function shown(node: FieldNode | undefined): string {
  return node ? `${node.name.value}${printArguments(node.arguments)}` : "";
}

function uses(text: string, variable: string): boolean {
  return new RegExp(`\\$${variable}\\b`).test(text);
}

function printDefinition({ variable, type, defaultValue }: VariableDefinitionNode): string {
  const value = defaultValue ? ` = ${printValue(defaultValue)}` : "";
  return `$${variable.name.value}: ${printType(type)}${value}`;
}
