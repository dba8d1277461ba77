#!/usr/bin/env node
const [major] = process.versions.node.split(".");
if (Number(major) < 20) {
  console.error(`Node ${process.versions.node} is too old: rxgraphql-codegen needs 20 or newer.`);
  process.exit(2);
}
await import("../dist/cli.js");
