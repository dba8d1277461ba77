"""The TypeScript of the documentation, as a reader would paste it: each block a module, in a strict project."""

from __future__ import annotations

import re
from pathlib import Path

from tests.quickstart import run
from tests.services import ROOT

PAGES = [
    ROOT / "client-codegen" / "README.md",
    *(ROOT / "docs").glob("*.md"),
]
SCHEMA = ROOT / "schema" / "schema.graphql"

# What is the reader's own in all pages.
AMBIENT = """
declare function Row(props: { message: { readonly text: string } }): import("react").ReactNode;
"""

TSCONFIG = """{
  "compilerOptions": {
    "target": "ES2022",
    "lib": ["ES2023", "DOM", "DOM.Iterable"],
    "module": "ESNext",
    "moduleResolution": "Bundler",
    "moduleDetection": "force",
    "jsx": "react-jsx",
    "types": ["vite/client"],
    "strict": true,
    "noUncheckedIndexedAccess": true,
    "exactOptionalPropertyTypes": true,
    "verbatimModuleSyntax": true,
    "erasableSyntaxOnly": true,
    "skipLibCheck": true,
    "noEmit": true
  }
}
"""

# One process for all pages: to load the code generator takes longer than to run it.
GENERATE = """
import { readFileSync } from "node:fs";
import { render, writeModules } from "@rxgraphql/client/codegen";

const [schema, ...folders] = process.argv.slice(2);
for (const folder of folders) {
  const out = `${folder}/generated`;
  const documents = [`${folder}/*.ts`, `${folder}/*.tsx`];
  const options = { schema: readFileSync(schema, "utf8"), out, documents, websocketUrl: "/graphql/" };
  await writeModules(out, await render(options));
}
"""


def blocks(page: Path) -> dict[str, str]:
    """The page's TypeScript, by the name of the file that it would be."""
    found = re.findall(r"^```(tsx?)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return {f"block{number}.{kind}": text for number, (kind, text) in enumerate(found, 1)}


def test_every_block_is_right(tmp_path: Path) -> None:
    """Every block of TypeScript in the documentation generates and is correct for the compiler, alone."""
    (tmp_path / "package.json").write_text('{ "type": "module" }')
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "tsconfig.json").write_text(TSCONFIG)
    (tmp_path / "ambient.d.ts").write_text(AMBIENT)
    (tmp_path / "generate.mjs").write_text(GENERATE)
    pages = {page: found for page in sorted(PAGES) if (found := blocks(page))}
    folders = []
    for page, found in pages.items():
        folder = tmp_path / "-".join(page.relative_to(ROOT).with_suffix("").parts)
        folder.mkdir()
        folders.append(folder.name)
        for name, text in found.items():
            (folder / name).write_text(text)
    assert len(folders) >= 6

    run("node", "generate.mjs", SCHEMA, *folders, cwd=tmp_path)
    run("node", "node_modules/typescript/bin/tsc", "-p", ".", cwd=tmp_path)
