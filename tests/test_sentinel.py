"""A real failover by Sentinels, seen by a writer and a hub whose REDIS_URL names the Sentinels."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from asgiref.sync import sync_to_async
from pytest_django import Settings

from rxgraphql import publish as publishing
from rxgraphql.address import Address
from rxgraphql.hub import Hub
from rxgraphql.log import WRITER_TIMEOUT, Keys, WriterLog, namespace
from tests.changes import World, update
from tests.chat.channels import RoomChannel
from tests.folding import Watcher, expected
from tests.services import Failover
from tests.test_log import timed
from tests.test_paths import STEPS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def failover(settings: Settings, tmp_path: Path) -> Iterator[Failover]:
    servers = Failover(tmp_path)
    try:
        servers.start()
        settings.REDIS_URL = servers.url
        yield servers
        for found in publishing._publishers.copy():
            if found[1] == servers.url:
                publishing._publishers.pop(found).end()
    finally:
        servers.stop()


async def test_a_failover_that_loses_the_last_writes(failover: Failover) -> None:
    """A subscriber has everything in the end: what only the old master took, what was saved meanwhile, what comes then.

    The replica is cut off, and the master takes a commit that no other server has. It is killed, another commit finds
    no master. The Sentinels promote the replica, which has neither. The writer owes, finds the new master and pays; the
    hub connects to it, meets another epoch and loads.
    """
    world = await sync_to_async(World)()
    hub = Hub()
    watcher = await Watcher.open(hub, RoomChannel, world.room.name, world.room.pk)
    await sync_to_async(update)(world)
    await watcher.next()
    with (
        redis.Redis.from_url(failover.replica.url) as promoted,
        redis.Redis.from_url(failover.master.url) as master,
    ):
        master.wait(1, 5000)
        failover.cut_off()
        await sync_to_async(world.say)("only the old master took it")
        await watcher.next()
        log = Keys(namespace(failover.url)).log
        taken = master.xlen(log)
        failover.master.kill()
        failover.replica.resume()
        await sync_to_async(world.say)("while there was none")
        await sync_to_async(failover.wait_for_failover)()
        wanted = await sync_to_async(expected)(RoomChannel, world.room.pk)
        async with asyncio.timeout(30):
            while watcher.state() != wanted:
                await watcher.next()
        kept = [entry for entry, _ in promoted.xrange(log)]
        assert taken == 2
        assert kept[0] == b"1-1", "it had the first, and what came after lost ones"
    await sync_to_async(world.say)("on the new master")
    wanted = await sync_to_async(expected)(RoomChannel, world.room.pk)
    async with asyncio.timeout(30):
        while watcher.state() != wanted:
            await watcher.next()
    await hub.stop()


def test_sentinels_that_are_gone(failover: Failover) -> None:
    """One that is gone is passed over; without any, a save waits no longer than for one server."""
    failover.sentinels[0].kill()
    writer = WriterLog(failover.url)
    writer.begin(["chat.room"])
    for sentinel in failover.sentinels[1:]:
        sentinel.kill()
    # a connection that is there needs none of them
    writer.begin(["chat.room"])
    writer.close()
    seconds, raised = timed(lambda: writer.begin(["chat.room"]))
    assert raised is not None
    assert seconds < WRITER_TIMEOUT + 0.05
    writer.close()


def test_a_service_that_no_sentinel_knows(failover: Failover) -> None:
    """It is an absence like any other, and says the name."""
    url = failover.url.replace("/rx/", "/another/")
    with (
        Address.parse(url).client(1.0) as client,
        pytest.raises(redis.ConnectionError, match="another"),
    ):
        client.ping()


async def test_all_changes_around_a_failover_that_loses_the_last_writes(failover: Failover) -> None:
    """Every kind of change before it, while the replica is cut off, while there is no master, and after: two processes
    have it all in the end."""
    world = await sync_to_async(World)()
    hubs = Hub(), Hub()
    watchers = [
        await Watcher.open(hub, RoomChannel, world.room.name, world.room.pk) for hub in hubs
    ]
    quarter = len(STEPS) // 4
    with redis.Redis.from_url(failover.master.url) as master:
        for step in STEPS[:quarter]:
            await sync_to_async(step)(world)
        master.wait(1, 5000)
    failover.cut_off()
    for step in STEPS[quarter : 2 * quarter]:
        await sync_to_async(step)(world)
    failover.master.kill()
    failover.replica.resume()
    for step in STEPS[2 * quarter : 3 * quarter]:
        await sync_to_async(step)(world)
    await sync_to_async(failover.wait_for_failover)()
    for step in STEPS[3 * quarter :]:
        await sync_to_async(step)(world)
    wanted = await sync_to_async(expected)(RoomChannel, world.room.pk)
    for watcher in watchers:
        async with asyncio.timeout(30):
            while watcher.state() != wanted:
                await watcher.next()
    for hub in hubs:
        await hub.stop()
