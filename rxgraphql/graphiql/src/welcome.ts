import type { Config } from "./config";

const INTRODUCTION = `# This project's state, live.
#
# Select \`state\` under a subscription and press
# play: the answer follows every commit to the
# database, be it from the admin, a shell or
# another browser.
#
#   Ctrl-Space    what can be selected here
#   Ctrl-Enter    run
#
# The headers below go with every request, and
# are the connection parameters of subscriptions.
`;

interface TypeRef {
  kind: string;
  name: string | null;
  ofType?: TypeRef | null;
}

export interface Field {
  name: string;
  type: TypeRef;
}

export interface Channel {
  name: string;
  args: Field[];
  type: { ofType: { fields: Field[] | null } | null };
}

const TYPE = "type { kind name ofType { kind name } }";
const CHANNELS = `{ __schema { subscriptionType { fields { name args { name ${TYPE} }
  type { ofType { fields { name type { kind name } } } } } } } }`;
const FIELDS = `query Fields($name: String!) { __type(name: $name) { fields { name ${TYPE} } } }`;

/** The first document a visitor sees: a live query of the schema's first channel, if it can be asked for. */
export async function welcomeDocument(config: Config): Promise<string> {
  try {
    const { __schema } = await ask<{
      __schema: { subscriptionType: { fields: Channel[] } | null };
    }>(config, CHANNELS);
    for (const channel of __schema.subscriptionType?.fields ?? []) {
      const name = stateType(channel);
      if (name === null) continue;
      const { __type } = await ask<{ __type: { fields: Field[] } }>(config, FIELDS, { name });
      return `${INTRODUCTION}\n${liveQuery(channel, __type.fields)}`;
    }
  } catch {
    // Introspection may be switched off, or for others only.
  }
  return INTRODUCTION;
}

async function ask<Data>(config: Config, query: string, variables = {}): Promise<Data> {
  const response = await fetch(config.url, {
    method: "POST",
    headers: { "content-type": "application/json", [config.csrfHeader]: config.csrfToken },
    body: JSON.stringify({ query, variables }),
  });
  const { data } = (await response.json()) as { data?: Data | null };
  if (!data) throw new Error("There is no answer.");
  return data;
}

function stateType(channel: Channel): string | null {
  const fields = channel.type.ofType?.fields ?? [];
  return fields.find(({ name }) => name === "state")?.type.name ?? null;
}

function liveQuery(channel: Channel, state: readonly Field[]): string {
  const required = channel.args.filter(({ type }) => type.kind === "NON_NULL");
  const values = required.map(({ name, type }) => `${name}: ${sample(type.ofType?.name)}`);
  const call = values.length > 0 ? `(${values.join(", ")})` : "";
  const hint = call.includes('""') ? " # which one?" : "";
  const leaves = state.filter(({ type }) => isLeaf(type)).map(({ name }) => `      ${name}`);
  return [
    "subscription Live {",
    `  ${channel.name}${call} {${hint}`,
    "    kind",
    "    state {",
    ...leaves,
    "    }",
    "  }",
    "}",
    "",
  ].join("\n");
}

function isLeaf(type: TypeRef): boolean {
  const kind = type.kind === "NON_NULL" ? type.ofType?.kind : type.kind;
  return kind === "SCALAR" || kind === "ENUM";
}

function sample(type: string | null | undefined): string {
  switch (type) {
    case "Int":
    case "Float":
      return "1";
    case "Boolean":
      return "true";
    case "ID":
      return '"1"';
    default:
      return '""';
  }
}
