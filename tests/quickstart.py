"""The README's quickstart as a reader would type it: a project of its own, in processes of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.services import ROOT

RUN_TIMEOUT = 120.0
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


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """What the command writes; it must succeed."""
    process = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_TIMEOUT,
        check=False,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


class Project:
    """What `startproject` and `startapp` make, with the README's blocks put in; `env` has REDIS_URL."""

    def __init__(
        self, directory: Path, env: Mapping[str, str], python: str | Path = sys.executable
    ) -> None:
        self.directory = directory
        self.python = python
        self.env = {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "DJANGO_SUPERUSER_USERNAME": USERNAME,
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "DJANGO_SUPERUSER_EMAIL": "ada@example.com",
            **env,
        }
        self.run(python, "-m", "django", "startproject", "project", ".")
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

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        """What the command writes; it must succeed."""
        return run(*command, cwd=cwd or self.directory, env=self.env)

    def manage(self, *arguments: str) -> str:
        return self.run(self.python, "manage.py", *arguments)

    def set_up(self) -> None:
        """Checked and migrated, with somebody who may log in."""
        assert "no issues" in self.manage("check")
        self.manage("makemigrations", "shop")
        self.manage("migrate")
        self.manage("createsuperuser", "--noinput")


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


def cookies(http: httpx.AsyncClient) -> str:
    """The Cookie header that the browser would send."""
    return "; ".join(f"{name}={value}" for name, value in http.cookies.items())
