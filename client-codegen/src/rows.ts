import type { FieldNode } from "graphql";
import type { ChannelInfo, ChannelMap, NodeTypeInfo } from "./map.js";

/** A document that can't be the selection of a channel's state. The message names the place and the fix. */
export class FlattenError extends Error {
  override readonly name = "FlattenError";

  constructor(
    message: string,
    /** The fields that conflict. */
    readonly nodes: readonly FieldNode[] = [],
  ) {
    super(message);
  }
}

/** Conditions that all must hold: "+a,-b" is `@include(if: $a) @skip(if: $b)`, "" is always. */
export type When = string;

export const AGAIN = "If the schema has changed, run manage.py makefrontend again.";
const OF_EVERY_EVENT = "kind cursor removed lists { node field index removed inserted }";

/** The normalized rows that are asked for: by node type, which fields under which conditions. */
export class Rows {
  private readonly types = new Map<string, { when: Set<When>; fields: Map<string, RowField> }>();

  constructor(private readonly map: ChannelMap) {}

  add(type: string, when: When): void {
    this.of(type).when.add(when);
  }

  /** The response key of the field; `text` is what tells it from others of the name. */
  field(type: string, name: string, text: string, when: When): string {
    const { fields } = this.of(type);
    let field = fields.get(text);
    if (!field) {
      const { leaves, edges } = typeInfo(this.map, type);
      const taken = [...fields.values()].map((other) => other.key);
      let key = name;
      for (let n = 2; taken.includes(key); n++) {
        key = `${name}_${n}`;
        if (leaves.includes(key) || Object.hasOwn(edges, key)) taken.push(key);
      }
      fields.set(
        text,
        (field = { key, text: key === name ? text : `${key}: ${text}`, when: new Set() }),
      );
    }
    field.when.add(when);
    return field.key;
  }

  /** Every list once for each condition: the server merges them, as GraphQL does. */
  query(
    { name, field, lists }: ChannelInfo,
    operation: string,
    definitions: readonly string[],
    args: readonly string[],
    after: string,
  ): string {
    const parts: string[] = [];
    for (const [type, { when, fields }] of this.types) {
      const list = lists[type];
      if (!list) throw new FlattenError(`The events of ${name} have no list of ${type}. ${AGAIN}`);
      for (const condition of new Set([...(when.has("") ? [""] : when), ...alternatives(fields)])) {
        const chosen = [...fields.values()]
          .filter((row) => (row.when.has("") ? condition === "" : row.when.has(condition)))
          .map((row) => row.text);
        parts.push(conditioned(condition, `${list} { ${["id", ...chosen].join(" ")} }`));
      }
    }
    const all = [...definitions, `$${after}: String`].join(", ");
    const values = [...args, `after: $${after}`].join(", ");
    return `subscription ${operation}(${all}) { ${field}(${values}) { ${OF_EVERY_EVENT} ${parts.join(" ")} } }`;
  }

  private of(type: string) {
    let rows = this.types.get(type);
    if (!rows) this.types.set(type, (rows = { when: new Set(), fields: new Map() }));
    return rows;
  }
}

interface RowField {
  readonly key: string;
  readonly text: string;
  readonly when: Set<When>;
}

/** The conditions that stand at some field, "" left out. */
function alternatives(fields: ReadonlyMap<string, RowField>): Set<When> {
  const found = [...fields.values()].flatMap((row) => (row.when.has("") ? [] : [...row.when]));
  return new Set(found);
}

/** Directives can't be repeated: each condition has a fragment of its own around what it decides. */
function conditioned(when: When, text: string): string {
  if (when === "") return text;
  return when.split(",").reduceRight((inner, one) => {
    const directive = one.startsWith("+") ? "include" : "skip";
    return `... @${directive}(if: $${one.slice(1)}) { ${inner} }`;
  }, text);
}

export function typeInfo(map: ChannelMap, type: string): NodeTypeInfo {
  const info = map.types[type];
  if (!info) throw new FlattenError(`${type} is not known. ${AGAIN}`);
  return info;
}
