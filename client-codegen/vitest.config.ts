import { createRequire } from "node:module";
import { defineConfig } from "vitest/config";

export default defineConfig({
  // The one that Node itself gives to graphql-codegen: two copies don't take each other's schemas.
  resolve: {
    alias: [{ find: /^graphql$/, replacement: createRequire(import.meta.url).resolve("graphql") }],
  },
  // Each run loads the whole of graphql-codegen.
  test: { testTimeout: 30_000 },
});
