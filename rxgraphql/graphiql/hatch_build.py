"""Builds GraphiQL's bundle into the packages made from a checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLE = "rxgraphql/static/rxgraphql/graphiql/graphiql.js"


class BundleHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        # An editable install is served from the checkout, where the Makefile builds it. A source
        # distribution brings the bundle along and not the workspace to build it in.
        if version == "editable" or not (root / "package-lock.json").exists() or built(root):
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("Building rxgraphql from a checkout needs npm, for GraphiQL's page.")
        if not (root / "node_modules").exists():
            subprocess.run([npm, "ci"], cwd=root, check=True)
        subprocess.run([npm, "run", "build", "-w", "rxgraphql/graphiql"], cwd=root, check=True)


def built(root: Path) -> bool:
    """Whether the bundle is there, and newer than all that it is made of."""
    bundle = root / BUNDLE
    if not bundle.exists():
        return False
    workspace = root / "rxgraphql" / "graphiql"
    sources = [root / "package-lock.json", *workspace.glob("*.*"), *workspace.glob("src/**/*")]
    return max(path.stat().st_mtime for path in sources) <= bundle.stat().st_mtime
