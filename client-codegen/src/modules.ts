import {
  getNamedType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isScalarType,
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLInputObjectType,
  type GraphQLSchema,
  type GraphQLType,
} from "graphql";
import { nodeFields, type FoundChannel, type FoundChannels } from "./introspect.js";
import type { ScalarTypes } from "./scalars.js";

/** First lines of every generated module: a module with them that isn't made any more may be removed. */
export const HEADER =
  "/* eslint-disable */\n// Made by rxgraphql-codegen. Changes are lost: run it again instead.\n";

/** Modules that are there whatever the apps are called. */
const TAKEN = ["gql", "graphql", "index", "nodes", "websocket"];

/** What TypeScript doesn't take as the name of an interface, and GraphQL does. */
const RESERVED = new Set(
  (
    "any bigint boolean never null number object string symbol undefined unknown void " +
    "await break case catch class const continue debugger default delete do else enum export extends false finally " +
    "for function if implements import in instanceof interface let new package private protected public return " +
    "static super switch this throw true try typeof var while with yield"
  ).split(" "),
);

export interface ModuleOptions {
  readonly scalars: ScalarTypes;
  /** What relative imports end with: "" or ".js". */
  readonly extension: string;
  /** The app of a channel by its field, where the schema doesn't tell it. */
  readonly apps: Readonly<Record<string, string>>;
  /** A JavaScript expression: where the channels are served. */
  readonly url: string;
}

/** `channel-map`, `nodes` and a module for each app, by name, and what `index` exports of them; nothing without channels. */
export function channelModules(
  schema: GraphQLSchema,
  found: FoundChannels,
  options: ModuleOptions,
): { readonly modules: ReadonlyMap<string, string>; readonly exports: string } {
  const modules = new Map<string, string>();
  if (found.channels.length === 0) return { modules, exports: "" };
  const writer = new Writer(schema, found, options);
  const exports = [`export * from "./channel-map${options.extension}";\n`];
  modules.set("channel-map", writer.channelMap());
  for (const [name, channels] of byModule(found.channels, options.apps)) {
    modules.set(name, writer.app(channels));
    // By their names, which hide what `graphql` may export under the same
    const names = channels.flatMap((channel) => writer.names(channel)).map((it) => `  ${it},\n`);
    exports.push(`export {\n${names.join("")}} from "./${name}${options.extension}";\n`);
  }
  // At last: the types of the channels' arguments are known only now
  modules.set("nodes", writer.nodes());
  return { modules, exports: exports.join("") };
}

function byModule(
  channels: readonly FoundChannel[],
  apps: Readonly<Record<string, string>>,
): [string, FoundChannel[]][] {
  const found = new Map<string, FoundChannel[]>();
  for (const channel of channels) {
    const app = apps[channel.info.field] ?? channel.app ?? "channels";
    // Django's labels are identifiers: none has a hyphen
    const name = TAKEN.includes(app) ? `${app}-channels` : app;
    found.set(name, [...(found.get(name) ?? []), channel]);
  }
  return [...found].sort(([one], [other]) => (one < other ? -1 : 1));
}

class Writer {
  readonly #inputs = new Map<string, GraphQLInputObjectType>();
  readonly #stateNames: ReadonlyMap<FoundChannel, string>;

  constructor(
    schema: GraphQLSchema,
    private readonly found: FoundChannels,
    private readonly options: ModuleOptions,
  ) {
    this.#stateNames = stateNames(schema, found.channels);
  }

  channelMap(): string {
    const { map, keyless } = this.found;
    const members = Object.entries(map).map(
      ([name, value]) => `  ${name}: ${json(value).replaceAll("\n", "\n  ")},\n`,
    );
    return [
      HEADER,
      `import type { ChannelMap } from "@rxgraphql/client";\n\n`,
      `/** What the client knows of the schema's channels. */\n`,
      `export const channelMap: ChannelMap = {\n  url: ${this.options.url},\n${members.join("")}};\n\n`,
      `/** Types without an \`id\`: a normalizing cache shouldn't look for a key of theirs. */\n`,
      `export const keylessTypes: readonly string[] = ${json(keyless)};\n`,
    ].join("");
  }

  app(channels: readonly FoundChannel[]): string {
    const { extension } = this.options;
    const used = channels.flatMap(({ info }) => Object.keys(info.lists)).map(identifier);
    const own = channels.map(className);
    const types = [...new Set(used)].filter((name) => !own.includes(name)).sort();
    return [
      HEADER,
      `import { defineChannel } from "@rxgraphql/client";\n`,
      `import { channelMap } from "./channel-map${extension}";\n`,
      `import type * as nodes from "./nodes${extension}";\n\n`,
      `export type {\n${types.map((name) => `  ${name},\n`).join("")}} from "./nodes${extension}";\n`,
      ...channels.map((channel) => `\n${this.#channel(channel)}`),
    ].join("");
  }

  /** What a channel's module exports for it. */
  names(channel: FoundChannel): string[] {
    return [className(channel), `type ${this.#stateName(channel)}`];
  }

  nodes(): string {
    const nodes = this.found.nodeTypes.map((type) => {
      const fields = nodeFields(type, this.found.nodeTypes).map(
        (field) =>
          `${comment(field.description, "  ")}  readonly ${field.name}: ${this.#output(field.type)};\n`,
      );
      return `${comment(type.description)}export interface ${identifier(type.name)} {\n  readonly id: string;\n${fields.join("")}}\n`;
    });
    const inputs: string[] = [];
    // Writing one may find another
    for (const type of this.#inputs.values()) {
      const fields = Object.values(type.getFields()).map(
        (field) => `  ${this.#property(field, "")};\n`,
      );
      inputs.push(
        `${comment(type.description)}export interface ${identifier(type.name)} {\n${fields.join("")}}\n`,
      );
    }
    return [HEADER, ...nodes, ...inputs.sort()].join("\n");
  }

  #stateName(channel: FoundChannel): string {
    return this.#stateNames.get(channel) ?? "";
  }

  #channel(channel: FoundChannel): string {
    const { info } = channel;
    const state = this.#stateName(channel);
    const args = channel.arguments.map((arg) => this.#property(arg, "nodes."));
    const optional = channel.arguments.map(({ type, defaultValue }) =>
      isOptional(type, defaultValue),
    );
    const values = channel.arguments.map(({ name, type }, index) => {
      const value = this.#input(type, "nodes.");
      if (!optional[index]) return `${name}: ${value}`;
      // Only the last elements of a tuple can be left out
      const mark = optional.slice(index).every(Boolean) ? "?" : "";
      return `${name}${mark}: ${value} | undefined`;
    });
    return [
      comment(channel.description),
      `export class ${className(channel)} extends /*#__PURE__*/ defineChannel<\n`,
      `  ${state},\n`,
      `  ${args.length > 0 ? `{ ${args.join("; ")} }` : "Record<string, never>"},\n`,
      `  [${values.join(", ")}]\n`,
      `>(channelMap, ${JSON.stringify(info.field)}) {}\n\n`,
      `/** All that a \`${className(channel)}\` shows, nested. */\n`,
      `export type ${state} = nodes.${identifier(info.root)};\n`,
    ].join("");
  }

  #output(type: GraphQLType): string {
    if (isNonNullType(type)) return this.#outputItem(type.ofType);
    const item = this.#outputItem(type);
    return item === "unknown" ? item : `${item} | null`;
  }

  #outputItem(type: GraphQLType): string {
    if (isListType(type)) return `readonly ${grouped(this.#output(type.ofType))}[]`;
    const named = getNamedType(type);
    if (isEnumType(named)) return union(named.getValues().map(({ name }) => name));
    return isScalarType(named)
      ? this.options.scalars(named.name, "output")
      : identifier(named.name);
  }

  #property(
    { name, type, defaultValue }: GraphQLArgument | GraphQLInputField,
    from: string,
  ): string {
    const optional = isOptional(type, defaultValue);
    const value = this.#input(type, from);
    return `readonly ${name}${optional ? "?" : ""}: ${value}${optional ? " | undefined" : ""}`;
  }

  #input(type: GraphQLType, from: string): string {
    if (!isNonNullType(type)) return `${this.#inputItem(type, from)} | null`;
    return this.#inputItem(type.ofType, from);
  }

  #inputItem(type: GraphQLType, from: string): string {
    if (isListType(type)) return `readonly ${grouped(this.#input(type.ofType, from))}[]`;
    const named = getNamedType(type);
    if (isEnumType(named)) return union(named.getValues().map(({ name }) => name));
    if (!isInputObjectType(named)) return this.options.scalars(named.name, "input");
    this.#inputs.set(named.name, named);
    return from + identifier(named.name);
  }
}

function className({ info }: FoundChannel): string {
  return `${info.name}Channel`;
}

/**
 * `ChatRoomState`, unless the schema has a type of that name, as the enum of a field `state` of ChatRoomSerializer: then
 * `ChatRoomChannelState`.
 */
function stateNames(
  schema: GraphQLSchema,
  channels: readonly FoundChannel[],
): Map<FoundChannel, string> {
  const names = new Map<FoundChannel, string>();
  const plain = channels.map(({ info }) => `${info.name}State`);
  const taken = new Set([...Object.keys(schema.getTypeMap()), ...plain]);
  for (const [index, channel] of channels.entries()) {
    let name = plain[index] ?? "";
    if (schema.getType(name)) name = `${channel.info.name}ChannelState`;
    while (name !== plain[index] && taken.has(name)) name += "_";
    taken.add(name);
    names.set(channel, name);
  }
  return names;
}

function isOptional(type: GraphQLType, defaultValue: unknown): boolean {
  return !isNonNullType(type) || defaultValue !== undefined;
}

function union(values: readonly string[]): string {
  return values.map((value) => JSON.stringify(value)).join(" | ");
}

/** Whatever has more than one word binds less than `[]`. */
function grouped(type: string): string {
  return /^[\w.]+$/.test(type) ? type : `(${type})`;
}

function identifier(name: string): string {
  return RESERVED.has(name) ? `${name}_` : name;
}

function json(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

function comment(text: string | null | undefined, indent = ""): string {
  if (!text) return "";
  const [first = "", ...others] = text.trim().replaceAll("*/", "*\\/").split(/\r?\n/);
  if (others.length === 0) return `${indent}/** ${first} */\n`;
  const lines = [first, ...others].map((line) => `${indent} * ${line}`.trimEnd());
  return `${indent}/**\n${lines.join("\n")}\n${indent} */\n`;
}
