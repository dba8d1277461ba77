"""Several server processes and several writing processes: all who watch come to hold the same."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async

from tests.changes import World
from tests.chat.channels import RoomChannel
from tests.chat.models import Reaction, Room
from tests.services import ROOT, StartUvicorn
from tests.sockets import PATIENCE, Client, SocketWatcher, node_client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

WORKERS = 2


@pytest_asyncio.fixture
async def client(live_server_uvicorn: StartUvicorn) -> AsyncIterator[Client]:
    server = await sync_to_async(live_server_uvicorn)("tests.asgi:telling", workers=WORKERS)
    async with node_client(server) as client:
        yield client


@pytest_asyncio.fixture
async def world(transactional_db: None, redis_url: str) -> World:
    return await sync_to_async(World)()


async def watch_in_each_worker(client: Client, *rooms: Room) -> list[SocketWatcher]:
    """Opens a socket at every worker for every room.

    The system may give all connections to one worker: those that have one already are stopped for a moment.
    """
    watchers: list[SocketWatcher] = []
    for room in rooms:
        workers: set[int] = set()
        while len(workers) < WORKERS:
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            try:
                watcher = await client.watch(RoomChannel, room.name, room.pk)
            finally:
                for pid in workers:
                    os.kill(pid, signal.SIGCONT)
            worker = int(watcher.operation.opened["x-worker"])
            assert worker not in workers
            workers.add(worker)
            watchers.append(watcher)
    return watchers


class Writers:
    """Processes of tests/writer.py, set off together."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self._processes: list[Process] = []

    async def start(self, work: str, *arguments: int) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.writer", work, *map(str, arguments)),
            stdin=PIPE,
            stdout=PIPE,
            cwd=ROOT,
            env=self._env,
        )
        self._processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            assert await process.stdout.readline() == b"ready\n"

    async def run(self) -> None:
        """Lets them all begin; returns when the last has ended."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        async with asyncio.timeout(4 * PATIENCE):
            assert {await process.wait() for process in self._processes} == {0}

    async def stop(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest_asyncio.fixture
async def writers(process_env: dict[str, str]) -> AsyncIterator[Writers]:
    writers = Writers({**os.environ, **process_env})
    yield writers
    await writers.stop()


async def take_all(watcher: SocketWatcher) -> list[dict[str, Any]]:
    """All events up to that of the sentinel's commit."""
    events: list[dict[str, Any]] = []
    while not events or "sentinel" not in [message["text"] for message in events[-1]["messages"]]:
        events.append(await watcher.next())
    return events


async def test_writing_process(client: Client, world: World, writers: Writers) -> None:
    """What a process without a server writes comes to the pages of every worker."""
    watchers = await watch_in_each_worker(client, world.room, world.other)
    await writers.start("wander", 1, 80, world.room.pk, world.other.pk)
    await writers.run()
    for room in (world.room, world.other):
        await sync_to_async(world.say)("sentinel", room=room)
    for watcher in watchers:
        events = await take_all(watcher)
        assert len(events) > 10
        assert watcher.state() == await watcher.expected()
        assert watcher.folded.snapshots == 1


@pytest.mark.parametrize("seeds", [(1, 2), (3, 4)])
async def test_two_writers(
    client: Client, world: World, writers: Writers, seeds: tuple[int, ...]
) -> None:
    """Nor does it matter that two write at random, and overtake each other on the way to the log."""
    watchers = await watch_in_each_worker(client, world.room, world.other)
    for seed in seeds:
        await writers.start("wander", seed, 80, world.room.pk, world.other.pk)
    await writers.run()
    for room in (world.room, world.other):
        await sync_to_async(world.say)("sentinel", room=room)
    for watcher in watchers:
        await take_all(watcher)
        assert watcher.state() == await watcher.expected()
        assert watcher.folded.snapshots == 1


async def test_two_writers_move_one_child(client: Client, world: World, writers: Writers) -> None:
    """Two processes that move one row to and fro leave it in one place for everyone, and nobody saw it go back."""
    rounds = 100
    moved = await Reaction.objects.acreate(message=world.first, user=world.ada, emoji="00000")
    watchers = await watch_in_each_worker(client, world.room, world.other)
    for seed in (1, 2):
        messages = (world.first.pk, world.second.pk, world.elsewhere.pk)
        await writers.start("move", seed, rounds, moved.pk, *messages)
    await writers.run()
    await moved.arefresh_from_db()
    assert int(moved.emoji) == 2 * rounds
    for room in (world.room, world.other):
        await sync_to_async(world.say)("sentinel", room=room)
    for watcher in watchers:
        events = await take_all(watcher)
        seen = [
            reaction["emoji"]
            for event in events
            for reaction in event["reactions"]
            if reaction["id"] == str(moved.pk)
        ]
        assert seen == sorted(seen)
        assert len(seen) > 10
        assert watcher.state() == await watcher.expected()
        assert watcher.folded.snapshots == 1
