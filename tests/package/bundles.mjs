// Runs in a user's frontend: what its bundler makes of imports of @rxgraphql/client, as JSON.
import { gzipSync } from "node:zlib";
import { build } from "vite";

const ENTRY = "rxgraphql-entry.js";

/**
 * A module of this code, bundled for production without React: its text, and the packages that it is made of. Our own
 * modules aren't believed that they have no side effects: the bundler looks for itself.
 */
async function bundle(code) {
  const { output } = await build({
    configFile: false,
    logLevel: "error",
    plugins: [
      {
        name: "entry",
        enforce: "pre",
        resolveId(id) {
          if (id === ENTRY) return `${process.cwd()}/${ENTRY}`;
          return /^react/.test(id) ? { id, external: true, moduleSideEffects: false } : null;
        },
        transform: (text, id) =>
          id.includes("@rxgraphql/client/dist/") ? { code: text, moduleSideEffects: true } : null,
        load: (id) => (id.endsWith(`/${ENTRY}`) ? code : null),
      },
    ],
    build: {
      write: false,
      target: "es2022",
      modulePreload: false,
      rollupOptions: { input: ENTRY, preserveEntrySignatures: "strict" },
    },
  });
  const [chunk] = output;
  const packages = chunk.moduleIds.flatMap(
    (id) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id)?.[1] ?? [],
  );
  return {
    text: chunk.code.trim(),
    bytes: gzipSync(chunk.code, { level: 9 }).length,
    packages: [...new Set(packages)].sort(),
  };
}

const found = {};
for (const subpath of ["", "/react", "/apollo", "/urql"])
  found[`import${subpath}`] = await bundle(`import "@rxgraphql/client${subpath}";`);
found.hook = await bundle(
  `export { createClient, defineChannel } from "@rxgraphql/client"; export { RxProvider, useChannelState } from "@rxgraphql/client/react";`,
);
found.apollo = await bundle(`export * from "@rxgraphql/client/apollo";`);
found.urql = await bundle(`export * from "@rxgraphql/client/urql";`);
process.stdout.write(JSON.stringify(found));
