import { readFileSync } from "node:fs";
import path from "node:path";
import type { Types } from "@graphql-codegen/plugin-helpers";
import {
  Kind,
  OverlappingFieldsCanBeMergedRule,
  specifiedRules,
  validate,
  visit,
  type ASTNode,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from "graphql";
import { FlattenError, flatten } from "./flatten.js";
import type { ChannelMap } from "./map.js";

type Fragments = ReadonlyMap<string, FragmentDefinitionNode>;

/** What these find, graphql-codegen finds too and says well. */
const RULES = specifiedRules.filter((rule) => rule !== OverlappingFieldsCanBeMergedRule);
const OF_EVERY_EVENT = ["__typename", "kind", "cursor", "removed", "lists"];

/**
 * Raises an error that names every document of a channel's `state` that the client could not read, and where it is.
 * Documents that select more than `state` are for other clients, and theirs to judge.
 */
export function checkDocuments(
  schema: GraphQLSchema,
  files: readonly Types.DocumentFile[],
  map: ChannelMap,
): void {
  const definitions = files.flatMap(({ document }) => document?.definitions ?? []);
  const fragments = definitions.filter((node) => node.kind === Kind.FRAGMENT_DEFINITION);
  const byName: Fragments = new Map(fragments.map((node) => [node.name.value, node]));
  const faults: string[] = [];
  for (const file of files) {
    for (const node of file.document?.definitions ?? []) {
      if (node.kind !== Kind.OPERATION_DEFINITION || node.operation !== "subscription") continue;
      const document = withFragments(node, byName);
      if (validate(schema, document, RULES).length > 0 || !isOfState(node, byName, map)) continue;
      try {
        flatten(document, map);
      } catch (error) {
        if (!(error instanceof FlattenError)) throw error;
        const places = new Set(error.nodes.map((field) => placeOf(files, field)));
        const named = `${placeOf(files, node)}: ${node.name?.value ?? "subscription"}: ${error.message}`;
        faults.push([named, ...[...places].map((place) => `  ${place}`)].join("\n"));
      }
    }
  }
  if (faults.length > 0) throw new Error(faults.join("\n"));
}

function withFragments(operation: OperationDefinitionNode, fragments: Fragments): DocumentNode {
  const used = new Set<FragmentDefinitionNode>();
  const add = (from: ASTNode): void =>
    void visit(from, {
      FragmentSpread({ name }) {
        const found = fragments.get(name.value);
        if (!found || used.has(found)) return;
        used.add(found);
        add(found);
      },
    });
  add(operation);
  return { kind: Kind.DOCUMENT, definitions: [operation, ...used] };
}

function isOfState(
  operation: OperationDefinitionNode,
  fragments: Fragments,
  map: ChannelMap,
): boolean {
  const channels = fieldsOf(operation.selectionSet, fragments);
  if (!channels.every(({ name }) => Object.hasOwn(map.channels, name.value))) return false;
  if (channels.some((field) => field.arguments?.some(({ name }) => name.value === "after")))
    return false;
  const names = channels
    .flatMap(({ selectionSet }) => (selectionSet ? fieldsOf(selectionSet, fragments) : []))
    .map(({ name }) => name.value);
  return (
    names.includes("state") &&
    names.every((name) => name === "state" || OF_EVERY_EVENT.includes(name))
  );
}

/** The fields of a selection set and of its fragments, which validation has shown not to spread themselves. */
function fieldsOf(set: SelectionSetNode, fragments: Fragments): FieldNode[] {
  return set.selections.flatMap((node): FieldNode[] => {
    if (node.kind === "Field") return [node];
    const found = node.kind === "FragmentSpread" ? fragments.get(node.name.value) : node;
    return found ? fieldsOf(found.selectionSet, fragments) : [];
  });
}

/** `src/room.tsx:12`: a document's own lines are counted from its backtick, which is looked for in the module. */
function placeOf(files: readonly Types.DocumentFile[], { loc }: ASTNode): string {
  const text = loc?.source.body;
  const file = files.find(({ rawSDL, location }) => location && rawSDL && rawSDL === text);
  if (!file?.location || !text) return "a document";
  const shown = path.relative(process.cwd(), path.resolve(file.location));
  const module = readFileSync(file.location, "utf8").replaceAll("\r\n", "\n");
  const before = module.slice(0, Math.max(0, module.indexOf(text))).split("\n").length - 1;
  return `${shown}:${before + loc.startToken.line}`;
}
