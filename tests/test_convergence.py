"""Every kind of change, one at a time: the folded state equals the serializer's own output after each."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async

from rxgraphql.hub import Hub
from tests.changes import CHANGES, Change, World
from tests.chat.channels import RoomChannel
from tests.folding import Watcher, expected

pytestmark = pytest.mark.django_db(transaction=True)


async def watch(hub: Hub, world: World) -> Watcher:
    return await Watcher.open(hub, RoomChannel, "lobby", world.room.pk)


async def converge(watcher: Watcher) -> None:
    """Takes events until the state equals DRF's."""
    wanted = await sync_to_async(expected)(watcher.channel, watcher.pk)
    async with asyncio.timeout(2):
        while watcher.state() != wanted:
            await watcher.next()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_change(hub: Hub, world: World, change: Change) -> None:
    """After the change the folded state equals a fresh serialization, without a second snapshot."""
    watcher = await watch(hub, world)
    assert watcher.state() == await sync_to_async(expected)(RoomChannel, world.room.pk)
    await sync_to_async(change)(world)
    await converge(watcher)
    assert watcher.folded.snapshots == 1
    assert not watcher.errors
