import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";

const SOURCE = new URL("../src/", import.meta.url).pathname;

/** The code of a page that imports `code`, where "@/" is `src/`: minified, and without what only development needs. */
export async function bundled(code, external = []) {
  const entry = `${SOURCE}entry.js`;
  const { output } = await build({
    logLevel: "error",
    configFile: false,
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === "entry" ? entry : null),
        load: (id) => (id === entry ? code.replaceAll('"@/', `"${SOURCE}`) : null),
      },
    ],
    define: { "process.env.NODE_ENV": '"production"' },
    build: {
      write: false,
      target: "es2022",
      rollupOptions: { input: "entry", external, preserveEntrySignatures: "strict" },
    },
  });
  return output[0].code;
}

/** What such a page's module exports. */
export async function imported(code) {
  const folder = await mkdtemp(path.join(tmpdir(), "rxgraphql-bench-"));
  try {
    const file = path.join(folder, "page.mjs");
    await writeFile(file, await bundled(code));
    return await import(pathToFileURL(file).href);
  } finally {
    await rm(folder, { recursive: true });
  }
}
