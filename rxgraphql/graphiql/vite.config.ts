import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

export default defineConfig({
  // Relative, because Django decides under which STATIC_URL the bundle is served.
  base: "./",
  build: {
    outDir: fileURLToPath(new URL("../static/rxgraphql/graphiql", import.meta.url)),
    emptyOutDir: true,
    cssCodeSplit: false,
    modulePreload: false,
    // The editor is most of it, and it is loaded once.
    chunkSizeWarningLimit: 5000,
    rolldownOptions: {
      input: fileURLToPath(new URL("src/main.ts", import.meta.url)),
      // "use client" means nothing here, and hundreds of modules say it.
      onLog: (level, log, report) => {
        if (log.code !== "MODULE_LEVEL_DIRECTIVE") report(level, log);
      },
      output: {
        entryFileNames: "graphiql.js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: ({ names }) =>
          names.some((name) => name.endsWith(".css"))
            ? "graphiql.css"
            : "assets/[name]-[hash][extname]",
      },
    },
  },
  worker: { format: "es" },
});
