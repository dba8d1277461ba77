import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "./run.js";

const BIN = path.resolve(import.meta.dirname, "../bin/rxgraphql-codegen.js");

let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "rxgraphql cli "));
  await writeFile(path.join(root, "package.json"), "{}");
  await writeFile(path.join(root, "schema.graphql"), "type Query { ping: String }\n");
});

afterEach(() => rm(root, { recursive: true }));

test("--check writes nothing, names what is stale and exits with 1 until it is written", async () => {
  const args = ["--schema", "schema.graphql", "--out", "generated"];

  const stale = await run(root, BIN, ...args, "--check");
  expect(stale.code).toBe(1);
  expect(stale.stderr).toContain("stale: generated/websocket.ts");
  expect(await readdir(root)).toEqual(["package.json", "schema.graphql"]);

  expect((await run(root, BIN, ...args)).stdout).toContain("wrote generated/websocket.ts");
  expect(await run(root, BIN, ...args, "--check")).toEqual({ code: 0, stdout: "", stderr: "" });
});

test("without its two names it says how it is called", async () => {
  const { code, stderr } = await run(root, BIN);

  expect(code).toBe(2);
  expect(stderr).toContain("Usage: rxgraphql-codegen --schema FILE --out FOLDER");
});

test("a document that doesn't fit the schema is a message, not a traceback", async () => {
  const module =
    'import { graphql } from "./generated";\nexport const Ping = graphql(`query Ping { pong }`);\n';
  await writeFile(path.join(root, "ping.ts"), module);

  const { code, stderr } = await run(root, BIN, "--schema", "schema.graphql", "--out", "generated");
  expect(code).toBe(2);
  expect(stderr).toContain('Cannot query field "pong" on type "Query".');
  expect(stderr).not.toContain("codegen.js");
});

test("modules are read and never run, and what can't be read and has no document is passed over", async () => {
  await writeFile(path.join(root, "server.mjs"), 'throw new Error("It runs.");\n');
  await writeFile(path.join(root, "half.ts"), "export const half = {\n");
  await writeFile(
    path.join(root, "side.mjs"),
    'await import("node:fs").then((fs) => fs.writeFileSync("ran", ""));\n',
  );

  const { code, stderr } = await run(root, BIN, "--schema", "schema.graphql", "--out", "generated");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(await readdir(root)).not.toContain("ran");
});

test("a document with a syntax error is named with its line, though others are right", async () => {
  const good =
    'import { graphql } from "./generated";\nexport const Ping = graphql(`query Ping { ping }`);\n';
  const bad =
    'import { graphql } from "./generated";\nexport const Bad = graphql(`query Bad { ping`);\n';
  await writeFile(path.join(root, "good.ts"), good);
  await writeFile(path.join(root, "bad.ts"), bad);

  const { code, stderr } = await run(root, BIN, "--schema", "schema.graphql", "--out", "generated");
  expect(code).toBe(2);
  expect(stderr).toContain("bad.ts: Syntax Error: Expected Name, found <EOF>.");
  expect(stderr).toContain("bad.ts:2:");
});
