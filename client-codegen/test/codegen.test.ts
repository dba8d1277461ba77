import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import ts from "typescript";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SCALARS, render, staleModules, writeModules } from "../src/codegen.js";

const SDL = `
scalar BigInt
scalar Date
scalar DateTime
scalar Decimal
scalar Duration
scalar JSON
scalar Time
scalar UUID
scalar Void
scalar Colour

enum RoomKind { TEAM PROJECT }
input RoomFilter { kind: RoomKind, before: DateTime }

type Room {
  id: ID!
  size: BigInt!
  opened: Date
  seen: DateTime!
  price: Decimal
  span: Duration
  settings: JSON!
  daily: Time
  token: UUID!
  nothing: Void
  colour: Colour
  kind: RoomKind!
  rooms: [Room!]!
}
type Query { room(filter: RoomFilter): Room }
`;

const DOCUMENT = `query Room($filter: RoomFilter) { room(filter: $filter) {
  id size opened seen price span settings daily token nothing colour kind rooms { id }
} }`;

let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "rxgraphql-codegen-"));
  await mkdir(path.join(root, "src"));
  await writeFile(
    path.join(root, "src/room.ts"),
    `import { graphql } from "./generated";\nexport const Room = graphql(\`${DOCUMENT}\`);\n`,
  );
});

afterEach(() => rm(root, { recursive: true }));

function options(overrides: { schema?: string; websocketUrl?: string } = {}) {
  return {
    schema: SDL,
    out: path.join(root, "src/generated"),
    documents: [`${root}/src/**/*.ts`],
    websocketUrl: "/graphql/",
    ...overrides,
  };
}

/** The identifiers and keywords of a module, without its comments and texts. */
function words(module: string): string[] {
  const scanner = ts.createScanner(
    ts.ScriptTarget.Latest,
    true,
    ts.LanguageVariant.Standard,
    module,
  );
  const found: string[] = [];
  for (let kind = scanner.scan(); kind !== ts.SyntaxKind.EndOfFileToken; kind = scanner.scan()) {
    found.push(scanner.getTokenText());
  }
  return found;
}

describe("render", () => {
  test("gives typed documents, an index and the socket's address", async () => {
    const modules = await render(options());

    expect([...modules.keys()].sort()).toEqual([
      "gql.ts",
      "graphql.ts",
      "index.ts",
      "websocket.ts",
    ]);
    expect(modules.get("graphql.ts")).toContain(
      "readonly rooms: ReadonlyArray<{ readonly id: string }>",
    );
  });

  test("never says any", async () => {
    const modules = await render(options());

    for (const module of modules.values()) expect(words(module)).not.toContain("any");
  });

  test("says what every scalar of rxgraphql is in JSON, and unknown for a project's own", async () => {
    const module = (await render(options())).get("graphql.ts") ?? "";

    const declared = [...SDL.matchAll(/scalar (\w+)/g)].map(([, name]) => name);
    expect(
      declared
        .filter((name) => name !== "Colour")
        .concat("ID")
        .sort(),
    ).toEqual(Object.keys(SCALARS).sort());
    expect(module).toContain("readonly size: string, readonly opened: string | null");
    expect(module).toContain("readonly settings: unknown");
    expect(module).toContain("readonly colour: unknown");
  });

  test("makes an enum a union of its values", async () => {
    const module = (await render(options())).get("graphql.ts") ?? "";

    expect(module).toMatch(/export type RoomKind =\s+\| 'PROJECT'\s+\| 'TEAM';/);
  });

  test("gives the same bytes twice, however the schema is ordered", async () => {
    const [first, ...others] = SDL.trim().split(/\n(?=type )/);
    const reordered = [...others.reverse(), first].join("\n");

    expect(await render(options({ schema: reordered }))).toEqual(await render(options()));
  });

  test("works before the first document is written", async () => {
    await rm(path.join(root, "src/room.ts"));

    expect([...(await render(options())).keys()]).toContain("websocket.ts");
  });

  test("names the document that doesn't fit the schema", async () => {
    await expect(render(options({ schema: "type Query { ping: String }" }))).rejects.toThrow(
      /room\.ts/,
    );
  });

  test("gives modules that a strict compiler accepts", async () => {
    const { out } = options();
    await writeModules(out, await render(options({ websocketUrl: "wss://example.org/graphql/" })));
    await writeFile(
      path.join(root, "src/use.ts"),
      [
        `import { type DocumentType, type RoomQueryVariables } from "./generated";`,
        `import { Room } from "./room";`,
        `export const variables: RoomQueryVariables = { filter: { kind: "TEAM" } };`,
        `export const id = (room: DocumentType<typeof Room>): string | undefined => room.room?.id;`,
        `// @ts-expect-error a number is no id`,
        `export const wrong = (room: DocumentType<typeof Room>): number | undefined => room.room?.id;`,
      ].join("\n"),
    );
    const program = ts.createProgram([path.join(root, "src/use.ts")], {
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      types: [],
      paths: {
        "@rxgraphql/client": [path.resolve(import.meta.dirname, "../src/index.ts")],
        "*": [path.resolve(import.meta.dirname, "../../node_modules/*")],
      },
    });

    const faults = ts.getPreEmitDiagnostics(program);
    expect(faults.map((fault) => ts.flattenDiagnosticMessageText(fault.messageText, "\n"))).toEqual(
      [],
    );
  });
});

describe("writeModules", () => {
  test("writes only what differs", async () => {
    const { out } = options();
    const modules = await render(options());

    expect(await staleModules(out, modules)).toEqual([...modules.keys()].sort());
    expect((await writeModules(out, modules)).written).toEqual([...modules.keys()].sort());
    expect(await staleModules(out, modules)).toEqual([]);

    await writeFile(path.join(out, "gql.ts"), "");
    expect(await writeModules(out, modules)).toEqual({ written: ["gql.ts"], removed: [] });
    expect(await readFile(path.join(out, "gql.ts"), "utf8")).toBe(modules.get("gql.ts"));
  });
});
