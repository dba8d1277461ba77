"""What the oracle has found, each as small as it gets."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from rxgraphql.hub import Hub
from tests.changes import World, create, update
from tests.chat.channels import RoomChannel
from tests.folding import Watcher, expected

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 20.0


async def test_cancelled_load_that_goes_on(
    hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that was cancelled for a reload, and goes on, changes nothing and tells nothing.

    All servers stood still past their leases. On waking, a load for an entry asks Redis, inside of asyncio.wait_for();
    the new generation has everything loaded anew, drops the entries that wait and cancels that load. Python 3.11's
    wait_for() swallows a cancel that comes in the moment in which it is done. So the load went on, told its change,
    and let the next entry in, beside the reload: what was between them was missing until the snapshot came.
    """
    watcher = await Watcher.open(hub, RoomChannel, world.room.name, world.room.pk)
    begun = asyncio.Event()
    load = Hub._load

    async def load_on(self: Hub, labels: Any, wanted: Any, held: Any) -> Any:
        if held and not begun.is_set():
            begun.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return await load(self, labels, wanted, held)

    monkeypatch.setattr(Hub, "_load", load_on)
    await sync_to_async(create)(world)
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        hub.replicas[RoomChannel, str(world.room.pk)].reload()
        await sync_to_async(update)(world)
        event = await watcher.next()
        assert event["kind"] == "SNAPSHOT"
        wanted = await sync_to_async(expected)(RoomChannel, world.room.pk)
        while watcher.state() != wanted:
            assert (await watcher.next())["kind"] == "CHANGE"
