import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { generate } from "@graphql-codegen/cli";
import type { Types } from "@graphql-codegen/plugin-helpers";
import { buildClientSchema, printSchema, type IntrospectionQuery } from "graphql";
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

/** The generated modules by file name. The same schema and documents give the same bytes, wherever they lie. */
export async function render(options: CodegenOptions): Promise<Map<string, string>> {
  const out = path.resolve(options.out);
  // Relative to the folder above: a glob with a space in it is taken for a document.
  const cwd = path.dirname(out);
  const relative = (glob: string) =>
    glob.startsWith("!")
      ? `!${path.relative(cwd, path.resolve(glob.slice(1)))}`
      : path.relative(cwd, path.resolve(glob));
  const config: Types.Config = {
    schema: sdlOf(options.schema),
    cwd,
    documents: options.documents.map(relative),
    ignoreNoDocuments: true,
    silent: true,
    errorsOnly: true,
    generates: {
      [`${path.basename(out)}/`]: {
        preset,
        presetConfig: { websocketUrl: options.websocketUrl },
      },
    },
  };
  const files = (await generate(config, false)) as Types.FileOutput[];
  return new Map(files.map(({ filename, content }) => [path.basename(filename), content]));
}

function sdlOf(schema: string): string {
  if (!schema.trimStart().startsWith("{")) return schema;
  const found = JSON.parse(schema) as IntrospectionQuery | { readonly data: IntrospectionQuery };
  return printSchema(buildClientSchema("data" in found ? found.data : found));
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
