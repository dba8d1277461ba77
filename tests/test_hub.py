"""The hub: what it loads for a change, how it finds out that nothing arrives any more, whose threads it uses."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import AnonymousUser
from pytest_django import Settings

from rxgraphql import follower, snapshot
from rxgraphql import hub as hubs
from rxgraphql.hub import Hub, get_hub
from rxgraphql.schema import get_schema
from rxgraphql.snapshot import Loaded, Wanted
from tests.changes import World, update
from tests.chat.channels import RoomChannel
from tests.chat.models import Message
from tests.folding import Watcher, expected
from tests.services import Valkey

pytestmark = pytest.mark.django_db(transaction=True)


async def converge(watcher: Watcher) -> None:
    wanted = await sync_to_async(expected)(RoomChannel, watcher.pk)
    async with asyncio.timeout(10):
        while watcher.state() != wanted:
            await watcher.next()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Loaded]:
    """What was loaded, load by load."""
    found: list[Loaded] = []
    load = snapshot.load

    def noted(wanted: Wanted, held: Container[str] = frozenset()) -> Loaded:
        loaded = load(wanted, held)
        found.append(loaded)
        return loaded

    monkeypatch.setattr(hubs, "load", noted)
    return found


@pytest.mark.parametrize("fresh", [True, False], ids=["in order", "overtaken"])
async def test_new_child_in_a_long_list(
    hub: Hub,
    world: World,
    loads: list[Loaded],
    fresh: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One more message costs the rows that it brings, however many there are, also when writers overtake each other."""

    def many() -> None:
        Message.everything.bulk_create(
            Message(room=world.room, author=world.ada, text=f"{n}", position=n) for n in range(300)
        )

    await sync_to_async(many)()
    watcher = await Watcher.open(hub, RoomChannel, world.room.name, world.room.pk)
    loads.clear()
    if not fresh:
        hub.follower.highest = 1_000_000
    await sync_to_async(world.say)("one more", position=150)
    await sync_to_async(world.room.members.add)(world.eve)
    await converge(watcher)
    assert watcher.folded.snapshots == 1
    assert loads
    assert sum(len(loaded.rows) for loaded in loads) < 20


class Proxy:
    """Between the hub and the server; `silence()` lets the connections of now hang without a word."""

    def __init__(self, server: str, path: Path) -> None:
        self.server = server
        self.path = path
        self.tasks: set[asyncio.Task[None]] = set()
        self.deaf: set[asyncio.StreamWriter] = set()
        self.open: set[asyncio.StreamWriter] = set()

    def silence(self) -> None:
        self.deaf |= self.open

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self.server)
        self.open |= {writer, far_writer}
        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self.pump(source, target))
            self.tasks.add(task)

    async def pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if target not in self.deaf:
                    target.write(data)
                    await target.drain()
        target.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self.accept, self.path)
        try:
            yield
        finally:
            server.close()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            for writer in self.open:
                writer.close()


async def test_half_open_connection_is_replaced(
    hub: Hub,
    world: World,
    valkey: Valkey,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The listener's peer is gone without a word: the missing end of the log tells, and changes arrive again."""
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.1)
    direct = str(settings.REDIS_URL)
    proxy = Proxy(direct.removeprefix("unix://"), tmp_path / "proxy.sock")
    async with proxy.serving():
        settings.REDIS_URL = f"unix://{tmp_path}/proxy.sock"
        watcher = await Watcher.open(hub, RoomChannel, world.room.name, world.room.pk)
        settings.REDIS_URL = direct
        proxy.silence()
        await sync_to_async(update)(world)
        async with asyncio.timeout(20):
            assert (await watcher.next())["kind"] == "CHANGE"
        await converge(watcher)
        await sync_to_async(world.say)("heard", position=1)
        async with asyncio.timeout(10):
            assert (await watcher.next())["kind"] == "CHANGE"
        await converge(watcher)
        await hub.stop()


def test_queries_of_many_loops_share_threads(world_sync: World) -> None:
    """Under WSGI each query has an event loop of its own; the threads and connections are the process's."""
    document = f'query {{ room(name: "{world_sync.room.name}") {{ name }} }}'
    execute = async_to_sync(get_schema().execute)
    for _ in range(20):
        result: Any = execute(document, context_value={"user": AnonymousUser()})
        assert result.data == {"room": {"name": world_sync.room.name}}
    threads = [t for t in threading.enumerate() if t.name.startswith("rxgraphql")]
    assert 1 <= len(threads) <= 4

    async def stop() -> None:
        await get_hub().stop()

    async_to_sync(stop)()
    assert not [t for t in threading.enumerate() if t.name.startswith("rxgraphql")]


@pytest.fixture
def world_sync(transactional_db: None, redis_url: str) -> World:
    return World()
