// Reads SDL, writes the documents that the client makes of its channels, and what graphql-js says of them:
// {"documents": [{"field", "text", "faults"}]}. A nested selection stands there as it is written and as it is rewritten.
import { text } from "node:stream/consumers";
import { buildSchema, parse, validate } from "graphql";
import { everything, flatten } from "../../client-codegen/dist/flatten.js";
import { findChannels } from "../../client-codegen/dist/introspect.js";

const DEPTH = 3;
const schema = buildSchema(await text(process.stdin));
const { map, channels } = findChannels(schema);

/** Everything beneath a type, and each leaf once more under a name that is another leaf's elsewhere. */
function nested(type, depth) {
  const { leaves, edges } = map.types[type];
  const aliased = leaves.map((leaf, index) => `x${(index + depth) % leaves.length}: ${leaf}`);
  const below = Object.entries(edges).map(
    ([name, edge]) => `${name} ${depth > 0 ? nested(edge.type, depth - 1) : "{ id }"}`,
  );
  return `{ id ${[...leaves, ...aliased, ...below].join(" ")} }`;
}

const documents = channels.flatMap(({ info }) => {
  const names = Object.entries(info.arguments);
  const variables = names.map(([name, type]) => `$${name}: ${type}`).join(", ");
  const values = names.map(([name]) => `${name}: $${name}`).join(", ");
  const written = `subscription Nested${variables && `(${variables})`} { ${info.field}${values && `(${values})`} { state ${nested(info.root, DEPTH)} } }`;
  const made = [everything(info, map).query, written, flatten(parse(written), map).query];
  return made.map((text) => ({
    field: info.field,
    text,
    faults: validate(schema, parse(text)).map(String),
  }));
});
process.stdout.write(JSON.stringify({ documents }));
