import type { Config } from "./config";

const INTRODUCTION = `# This project's state, live.
#
# Select \`state\` under a subscription and press the play button: the answer follows every commit to the
# database, whether it comes from the admin, a shell or another browser.
#
#   Ctrl-Space  what can be selected here       Ctrl-Enter  run
#   The headers pane becomes HTTP headers, and the connection parameters of a subscription.
`;

interface TypeRef {
  kind: string;
  name: string | null;
  ofType?: TypeRef | null;
}

interface Field {
  name: string;
  args?: { name: string; type: TypeRef }[];
  type: TypeRef & { fields?: { name: string; type: TypeRef & { fields?: Field[] } }[] };
}

interface Answer {
  data?: { __schema: { subscriptionType: { fields: Field[] } | null } } | null;
}

const TYPE = "kind name ofType { kind name }";
const CHANNELS = `{ __schema { subscriptionType { fields { name args { name type { ${TYPE} } }
  type { kind name ofType { kind name fields { name type { kind name fields { name type { ${TYPE} } } } } } }
} } } }`;

/** The first document a visitor sees: a live query of the schema's first channel, if it can be asked for. */
export async function welcomeDocument(config: Config): Promise<string> {
  try {
    const response = await fetch(config.url, {
      method: "POST",
      headers: { "content-type": "application/json", [config.csrfHeader]: config.csrfToken },
      body: JSON.stringify({ query: CHANNELS }),
    });
    const { data } = (await response.json()) as Answer;
    return `${INTRODUCTION}\n${liveQuery(data?.__schema.subscriptionType?.fields ?? [])}`;
  } catch {
    return INTRODUCTION;
  }
}

export function liveQuery(channels: readonly Field[]): string {
  for (const channel of channels) {
    const event = channel.type.ofType as Field["type"] | null | undefined;
    const state = event?.fields?.find(({ name }) => name === "state")?.type;
    const leaves = (state?.fields ?? []).filter(({ type }) => isLeaf(type)).map(({ name }) => name);
    if (leaves.length === 0) continue;
    const required = (channel.args ?? []).filter(({ type }) => type.kind === "NON_NULL");
    const values = required.map(({ name, type }) => `${name}: ${sample(type.ofType?.name)}`);
    const call = values.length > 0 ? `(${values.join(", ")})` : "";
    return [
      "subscription Live {",
      `  ${channel.name}${call} {`,
      "    kind",
      "    state {",
      ...leaves.map((name) => `      ${name}`),
      "    }",
      "  }",
      "}",
      "",
    ].join("\n");
  }
  return "";
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
    default:
      return '"1"';
  }
}
