"""What goes wrong inside of a hub is never silent: a subscriber gets a fresh snapshot, or an error."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser

from rxgraphql.errors import ChannelError, ErrorCode
from rxgraphql.hub import Hub
from rxgraphql.hub_log import HUB_TIMEOUT
from rxgraphql.live import LiveReplica
from rxgraphql.log import WriterLog
from rxgraphql.projection import Projection
from rxgraphql.publish import publisher
from rxgraphql.replica import Replica
from rxgraphql.snapshot import load
from tests.changes import Change, World, create, join, leave, update
from tests.chat.channels import RoomChannel
from tests.folding import Watcher, expected
from tests.services import Valkey

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 20.0


async def watch(hub: Hub, world: World) -> Watcher:
    return await Watcher.open(hub, RoomChannel, world.room.name, world.room.pk)


async def assert_next(watcher: Watcher, kind: str) -> None:
    """The next event is of the kind, and has it all."""
    async with asyncio.timeout(PATIENCE):
        event = await watcher.next()
    assert event["kind"] == kind
    assert watcher.state() == await sync_to_async(expected)(RoomChannel, watcher.pk)


@pytest.mark.parametrize("change", [update, create], ids=["as it comes", "after a load"])
async def test_replica_fails(
    hub: Hub, world: World, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an entry can't be taken, with or without a load, the state is loaded anew."""
    watcher = await watch(hub, world)

    def fail(replica: Replica) -> Any:
        monkeypatch.undo()
        raise RuntimeError("on purpose")

    monkeypatch.setattr(Replica, "finish", fail)
    await sync_to_async(change)(world)
    await assert_next(watcher, "SNAPSHOT")
    await sync_to_async(world.say)("later")
    await assert_next(watcher, "CHANGE")


class BrokenProjection:
    """Gives a snapshot, and fails at every change."""

    def __init__(self, projection: Projection) -> None:
        self.snapshot = projection.snapshot

    def change(self, *args: Any) -> Any:
        raise RuntimeError("on purpose")


async def test_projection_fails(hub: Hub, world: World) -> None:
    """If a change can't be projected for some subscribers, these end with an error, and the others go on."""
    watcher = await watch(hub, world)
    projection: Any = BrokenProjection(watcher.subscriber.audience.projection)
    arguments = {"name": world.room.name}
    broken = await hub.subscribe(RoomChannel, arguments, projection, "broken", AnonymousUser())
    await anext(broken)
    await sync_to_async(update)(world)
    with pytest.raises(ChannelError) as raised:
        async with asyncio.timeout(PATIENCE):
            await anext(broken)
    assert raised.value.code == ErrorCode.INTERNAL
    assert "on purpose" not in str(raised.value)
    await broken.aclose()
    await assert_next(watcher, "CHANGE")
    assert hub.subscriber_count == 1


async def test_tickets_begin_anew(
    settings: Any, start_valkey: Callable[..., Valkey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Redis began anew its low tickets are the newest: entries are taken as they come, without loads."""
    valkey = await sync_to_async(start_valkey)()
    settings.REDIS_URL = valkey.url
    hub, world = Hub(), await sync_to_async(World)()
    writer = publisher()
    assert writer is not None
    # as if the world had been made long ago: what nobody watched lately is loaded again in a new epoch
    writer.log._unwatched_until.clear()
    watcher = await watch(hub, world)
    for _ in range(20):
        await sync_to_async(update)(world)
    await sync_to_async(world.say)("many tickets later")
    while "many tickets later" not in [m["text"] for m in (await watcher.next())["messages"]]:
        pass
    await sync_to_async(valkey.kill)()
    await sync_to_async(valkey.start)()
    await assert_next(watcher, "SNAPSHOT")
    loads = []
    (live,) = hub.replicas.values()
    load = live._load

    async def counted(*args: Any) -> Any:
        loads.append(args)
        return await load(*args)

    monkeypatch.setattr(live, "_load", counted)
    for change in (join, leave):
        await sync_to_async(change)(world)
        await assert_next(watcher, "CHANGE")
    assert isinstance(live, LiveReplica)
    assert len(loads) == 1, "eve was not known before she joined"
    await hub.stop()


@contextmanager
def loading(read: Callable[..., Any]) -> Iterator[list[Any]]:
    """Has the loads of hubs run through `read(load, *arguments)`; gives what has been asked for."""
    asked = []

    def instead(*args: Any) -> Any:
        asked.append(args)
        return read(load, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rxgraphql.hub.load", instead)
        yield asked


async def test_reasons_to_reload_come_faster_than_loads(hub: Hub, world: World) -> None:
    """While another version of the project writes to the same log, everyone still gets snapshots."""
    watcher = await watch(hub, world)
    (live,) = hub.replicas.values()

    def slowly(load: Any, *args: Any) -> Any:
        time.sleep(0.02)
        return load(*args)

    async def never_stop() -> None:
        while True:
            live.reload()
            await asyncio.sleep(0.001)

    with loading(slowly) as loads:
        reasons = asyncio.create_task(never_stop())
        await assert_next(watcher, "SNAPSHOT")
        await assert_next(await watch(hub, world), "SNAPSHOT")
        reasons.cancel()
    assert len(loads) < 10


async def test_reload_twice(hub: Hub, world: World) -> None:
    """Two reasons at once are one snapshot."""
    watcher = await watch(hub, world)
    (live,) = hub.replicas.values()
    with loading(lambda load, *args: load(*args)) as loads:
        live.reload()
        live.reload()
        await assert_next(watcher, "SNAPSHOT")
    assert len(loads) == 1


async def test_every_entry_needs_a_load(hub: Hub, world: World) -> None:
    """Who comes while entries wait for their loads gets a state between two of them."""
    await watch(hub, world)
    (live,) = hub.replicas.values()
    waiting, done = asyncio.Event(), asyncio.Event()

    def slowly(load: Any, *args: Any) -> Any:
        time.sleep(0.02)
        return load(*args)

    async def write() -> None:
        while not done.is_set():
            await sync_to_async(update)(world)
            if live._waiting:
                waiting.set()

    with loading(slowly):
        writing = [asyncio.create_task(write()) for _ in range(2)]
        await waiting.wait()
        async with asyncio.timeout(PATIENCE):
            await watch(hub, world)
        done.set()
        await asyncio.gather(*writing)


async def test_state_can_not_be_read_any_more(
    hub: Hub, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Who comes meanwhile gets an error at once; who has a state keeps it, and gets the next when it can be read."""
    watcher = await watch(hub, world)
    loop, failed = asyncio.get_running_loop(), asyncio.Event()

    def fail(load: Any, *args: Any) -> Any:
        loop.call_soon_threadsafe(failed.set)
        raise RuntimeError("on purpose")

    with loading(fail):
        await sync_to_async(world.say)("later")
        await failed.wait()
        with pytest.raises(ChannelError) as raised:
            async with asyncio.timeout(PATIENCE):
                await watch(hub, world)
    assert raised.value.code == ErrorCode.DATABASE_ERROR
    assert "on purpose" not in str(raised.value)
    await assert_next(watcher, "CHANGE")
    assert hub.subscriber_count == 1


async def test_entries_that_wait_are_bounded(
    hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a load hangs, its replica does not collect all that is written; it loads the state once more."""
    monkeypatch.setattr("rxgraphql.live.MOST_WAITING", 3)
    watcher = await watch(hub, world)
    (live,) = hub.replicas.values()
    go_on = threading.Event()

    def hang(load: Any, *args: Any) -> Any:
        go_on.wait(PATIENCE)
        return load(*args)

    with loading(hang):
        await sync_to_async(world.say)("needs a load")
        sizes = set()
        for number in range(9):
            await sync_to_async(world.say)(f"{number}")
            sizes.add(len(live._waiting))
        go_on.set()
        await assert_next(watcher, "SNAPSHOT")
    assert max(sizes) <= 3


async def test_redis_does_not_answer(settings: Any, world: World) -> None:
    """Those who come first, together, wait for one timeout together."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        hub = Hub()
        async with asyncio.timeout(2 * HUB_TIMEOUT):
            found = await asyncio.gather(
                *(watch(hub, world) for _ in range(4)), return_exceptions=True
            )
        await hub.stop()
    assert [getattr(error, "code", None) for error in found] == [ErrorCode.UNAVAILABLE] * 4


async def test_promises_of_a_lost_epoch(settings: Any, start_valkey: Callable[..., Valkey]) -> None:
    """A writer was told that nobody watches, and Redis forgot that it had said so: who comes to watch waits it out."""
    valkey = await sync_to_async(start_valkey)()
    settings.REDIS_URL = valkey.url
    hub, world = Hub(), await sync_to_async(World)()
    watcher = await watch(hub, world)
    writer = WriterLog(valkey.url)
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        assert writer.begin(["chat.Unwatched"]) is None
        client.flushall()
    await hub.follower._connect()
    await hub.follower.note(("chat.Unwatched",))
    assert writer.watched(["chat.Unwatched"])
    await watcher.subscriber.aclose()
    writer.close()
    await hub.stop()


async def test_cancelled_load_that_goes_on(hub: Hub, world: World) -> None:
    """A load swallows that it was cancelled (asyncio.wait_for() of Python 3.11 does) and gives an answer.

    An entry has to be loaded for; entries were missed and a reload takes over; the first load comes back. It must not
    touch the state: what it has was applied to a state from which entries are missing.
    """
    watcher = await watch(hub, world)
    (live,) = hub.replicas.values()
    load, held, began = live._load_now, asyncio.Event(), asyncio.Event()
    first = True

    async def stubborn(wanted: Any, held_keys: Any) -> Any:
        nonlocal first
        answer = await load(wanted, held_keys)
        if first:
            first = False
            began.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return answer
        await held.wait()
        return await load(wanted, held_keys)

    live._load_now = stubborn
    await sync_to_async(create)(world)
    async with asyncio.timeout(PATIENCE):
        await began.wait()
        live.reload()
        for _ in range(10):
            await asyncio.sleep(0)
        assert live._task is not None
        await sync_to_async(update)(world)
        held.set()
        assert (await watcher.next())["kind"] == "SNAPSHOT"
    await assert_converged(watcher)


async def assert_converged(watcher: Watcher) -> None:
    wanted = await sync_to_async(expected)(RoomChannel, watcher.pk)
    async with asyncio.timeout(PATIENCE):
        while watcher.state() != wanted:
            await watcher.next()
