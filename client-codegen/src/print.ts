import type {
  ArgumentNode,
  DirectiveNode,
  FieldNode,
  FragmentDefinitionNode,
  SelectionSetNode,
  TypeNode,
  ValueNode,
} from "graphql";

/** The few parts of a document that are taken over as they are: `graphql`'s own printer weighs more than all of the client. */

export function printType(type: TypeNode): string {
  if (type.kind === "NonNullType") return `${printType(type.type)}!`;
  if (type.kind === "ListType") return `[${printType(type.type)}]`;
  return type.name.value;
}

export function printValue(value: ValueNode): string {
  switch (value.kind) {
    case "Variable":
      return `$${value.name.value}`;
    case "NullValue":
      return "null";
    case "StringValue":
      return JSON.stringify(value.value);
    case "ListValue":
      return `[${value.values.map(printValue).join(", ")}]`;
    case "ObjectValue":
      return `{${value.fields.map((field) => `${field.name.value}: ${printValue(field.value)}`).join(", ")}}`;
    default:
      return String(value.value);
  }
}

/** Sorted: arguments in another order are the same arguments. */
export function printArguments(nodes: readonly ArgumentNode[] | undefined): string {
  const printed = (nodes ?? []).map((node) => `${node.name.value}: ${printValue(node.value)}`);
  return printed.length > 0 ? `(${printed.sort().join(", ")})` : "";
}

/** A selection set with its fragments in their places. */
export function printSelectionSet(
  set: SelectionSetNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
): string {
  const printed = set.selections.map((node): string => {
    const directives = printDirectives(node.directives);
    if (node.kind === "Field") return printField(node, directives, fragments);
    const fragment = node.kind === "FragmentSpread" ? fragments.get(node.name.value) : node;
    if (!fragment) return "";
    const on = fragment.typeCondition ? ` on ${fragment.typeCondition.name.value}` : "";
    return `...${on}${directives} ${printSelectionSet(fragment.selectionSet, fragments)}`;
  });
  return `{ ${printed.join(" ")} }`;
}

function printField(
  { alias, name, arguments: args, selectionSet }: FieldNode,
  directives: string,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
): string {
  const below = selectionSet ? ` ${printSelectionSet(selectionSet, fragments)}` : "";
  return `${alias ? `${alias.value}: ` : ""}${name.value}${printArguments(args)}${directives}${below}`;
}

function printDirectives(nodes: readonly DirectiveNode[] | undefined): string {
  return (nodes ?? [])
    .map((node) => ` @${node.name.value}${printArguments(node.arguments)}`)
    .join("");
}
