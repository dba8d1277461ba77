"""The README's quickstart, as a reader would type it: a project of its own, in processes of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.services import ROOT, START_TIMEOUT, Service
from tests.serving import PATIENCE, Site

STARTED = "Starting development server at"
USERNAME, PASSWORD = "ada", "correct horse"


def blocks(path: Path) -> dict[str, str]:
    """The code that `<!-- test: NAME -->` stands before, by name."""
    found = re.findall(
        r"^<!-- test: (\w+) -->\n```\w+\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(dict(found)) == len(found)
    return dict(found)


README = blocks(ROOT / "README.md")
PLACES = {
    "asgi": "project/asgi.py",
    "models": "shop/models.py",
    "admin": "shop/admin.py",
    "serializers": "shop/serializers.py",
    "channels": "shop/channels.py",
}


class Project:
    """What `startproject` and `startapp` make, with the README's blocks put in."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self.directory = directory
        self.env = {**env, "DJANGO_SETTINGS_MODULE": "project.settings", "PYTHONPATH": str(ROOT)}
        self._run("-m", "django", "startproject", "project", ".")
        self.manage("startapp", "shop")
        settings = directory / "project" / "settings.py"
        text, found = re.subn(
            r"^INSTALLED_APPS = \[.*?^\]\n",
            lambda match: README["settings"],
            settings.read_text(),
            flags=re.MULTILINE | re.DOTALL,
        )
        assert found == 1
        # In place of the server that `embedded` starts.
        settings.write_text(f'{text}\nimport os\n\nREDIS_URL = os.environ["REDIS_URL"]\n')
        for name, place in PLACES.items():
            (directory / place).write_text(README[name])

    def _run(self, *arguments: str) -> str:
        process = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_TIMEOUT,
        )
        assert process.returncode == 0, process.stdout
        return process.stdout

    def manage(self, *arguments: str) -> str:
        return self._run("manage.py", *arguments)


@pytest.fixture
def project(tmp_path: Path, redis_url: str) -> Project:
    return Project(
        tmp_path,
        {
            "REDIS_URL": redis_url,
            "DJANGO_SUPERUSER_USERNAME": USERNAME,
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "DJANGO_SUPERUSER_EMAIL": "ada@example.com",
        },
    )


@pytest.fixture
def site(project: Project) -> Iterator[Site]:
    """The project on the screen: checked, migrated and served."""
    assert "no issues" in project.manage("check")
    project.manage("makemigrations", "shop")
    project.manage("migrate")
    project.manage("createsuperuser", "--noinput")
    service = Service(
        [sys.executable, "manage.py", "runserver", "--noreload", "127.0.0.1:0"],
        env=project.env,
        cwd=project.directory,
    )
    try:
        service.output.wait_for(STARTED)
        (port,) = re.findall(rf"{STARTED} http://127\.0\.0\.1:(\d+)/", service.output.text)
        yield Site(int(port))
    finally:
        service.stop()
    assert "Traceback" not in service.output.text


async def log_in(http: httpx.AsyncClient) -> None:
    """As a browser does it, in the admin's own form."""
    await http.get("/admin/login/")
    fields = {"username": USERNAME, "password": PASSWORD, "next": "/admin/"}
    response = await submit(http, "/admin/login/", fields)
    assert response.headers["location"] == "/admin/"


async def submit(http: httpx.AsyncClient, path: str, fields: dict[str, str]) -> httpx.Response:
    response = await http.post(
        path, data={**fields, "csrfmiddlewaretoken": http.cookies["csrftoken"]}
    )
    assert response.status_code == 302, response.text
    return response


async def test_quickstart(project: Project, site: Site) -> None:
    """The five steps lead to GraphiQL, a live subscription and an item that another process saved."""
    async with httpx.AsyncClient(base_url=site.origin, timeout=PATIENCE) as http:
        await log_in(http)
        await submit(http, "/admin/shop/order/add/", {"customer": "Grace"})
        await submit(http, "/admin/shop/item/add/", {"order": "1", "name": "Cake", "quantity": "1"})
        page = await http.get("/graphql/", headers={"Accept": "text/html"})
        assert "<title>GraphiQL</title>" in page.text
        response = await http.get("/graphql/", params={"query": "{ order(id: 1) { customer } }"})
        assert response.json() == {"data": {"order": {"customer": "Grace"}}}
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())

    cake, tea = {"name": "Cake", "quantity": 1}, {"name": "Tea", "quantity": 2}
    async with site.connect(additional_headers={"Cookie": cookie}) as client:
        await client.init()
        await client.subscribe(README["subscription"], id="1")
        assert await client.receive() == next_state([cake])
        project.manage("shell", "--command", README["save"])
        assert await client.receive() == next_state([cake, tea])


def next_state(items: list[dict[str, object]]) -> dict[str, object]:
    state = {"customer": "Grace", "items": items}
    return {"id": "1", "type": "next", "payload": {"data": {"order": {"state": state}}}}


def test_a_fault_is_told(project: Project) -> None:
    """`check` names what is missing in a channel."""
    channels = project.directory / "shop" / "channels.py"
    channels.write_text(README["channels"].replace("has_permission", "may_look"))
    with pytest.raises(AssertionError, match=r"OrderChannel: has_permission\(\) is missing"):
        project.manage("check")
