import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { generate } from "@graphql-codegen/cli";
import { preset } from "@graphql-codegen/client-preset";
import type { Types } from "@graphql-codegen/plugin-helpers";
import { websocketModule } from "./websocket.js";

export interface CodegenOptions {
  /** The schema itself, in the schema definition language. */
  sdl: string;
  /** Folder of the generated modules. */
  out: string;
  /** Globs of the modules whose `graphql(...)` documents get types. */
  documents: readonly string[];
  /** `RX_WEBSOCKET_URL` of the Django project. */
  websocketUrl: string;
}

/** What each scalar of a project's schema is in JSON. Scalars of the project's own are `unknown` until it says more. */
export const SCALARS: Readonly<Record<string, string>> = {
  ID: "string",
  BigInt: "string",
  Date: "string",
  DateTime: "string",
  Decimal: "string",
  Duration: "string",
  JSON: "unknown",
  Time: "string",
  UUID: "string",
  Void: "null",
};

const HEADER = "/* eslint-disable */\n";

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
    schema: options.sdl,
    cwd,
    documents: [...options.documents.map(relative), `!${path.basename(out)}/**`],
    ignoreNoDocuments: true,
    silent: true,
    errorsOnly: true,
    generates: {
      [`${path.basename(out)}/`]: {
        preset,
        presetConfig: { fragmentMasking: false, skipIndexFile: true },
        config: {
          scalars: SCALARS,
          defaultScalarType: "unknown",
          enumType: "string-literal",
          immutableTypes: true,
          useTypeImports: true,
        },
      },
    },
  };
  const files = (await generate(config, false)) as Types.FileOutput[];
  const modules = new Map(
    files.map(({ filename, content }) => [path.basename(filename), withoutAny(content)]),
  );
  modules.set("websocket.ts", HEADER + websocketModule(options.websocketUrl));
  const names = [...modules.keys()].sort().map((name) => name.replace(/\.ts$/, ""));
  modules.set("index.ts", HEADER + names.map((name) => `export * from "./${name}";\n`).join(""));
  return modules;
}

/** Names of the modules in `out` that differ from `modules` or are absent, sorted. */
export async function staleModules(out: string, modules: Map<string, string>): Promise<string[]> {
  const stale: string[] = [];
  for (const [name, content] of modules) {
    if ((await readOrNull(path.join(out, name))) !== content) stale.push(name);
  }
  return stale.sort();
}

/** Writes what differs, so that a dev server reloads only what changed. Gives the names written. */
export async function writeModules(out: string, modules: Map<string, string>): Promise<string[]> {
  await mkdir(out, { recursive: true });
  const stale = await staleModules(out, modules);
  for (const name of stale) await writeFile(path.join(out, name), modules.get(name) ?? "");
  return stale;
}

async function readOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, "utf8");
  } catch {
    return null;
  }
}

/** The preset's own helpers use `any`, which a strict project's linter refuses even in generated files. */
function withoutAny(content: string): string {
  return content
    .replace("(documents as any)", "(documents as Record<string, unknown>)")
    .replace("DocumentNode<any, any>", "DocumentNode<unknown, never>")
    .replace(/(DocumentNode<\s*infer TType,\s*)any\s*>/, "$1never>");
}
