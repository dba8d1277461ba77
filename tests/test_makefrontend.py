from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

REPOSITORY = Path(__file__).resolve().parent.parent
CLIENT = REPOSITORY / "node_modules" / "@rxgraphql" / "client"

needs_client = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENT / "dist" / "cli.js").is_file(),
    reason="needs Node.js and `npm ci`",
)


@pytest.fixture
def frontend(tmp_path: Path, settings: Settings) -> Path:
    """A frontend of the project's own, with the npm package installed."""
    folder = tmp_path / "frontend"
    (folder / "src").mkdir(parents=True)
    (folder / "package.json").write_text("{}")
    (folder / "node_modules").symlink_to(REPOSITORY / "node_modules")
    settings.RX_FRONTEND_DIR = folder / "src" / "generated"
    settings.RX_SCHEMA_FILE = tmp_path / "schema" / "schema.graphql"
    return folder


def makefrontend(*arguments: str) -> str:
    out = io.StringIO()
    call_command("makefrontend", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "node_modules" not in path.parts
    }


def test_exports_the_schema_alone_without_a_frontend(tmp_path: Path, settings: Settings) -> None:
    """Without RX_FRONTEND_DIR the SDL is written and the command says that nothing else was."""
    settings.RX_FRONTEND_DIR = None
    settings.RX_SCHEMA_FILE = tmp_path / "deep" / "schema.graphql"

    said = makefrontend()

    assert "RX_FRONTEND_DIR is not set" in said
    sdl = settings.RX_SCHEMA_FILE.read_text()
    assert sdl.endswith("}\n")
    assert "type Subscription {" in sdl


def test_the_schema_is_sorted(tmp_path: Path, settings: Settings) -> None:
    """The SDL's definitions are in alphabetical order, so that a diff shows what changed and nothing else."""
    settings.RX_FRONTEND_DIR = None
    settings.RX_SCHEMA_FILE = tmp_path / "schema.graphql"

    makefrontend()

    lines = settings.RX_SCHEMA_FILE.read_text().splitlines()
    kinds = ("enum ", "input ", "interface ", "scalar ", "type ", "union ")
    names = [line.split()[1] for line in lines if line.startswith(kinds)]
    assert names == sorted(names)


def test_the_schema_lies_beside_manage_py_by_default(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without RX_SCHEMA_FILE the SDL is `schema.graphql` in manage.py's folder, wherever it is called from."""
    settings.RX_FRONTEND_DIR = settings.RX_SCHEMA_FILE = None
    monkeypatch.setattr("sys.argv", [str(tmp_path / "manage.py"), "makefrontend"])

    makefrontend()

    assert (tmp_path / "schema.graphql").is_file()


@needs_client
def test_writes_typed_documents(frontend: Path, settings: Settings) -> None:
    """The modules land in RX_FRONTEND_DIR, with the socket's address in them."""
    settings.RX_WEBSOCKET_URL = "import.meta.env.VITE_SOCKET_URL"
    (frontend / "src" / "kind.ts").write_text(
        'import { graphql } from "./generated";\nexport const Kind = graphql(`query Kind { __typename }`);\n'
    )

    makefrontend()

    generated = files(frontend / "src" / "generated")
    assert set(generated) == {
        *("channel-map.ts", "chat.ts", "clubs.ts", "gql.ts", "graphql.ts"),
        *("index.ts", "nodes.ts", "shelves.ts", "websocket.ts"),
    }
    assert b"export class RoomChannel" in generated["chat.ts"]
    assert b"export class ClubChannel" in generated["clubs.ts"]
    assert b"export const KindDocument" in generated["graphql.ts"]
    assert b"websocketUrl: string = import.meta.env.VITE_SOCKET_URL;" in generated["websocket.ts"]


@needs_client
def test_a_second_run_writes_nothing(frontend: Path, tmp_path: Path) -> None:
    """What is up to date is left alone, so that a development server doesn't reload."""
    makefrontend()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "schema").iterdir()}
    before = files(tmp_path)

    assert makefrontend() == ""
    assert files(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


@needs_client
def test_check_names_what_is_stale_and_writes_nothing(frontend: Path, tmp_path: Path) -> None:
    """--check fails with the names of all stale files, leaves them as they are, and passes after a run."""
    before = files(tmp_path)

    with pytest.raises(CommandError) as failed:
        makefrontend("--check")
    message = str(failed.value)
    assert "schema/schema.graphql" in message
    assert "src/generated/websocket.ts" in message
    assert "makefrontend` and commit" in message
    assert files(tmp_path) == before

    makefrontend()
    assert makefrontend("--check") == ""

    (frontend / "src" / "generated" / "gql.ts").write_text("")
    with pytest.raises(CommandError, match=r"generated/gql\.ts") as failed:
        makefrontend("--check")
    assert "schema.graphql" not in str(failed.value)


@needs_client
def test_a_document_that_does_not_fit_is_named(frontend: Path) -> None:
    """A frontend document with an unknown field fails the command with the field and the file."""
    (frontend / "src" / "wrong.ts").write_text(
        'import { graphql } from "./generated";\nexport const Wrong = graphql(`query Wrong { nothingSo }`);\n'
    )

    with pytest.raises(CommandError, match="nothingSo") as failed:
        makefrontend()
    assert "wrong.ts" in str(failed.value)


def test_says_where_to_get_node(frontend: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Node.js the command says to install it, and how to do without."""
    monkeypatch.setenv("PATH", "")

    with pytest.raises(CommandError, match=r"Install Node 20 or newer.*--schema-only"):
        makefrontend()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_says_where_to_install_the_package(tmp_path: Path, settings: Settings) -> None:
    """Without the npm package the command says where to install it."""
    settings.RX_FRONTEND_DIR = tmp_path / "web" / "src" / "generated"
    settings.RX_SCHEMA_FILE = tmp_path / "schema.graphql"
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "package.json").write_text("{}")

    with pytest.raises(CommandError, match=r"Run `npm install @rxgraphql/client`") as failed:
        makefrontend()
    assert str(failed.value).endswith(f"in {tmp_path / 'web'}.")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_says_that_there_is_no_frontend(tmp_path: Path, settings: Settings) -> None:
    """A folder outside of any npm package, most likely a slip of the pen, is named with what exists of it."""
    settings.RX_FRONTEND_DIR = tmp_path / "fronted" / "src" / "generated"
    settings.RX_SCHEMA_FILE = tmp_path / "schema.graphql"

    with pytest.raises(CommandError, match=r"no package\.json") as failed:
        makefrontend()
    assert str(settings.RX_FRONTEND_DIR) in str(failed.value)
    assert f"({tmp_path} is what exists of it)" in str(failed.value)
    assert not (tmp_path / "fronted").exists()

    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="must be a folder"):
        makefrontend("--frontend-dir", str(tmp_path / "file"))


def test_the_schema_alone_needs_no_node(frontend: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--schema-only writes and checks the SDL where there is no Node.js, and leaves the frontend alone."""
    monkeypatch.setenv("PATH", "")

    with pytest.raises(CommandError, match=r"schema\.graphql") as failed:
        makefrontend("--schema-only", "--check")
    assert "generated" not in str(failed.value)
    assert "wrote" in makefrontend("--schema-only")
    assert makefrontend("--schema-only", "--check") == ""
    assert not (frontend / "src" / "generated").exists()

    with pytest.raises(CommandError, match="can't be used together"):
        makefrontend("--schema-only", "--frontend-dir", "elsewhere")


@needs_client
def test_writes_another_frontend(frontend: Path, settings: Settings) -> None:
    """--frontend-dir writes the modules of a second frontend, wherever it is."""
    settings.RX_FRONTEND_DIR = None

    makefrontend("--frontend-dir", str(frontend / "mobile"))

    assert (frontend / "mobile" / "chat.ts").is_file()
    assert makefrontend("--frontend-dir", str(frontend / "mobile"), "--check") == ""


@needs_client
def test_the_module_of_an_app_goes_with_its_channels(frontend: Path) -> None:
    """What an earlier run made and this one doesn't is stale to --check, and removed by a run."""
    makefrontend()
    generated = frontend / "src" / "generated"
    shutil.copy(generated / "chat.ts", generated / "gone.ts")
    (generated / "own.ts").write_text("export {};\n")

    with pytest.raises(CommandError, match=r"generated/gone\.ts\n"):
        makefrontend("--check")
    assert "removed" in makefrontend()

    assert not (generated / "gone.ts").exists()
    assert (generated / "own.ts").is_file()


@needs_client
def test_a_selection_that_conflicts_is_named(frontend: Path) -> None:
    """Two fields under one key in a channel's state fail the command with both places."""
    (frontend / "src" / "room.ts").write_text(
        'import { graphql } from "./generated";\n'
        'export const Mine = graphql(`subscription Mine { room(name: "a") { state {\n'
        "  x: name\n  x: id\n} } }`);\n"
    )

    with pytest.raises(CommandError, match="have one key") as failed:
        makefrontend()
    assert "room.ts:3" in str(failed.value)
    assert "room.ts:4" in str(failed.value)
