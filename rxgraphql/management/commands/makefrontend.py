"""`manage.py makefrontend`: from the channels to the frontend's typed channels and documents.

The schema goes to RX_SCHEMA_FILE, and the npm package's codegen, which it runs offline, writes the modules of
RX_FRONTEND_DIR. What is up to date isn't written again, so that a development server reloads nothing for it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rxgraphql.conf import settings
from rxgraphql.errors import ConfigurationError

CODEGEN = "rxgraphql-codegen"


class Command(BaseCommand):
    help = "Writes the GraphQL schema to RX_SCHEMA_FILE, typed channels and documents to RX_FRONTEND_DIR."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Write nothing; fail if anything is stale."
        )
        parser.add_argument(
            "--schema-only",
            action="store_true",
            help="Leave the frontend out: this needs no Node.js.",
        )
        parser.add_argument(
            "--frontend-dir",
            metavar="FOLDER",
            help="The folder of the generated modules instead of RX_FRONTEND_DIR.",
        )

    def handle(
        self,
        *,
        check: bool = False,
        schema_only: bool = False,
        frontend_dir: str | None = None,
        **options: Any,
    ) -> None:
        if schema_only and frontend_dir:
            raise CommandError("--schema-only and --frontend-dir can't be used together.")
        folder = frontend_dir or settings.RX_FRONTEND_DIR
        sdl = current_sdl()
        stale = self.schema(sdl, check)
        if folder is None and not schema_only:
            self.stderr.write("RX_FRONTEND_DIR is not set: only the schema is exported.")
        if folder is not None and not schema_only:
            stale += self.frontend(sdl, Path(folder).absolute(), check)
        if stale:
            names = "".join(f"\n  {name}" for name in stale)
            raise CommandError(
                f"Stale, or never written:{names}\nRun `{manage_py()} makefrontend` and commit the result."
            )

    def schema(self, sdl: str, check: bool) -> list[str]:
        """Writes the SDL if it differs; with `check`, gives the file's name instead."""
        path = schema_file()
        if path.is_file() and path.read_text(encoding="utf-8") == sdl:
            return []
        if check:
            return [shown(path)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sdl, encoding="utf-8", newline="\n")
        self.stdout.write(f"wrote {shown(path)}")
        return []

    def frontend(self, sdl: str, folder: Path, check: bool) -> list[str]:
        """Runs the codegen; with `check`, gives the names of the stale files."""
        command = [
            *codegen(folder),
            "--schema=-",
            f"--out={folder}",
            f"--websocket-url={settings.RX_WEBSOCKET_URL}",
        ]
        if check:
            command.append("--check")
        done = subprocess.run(
            command, input=sdl, capture_output=True, text=True, encoding="utf-8", check=False
        )
        if done.stdout.strip():
            self.stdout.write(done.stdout.strip())
        if check and done.returncode == 1:
            return [line.removeprefix("stale: ") for line in done.stderr.splitlines() if line]
        if done.returncode != 0:
            raise CommandError(f"{CODEGEN} failed:\n{done.stderr.strip()}")
        if done.stderr.strip():
            self.stderr.write(done.stderr.strip())
        return []


def current_sdl() -> str:
    from rxgraphql.schema import get_schema, print_sdl

    try:
        return print_sdl(get_schema()).rstrip() + "\n"
    except ConfigurationError as error:
        raise CommandError(f"The schema can't be built:\n{error}") from error


def schema_file() -> Path:
    """RX_SCHEMA_FILE, or `schema.graphql` beside manage.py."""
    if settings.RX_SCHEMA_FILE is not None:
        return Path(settings.RX_SCHEMA_FILE).absolute()
    script = Path(sys.argv[0])
    beside = script.absolute().parent if script.name == "manage.py" else Path.cwd()
    return beside / "schema.graphql"


def codegen(folder: Path) -> list[str]:
    """The command of the codegen that is installed for the package around `folder`."""
    if folder.is_file():
        raise CommandError(f"RX_FRONTEND_DIR must be a folder, and {folder} is a file.")
    node = shutil.which("node")
    if node is None:
        raise CommandError(
            "Node.js is not on the PATH, and the frontend's types are made by it. Install Node 20 or newer "
            "(https://nodejs.org), or export the schema alone with --schema-only."
        )
    around = (folder, *folder.parents)
    package = next((parent for parent in around if (parent / "package.json").is_file()), None)
    if package is None:
        there = next(parent for parent in around if parent.is_dir())
        missing = "" if there == folder else f" ({there} is what exists of it)"
        raise CommandError(
            f"There is no package.json in {folder} or above{missing}. RX_FRONTEND_DIR must be a folder inside your "
            "frontend's npm package, such as `frontend/src/generated`; it is made if it doesn't exist."
        )
    for parent in around:
        script = parent / "node_modules" / "@rxgraphql" / "client" / "bin" / f"{CODEGEN}.js"
        if script.is_file():
            return [node, str(script)]
    raise CommandError(
        f"The npm package @rxgraphql/client is not installed for {folder}. Run `npm install @rxgraphql/client` in "
        f"{package}."
    )


def shown(path: Path) -> str:
    """As one would type it from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def manage_py() -> str:
    script = Path(sys.argv[0]).name
    return f"python {script}" if script.endswith(".py") else script
