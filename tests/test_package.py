from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.services import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_everything_that_is_read_at_run_time(wheel: set[str]) -> None:
    """The wheel has the types' marker, all scripts, templates and modules."""
    package = ROOT / "rxgraphql"
    expected = {
        str(path.relative_to(ROOT))
        for pattern in ("*.py", "*.lua", "*.html", "py.typed")
        for path in package.rglob(pattern)
        if not path.is_relative_to(package / "graphiql")
    }
    assert not expected - wheel


def test_graphiql(wheel: set[str]) -> None:
    """The wheel has GraphiQL's bundle, and not what it is built from."""
    bundle = Path("rxgraphql/static/rxgraphql/graphiql")
    assert {str(bundle / "graphiql.js"), str(bundle / "graphiql.css")} <= wheel
    assert not any(name.startswith("rxgraphql/graphiql/") for name in wheel)
