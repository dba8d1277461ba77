import { readFileSync } from "node:fs";
import path from "node:path";
import type { Types } from "@graphql-codegen/plugin-helpers";
import type {
  ASTNode,
  DocumentNode,
  FieldNode,
  FragmentDefinitionNode,
  OperationDefinitionNode,
  SelectionSetNode,
} from "graphql";
import { FlattenError, flatten } from "./flatten.js";
import type { ChannelMap } from "./map.js";

type Fragments = ReadonlyMap<string, FragmentDefinitionNode>;

const DOCUMENT = "Document" as DocumentNode["kind"];
const OF_EVERY_EVENT = ["__typename", "kind", "cursor", "removed", "lists"];

/**
 * Raises an error that names every document of a channel's `state` that the client could not read, and where it is.
 * Documents that select more than `state` are for other clients, and theirs to judge.
 */
export function checkDocuments(files: readonly Types.DocumentFile[], map: ChannelMap): void {
  const definitions = files.flatMap(({ document }) => document?.definitions ?? []);
  const fragments = definitions.filter((node) => node.kind === "FragmentDefinition");
  const byName: Fragments = new Map(fragments.map((node) => [node.name.value, node]));
  const faults: string[] = [];
  for (const file of files) {
    for (const node of file.document?.definitions ?? []) {
      if (node.kind !== "OperationDefinition" || !isOfState(node, byName, map)) continue;
      try {
        flatten({ kind: DOCUMENT, definitions: [node, ...fragments] }, map);
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

function isOfState(
  operation: OperationDefinitionNode,
  fragments: Fragments,
  map: ChannelMap,
): boolean {
  if (operation.operation !== "subscription") return false;
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
