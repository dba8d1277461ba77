import { createRequire } from "node:module";
import path from "node:path";
import { defineConfig } from "vitest/config";

const REACT_18 = path.join(import.meta.dirname, "../tests/react-18/node_modules");

export default defineConfig({
  // The one that Node itself gives to graphql-codegen: two copies don't take each other's schemas.
  resolve: {
    alias: [{ find: /^graphql$/, replacement: createRequire(import.meta.url).resolve("graphql") }],
  },
  test: {
    // Each run loads the whole of graphql-codegen.
    testTimeout: 30_000,
    projects: [
      { extends: true, test: { name: "client" } },
      {
        extends: true,
        resolve: { alias: [{ find: /^(react|react-dom)(?=$|\/)/, replacement: `${REACT_18}/$1` }] },
        test: { name: "react 18", include: ["test/react.test.tsx"], env: { REACT: "18" } },
      },
    ],
  },
});
