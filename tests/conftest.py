from __future__ import annotations

import itertools
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import SyncToAsync, sync_to_async
from django.conf import settings as django_settings
from django.db import connections
from pytest_django import Settings

from rxgraphql import publish as publishing
from rxgraphql.hub import Hub
from tests.changes import World
from tests.listening import Listener
from tests.services import Postgres, Uvicorn, Valkey
from tests.shop import Shop

_namespaces = itertools.count(1)


def pytest_configure() -> None:
    # Ended in order, as by Ctrl-C: with its servers, and its files removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    django_settings.RUN_DIR.mkdir(mode=0o700)


def pytest_unconfigure() -> None:
    shutil.rmtree(django_settings.RUN_DIR)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """The run's own Valkey server, at settings.REDIS_URL."""
    server = Valkey(django_settings.VALKEY_DIR)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> Iterator[None]:
    """PostgreSQL runs before pytest-django makes its databases, if this run is on it."""
    if not django_settings.START_POSTGRES:
        yield
        return
    server = Postgres(django_settings.POSTGRES_DIR)
    try:
        server.start()
        yield
    finally:
        server.stop()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """pytest-django's databases. PostgreSQL can't drop one while the thread of sync_to_async is connected."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture(autouse=True)
def namespace(settings: Settings) -> str:
    """Every test has Redis keys and channels of its own."""
    settings.RX_NAMESPACE = f"t{next(_namespaces)}"
    name: str = settings.RX_NAMESPACE
    return name


@pytest.fixture
def redis_url(valkey: Valkey, namespace: str) -> str:
    return valkey.url


@pytest.fixture
def flush(redis_url: str) -> Callable[[], None]:
    """Empties the server, as an operator's FLUSHALL would."""

    def flush() -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()

    return flush


@pytest.fixture
def start_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Valkey]]:
    """A factory of further servers, for tests that kill or pause them."""
    servers: list[Valkey] = []

    def start(*arguments: str) -> Valkey:
        directory: Path = django_settings.RUN_DIR / "valkeys"
        server = Valkey(directory, name=f"{next(_namespaces)}", arguments=arguments)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


def database_url(alias: str = "default") -> str:
    """The address of a database of this run, for a process that the test starts."""
    config: dict[str, Any] = connections[alias].settings_dict
    if "sqlite" in config["ENGINE"]:
        return f"sqlite:///{config['NAME']}"
    user = f"{config['USER']}:{config['PASSWORD']}" if config["PASSWORD"] else config["USER"]
    port = f":{config['PORT']}" if config["PORT"] else ""
    return f"postgres://{user}@{port}/{config['NAME']}?host={config['HOST']}"


@pytest.fixture
def process_env(transactional_db: None, redis_url: str, settings: Settings) -> dict[str, str]:
    """Environment in which another process works on this test's databases, Redis and namespace."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": database_url("default"),
        "OTHER_DATABASE_URL": database_url("other"),
        "REDIS_URL": settings.REDIS_URL,
        "RX_NAMESPACE": settings.RX_NAMESPACE,
    }


@pytest.fixture
def live_server_uvicorn(process_env: dict[str, str]) -> Iterator[Callable[..., Uvicorn]]:
    """A factory of real servers on this test's databases and Redis: `(app, workers=1, env={})`.

    Further keywords are uvicorn's own options. All servers are stopped when the test ends.
    """
    servers: list[Uvicorn] = []

    def start(
        app: str = "tests.asgi:application",
        *,
        workers: int = 1,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> Uvicorn:
        server = Uvicorn(app, workers=workers, env={**process_env, **(env or {})}, **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(autouse=True)
def own_publishers() -> Iterator[None]:
    """What the test owes is not paid when the run ends, and no thread of it works on."""
    before = list(publishing._publishers)
    yield
    for key in publishing._publishers.keys() - set(before):
        publishing._publishers.pop(key).end()


@pytest.fixture
def log(redis_url: str) -> Iterator[Listener]:
    """What writers append, where all that channels read is watched."""
    listener = Listener()
    listener.watch()
    yield listener
    listener.close()


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    """A hub of the test's own event loop."""
    hub = Hub()
    yield hub
    await hub.stop()


@pytest.fixture
async def world(transactional_db: None, redis_url: str) -> World:
    """Rooms, members and messages of `tests.chat`, to watch and to change."""
    return await sync_to_async(World)()


@pytest.fixture
def shop(transactional_db: None, log: Listener) -> Shop:
    """Rows of `tests.shelves`, to change in bulk, of which nothing is in the log yet."""
    shop = Shop()
    log.entries()
    return shop
