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
        if version == "editable" or not (root / "package-lock.json").exists():
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("Building rxgraphql from a checkout needs npm, for GraphiQL's page.")
        if not (root / "node_modules").exists():
            subprocess.run([npm, "ci"], cwd=root, check=True)
        subprocess.run([npm, "run", "build", "-w", "rxgraphql/graphiql"], cwd=root, check=True)
        if not (root / BUNDLE).exists():
            raise RuntimeError(f"The build left no {BUNDLE}.")
