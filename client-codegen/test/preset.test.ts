import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { generate } from "@graphql-codegen/cli";
import { buildSchema, introspectionFromSchema } from "graphql";
import { afterEach, beforeEach, expect, test } from "vitest";
import { preset, type PresetConfig } from "../src/codegen.js";
import { run } from "./run.js";
import { AWKWARD, CHAT } from "./schemas.js";

const MODULES = path.resolve(import.meta.dirname, "../../node_modules");

let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "rxgraphql-preset-"));
  await mkdir(path.join(root, "src"));
  await writeFile(path.join(root, "package.json"), '{ "type": "module" }');
  await symlink(MODULES, path.join(root, "node_modules"));
});

afterEach(() => rm(root, { recursive: true }));

/** What a project's own configuration generates, by file. */
async function generated(
  schema: string,
  presetConfig: PresetConfig,
  config: Record<string, unknown> = {},
): Promise<Record<string, string>> {
  const made = (await generate(
    {
      schema,
      cwd: root,
      documents: ["src/*.ts"],
      ignoreNoDocuments: true,
      silent: true,
      generates: { "src/gql/": { preset, presetConfig, config } },
    },
    false,
  )) as { filename: string; content: string }[];
  return Object.fromEntries(
    made.map(({ filename, content }) => [path.basename(filename), content]),
  );
}

test("works in a project's own codegen.ts", async () => {
  await writeFile(path.join(root, "schema.graphql"), CHAT);
  await writeFile(
    path.join(root, "src/room.ts"),
    'import { graphql } from "./gql";\nexport const Mine = graphql(`subscription Mine { chatRoom(name: "a") { state { name } } }`);\n',
  );
  await writeFile(
    path.join(root, "codegen.ts"),
    `import type { CodegenConfig } from "@graphql-codegen/cli";
     import { preset } from "@rxgraphql/client/codegen";
     const config: CodegenConfig = {
       schema: "schema.graphql",
       documents: ["src/**/*.ts"],
       generates: { "src/gql/": { preset, presetConfig: { websocketUrl: "wss://example.org/" } } },
     };
     export default config;`,
  );

  const bin = path.join(MODULES, "@graphql-codegen/cli/cjs/bin.js");
  const { code, stderr } = await run(root, bin, "--config", "codegen.ts");

  expect([code, stderr]).toEqual([0, expect.any(String)]);
  const read = (name: string) => readFile(path.join(root, "src/gql", name), "utf8");
  expect(await read("chat.ts")).toContain("export class ChatRoomChannel");
  expect(await read("graphql.ts")).toContain("export const MineDocument");
  expect(await read("websocket.ts")).toContain('"wss://example.org/"');
});

test("takes the apps of a schema that came by introspection", async () => {
  const schema = path.join(root, "schema.json");
  await writeFile(schema, JSON.stringify(introspectionFromSchema(buildSchema(CHAT))));

  const modules = await generated(schema, { apps: { chatRoom: "chat" } });

  expect(modules["chat.ts"]).toContain("ChatRoomChannel");
  expect(modules["channels.ts"]).toContain("ProfileChannel");
});

test("gives scalars of the project's own the types that it says", async () => {
  const scalars = { Colour: "`#${string}`", BigInt: { input: "bigint", output: "./big#Big" } };
  const modules = await generated(AWKWARD, {}, { scalars });

  expect(modules["nodes.ts"]).toContain("readonly colour: `#${string}` | null;");
  expect(modules["nodes.ts"]).toContain('readonly kind: import("./big").Big | null;');
  expect(modules["nodes.ts"]).toContain("readonly constructor: unknown;");
});

test("imports as the project's modules do", async () => {
  const modules = await generated(CHAT, {}, { importExtension: ".js" });

  for (const text of Object.values(modules)) {
    for (const [, name] of text.matchAll(/from ["'](\..+?)["']/g)) expect(name).toMatch(/\.js$/);
  }
});

test("leaves the options of client-preset to the project", async () => {
  const modules = await generated(CHAT, { fragmentMasking: { unmaskFunctionName: "unmask" } });

  expect(modules["fragment-masking.ts"]).toContain("function unmask");
  expect(modules["index.ts"]).toContain('export * from "./fragment-masking";');
});
