import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { codegen } from "@graphql-codegen/core";
import { getCachedDocumentNodeFromSchema, type Types } from "@graphql-codegen/plugin-helpers";
import { CodeFileLoader } from "@graphql-tools/code-file-loader";
import { GraphQLFileLoader } from "@graphql-tools/graphql-file-loader";
import { loadDocuments, NoTypeDefinitionsFound } from "@graphql-tools/load";
import {
  buildClientSchema,
  buildSchema,
  lexicographicSortSchema,
  type GraphQLSchema,
  type IntrospectionQuery,
} from "graphql";
import { HEADER } from "./modules.js";
import { preset } from "./preset.js";

export { preset, type PresetConfig } from "./preset.js";
export { SCALARS } from "./scalars.js";

export interface CodegenOptions {
  /** The schema itself: SDL, or the JSON of an introspection. */
  schema: string;
  /** Folder of the generated modules. */
  out: string;
  /** Globs of the modules whose `graphql(...)` documents get types. */
  documents: readonly string[];
  /** `RX_WEBSOCKET_URL` of the Django project. */
  websocketUrl: string;
}

/** client-preset wants one; no name is made of it. */
const FOLDER = "generated/";

/** The generated modules by file name. The same schema and documents give the same bytes, wherever they lie. */
export async function render(options: CodegenOptions): Promise<Map<string, string>> {
  const schemaAst = schemaOf(options.schema);
  const sections = await preset.buildGeneratesSection({
    baseOutputDir: FOLDER,
    presetConfig: { websocketUrl: options.websocketUrl },
    plugins: [],
    pluginMap: {},
    schema: getCachedDocumentNodeFromSchema(schemaAst),
    schemaAst,
    documents: await documentsOf(options),
    config: {},
    documentTransforms: [],
  });
  const modules = await Promise.all(
    sections.map(
      async (section) => [section.filename.slice(FOLDER.length), await codegen(section)] as const,
    ),
  );
  return new Map(modules);
}

/** Sorted: graphql-codegen's command sorts too, and so both make the same of one schema. */
function schemaOf(text: string): GraphQLSchema {
  if (!text.trimStart().startsWith("{"))
    return lexicographicSortSchema(buildSchema(text, { assumeValidSDL: true }));
  const found = JSON.parse(text) as IntrospectionQuery | { readonly data: IntrospectionQuery };
  return lexicographicSortSchema(buildClientSchema("data" in found ? found.data : found));
}

/**
 * Reads the documents in modules, and runs none: graphql-codegen's own loader imports those in which it finds no document, and
 * passes over those with an error while others have none.
 */
class Modules extends CodeFileLoader {
  readonly faults: Error[] = [];

  constructor() {
    super({ pluckConfig: { skipIndent: true }, noRequire: true });
  }

  override async handleSinglePath(...args: Parameters<CodeFileLoader["handleSinglePath"]>) {
    try {
      return await super.handleSinglePath(...args);
    } catch (error) {
      const [location, { cwd = "" }] = args;
      const file = path.resolve(cwd, location);
      // half written, or of a dialect that can't be read, but none of ours
      if (/\b(graphql|gql)\s*[(`]/.test(await readFile(file, "utf8"))) {
        const fault = `${path.relative(process.cwd(), file)}: ${String(error)}`;
        this.faults.push(new Error(fault, { cause: error }));
      }
      return [];
    }
  }
}

/** What graphql-codegen's command reads, without the loaders for servers and repositories that half of it consists of. */
async function documentsOf({ out, documents }: CodegenOptions): Promise<Types.DocumentFile[]> {
  // Relative to the folder above: a glob with a space in it is taken for a document.
  const cwd = path.dirname(path.resolve(out));
  const relative = (glob: string) =>
    glob.startsWith("!")
      ? `!${path.relative(cwd, path.resolve(glob.slice(1)))}`
      : path.relative(cwd, path.resolve(glob));
  const modules = new Modules();
  const found = await loadDocuments(documents.map(relative), {
    loaders: [modules, new GraphQLFileLoader()],
    cwd,
    sort: true,
    skipGraphQLImport: true,
  }).catch((error: unknown) => {
    // a page may have none
    if (error instanceof NoTypeDefinitionsFound) return [];
    throw error;
  });
  if (modules.faults.length > 0) throw new AggregateError(modules.faults);
  return found;
}

/** Names of the modules in `out` that differ from `modules`, are absent or aren't made any more, sorted. */
export async function staleModules(
  out: string,
  modules: ReadonlyMap<string, string>,
): Promise<string[]> {
  const stale = await leftovers(out, modules);
  for (const [name, content] of modules) {
    if ((await readOrNull(path.join(out, name))) !== content) stale.push(name);
  }
  return stale.sort();
}

/** Writes what differs, so that a dev server reloads only what changed, and removes what isn't made any more. */
export async function writeModules(
  out: string,
  modules: ReadonlyMap<string, string>,
): Promise<{ written: string[]; removed: string[] }> {
  await mkdir(out, { recursive: true });
  const removed = await leftovers(out, modules);
  for (const name of removed) await rm(path.join(out, name));
  const written = await staleModules(out, modules);
  for (const name of written) await writeFile(path.join(out, name), modules.get(name) ?? "");
  return { written, removed };
}

/** Modules of an earlier run, of an app whose channels are gone for instance. What others put there is left alone. */
async function leftovers(out: string, modules: ReadonlyMap<string, string>): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(out).catch((): string[] => [])) {
    if (!name.endsWith(".ts") || modules.has(name)) continue;
    if ((await readOrNull(path.join(out, name)))?.startsWith(HEADER)) found.push(name);
  }
  return found.sort();
}

async function readOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, "utf8");
  } catch {
    return null;
  }
}
