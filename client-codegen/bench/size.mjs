// What the hook weighs in a page, graphql-ws included and React not: `npm run size`. Fails beyond the limit.
import { gzipSync } from "node:zlib";
import { bundled } from "./production.mjs";

const LIMIT = 12 * 1024;
const HOOK = "the hook with all it needs";

/** What a page imports. */
const PAGES = {
  [HOOK]: `export { RxProvider, useChannelState } from "@/react.tsx";
    export { createClient, defineChannel } from "@/index.ts";`,
  "of it graphql-ws": `export { createClient } from "graphql-ws";`,
  "the store alone": `export { Store } from "@/store.ts";`,
  "flatten alone": `export { flatten } from "@/flatten.ts";`,
};

for (const [name, code] of Object.entries(PAGES)) {
  const bytes = gzipSync(await bundled(code, [/^react/]), { level: 9 }).length;
  process.stdout.write(`${name}: ${bytes} bytes minified and gzipped\n`);
  if (name === HOOK && bytes > LIMIT) {
    process.stderr.write(`The hook weighs more than ${LIMIT} bytes.\n`);
    process.exitCode = 1;
  }
}
