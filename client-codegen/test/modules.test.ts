import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { buildSchema, introspectionFromSchema } from "graphql";
import ts from "typescript";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { render, writeModules } from "../src/codegen.js";
import { AWKWARD, CHAT } from "./schemas.js";

let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "rxgraphql modules "));
  await mkdir(path.join(root, "src"));
  const modules = path.resolve(import.meta.dirname, "../../node_modules");
  await symlink(modules, path.join(root, "node_modules"));
});

afterEach(() => rm(root, { recursive: true }));

const out = () => path.join(root, "src/generated");

function modules(schema: string, websocketUrl = "/graphql/") {
  return render({ schema, out: out(), documents: [`${root}/src/*.ts`], websocketUrl });
}

async function write(name: string, text: string): Promise<void> {
  await writeFile(path.join(root, "src", name), text);
}

/** What a strict project's compiler says of the generated modules and of a module that uses them. */
async function faults(schema: string, use: string, websocketUrl?: string): Promise<string[]> {
  await writeModules(out(), await modules(schema, websocketUrl));
  await write("use.ts", use);
  const generated = [...(await modules(schema)).keys()].map((name) => path.join(out(), name));
  const program = ts.createProgram([path.join(root, "src/use.ts"), ...generated], {
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    verbatimModuleSyntax: true,
    isolatedModules: true,
    noUnusedLocals: true,
    noUnusedParameters: true,
    noPropertyAccessFromIndexSignature: true,
    noEmit: true,
    jsx: ts.JsxEmit.ReactJSX,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    types: [],
    paths: {
      "@rxgraphql/client": [path.resolve(import.meta.dirname, "../src/index.ts")],
      "@rxgraphql/client/react": [path.resolve(import.meta.dirname, "../src/react.tsx")],
    },
  });
  return ts.getPreEmitDiagnostics(program).map((fault) => {
    const name = path.basename(fault.file?.fileName ?? "");
    return `${name}: ${ts.flattenDiagnosticMessageText(fault.messageText, "\n")}`;
  });
}

describe("the channels' modules", () => {
  test("are one for each app", async () => {
    const made = await modules(CHAT);

    expect([...made.keys()].sort()).toEqual([
      "channel-map.ts",
      "chat.ts",
      "gql.ts",
      "graphql.ts",
      "index.ts",
      "nodes.ts",
      "people.ts",
      "websocket.ts",
    ]);
    expect(made.get("chat.ts")).toContain("export class ChatRoomChannel extends");
    expect(made.get("people.ts")).toContain("export class ProfileChannel extends");
    expect(made.get("people.ts")).not.toContain("ChatRoom");
  });

  test("are one for all where the schema doesn't tell the apps", async () => {
    const schema = JSON.stringify({ data: introspectionFromSchema(buildSchema(CHAT)) });
    const made = await modules(schema);

    expect([...made.keys()].filter((name) => /chan|chat|people/.test(name)).sort()).toEqual([
      "channel-map.ts",
      "channels.ts",
    ]);
    expect(made.get("channels.ts")).toContain("ProfileChannel");
    expect(made.get("nodes.ts")).toBe((await modules(CHAT)).get("nodes.ts"));
  });

  test("show the nested state as it comes: readonly, with its nulls and enums", async () => {
    const use = `
      import { ChatRoomChannel, type ChatRoomState } from "./generated";
      import type { Message } from "./generated/chat";
      export const channel = new ChatRoomChannel("lobby", "token");
      export const name: string = channel.args.name;
      export function text(state: ChatRoomState): readonly string[] {
        return state.messages.map((message: Message) => \`\${message.text} \${message.author?.name ?? ""}\`);
      }
      export const kind = ({ kind }: Message): "ACTION" | "NOTE" | null => kind;
      export const tags = ({ tags }: Message): readonly string[] | null => tags;
      export const edited = ({ editedAt }: Message): string | null => editedAt;
      // @ts-expect-error the author may be gone
      export const author = ({ author }: Message): string => author.name;
      // @ts-expect-error the state is the server's
      export const wrong = (state: ChatRoomState): void => { state.name = ""; };
      // @ts-expect-error a name is text
      export const numbered = new ChatRoomChannel(5);
    `;

    expect(await faults(CHAT, use)).toEqual([]);
  });

  test("type a nested selection to what it selects", async () => {
    await write(
      "mine.ts",
      `import { graphql } from "./generated";
       export const Mine = graphql(\`subscription Mine($name: String!) {
         chatRoom(name: $name) { state { messages { said: text author { name } } } }
       }\`);`,
    );
    const use = `
      import { createClient } from "@rxgraphql/client";
      import { channelMap, websocketUrl } from "./generated";
      import { Mine } from "./mine";
      const client = createClient({ url: websocketUrl, channelMap });
      const { state } = client.channel(Mine, { name: "lobby" }).get();
      export const said: readonly (string | undefined)[] | undefined = state?.messages.map(({ said }) => said);
      // @ts-expect-error it isn't selected
      export const name = state?.name;
    `;

    expect(await faults(CHAT, use)).toEqual([]);
    // an installer that hides what isn't the project's own dependency
    for (const text of (await modules(CHAT)).values())
      for (const [, name] of text.matchAll(/from ["']([^."'].*?)["']/g))
        expect(name).toBe("@rxgraphql/client");
  });

  test("fit the hook in all its forms", async () => {
    const use = `
      import { useChannelState } from "@rxgraphql/client/react";
      import { ChatRoomChannel, ListingChannel } from "./generated";
      export function useRoom(name: string | null, token: string) {
        const { state, status } = useChannelState(ChatRoomChannel, name === null ? null : { name });
        const mine = useChannelState(new ChatRoomChannel("lobby", token));
        const topic = useChannelState(ChatRoomChannel, { name: "a" }, { select: (room) => room.messages });
        const texts: readonly (string | undefined)[] = [
          state?.messages[0]?.text,
          mine.state?.messages[0]?.author?.name,
          topic.state?.[0]?.text,
          status,
        ];
        return texts;
      }
      export function useWrong() {
        // @ts-expect-error the argument is called otherwise
        useChannelState(ChatRoomChannel, { room: "lobby" });
        // @ts-expect-error the argument is missing
        useChannelState(ChatRoomChannel, {});
      }
      export function useListing() {
        return useChannelState(ListingChannel, { zone: "north", filter: { from: 1 } }).state?.count;
      }
    `;
    const listing = `
      input Box { from: Float! }
      type Listing { id: ID!, count: Int! }
      type ListingEvent implements ChannelEvent {
        cursor: String!, kind: ChannelEventKind!, lists: [ListChange!]!, removed: [ID!]!, state: Listing, listings: [Listing!]!
      }
      extend type Subscription {
        listing(zone: String!, filter: Box!, area: Int! = 3, after: String): ListingEvent!
      }
    `;

    expect(await faults(CHAT + listing, use)).toEqual([]);
  });

  test("are right for names that clash, with the document's types or TypeScript's words", async () => {
    const use = `
      import { ListingChannel, ListingChannelChannel, graphqlChannel, type ListingChannelState_ } from "./generated";
      import type { string_ } from "./generated/graphql-channels";
      import type { class_ } from "./generated/channels";
      export const listing = new ListingChannel("north", null, { from: 1, inner: { from: 2 } }, undefined);
      export const short = new ListingChannel("north", ["SOLD"], { from: 1 });
      export const filter: number = listing.args.filter.from;
      export const other = new ListingChannelChannel();
      export const third = new graphqlChannel("1");
      export const states = ({ states }: ListingChannelState_): readonly ("OPEN" | "SOLD" | "true_" | null)[] | null => states;
      export const big = (row: string_): string | null => row.kind;
      export const own = (row: string_): unknown => row.colour;
      export const parent = (row: class_): class_ | null => row.parent?.children[0]?.parent ?? null;
    `;

    expect(await faults(AWKWARD, use)).toEqual([]);
  });

  test("carry the socket's address", async () => {
    expect((await modules(CHAT)).get("channel-map.ts")).toContain('url: "/graphql/",');
    expect((await modules(CHAT, "wss://a.example/")).get("channel-map.ts")).toContain(
      'url: "wss://a.example/",',
    );
    expect((await modules(CHAT, "import.meta.env.VITE_URL")).get("channel-map.ts")).toContain(
      "url: import.meta.env.VITE_URL,",
    );
  });

  test("are removed when the app has no channels any more; what others put there stays", async () => {
    await writeModules(out(), await modules(CHAT));
    await writeFile(path.join(out(), "mine.ts"), "export {};\n");
    const fewer = CHAT.replace(/.*profile\(.*\n/, "");

    const { removed } = await writeModules(out(), await modules(fewer));

    expect(removed).toEqual(["people.ts"]);
    expect(await readFile(path.join(out(), "mine.ts"), "utf8")).toBe("export {};\n");
    expect((await writeModules(out(), await modules(fewer))).written).toEqual([]);
  });
});

describe("a selection that conflicts", () => {
  test("is an error that names both places", async () => {
    await write(
      "room.ts",
      `import { graphql } from "./generated";
export const Mine = graphql(\`
  subscription Mine($name: String!) {
    chatRoom(name: $name) { state { messages {
      text
      ...Bad
    } } }
  }
\`);`,
    );
    await write(
      "bad.ts",
      `import { graphql } from "./generated";\n\nexport const Bad = graphql(\`fragment Bad on Message {\n  text: kind }\`);`,
    );

    const failed = await modules(CHAT).catch((error: Error) => error.message);

    expect(failed).toMatch(
      /room\.ts:3: Mine: chatRoom\.state\.messages\.text: `text` and `kind` have one key/,
    );
    expect(failed).toMatch(/room\.ts:5\n.*bad\.ts:4/);
  });

  test("is fine at two places of one type", async () => {
    await write(
      "room.ts",
      `import { graphql } from "./generated";
export const Mine = graphql(\`subscription Mine($name: String!) {
  chatRoom(name: $name) { state { messages { x: text replies { x: kind } } } }
}\`);`,
    );

    expect((await modules(CHAT)).get("graphql.ts")).toContain("readonly x: string");
  });

  test("with what the schema doesn't have is told by the schema", async () => {
    await write(
      "room.ts",
      `import { graphql } from "./generated";
export const Mine = graphql(\`subscription Mine($name: String!) {
  chatRoom(name: $name) { state { nam ...Round } }
}
fragment Round on ChatRoom { ...Round }\`);`,
    );

    const failed = await modules(CHAT).catch((error: Error) => String(error));

    expect(failed).toMatch(/Cannot query field "nam" on type "ChatRoom"/);
  });

  test("of other fields beside `state` is left to other clients", async () => {
    await write(
      "room.ts",
      `import { graphql } from "./generated";
export const Both = graphql(\`subscription Both($name: String!, $after: String) {
  chatRoom(name: $name, after: $after) { state { name } users { id } }
}\`);`,
    );

    expect((await modules(CHAT)).get("graphql.ts")).toContain("BothDocument");
  });
});
