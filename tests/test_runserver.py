"""`manage.py runserver`: real processes."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.services import ROOT, Service
from tests.serving import PATIENCE, Site

pytestmark = pytest.mark.django_db(transaction=True)

STARTED = "Starting development server at"
SETTINGS = """
from tests.settings import *
DEBUG = True
RX_SCHEMA_FILE = {schema!r}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with settings of its own, which the server reloads when they change."""
    (tmp_path / "runserver_settings.py").write_text(
        SETTINGS.format(schema=str(tmp_path / "schema.graphql"))
    )
    return tmp_path


@pytest.fixture
def runserver(process_env: dict[str, str], project: Path) -> Iterator[Callable[..., Service]]:
    services: list[Service] = []

    def start(*arguments: str, address: str = "127.0.0.1:0") -> Service:
        service = Service(
            [*(sys.executable, "-m", "tests.manage", "runserver", address), *arguments],
            env={
                **process_env,
                "DJANGO_SETTINGS_MODULE": "runserver_settings",
                "PYTHONPATH": str(project),
            },
            cwd=ROOT,
        )
        services.append(service)
        return service

    yield start
    for service in services:
        service.stop()


def site(service: Service) -> Site:
    service.output.wait_for(STARTED)
    found = re.findall(rf"{STARTED} http://127\.0\.0\.1:(\d+)/", service.output.text)
    return Site(int(found[-1]))


async def test_serves_everything(runserver: Callable[..., Service]) -> None:
    """Pages, static files, GraphQL and its sockets come from one process; an interrupt ends it in order."""
    service = runserver("--noreload")
    served = site(service)
    async with httpx.AsyncClient(base_url=served.origin, timeout=PATIENCE) as http:
        assert (await http.get("/admin/login/")).status_code == 200
        assert (await http.get("/static/admin/css/base.css")).status_code == 200
        response = await http.post("/graphql/", json={"query": "{ __typename }"})
        assert response.json() == {"data": {"__typename": "Query"}}
        page = await http.get("/graphql/", headers={"Accept": "text/html"})
        assert "<title>GraphiQL</title>" in page.text
    async with served.connect() as client:
        await client.init()
        # per-message deflate costs more than it saves
        assert client.connection.protocol.extensions == []
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(PATIENCE) == 0
    service.output.join()
    assert "Traceback" not in service.output.text


async def test_nostatic(runserver: Callable[..., Service]) -> None:
    """With --nostatic, static files are someone else's."""
    served = site(runserver("--noreload", "--nostatic"))
    async with httpx.AsyncClient(base_url=served.origin, timeout=PATIENCE) as http:
        assert (await http.get("/static/admin/css/base.css")).status_code == 404


def test_reloads(runserver: Callable[..., Service], project: Path) -> None:
    """When a module changes, the server starts again; --makefrontend runs each time."""
    service = runserver("--makefrontend")
    service.output.wait_for(STARTED)
    schema = project / "schema.graphql"
    assert "type Subscription" in schema.read_text()
    schema.unlink()
    settings = project / "runserver_settings.py"
    settings.write_text(settings.read_text() + "\n# changed\n")
    service.output.wait_for(STARTED, times=2)
    assert "type Subscription" in schema.read_text()


def test_a_broken_frontend_does_not_stop_it(
    runserver: Callable[..., Service], project: Path
) -> None:
    """What makefrontend has to complain of is printed, and the server starts."""
    settings = project / "runserver_settings.py"
    settings.write_text(settings.read_text() + '\nRX_FRONTEND_DIR = "/nothing/here"\n')
    service = runserver("--noreload", "--makefrontend")
    service.output.wait_for(STARTED)
    assert "makefrontend: " in service.output.text


def test_port_in_use(runserver: Callable[..., Service]) -> None:
    """A port that is taken is said to be, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = runserver("--noreload", address=f"127.0.0.1:{taken.getsockname()[1]}")
        assert service.process.wait(PATIENCE) == 1
    service.output.join()
    assert "That port is already in use." in service.output.text
    assert "Traceback" not in service.output.text


def test_faulty_project(runserver: Callable[..., Service], project: Path) -> None:
    """With a fault, the server says which and doesn't start."""
    settings = project / "runserver_settings.py"
    settings.write_text(settings.read_text() + '\nRX_ALLOWED_ORIGINS = ["*"]\n')
    service = runserver("--noreload")
    assert service.process.wait(PATIENCE) == 1
    service.output.join()
    assert "rxgraphql.E012" in service.output.text
    assert STARTED not in service.output.text
