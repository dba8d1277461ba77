"""The documentation is a contract: what is public is in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import rxgraphql
from rxgraphql.conf import DEFAULTS
from tests.services import ROOT

SETTINGS = (ROOT / "docs" / "settings.md").read_text()
DOCUMENTED: dict[str, str] = dict(
    re.findall(r"^### `(\w+)`\n\nDefault: `(.+)`$", SETTINGS, re.MULTILINE)
)
PROSE = "\n".join(
    path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
)
COMMANDS = sorted(
    path for path in Path(rxgraphql.__path__[0], "management/commands").glob("[!_]*.py")
)


def evaluate(text: str) -> object:
    node = ast.parse(text, mode="eval").body
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return ast.literal_eval(node.left) * ast.literal_eval(node.right)
    return ast.literal_eval(node)


def test_settings() -> None:
    """docs/settings.md has every setting, and no other."""
    assert sorted(DOCUMENTED) == sorted(DEFAULTS)


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_defaults(name: str) -> None:
    """The default that it states is the real one."""
    assert evaluate(DOCUMENTED[name]) == DEFAULTS.get(name)


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_commands(path: Path) -> None:
    """Every management command is documented, with every option of its own."""
    assert f"manage.py {path.stem}" in PROSE
    for option in re.findall(r"add_argument\(\s*\"(--[\w-]+)\"", path.read_text()):
        assert f"`{option}" in PROSE


@pytest.mark.parametrize("name", rxgraphql.__all__)
def test_public_names(name: str) -> None:
    """Every public name is documented."""
    assert re.search(rf"`(rxgraphql\.)?{name}\b", PROSE)


@pytest.mark.parametrize("name", rxgraphql.__all__)
def test_public_names_exist(name: str) -> None:
    """Every public name can be imported from the package."""
    assert hasattr(rxgraphql, name)
