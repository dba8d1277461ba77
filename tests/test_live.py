"""What goes wrong inside of a hub is never silent: a subscriber gets a fresh snapshot, or an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser

from rxgraphql.errors import ChannelError, ErrorCode
from rxgraphql.hub import Hub
from rxgraphql.live import LiveReplica
from rxgraphql.projection import Projection
from rxgraphql.replica import Replica
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
