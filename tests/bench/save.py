"""A `save()` beside the same one without our receivers: nobody watches, somebody does, Redis is gone."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings

from rxgraphql import publish as publishing
from rxgraphql.capture import Capture
from rxgraphql.changeset import ChangeSet
from rxgraphql.channel import registry
from rxgraphql.publish import publisher
from rxgraphql.publisher import Publisher
from tests.bench.case import Case
from tests.chat.models import Message, Reaction, Room, Tag
from tests.listening import Listener, every_label
from tests.services import Valkey

_names = itertools.count(1)
Save = Callable[[], None]


def cases() -> Iterable[Case]:
    on = connection.vendor
    message, reaction = Saver("message"), Saver("reaction")
    for name, saver, environment in (
        ("nobody watches", message, saved),
        ("watched, one type of one column", reaction, watched),
        ("watched, two types, method fields, tags", message, watched),
    ):
        yield Case(
            f"save(), {name}, {on}",
            partial(saver.ours, 50),
            partial(saver.plain, 50),
            unit="µs",
            rounds=151 if environment is saved else 11,
            environment=environment,
            every_database=True,
        )
    if on != "sqlite":
        return
    yield Case(
        "save(), nobody watches, sqlite, waits for the disk",
        partial(message.ours, 20),
        partial(message.plain, 20),
        unit="µs",
        rounds=41,
        environment=durable,
    )
    server = Valkey(settings.VALKEY_DIR, name="leaving")
    for name, leave in (("killed", server.kill), ("stopped (SIGSTOP)", server.pause)):
        yield Case(
            f"the first save() after Redis was {name}",
            partial(message.ours, 1, before=partial(gone, server, leave)),
            partial(message.plain, 1),
            unit="µs",
            environment=partial(without, server),
        )
    for name, owed in (("", 0), (", 5,000 keys owed", 5_000)):
        yield Case(
            f"save(), Redis gone, breaker open{name}",
            partial(message.ours, 100, before=partial(open_breaker, message, owed)),
            partial(message.plain, 100),
            unit="µs",
            environment=partial(without, server),
        )


class Saver:
    """Saves one row again and again, changed each time."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._capture = Capture(registry.built)
        self._texts = map(str, itertools.count())

    def save(self) -> None:
        if self._kind == "message":
            message, _ = rows()
            message.text = next(self._texts)
            message.save()
        else:
            _, reaction = rows()
            reaction.emoji = next(self._texts)
            reaction.save()

    def ours(self, times: int, before: Callable[[], None] = lambda: None) -> float:
        self._capture.disconnect()
        self._capture.connect()
        before()
        return self._microseconds(times)

    def plain(self, times: int) -> float:
        self._capture.disconnect()
        try:
            return self._microseconds(times)
        finally:
            self._capture.connect()

    def _microseconds(self, times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            self.save()
        return (time.perf_counter() - start) / times * 1e6


_rows: list[Any] = []


def rows() -> tuple[Message, Reaction]:
    """A message and its reaction, made at the first use."""
    if not _rows:
        author = User.objects.create(username="author")
        room = Room.objects.create(name="saves")
        message = Message.objects.create(room=room, author=author, text="hello")
        message.tags.add(Tag.objects.create(name="one"), Tag.objects.create(name="two"))
        _rows.extend([message, Reaction.objects.create(message=message, user=author, emoji="+1")])
    return _rows[0], _rows[1]


@contextmanager
def saved() -> Iterator[None]:
    """A log of its own, so that no lease or promise of another case is in it."""
    with override_settings(RX_NAMESPACE=f"save{next(_names)}"):
        rows()
        yield


@contextmanager
def durable() -> Iterator[None]:
    """SQLite as Django has it: the tests' databases don't wait for the disk."""
    with saved(), connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous=FULL")
        try:
            yield
        finally:
            cursor.execute("PRAGMA synchronous=OFF")


@contextmanager
def watched() -> Iterator[None]:
    """Every model is watched; nobody listens, so that only the writer is measured."""
    with saved():
        listener = Listener()
        listener.watch()
        for label in every_label():
            listener.client.persist(listener.keys.watch(label))
        found().log._unwatched_until.clear()
        yield
        listener.close()


# ---------------------------------------------------------------------------------------- Redis is gone


@contextmanager
def without(server: Valkey) -> Iterator[None]:
    """A server that will leave, and what is logged of it not shown."""
    logging.getLogger("rxgraphql").setLevel(logging.CRITICAL)
    try:
        with override_settings(REDIS_URL=server.url), saved():
            yield
    finally:
        end_publishers()
        logging.getLogger("rxgraphql").setLevel(logging.NOTSET)
        server.stop()


def found() -> Publisher:
    here = publisher()
    assert here is not None
    return here


def end_publishers() -> None:
    for key in list(publishing._publishers):
        publishing._publishers.pop(key).end()


def gone(server: Valkey, leave: Callable[[], None]) -> None:
    """The server was there, watched and connected to, and leaves."""
    # what the round before left owed would be paid during this one
    end_publishers()
    server.stop()
    server.start()
    listener = Listener(server.url)
    listener.watch()
    message, _ = rows()
    message.save()
    assert listener.entries()
    listener.close()
    leave()


def open_breaker(saver: Saver, owed: int) -> None:
    close_breaker()
    saver.save()
    changes = ChangeSet()
    for pk in range(owed):
        changes.row("chat.message", pk)
    found()._owed.add("default", changes)
    assert found().log._closed_until > time.monotonic()


def close_breaker() -> None:
    log = found().log
    log._closed_until, log._failures = 0.0, 0
