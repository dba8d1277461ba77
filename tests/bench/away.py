"""A thousand saves while Redis is away beside as many while it is there, and when a subscriber then has all of them."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from django.conf import settings
from django.db import connection

from tests.bench.case import Case
from tests.bench.delivery import PATIENCE, environment, subscribed
from tests.bench.save import Saver, found, gone, rows, without
from tests.services import Uvicorn, Valkey

SAVES = 1_000
FIGURES: dict[str, Callable[[list[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.mean,
    "longest": max,
}


def cases() -> Iterable[Case]:
    if connection.vendor != "sqlite":
        return
    for name, frozen in (("killed", False), ("frozen", True)):
        saves = Saves(frozen)
        for figure, of in FIGURES.items():
            yield Case(
                f"{SAVES:,} watched saves, Redis {name}, {figure}",
                partial(saves.figure, "away", of),
                partial(saves.figure, "there", of),
                unit="µs",
                rounds=3,
                environment=saves.open,
            )
        back = Back(frozen)
        yield Case(
            f"Redis {name} is back: all is at a client, beside a save's way",
            back.away,
            back.there,
            unit="ms",
            rounds=3,
            environment=back.open,
        )


class Saves:
    """The thousands are measured for the first figure, and kept for the others."""

    def __init__(self, frozen: bool) -> None:
        self._server = Valkey(settings.VALKEY_DIR, name="away")
        self._leave = self._server.pause if frozen else self._server.kill
        self._saver = Saver("message")
        self._taken: dict[str, list[list[float]]] = {"away": [], "there": []}
        self._asked: dict[str, int] = {}

    @contextmanager
    def open(self) -> Iterator[None]:
        self._asked = {"away": 0, "there": 0}
        with without(self._server):
            yield

    def figure(self, where: str, of: Callable[[list[float]], float]) -> float:
        turn, taken = self._asked[where], self._taken[where]
        self._asked[where] += 1
        if turn == len(taken):
            gone(self._server, self._leave if where == "away" else lambda: None)
            taken.append([self._microseconds() for _ in range(SAVES)])
        return of(taken[turn])

    def _microseconds(self) -> float:
        start = time.perf_counter()
        self._saver.save()
        return (time.perf_counter() - start) * 1e6


class Back:
    """A server with a subscriber, whose Redis comes and goes."""

    def __init__(self, frozen: bool) -> None:
        self._server = Valkey(settings.VALKEY_DIR, name="away")
        self._leave = self._server.pause if frozen else self._server.kill
        self._return = self._server.resume if frozen else self._server.start
        self._saver = Saver("message")

    @contextmanager
    def open(self) -> Iterator[None]:
        with without(self._server):
            self._server.start()
            rows()
            server = Uvicorn("tests.asgi:application", env=environment(self._server.url))
            try:
                with subscribed(server) as self._client:
                    yield
            finally:
                server.stop()

    def there(self) -> float:
        began = time.perf_counter()
        return self._arrived(began, self._save())

    def away(self) -> float:
        self._leave()
        for _ in range(SAVES):
            text = self._save()
        assert found().owes()
        self._return()
        return self._arrived(time.perf_counter(), text)

    def _save(self) -> str:
        self._saver.save()
        message, _ = rows()
        return message.text

    def _arrived(self, began: float, text: str) -> float:
        while True:
            data = json.loads(self._client.recv(PATIENCE))["payload"]["data"]
            # none: that Redis is away is told, too
            room = data["room"] if data else {"messages": []}
            if text in [message["text"] for message in room["messages"]]:
                return (time.perf_counter() - began) * 1e3
