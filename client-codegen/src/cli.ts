import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { render, staleModules, writeModules } from "./codegen.js";

const USAGE = `Usage: rxgraphql-codegen --schema FILE --out FOLDER [options]

Writes typed documents, the channels of each Django app and the socket's address for a schema exported by
\`manage.py makefrontend\`.

  --schema FILE          the schema's SDL or the JSON of an introspection; - reads it from standard input
  --out FOLDER           folder of the generated modules
  --documents GLOB       modules with graphql(...) documents; repeatable. Default: every module of the package around FOLDER
  --websocket-url VALUE  RX_WEBSOCKET_URL: ws:..., http:..., a /path, or a JavaScript expression. Default: /graphql/
  --check                write nothing; exit with 1 and the names of the files that are stale
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      schema: { type: "string" },
      out: { type: "string" },
      documents: { type: "string", multiple: true },
      "websocket-url": { type: "string", default: "/graphql/" },
      check: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (!values.schema || !values.out) {
    process.stderr.write(USAGE);
    return 2;
  }
  const out = path.resolve(values.out);
  const modules = await render({
    schema: await (values.schema === "-" ? text(process.stdin) : readFile(values.schema, "utf8")),
    out,
    documents: values.documents ?? (await defaultDocuments(out)),
    websocketUrl: values["websocket-url"],
  });
  const shown = (name: string): string => path.relative(process.cwd(), path.join(out, name));
  if (values.check) {
    const stale = await staleModules(out, modules);
    for (const name of stale) process.stderr.write(`stale: ${shown(name)}\n`);
    return stale.length > 0 ? 1 : 0;
  }
  const { written, removed } = await writeModules(out, modules);
  for (const name of written) process.stdout.write(`wrote ${shown(name)}\n`);
  for (const name of removed) process.stdout.write(`removed ${shown(name)}\n`);
  return 0;
}

/** Every module of the package that `out` belongs to, what tools made left out. */
async function defaultDocuments(out: string): Promise<string[]> {
  const root = await packageRoot(out);
  return [
    `${root}/**/*.{ts,tsx,mts,js,jsx,mjs,graphql,gql}`,
    ...["node_modules", "dist", "build"].map((folder) => `!${root}/**/${folder}/**`),
  ];
}

async function packageRoot(folder: string): Promise<string> {
  const names = await readdir(folder).catch((): string[] => []);
  const parent = path.dirname(folder);
  if (names.includes("package.json")) return folder;
  if (parent === folder) {
    throw new Error(
      "No package.json above the output folder. Say where the documents are: --documents GLOB",
    );
  }
  return packageRoot(parent);
}

/** Codegen wraps what went wrong, a document that doesn't fit the schema for instance, in errors of its own. */
function messages(error: unknown): string[] {
  if (error instanceof AggregateError) return error.errors.flatMap(messages);
  return [error instanceof Error ? error.message : String(error)];
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${messages(error).join("\n")}\n`);
  process.exitCode = 2;
}
