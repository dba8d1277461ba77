"""The servers of the test run themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import redis
from django.contrib.auth.models import User
from django.db import connection

from tests.services import ROOT, Uvicorn, Valkey


def test_redis_answers(redis_url: str) -> None:
    """The run's server answers on its Unix socket."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


def test_flush(redis_url: str, flush: Callable[[], None]) -> None:
    """After `flush` nothing is left."""
    with redis.Redis.from_url(redis_url) as client:
        client.set("key", "value")
        flush()
        assert client.dbsize() == 0


def test_a_server_of_its_own(start_valkey: Callable[..., Valkey]) -> None:
    """A test may kill its server and start it again, empty."""
    server = start_valkey()
    with redis.Redis.from_url(server.url) as client:
        client.set("key", "value")
    server.kill()
    with (
        redis.Redis.from_url(server.url, retry=None) as client,
        pytest.raises(redis.ConnectionError),
    ):
        client.ping()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("key") is None


@pytest.mark.every_database
@pytest.mark.django_db(transaction=True)
def test_other_processes_see_the_databases(process_env: dict[str, str]) -> None:
    """What a test has committed is seen by a process that it starts."""
    User.objects.create(username="ada")
    code = "from django.contrib.auth.models import User; print(User.objects.get().username)"
    done = subprocess.run(
        [sys.executable, "-m", "tests.manage", "shell", "--verbosity", "0", "-c", code],
        cwd=ROOT,
        env=process_env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "ada"


@pytest.mark.every_database
@pytest.mark.django_db
def test_database_of_this_run(request: pytest.FixtureRequest) -> None:
    """The run is on the database that it was asked for."""
    import os

    expected = (
        "postgresql" if os.environ.get("RX_TEST_DATABASE") == "postgres" else connection.vendor
    )
    assert expected == connection.vendor


@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn(live_server_uvicorn: Callable[..., Uvicorn], workers: int) -> None:
    """A server is up when the factory returns, with all its workers."""
    import httpx

    server = live_server_uvicorn("tests.plain_asgi:application", workers=workers)
    assert httpx.get(f"{server.url}/").text == "tests.settings"


def test_uvicorn_that_fails(live_server_uvicorn: Callable[..., Uvicorn]) -> None:
    """An application that can't be imported fails the test at once, with the server's words."""
    with pytest.raises(RuntimeError, match="nothing_here"):
        live_server_uvicorn("tests.nothing_here:application")
