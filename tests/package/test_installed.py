"""What somebody has who installed the two packages and follows the README: nothing of the checkout is in reach."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.quickstart import README, RUN_TIMEOUT, Project, cookies, log_in, run, submit
from tests.services import ROOT, Service, Valkey
from tests.serving import PATIENCE, Site

CLIENT = ROOT / "client-codegen"
HERE = Path(__file__).parent
# Bytes of a page's code for the hook, minified and gzipped: graphql-ws with it, React not.
HOOK_LIMIT = 12 * 1024

INDEX = '<div id="root"></div><script type="module" src="/src/main.tsx"></script>\n'
MAIN = """import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import App from "./App.tsx";
import { Page } from "./Customer.tsx";

createRoot(document.getElementById("root")!).render(<StrictMode><App /><Page /></StrictMode>);
"""
# As `npm create vite -- --template react-ts` has it, and stricter.
TSCONFIG = {
    "compilerOptions": {
        "target": "ES2023",
        "lib": ["ES2023", "DOM"],
        "module": "ESNext",
        "types": ["vite/client"],
        "moduleResolution": "bundler",
        "allowImportingTsExtensions": True,
        "verbatimModuleSyntax": True,
        "moduleDetection": "force",
        "noEmit": True,
        "jsx": "react-jsx",
        "strict": True,
        "noUncheckedIndexedAccess": True,
        "exactOptionalPropertyTypes": True,
        "noUnusedLocals": True,
        "noUnusedParameters": True,
        "erasableSyntaxOnly": True,
        "skipLibCheck": True,
    },
    "include": ["src", "vite.config.ts"],
}
VITE = ["@types/react", "@types/react-dom", "@vitejs/plugin-react", "react", "react-dom", "vite"]
ADAPTERS = ["@apollo/client", "@urql/core", "@urql/exchange-graphcache", "rxjs", "urql"]


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """@rxgraphql/client as it is published, of the build in `dist`."""
    folder = tmp_path_factory.mktemp("tarball")
    run("npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", folder, cwd=CLIENT)
    (path,) = folder.glob("*.tgz")
    return path


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python with the wheel installed, on top of what it depends on."""
    folder = tmp_path_factory.mktemp("python")
    wheels = folder / "wheels"
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, cwd=ROOT)
    (wheel,) = wheels.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    path = folder / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", path, "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", wheel, cwd=folder)
    # The .pth files of that folder, the checkout's own among them, aren't read from here.
    site_packages = run(
        path, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    )
    Path(site_packages.strip(), "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return path


@dataclass
class Installed:
    project: Project

    @property
    def frontend(self) -> Path:
        return self.project.directory / "frontend"

    def node(self, *arguments: str | Path) -> str:
        return self.project.run("node", *arguments, cwd=self.frontend)


@pytest.fixture(scope="module")
def installing(
    tmp_path_factory: pytest.TempPathFactory, tarball: Path
) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """The folder of the README's project, and npm at work in its frontend: Django's half is made meanwhile."""
    directory = tmp_path_factory.mktemp("project")
    frontend = directory / "frontend"
    (frontend / "src").mkdir(parents=True)
    (frontend / "package.json").write_text(json.dumps(package(tarball)))
    (frontend / "tsconfig.json").write_text(json.dumps(TSCONFIG))
    (frontend / "index.html").write_text(INDEX)
    (frontend / "vite.config.ts").write_text(README["vite"])
    for name, text in {"main": MAIN, "App": README["app"], "Customer": README["part"]}.items():
        (frontend / "src" / f"{name}.tsx").write_text(text)
    shutil.copy(HERE / "watch.js", frontend / "src")
    shutil.copy(HERE / "bundles.mjs", frontend)
    npm = install(frontend)
    try:
        yield directory, npm
    finally:
        npm.kill()
        npm.wait()


@pytest.fixture(scope="module")
def installed(
    installing: tuple[Path, subprocess.Popen[str]], python: Path, valkey: Valkey
) -> Installed:
    """The README's project and its page, generated."""
    directory, npm = installing
    env = {"REDIS_URL": valkey.url, "PYTHONPATH": ""}
    project = Project(directory, env, python)
    with (directory / "project" / "settings.py").open("a") as settings:
        settings.write(README["frontend"])
    project.set_up()
    finish(npm)
    project.manage("makefrontend")
    return Installed(project)


@pytest.fixture(scope="module")
def with_adapters(installed: Installed) -> Installed:
    """The same frontend, with Apollo Client and urql beside React."""
    finish(install(installed.frontend, *(f"{name}@{versions()[name]}" for name in ADAPTERS)))
    return installed


@pytest.fixture
def site(installed: Installed) -> Iterator[Site]:
    service = Service(
        [installed.project.python, "-m", "uvicorn", "project.asgi:application", "--port", "0"],
        env=installed.project.env,
        cwd=installed.project.directory,
    )
    try:
        service.output.wait_for("Uvicorn running on")
        (port,) = re.findall(r"running on http://127\.0\.0\.1:(\d+) ", service.output.text)
        yield Site(int(port))
    finally:
        service.stop()
    assert "Traceback" not in service.output.text


def install(frontend: Path, *packages: str) -> subprocess.Popen[str]:
    """What `make setup` fetched is in npm's cache."""
    options = ["--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
    return subprocess.Popen(
        ["npm", "install", *options, *packages],
        cwd=frontend,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    try:
        output, _ = process.communicate(timeout=RUN_TIMEOUT)
    finally:
        process.kill()
    assert process.returncode == 0, output


def versions() -> dict[str, str]:
    """Those that this workspace develops with."""
    found: dict[str, str] = {}
    for name in ("example/frontend", "client-codegen", "."):
        described = json.loads((ROOT / name / "package.json").read_text())
        found |= described.get("dependencies", {}) | described["devDependencies"]
    return found


def package(tarball: Path) -> dict[str, Any]:
    names = [*VITE, "graphql", "typescript", "ws"]
    return {
        "name": "frontend",
        "private": True,
        "type": "module",
        "scripts": {"build": "tsc && vite build"},
        "dependencies": {
            "@rxgraphql/client": f"file:{tarball}",
            **{name: versions()[name] for name in names},
        },
    }


def test_what_is_in_the_tarball(tarball: Path) -> None:
    """A module and its types for each source, the command, README and licence, and nothing else."""
    names = run("tar", "-tf", tarball, cwd=tarball.parent).split()
    built = [path.with_suffix("").name for path in (CLIENT / "src").iterdir()]
    assert sorted(names) == sorted(
        f"package/{name}"
        for name in (
            *("LICENSE", "README.md", "package.json", "bin/rxgraphql-codegen.js"),
            *(f"dist/{name}{suffix}" for name in built for suffix in (".js", ".d.ts")),
        )
    )
    assert (CLIENT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_nothing_of_the_checkout(installed: Installed) -> None:
    """The project runs the wheel's rxgraphql and the tarball's client."""
    told = "from rxgraphql import __file__; print(__file__)"
    found = Path(installed.project.run(installed.project.python, "-c", told).strip())
    venv = Path(installed.project.python).parent.parent
    assert found.is_relative_to(venv)
    client = installed.frontend / "node_modules" / "@rxgraphql" / "client"
    assert client.resolve() == client
    assert not Path(os.path.realpath(installed.frontend)).is_relative_to(ROOT)


def test_generated_and_built(installed: Installed) -> None:
    """What is generated is up to date at once, and the README's page is right for the compiler and the bundler."""
    installed.project.manage("makefrontend", "--check")
    installed.project.run("npm", "run", "build", cwd=installed.frontend)
    assert list(installed.frontend.glob("dist/assets/*.js"))


async def test_live(installed: Installed, site: Site) -> None:
    """The client of the tarball shows a snapshot, and the item that another process saves."""
    async with httpx.AsyncClient(base_url=site.origin, timeout=PATIENCE) as http:
        await log_in(http)
        await submit(http, "/admin/shop/order/add/", {"customer": "Grace"})
        env = {"SITE": site.origin, "COOKIE": cookies(http)}
    vite = installed.frontend / "node_modules" / "vite" / "bin" / "vite.js"
    installed.node(vite, "build", "--ssr", "src/watch.js", "--outDir", "watching")
    watching = Service(["node", "watching/watch.js"], env=env, cwd=installed.frontend)
    try:
        watching.output.wait_for('"customer":"Grace"')
        installed.project.manage("shell", "--command", README["save"])
        watching.output.wait_for('"name":"Tea"')
    finally:
        watching.stop()
    *_, last = map(json.loads, watching.output.text.splitlines())
    assert last["status"] == "live"
    assert last["state"] == {
        "id": "1",
        "customer": "Grace",
        "items": [{"id": "1", "name": "Tea", "quantity": 2}],
    }


def test_every_subpath_can_be_imported(with_adapters: Installed) -> None:
    """Node finds each public name, with its own resolution and no bundler."""
    names = ["", "/react", "/apollo", "/urql", "/codegen"]
    exported = json.loads((CLIENT / "package.json").read_text())["exports"]
    assert sorted(exported) == sorted([*(f".{name}" for name in names), "./package.json"])
    imports = ", ".join(f'import("@rxgraphql/client{name}")' for name in names)
    described = 'import("@rxgraphql/client/package.json", { with: { type: "json" } })'
    all_of_them = f"(await Promise.all([{imports}, {described}])).map(Object.keys)"
    script = f"console.log(JSON.stringify({all_of_them}));"
    found = json.loads(with_adapters.node("--input-type=module", "-e", script).splitlines()[-1])
    for name, public in zip(
        ("createClient", "useChannelState", "channelLink", "channelExchange", "preset", "default"),
        found,
        strict=True,
    ):
        assert name in public


@pytest.fixture(scope="module")
def bundles(with_adapters: Installed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(with_adapters.node("bundles.mjs"))
    return found


@pytest.mark.parametrize("subpath", ["", "/react", "/apollo", "/urql"])
def test_an_import_alone_does_nothing(bundles: dict[str, Any], subpath: str) -> None:
    """None of the modules has a side effect: an import of which nothing is used leaves nothing in a bundle."""
    assert bundles[f"import{subpath}"]["text"] == ""


def test_what_is_bundled(bundles: dict[str, Any]) -> None:
    """A page has the packages that it uses: no other client's, not `graphql`, and never the code generator."""
    packages = {name: set(found["packages"]) for name, found in bundles.items()}
    assert packages["hook"] == {"@rxgraphql/client", "graphql-ws"}
    for name, other in {"apollo": "urql", "urql": "apollo"}.items():
        assert "@rxgraphql/client" in packages[name]
        assert not [found for found in packages[name] if other in found or "codegen" in found]


def test_the_size_of_the_hook(bundles: dict[str, Any]) -> None:
    """The hook with all that it needs stays within its limit, as a user's own bundler makes it."""
    assert bundles["hook"]["bytes"] <= HOOK_LIMIT
