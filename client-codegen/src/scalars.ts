/** What each scalar of a project's schema is in JSON. Scalars of the project's own are `unknown` until it says more. */
export const SCALARS: Readonly<Record<string, string>> = {
  ID: "string",
  BigInt: "string",
  Date: "string",
  DateTime: "string",
  Decimal: "string",
  Duration: "string",
  JSON: "unknown",
  Time: "string",
  UUID: "string",
  Void: "null",
};

const BUILT_IN: Readonly<Record<string, string>> = {
  Boolean: "boolean",
  Float: "number",
  Int: "number",
  String: "string",
};

/** What graphql-codegen takes as `config.scalars`, but for the name of a module. */
export type ScalarsConfig = Readonly<
  Record<string, string | { readonly input: string; readonly output: string }>
>;

/** The TypeScript type of a scalar, as graphql-codegen writes it for documents. */
export type ScalarTypes = (name: string, use: "input" | "output") => string;

export function scalarTypes(config: ScalarsConfig, otherwise: string): ScalarTypes {
  const known: ScalarsConfig = { ...BUILT_IN, ...SCALARS, ...config };
  return (name, use) => {
    const found = Object.hasOwn(known, name) ? known[name] : undefined;
    return typeExpression((typeof found === "object" ? found[use] : found) ?? otherwise);
  };
}

/** `./dates#Moment as Day` and `./dates#Moment` name an export of a module. */
function typeExpression(type: string): string {
  const named = /^(.+)#(\w+)(?: as \w+)?$/.exec(type);
  return named ? `import(${JSON.stringify(named[1])}).${named[2]}` : type;
}
