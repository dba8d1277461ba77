"""From a commit to one subscriber's socket, beside a publisher of ready bytes: both through uvicorn, one event at a
time.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import redis
from django.conf import settings
from django.db import connection
from django.db.models.signals import post_save
from django.test import override_settings
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from rxgraphql.capture import Capture
from rxgraphql.channel import registry
from tests.bench._bare import CHANNEL
from tests.bench.case import Case
from tests.bench.save import Saver, rows
from tests.chat.models import Message, Reaction
from tests.conftest import database_url
from tests.services import Uvicorn

EVENTS = 200
PATIENCE = 10.0
QUERY = """
    subscription { room(name: "saves") {
        kind cursor removed
        messages {
            id text position created editor editorName roomName tagNames shout author { id }
        }
        reactions { id emoji user { id } }
    } }
"""
_names = itertools.count(1)


def cases() -> Iterable[Case]:
    columns, lists = Paths("reaction"), Paths("message")
    for name, paths, percentile in (
        ("a row of columns, p50", columns, 50),
        ("a row of columns, p99", columns, 99),
        # such a row is never taken from the log: the hub reads it again with what it shows
        ("a row that shows a list, p50", lists, 50),
    ):
        yield Case(
            f"commit to client, {name}, {connection.vendor}",
            partial(paths.measure, paths.ours, percentile),
            partial(paths.measure, paths.bare, percentile),
            unit="ms",
            rounds=5,
            environment=paths.open,
            every_database=paths is columns,
        )


class Paths:
    """A server and a client for each of the two ways."""

    def __init__(self, kind: str) -> None:
        self._saver = Saver(kind)

    @contextmanager
    def open(self) -> Iterator[None]:
        with override_settings(RX_NAMESPACE=f"delivery{next(_names)}"):
            rows()
            env = environment(settings.REDIS_URL)
            server = Uvicorn("tests.asgi:application", env=env)
            bare = Uvicorn("tests.bench._bare:application", env=env)
            try:
                with (
                    committed(self._stamp),
                    redis.Redis.from_url(settings.REDIS_URL) as self._redis,
                    subscribed(server) as self._client,
                    connect(f"{bare.ws_url}/", compression=None) as self._bare,
                ):
                    self.ours()
                    yield
            finally:
                server.stop()
                bare.stop()

    def ours(self) -> float:
        """Milliseconds from the commit to the event."""
        self._saver.save()
        self._frame = self._client.recv(PATIENCE)
        arrived = time.perf_counter()
        assert json.loads(self._frame)["payload"]["data"]["room"]["kind"] == "CHANGE"
        return (arrived - self._committed) * 1e3

    def bare(self) -> float:
        """Milliseconds from publishing the same event, ready, to its arrival."""
        start = time.perf_counter()
        self._redis.publish(CHANNEL, self._frame)
        frame = self._bare.recv(PATIENCE)
        arrived = time.perf_counter()
        assert frame == self._frame
        return (arrived - start) * 1e3

    def measure(self, way: Callable[[], float], percentile: int) -> float:
        return statistics.quantiles([way() for _ in range(EVENTS)], n=100)[percentile - 1]

    def _stamp(self, **_: Any) -> None:
        self._committed = time.perf_counter()


def environment(redis_url: str) -> dict[str, str]:
    """That in which a server works on the databases and the log of this process."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": database_url("default"),
        "OTHER_DATABASE_URL": database_url("other"),
        "REDIS_URL": redis_url,
        "RX_NAMESPACE": settings.RX_NAMESPACE,
    }


@contextmanager
def committed(stamp: Callable[..., None]) -> Iterator[None]:
    """Calls `stamp` when a row was saved, before we hear of it. In autocommit mode it is committed then."""
    capture = Capture(registry.built)
    capture.disconnect()
    for model in (Message, Reaction):
        post_save.connect(stamp, model, dispatch_uid="bench")
    capture.connect()
    try:
        yield
    finally:
        for model in (Message, Reaction):
            post_save.disconnect(sender=model, dispatch_uid="bench")


@contextmanager
def subscribed(server: Uvicorn) -> Iterator[ClientConnection]:
    """A socket on which the snapshot has come."""
    with connect(
        f"{server.ws_url}/graphql/",
        origin=Origin(server.url),
        subprotocols=[Subprotocol("graphql-transport-ws")],
        compression=None,
    ) as client:
        client.send(json.dumps({"type": "connection_init"}))
        assert json.loads(client.recv(PATIENCE)) == {"type": "connection_ack"}
        client.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": QUERY}}))
        first = json.loads(client.recv(PATIENCE))
        assert first["payload"]["data"]["room"]["kind"] == "SNAPSHOT", first
        yield client
