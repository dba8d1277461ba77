import {
  getNamedType,
  getNullableType,
  isInterfaceType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  isRequiredArgument,
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
} from "graphql";
import type { ChannelInfo, ChannelMap, EdgeInfo, NodeTypeInfo } from "./map.js";

/** A channel as a schema has it. */
export interface FoundChannel {
  readonly info: ChannelInfo;
  /** Label of its Django app: SDL that `manage.py makefrontend` wrote tells it, introspection doesn't. */
  readonly app: string | undefined;
  readonly description: string | undefined;
  readonly arguments: readonly GraphQLArgument[];
}

export interface FoundChannels {
  readonly map: ChannelMap;
  /** In order of their fields. */
  readonly channels: readonly FoundChannel[];
  /** Node types in order of their names. */
  readonly nodeTypes: readonly GraphQLObjectType[];
  /** Object types without an `id`, which a normalizing cache holds in their parents: the events first of all. */
  readonly keyless: readonly string[];
}

/** Finds the channels of a schema: the fields of its subscription whose types implement `ChannelEvent`. */
export function findChannels(schema: GraphQLSchema): FoundChannels {
  const event = schema.getType("ChannelEvent");
  const common = isInterfaceType(event) ? new Set(Object.keys(event.getFields())) : new Set();
  const channels: FoundChannel[] = [];
  const nodeTypes = new Map<string, GraphQLObjectType>();
  for (const field of sorted(Object.values(schema.getSubscriptionType()?.getFields() ?? {}))) {
    const type = getNamedType(field.type);
    if (!isObjectType(type) || !type.getInterfaces().some(({ name }) => name === "ChannelEvent"))
      continue;
    const { state, ...others } = type.getFields();
    const root = state && getNamedType(state.type);
    if (!isObjectType(root)) continue;
    const lists: Record<string, string> = {};
    for (const list of sorted(Object.values(others))) {
      const node = getNamedType(list.type);
      if (common.has(list.name) || !isListType(getNullableType(list.type)) || !isObjectType(node))
        continue;
      lists[node.name] = list.name;
      nodeTypes.set(node.name, node);
    }
    const args = written(field).filter(({ name }) => name !== "after");
    channels.push({
      info: {
        name: type.name.replace(/Event$/, ""),
        field: field.name,
        event: type.name,
        root: root.name,
        arguments: Object.fromEntries(args.map((arg) => [arg.name, variableType(arg)])),
        lists,
      },
      app: appOf(field),
      description: field.description ?? undefined,
      arguments: args,
    });
  }
  const found = sorted([...nodeTypes.values()]);
  return {
    map: {
      channels: Object.fromEntries(channels.map(({ info }) => [info.field, info])),
      types: Object.fromEntries(found.map((type) => [type.name, nodeType(type, found)])),
    },
    channels,
    nodeTypes: found,
    keyless: keyless(schema),
  };
}

/** The fields of a node type that a channel fills in, `id` left out. */
export function nodeFields(
  type: GraphQLObjectType,
  nodeTypes: readonly GraphQLNamedType[],
): GraphQLField<unknown, unknown>[] {
  return sorted(Object.values(type.getFields())).filter(({ name, type: fieldType, args }) => {
    const target = getNamedType(fieldType);
    const isShown = isLeafType(target) || nodeTypes.includes(target);
    return name !== "id" && isShown && !args.some(isRequiredArgument);
  });
}

/** A variable that may be left out takes the argument's default, though the argument itself can't be null. */
function variableType({ type, defaultValue }: GraphQLArgument): string {
  return String(defaultValue === undefined ? type : getNullableType(type));
}

function nodeType(type: GraphQLObjectType, nodeTypes: readonly GraphQLNamedType[]): NodeTypeInfo {
  const leaves: string[] = [];
  const edges: Record<string, EdgeInfo> = {};
  for (const { name, type: fieldType } of nodeFields(type, nodeTypes)) {
    const target = getNamedType(fieldType);
    const many = isListType(getNullableType(fieldType));
    if (isLeafType(target)) leaves.push(name);
    else edges[name] = { type: target.name, many, nullable: !isNonNullType(fieldType) };
  }
  return { leaves, edges };
}

function keyless(schema: GraphQLSchema): string[] {
  const roots = new Set<GraphQLNamedType | null | undefined>([
    schema.getQueryType(),
    schema.getMutationType(),
    schema.getSubscriptionType(),
  ]);
  return Object.values(schema.getTypeMap())
    .filter(isObjectType)
    .filter((type) => !roots.has(type) && !type.name.startsWith("__") && !type.getFields()["id"])
    .map(({ name }) => name)
    .sort();
}

/** The arguments in the order in which the SDL has them, however a tool sorted them since. */
function written(field: GraphQLField<unknown, unknown>): readonly GraphQLArgument[] {
  const names = field.astNode?.arguments?.map(({ name }) => name.value);
  if (!names) return field.args;
  return [...field.args].sort((one, other) => names.indexOf(one.name) - names.indexOf(other.name));
}

/** `chatRoom(...): ChatRoomEvent! @rxgraphql(app: "chat")` */
function appOf(field: GraphQLField<unknown, unknown>): string | undefined {
  const directive = field.astNode?.directives?.find(({ name }) => name.value === "rxgraphql");
  const value = directive?.arguments?.find(({ name }) => name.value === "app")?.value;
  return value?.kind === "StringValue" && /^\w+$/.test(value.value) ? value.value : undefined;
}

function sorted<T extends { readonly name: string }>(named: readonly T[]): T[] {
  return [...named].sort((one, other) => (one.name < other.name ? -1 : 1));
}
