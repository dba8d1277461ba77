import { defineConfig } from "vitest/config";

// Each run loads the whole of graphql-codegen.
export default defineConfig({ test: { testTimeout: 30_000 } });
