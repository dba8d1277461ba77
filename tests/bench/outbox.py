"""The outbox: what its triggers cost a writer, and how long raw SQL takes to a subscriber. PostgreSQL only."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from typing import Any

from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connection, connections

from rxgraphql.hub import Hub
from rxgraphql.outbox import Drain
from rxgraphql.triggers import OUTBOX
from tests.bench.case import Case
from tests.bench.save import saved
from tests.folding import Watcher
from tests.shelves.channels import ShelfChannel
from tests.shelves.models import Book, Shelf

EVENTS = 40

_texts = map(str, itertools.count())
_names = itertools.count(1)


def cases() -> Iterable[Case]:
    if connection.vendor != "postgresql":
        return
    for name, write, times in (
        ("a saved row", save, 50),
        ("a raw update of a row", raw, 50),
        ("a raw update of 1,000 rows", bulk, 1),
    ):
        yield Case(
            f"{name}, with triggers",
            partial(written, write, times, True),
            partial(written, write, times, False),
            unit="µs",
            rounds=51 if times > 1 else 21,
            environment=installed,
            every_database=True,
        )
    yield Case(
        "raw SQL by the outbox to a subscriber, save(), p50",
        partial(latency, raw, True),
        partial(latency, save, False),
        unit="ms",
        rounds=5,
        environment=installed,
        every_database=True,
    )


@contextmanager
def installed() -> Iterator[None]:
    with saved():
        _shelf()
        out = StringIO()
        call_command("rxtriggers", "install", stdout=out)
        try:
            yield
        finally:
            call_command("rxtriggers", "remove", stdout=out)


def _shelf() -> None:
    Shelf.objects.get_or_create(id="bench")
    if not Book.everything.filter(shelf_id="bench").exists():
        Book.everything.bulk_create(Book(shelf_id="bench", title=f"{n}") for n in range(1000))


def save() -> None:
    book: Book = Book.everything.filter(shelf_id="bench")[0]
    book.title = next(_texts)
    book.save()


def raw() -> None:
    execute(
        "UPDATE shelves_book SET title = %s WHERE id = (SELECT min(id) FROM shelves_book "
        "WHERE shelf_id = 'bench')"
    )


def bulk() -> None:
    execute("UPDATE shelves_book SET title = %s WHERE shelf_id = 'bench'")


def durable() -> None:
    execute(
        "SET synchronous_commit = on; " + "UPDATE shelves_shelf SET name = %s WHERE id = 'bench'"
    )


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("%s", f"'{next(_texts)}'"))


def switch(on: bool) -> None:
    verb = "ENABLE" if on else "DISABLE"
    for table in ("shelves_book", "shelves_shelf"):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} {verb} TRIGGER USER")


def written(write: Callable[[], None], times: int, triggers: bool) -> float:
    switch(triggers)
    write()
    start = time.perf_counter()
    for _ in range(times):
        write()
    took = (time.perf_counter() - start) / times * 1e6
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {OUTBOX}")
    return took


def latency(write: Callable[[], None], triggers: bool) -> float:
    switch(triggers)
    try:
        return asyncio.run(_latency(write, triggers))
    finally:
        connections.close_all()


async def _latency(write: Callable[[], None], triggers: bool) -> float:
    hub, drain = Hub(), Drain("default")
    if triggers:
        drain.start()
    watcher: Any = await Watcher.open(hub, ShelfChannel, "bench", "bench")
    took = []
    for _ in range(EVENTS):
        # apart: what comes while a drain is at work needn't wake it
        await asyncio.sleep(0.05)
        start = time.perf_counter()
        await sync_to_async(write)()
        await watcher.next()
        took.append((time.perf_counter() - start) * 1e3)
    await hub.stop()
    await asyncio.to_thread(drain.stop)
    await sync_to_async(connections.close_all)()
    return statistics.median(took)
