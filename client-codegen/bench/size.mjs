// What the hook weighs in a page, graphql-ws included and React not: `npm run size`. Fails beyond the limit.
import { gzipSync } from "node:zlib";
import { build } from "vite";

const LIMIT = 12 * 1024;

/** Bytes of a page's module that imports these names, minified and gzipped. */
async function weigh(code) {
  const { output } = await build({
    logLevel: "error",
    configFile: false,
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === "entry" ? "\0entry" : null),
        load: (id) => (id === "\0entry" ? code : null),
      },
    ],
    build: {
      write: false,
      target: "es2022",
      rollupOptions: {
        input: "entry",
        external: [/^react/],
        preserveEntrySignatures: "strict",
      },
    },
  });
  return gzipSync(output[0].code, { level: 9 }).length;
}

const source = new URL("../src/", import.meta.url).pathname;
const hook = `export { RxProvider, useChannelState } from "${source}react.tsx"; export { createClient, defineChannel } from "${source}index.ts";`;
const sizes = {
  "the hook with all it needs": await weigh(hook),
  "of it graphql-ws": await weigh(`export { createClient } from "graphql-ws";`),
  "the store alone": await weigh(`export { Store } from "${source}store.ts";`),
  "flatten alone": await weigh(`export { flatten } from "${source}flatten.ts";`),
};
for (const [name, bytes] of Object.entries(sizes))
  process.stdout.write(`${name}: ${bytes} bytes minified and gzipped\n`);
if (sizes["the hook with all it needs"] > LIMIT) {
  process.stderr.write(`The hook weighs more than ${LIMIT} bytes.\n`);
  process.exitCode = 1;
}
