"""From the outbox to the clients: what any program wrote arrives, whoever ends or fails on the way."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, connections, transaction
from pytest_django import Settings

from rxgraphql import entries as reading
from rxgraphql import log as logs
from rxgraphql import outbox as outboxes
from rxgraphql import snapshot
from rxgraphql.errors import LogUnavailableError
from rxgraphql.hub import Hub
from rxgraphql.log import WriterLog
from rxgraphql.outbox import Drain, drain
from rxgraphql.publisher import Publisher
from rxgraphql.triggers import OUTBOX
from tests.changes import PATIENCE
from tests.folding import Watcher, expected
from tests.listening import Listener, keys, links, values
from tests.services import ROOT, Service, Uvicorn, Valkey
from tests.shelves.channels import ShelfChannel
from tests.shelves.models import Book, Shelf
from tests.shop import Shop, books
from tests.test_triggers import execute, fetch, installed, needs_postgres, rxtriggers

__all__ = ["installed"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.every_database,
    needs_postgres,
]


@pytest.fixture
def log(installed: None, log: Listener) -> Listener:
    return log


@pytest.fixture
def shop(log: Listener) -> Shop:
    shop = Shop()
    drain("default")
    log.entries()
    return shop


def waiting() -> int:
    found: int = fetch(f"SELECT count(*) FROM {OUTBOX}")[0][0]
    return found


@contextlib.contextmanager
def draining(count: int = 1) -> Iterator[list[Drain]]:
    drains = [Drain("default") for _ in range(count)]
    for one in drains:
        one.start()
    try:
        yield drains
    finally:
        for one in drains:
            one.stop()


def until(condition: Callable[[], bool]) -> None:
    """Waits for what other threads and processes do to the database."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def raw(title: str, *found: Book) -> None:
    execute("UPDATE shelves_book SET title = %s WHERE id = ANY(%s)", title, [b.pk for b in found])


# ------------------------------------------------------------------------------------------ one round


def test_raw_sql(log: Listener, shop: Shop) -> None:
    """A transaction of raw SQL is one entry, of rows and links as they are now; then nothing waits."""
    with transaction.atomic():
        raw("raw", shop.one, shop.two)
        execute("DELETE FROM shelves_shelving")
    assert waiting() == 3
    assert drain("default") == 3
    entry = log.entry()
    assert keys(entry) == books(shop.one, shop.two)
    assert links(entry) == {("shelves.shelving", str(shop.one.pk), str(shop.novel.pk), False)}
    assert waiting() == 0
    assert drain("default") == 0
    assert log.entries() == []


def test_many_changes_of_one_row(
    log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that changed often is read once."""
    read: list[Any] = []
    by_key = snapshot.rows_by_key

    def counted(node_type: Any, pks: Any, using: str) -> Any:
        read.append((node_type.name, set(pks)))
        return by_key(node_type, pks, using)

    monkeypatch.setattr(reading, "rows_by_key", counted)
    for number in range(20):
        raw(f"{number}", shop.one)
    assert drain("default") == 20
    assert read == [("Book", {str(shop.one.pk)})]
    assert keys(log.entry()) == books(shop.one)


def test_rows_made_anew(log: Listener, shop: Shop) -> None:
    """A row that was deleted and made again under its key is told as another one."""
    row = "(id, title, position, sold) VALUES (%s, 'reborn', 0, false)"
    with transaction.atomic():
        execute("DELETE FROM shelves_book WHERE id = %s", shop.two.pk)
        execute(f"INSERT INTO shelves_book {row}", shop.two.pk)
    drain("default")
    assert log.entry().recreated == {"Book": [str(shop.two.pk)]}


def test_truncate(log: Listener, shop: Shop) -> None:
    """After TRUNCATE what depends on the table is loaded anew."""
    execute("TRUNCATE shelves_shelving")
    drain("default")
    assert log.entry().unknown == ["shelves.shelving"]


def test_nobody_watches(
    log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Then nothing is read, and nothing stays."""

    def never(*args: Any) -> Any:
        raise AssertionError

    settings.RX_NAMESPACE = f"{settings.RX_NAMESPACE}-unwatched"
    monkeypatch.setattr(reading, "rows_by_key", never)
    raw("raw", shop.one)
    assert drain("default") == 1
    assert waiting() == 0


def test_more_than_one_event_tells(
    log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transactions are told whole, as many together as are few; one that is too large is told by its tables."""
    monkeypatch.setattr(outboxes, "MOST_ROWS", 3)
    with transaction.atomic():
        raw("a", shop.one, shop.two)
    with transaction.atomic():
        raw("b", shop.two, shop.three)
    raw("c", shop.one)
    with transaction.atomic():
        execute("UPDATE shelves_book SET title = 'd'")
    assert drain("default") == 2 + 2 + 1 + 6
    first, second, huge = log.entries()
    assert keys(first) == books(shop.one, shop.two)
    assert keys(second) == books(shop.one, shop.two, shop.three)
    assert (keys(huge), huge.unknown) == (set(), ["shelves.book"])
    assert waiting() == 0


def test_keys_that_can_not_be_read(log: Listener, shop: Shop) -> None:
    """What can't be published at all doesn't wait for ever: all is loaded anew, and the others go on."""
    before = fetch_epoch(log)
    execute(f"INSERT INTO {OUTBOX} (label, kind, key) VALUES ('shelves.genre', 'row', 'no uuid')")
    assert drain("default") == 1
    assert fetch_epoch(log) != before
    raw("raw", shop.one)
    log.watch()
    assert drain("default") == 1
    assert keys(log.entries()[-1]) == books(shop.one)


def test_a_statement_that_takes_too_long(
    log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database ends the read, as it would each time: what depends on the table is loaded anew."""

    def slow(*_: Any) -> Any:
        with transaction.atomic():
            execute("SET LOCAL statement_timeout = 10")
            execute("SELECT pg_sleep(10)")

    raw("raw", shop.one)
    with monkeypatch.context() as patch:
        patch.setattr(reading, "rows_by_key", slow)
        assert drain("default") == 1
    assert log.entry().unknown == ["shelves.book"]


def test_labels_of_another_version(log: Listener, shop: Shop) -> None:
    """What only another version of the project reads is left to it. If it takes nothing for a minute, it loads anew."""
    log.watch("shelves.future")
    lease = log.keys.watch("shelves.future")
    note = f"INSERT INTO {OUTBOX} (label, kind, key) VALUES (%s, 'row', %s)"
    with transaction.atomic():
        execute(note, "shelves.future", "1")
        execute(note, "shelves.book", str(shop.one.pk))
    assert drain("default") == 1
    assert keys(log.entry()) == books(shop.one)
    assert waiting() == 1
    assert log.client.exists(lease)
    execute(f"UPDATE {OUTBOX} SET written = now() - interval '2 minutes'")
    assert drain("default") == 1
    assert waiting() == 0
    assert not log.client.exists(lease)


def test_a_process_without_redis_url(log: Listener, shop: Shop, settings: Settings) -> None:
    """It deletes nothing: others may listen elsewhere. With DEBUG nobody does."""
    raw("raw", shop.one)
    settings.REDIS_URL = None
    with pytest.raises(LogUnavailableError, match="REDIS_URL is not set"):
        drain("default")
    assert waiting() == 1
    settings.DEBUG = True
    assert drain("default") == 1


def fetch_epoch(log: Listener) -> Any:
    return log.client.get(log.keys.epoch)


# ------------------------------------------------------------------------------------------ together and apart


def test_two_drains_at_once(log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has a transaction in hand and hasn't deleted it. The other takes what comes after it, and nothing twice."""
    raw("first", shop.one)
    deliver = Publisher.deliver

    def meanwhile(self: Publisher, using: str, changes: Any) -> None:
        monkeypatch.undo()
        with transaction.atomic():
            raw("second", shop.two, shop.three)
        in_thread(lambda: drain("default"))
        assert waiting() == 1
        deliver(self, using, changes)

    monkeypatch.setattr(Publisher, "deliver", meanwhile)
    assert drain("default") == 1
    assert waiting() == 0
    told = [keys(entry) for entry in log.entries()]
    assert told == [books(shop.two, shop.three), books(shop.one)]


def in_thread(work: Callable[[], object]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    assert not failed


def test_a_commit_between_select_and_read(
    log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry is selected; its row changes once more; then it is read: as it is now, and the second entry stays."""
    raw("first", shop.one)
    begin = WriterLog.begin

    def late(self: WriterLog, labels: Any) -> Any:
        monkeypatch.undo()
        in_thread(lambda: raw("second", shop.one))
        return begin(self, labels)

    monkeypatch.setattr(WriterLog, "begin", late)
    outbox = outboxes.Outbox("default")
    assert outbox.round() == 1
    assert waiting() == 1
    assert outbox.round() == 1
    outbox.close()
    told = [values(entry, "Book", shop.one.pk)["title"] for entry in log.entries()]
    assert told == ["second", "second"]


def test_ends_between_append_and_delete(
    log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was appended and not deleted is appended again."""
    raw("raw", shop.one)
    deliver = Publisher.deliver

    def end(self: Publisher, using: str, changes: Any) -> None:
        monkeypatch.undo()
        deliver(self, using, changes)
        raise KeyboardInterrupt

    monkeypatch.setattr(Publisher, "deliver", end)
    with pytest.raises(KeyboardInterrupt):
        drain("default")
    assert keys(log.entry()) == books(shop.one)
    assert waiting() == 1
    assert drain("default") == 1
    assert keys(log.entry()) == books(shop.one)


def test_redis_is_away(
    start_valkey: Callable[..., Valkey],
    shop: Shop,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is deleted until it is published; a drain tries again by itself."""
    monkeypatch.setattr(logs, "BREAKER_SECONDS", 0.05)
    monkeypatch.setattr(outboxes, "PAUSES", (0.05,))
    server = start_valkey()
    settings.REDIS_URL = server.url
    listener = Listener(server.url)
    listener.watch()
    server.kill()
    raw("raw", shop.one)
    with pytest.raises(LogUnavailableError):
        drain("default")
    assert waiting() == 1
    with draining() as (one,):
        until(lambda: one._failures > 2)
        assert waiting() == 1
        server.start()
        back = Listener(server.url)
        back.watch()
        until(lambda: waiting() == 0)
        assert keys(back.entry()) == books(shop.one)
        back.close()
    listener.close()


# ------------------------------------------------------------------------------------------ drains that run


def test_a_drain_is_woken(log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notification wakes it: no look is waited for."""
    monkeypatch.setattr(outboxes, "LOOK_SECONDS", 1000.0)
    with draining():
        for number in range(5):
            raw(f"{number}", shop.one)
            until(lambda: waiting() == 0)


def test_a_notification_is_lost(log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no notification told is found by looking."""
    monkeypatch.setattr(outboxes, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(outboxes, "NOTIFICATIONS", "elsewhere")
    with draining():
        raw("raw", shop.one)
        until(lambda: waiting() == 0)
    assert keys(log.entry()) == books(shop.one)


def test_a_driver_without_notifications(
    log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg2 is told nothing: it is looked more often."""
    monkeypatch.setattr(outboxes.Outbox, "listen", lambda self: None)
    monkeypatch.setattr(outboxes, "LOOK_SECONDS", 1000.0)
    with draining():
        for number in range(2):
            raw(f"{number}", shop.one)
            until(lambda: waiting() == 0)


def test_a_drain_is_frozen(log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has a transaction in hand and does nothing any more: another one gets it after a while."""
    monkeypatch.setattr(outboxes, "FROZEN_SECONDS", 2)
    raw("raw", shop.one)
    frozen = outboxes.Outbox("default")
    frozen.connection.set_autocommit(False)
    assert frozen._batch().count == 1
    assert drain("default") == 0
    until(lambda: drain("default") == 1)
    with pytest.raises(DatabaseError):
        frozen._execute("SELECT 1")
    frozen.close()


def test_a_round_that_takes_long(
    log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database takes its rows back while it publishes. It deletes them all the same, and goes on listening."""
    monkeypatch.setattr(outboxes, "LOOK_SECONDS", 1000.0)
    deliver = Publisher.deliver

    def slow(self: Publisher, using: str, changes: Any) -> None:
        deliver(self, using, changes)
        monkeypatch.setattr(Publisher, "deliver", deliver)
        backends = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        execute(f"{backends} WHERE datname = current_database() AND state = 'idle in transaction'")

    raw("raw", shop.one)
    monkeypatch.setattr(Publisher, "deliver", slow)
    with draining():
        until(lambda: waiting() == 0)
        raw("again", shop.one)
        until(lambda: waiting() == 0)
    assert [keys(entry) for entry in log.entries()] == [books(shop.one)] * 2


def test_a_connection_is_lost(log: Listener, shop: Shop) -> None:
    """A drain connects again."""
    of_us = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    others = fetch(of_us)
    with draining() as (one,):
        raw("first", shop.one)
        until(lambda: waiting() == 0)
        for (pid,) in set(fetch(of_us)) - set(others):
            execute("SELECT pg_terminate_backend(%s)", pid)
        raw("second", shop.one)
        until(lambda: waiting() == 0)
        assert one._thread is not None
        assert one._thread.is_alive()


def test_installed_and_removed_meanwhile(
    log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that serves needs no restart when the outbox comes or goes."""
    monkeypatch.setattr(outboxes, "INSTALLED_SECONDS", 0.05)
    monkeypatch.setattr(outboxes, "LOOK_SECONDS", 0.05)
    seen: list[bool] = []
    is_installed = outboxes.Outbox.is_installed

    def look(self: outboxes.Outbox) -> bool:
        seen.append(is_installed(self))
        return seen[-1]

    monkeypatch.setattr(outboxes.Outbox, "is_installed", look)
    rxtriggers("remove")
    with draining():
        until(lambda: False in seen)
        rxtriggers("install")
        raw("raw", shop.one)
        until(lambda: waiting() == 0)
        rxtriggers("remove")
        seen.clear()
        until(lambda: False in seen)
        rxtriggers("install")
        raw("again", shop.one)
        until(lambda: waiting() == 0)
    assert [keys(entry) for entry in log.entries()] == [books(shop.one)] * 2


def test_no_connection_stays(log: Listener, shop: Shop) -> None:
    """A drain that is stopped has closed what it opened."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    before = fetch(count)
    with draining(2):
        raw("raw", shop.one)
        until(lambda: waiting() == 0)
    until(lambda: fetch(count) == before)


def test_a_hub_that_nobody_stopped(log: Listener) -> None:
    """Its drains end with it."""
    drains = outboxes.Drains()
    drains.start()
    (thread,) = [one._thread for one in drains._drains]
    assert thread is not None
    assert thread.is_alive()
    del drains
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_databases() -> None:
    """What may have an outbox is drained: the databases on PostgreSQL from which channels read."""
    assert outboxes.drained() == ["default"]


def test_several_drains(log: Listener, shop: Shop) -> None:
    """However many drain, each commit arrives whole, and what came last is what is told last of each row."""
    with draining(3):
        for number in range(60):
            with transaction.atomic():
                raw(f"{number}", shop.one, shop.two)
        until(lambda: waiting() == 0)
    entries = log.entries()
    assert all(keys(entry) == books(shop.one, shop.two) for entry in entries)
    newest = max(entries, key=lambda entry: entry.ticket)
    assert values(newest, "Book", shop.one.pk)["title"] == "59"


# ------------------------------------------------------------------------------------------ to the client


async def assert_reached(watcher: Watcher) -> None:
    """Events come until the subscriber has what the serializer gives."""
    async with asyncio.timeout(PATIENCE):
        while watcher.state() != await sync_to_async(expected)(ShelfChannel, watcher.pk):
            await watcher.next()


CHANGES: list[tuple[str, ...]] = [
    ("UPDATE shelves_book SET title = 'raw'",),
    ("UPDATE shelves_book SET sold = NOT sold",),
    ("UPDATE shelves_book SET position = -position",),
    ("UPDATE shelves_book SET shelf_id = 'b' WHERE title = 'two'",),
    ("INSERT INTO shelves_book (shelf_id, title, position, sold) VALUES ('a', 'new', 9, false)",),
    ("DELETE FROM shelves_book WHERE title = 'two'",),
    ("DELETE FROM shelves_shelving",),
    ("TRUNCATE shelves_shelving",),
    ("UPDATE shelves_shelving SET genre_id = (SELECT id FROM shelves_genre WHERE name = 'essay')",),
    ("UPDATE shelves_genre SET name = upper(name)",),
    (
        "DELETE FROM shelves_book WHERE title = 'three'",
        "INSERT INTO shelves_book (id, shelf_id, title, position, sold) VALUES ({three}, 'a', '', 9, false)",
        "UPDATE shelves_shelf SET name = 'all at once' WHERE id = 'a'",
    ),
]


@pytest.mark.parametrize("statements", CHANGES, ids=[str(n) for n in range(len(CHANGES))])
async def test_subscribers(statements: tuple[str, ...], hub: Hub, log: Listener) -> None:
    """A subscriber gets what raw SQL has changed."""
    shop = await sync_to_async(Shop)()
    watcher = await Watcher.open(hub, ShelfChannel, "a", "a")

    def change() -> None:
        with transaction.atomic():
            for statement in statements:
                execute(statement.format(three=shop.three.pk))

    await sync_to_async(change)()
    async with asyncio.timeout(PATIENCE):
        await watcher.next()
    await assert_reached(watcher)


async def test_a_writer_is_killed(hub: Hub, log: Listener, process_env: dict[str, str]) -> None:
    """A process commits, and is killed before it publishes: what it saved arrives."""
    await sync_to_async(Shop)()
    watcher = await Watcher.open(hub, ShelfChannel, "a", "a")
    await asyncio.to_thread(hub.outbox.stop)
    writer = Service([sys.executable, "-m", "tests.killed", "writer"], env=process_env, cwd=ROOT)
    await asyncio.to_thread(writer.process.wait, PATIENCE)
    assert writer.process.returncode == -signal.SIGKILL
    writer.stop()
    shelf = await Shelf.objects.aget(pk="a")
    assert shelf.name == "last words"
    hub.outbox.start()
    async with asyncio.timeout(PATIENCE):
        await watcher.next()
    await assert_reached(watcher)


async def test_a_drain_is_killed(hub: Hub, log: Listener, process_env: dict[str, str]) -> None:
    """A worker is killed after it appended, before it deleted: the next one does it again, and nothing is lost."""
    await sync_to_async(Shop)()
    watcher = await Watcher.open(hub, ShelfChannel, "a", "a")
    await asyncio.to_thread(hub.outbox.stop)
    await sync_to_async(execute)("UPDATE shelves_book SET title = 'raw'")
    worker = Service([sys.executable, "-m", "tests.killed", "drain"], env=process_env, cwd=ROOT)
    await asyncio.to_thread(worker.process.wait, PATIENCE)
    assert worker.process.returncode == -signal.SIGKILL
    worker.stop()
    await assert_reached(watcher)
    await asyncio.to_thread(until_free)
    assert await sync_to_async(drain)("default") > 0
    assert await sync_to_async(waiting)() == 0
    await assert_reached(watcher)


def until_free() -> None:
    """The server notices a moment later that the process has gone."""
    try:
        free = f"SELECT count(*) FROM (SELECT 1 FROM {OUTBOX} FOR UPDATE SKIP LOCKED) AS free"
        until(lambda: fetch(free)[0][0] == waiting())
    finally:
        connection.close()


async def test_a_worker_without_a_server(
    hub: Hub, log: Listener, process_env: dict[str, str]
) -> None:
    """`rxtriggers drain --forever` drains until it is told to end, and ends in order."""
    await sync_to_async(Shop)()
    watcher = await Watcher.open(hub, ShelfChannel, "a", "a")
    await asyncio.to_thread(hub.outbox.stop)
    worker = Service(
        [sys.executable, "-m", "tests.manage", "rxtriggers", "drain", "--forever"],
        env={**process_env, "PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
    )
    await asyncio.to_thread(worker.output.wait_for, "draining")
    await sync_to_async(execute)("UPDATE shelves_book SET title = 'raw'")
    async with asyncio.timeout(PATIENCE):
        await watcher.next()
    await assert_reached(watcher)
    os.kill(worker.pid, signal.SIGTERM)
    assert await asyncio.to_thread(worker.process.wait, PATIENCE) == 0
    worker.stop()


async def test_a_hub_drains(hub: Hub, log: Listener) -> None:
    """A process that serves subscribers drains by itself, until it stops."""
    await sync_to_async(Shop)()
    watcher = await Watcher.open(hub, ShelfChannel, "a", "a")
    await sync_to_async(execute)("UPDATE shelves_book SET title = 'raw'")
    async with asyncio.timeout(PATIENCE):
        await watcher.next()
    await assert_reached(watcher)
    await hub.stop()
    await sync_to_async(execute)("UPDATE shelves_book SET title = 'later'")
    assert await sync_to_async(waiting)() > 0


def test_a_server_drains(
    log: Listener, shop: Shop, live_server_uvicorn: Callable[..., Uvicorn]
) -> None:
    """A server drains from its start, if nobody subscribes too: its outbox doesn't grow."""
    raw("raw", shop.one)
    live_server_uvicorn(workers=2)
    until(lambda: waiting() == 0)
    raw("again", shop.one)
    until(lambda: waiting() == 0)
    assert [keys(entry) for entry in log.entries()] == [books(shop.one)] * 2


@pytest.mark.parametrize("seed", range(2))
async def test_convergence(seed: int, hub: Hub, log: Listener, process_env: dict[str, str]) -> None:
    """Processes write raw SQL at random; workers drain, and are killed again and again in the middle of it. When
    all is quiet, the subscriber has what the serializer gives."""
    await sync_to_async(Shop)()
    watcher = await Watcher.open(hub, ShelfChannel, "a", "a")
    chance = random.Random(seed)
    worker = [sys.executable, "-m", "tests.manage", "rxtriggers", "drain", "--forever"]
    writers = [
        Service(
            [sys.executable, "-m", "tests.killed", "wander", str(10 * seed + n), "150"],
            env=process_env,
            cwd=ROOT,
        )
        for n in range(2)
    ]
    try:
        while any(writer.process.poll() is None for writer in writers):
            drainer = await asyncio.to_thread(Service, worker, env=process_env, cwd=ROOT)
            await asyncio.to_thread(drainer.output.wait_for, "draining")
            await asyncio.sleep(chance.random() * 0.1)
            drainer.kill()
    finally:
        for writer in writers:
            writer.stop()
    assert [writer.process.returncode for writer in writers] == [0, 0]
    await asyncio.to_thread(until_empty)
    await assert_reached(watcher)


def until_empty() -> None:
    try:
        until(lambda: waiting() == 0)
    finally:
        connection.close()


def rename(shop: Shop) -> None:
    shop.one.title = "saved"
    shop.one.save()


def make_anew(shop: Shop) -> None:
    with transaction.atomic():
        pk = shop.two.pk
        shop.two.delete()
        Book.everything.create(pk=pk, shelf=shop.shelf, title="reborn", position=8)


@pytest.mark.parametrize("change", [rename, make_anew])
async def test_what_was_told_already(
    change: Callable[[Shop], None], hub: Hub, log: Listener
) -> None:
    """A save is told by its process, and by the outbox once more: the subscriber has one event of it."""
    shop = await sync_to_async(Shop)()
    await sync_to_async(drain)("default")
    watcher = await Watcher.open(hub, ShelfChannel, "a", "a")
    await asyncio.to_thread(hub.outbox.stop)
    await sync_to_async(change)(shop)
    async with asyncio.timeout(PATIENCE):
        await watcher.next()
    assert watcher.state() == await sync_to_async(expected)(ShelfChannel, "a")
    assert await sync_to_async(drain)("default") > 0
    shop.three.title = "the next"
    await shop.three.asave()
    async with asyncio.timeout(PATIENCE):
        event = await watcher.next()
    assert [book["title"] for book in event["books"]] == ["the next"]
    assert (event["removed"], event["lists"]) == ([], [])
