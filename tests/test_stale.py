"""Rows whose serializer raises: the others arrive, the failed one keeps its last values and is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import connection

from rxgraphql import live, snapshot
from rxgraphql.errors import ChannelError, ErrorCode
from rxgraphql.hub import Hub
from rxgraphql.schema import get_schema
from tests.changes import World
from tests.chat.channels import RoomChannel
from tests.chat.serializers import MessageSerializer, RoomSerializer
from tests.folding import Watcher, expected
from tests.test_convergence import converge, watch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def raises() -> None:
    raise RuntimeError("a secret of the server")


def query_fails() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM a_secret_of_the_server")


@pytest.fixture(params=[raises, query_fails])
def mend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The method field raises for messages that say "boom", until the returned function is called."""
    broken = [True]
    fail: Callable[[], None] = request.param

    def get_shout(self: MessageSerializer, message: Any) -> str:
        if broken and "boom" in message.text:
            fail()
        return str(message.text.upper())

    monkeypatch.setattr(MessageSerializer, "get_shout", get_shout)
    monkeypatch.setattr(live, "RETRY_FIRST", 0.05)
    return broken.clear


async def until(watcher: Watcher, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await watcher.next()


async def test_held_row_keeps_its_values_and_is_tried_again(
    hub: Hub, world: World, mend: Callable[[], None]
) -> None:
    """The event has an error with the row's key and no word of the exception; another row of the commit arrives."""
    watcher = await watch(hub, world)

    def boom() -> None:
        world.first.text = "boom"
        world.first.save()

    await sync_to_async(boom)()
    await until(watcher, lambda: bool(watcher.errors))
    error = watcher.errors[0]
    assert error["extensions"] == {"code": "STALE_NODE", "key": f"Message:{world.first.pk}"}
    assert "secret" not in str(watcher.errors)
    assert watcher.folded.nodes[f"Message:{world.first.pk}"]["text"] == "first"
    await sync_to_async(world.say)("third", position=3)
    await until(
        watcher, lambda: any(n.get("text") == "third" for n in watcher.folded.nodes.values())
    )
    mend()
    await converge(watcher)
    assert watcher.folded.nodes[f"Message:{world.first.pk}"]["shout"] == "BOOM"
    assert watcher.folded.snapshots == 1


async def test_row_that_recovers_as_it_was_is_told(
    hub: Hub, world: World, mend: Callable[[], None]
) -> None:
    """It comes again although none of its values changed; who was away meanwhile is told of no failure that is over."""
    watcher = await watch(hub, world)
    cursor = watcher.cursor
    key = f"Message:{world.first.pk}"

    def save(text: str) -> None:
        world.first.text = text
        world.first.save()

    await sync_to_async(save)("boom")
    await until(watcher, lambda: bool(watcher.errors))
    while_away = await Watcher.open(hub, RoomChannel, "lobby", world.room.pk, after=cursor)
    assert [error["extensions"]["key"] for error in while_away.errors] == [key]
    await sync_to_async(save)("first")
    async with asyncio.timeout(5):
        while watcher.errors:
            watcher.errors.clear()
            event = await watcher.next()
    assert [node["id"] for node in event["messages"]] == [str(world.first.pk)]
    assert watcher.folded.snapshots == 1
    late = await Watcher.open(hub, RoomChannel, "lobby", world.room.pk, after=cursor)
    assert late.folded.snapshots == 0
    assert late.errors == []


async def test_failure_of_a_row_is_told_where_its_values_are_shown(
    hub: Hub, world: World, mend: Callable[[], None]
) -> None:
    """Who selects no more than ids has nothing that is old."""
    watcher = await watch(hub, world)
    operation: Any = get_schema().prepare(
        'subscription { room(name: "lobby") { kind messages { id } } }', None, None
    )
    subscriber = await hub.subscribe(
        RoomChannel,
        operation.arguments,
        operation.projection,
        operation.audience_key,
        AnonymousUser(),
    )
    await anext(subscriber)
    world.first.text = "boom"
    await sync_to_async(world.first.save)()
    await until(watcher, lambda: bool(watcher.errors))
    message = await sync_to_async(world.say)("calm", position=3)
    payload = await anext(subscriber)
    assert payload.errors == []
    assert payload.data["room"]["messages"] == [{"id": str(message.pk)}]
    await subscriber.aclose()


async def test_new_row_comes_when_it_can_be_serialized(
    hub: Hub, world: World, mend: Callable[[], None]
) -> None:
    """A row that was never seen whole is left out with an error, and comes as soon as it can."""
    watcher = await watch(hub, world)
    message = await sync_to_async(world.say)("boom", position=3)
    await until(watcher, lambda: bool(watcher.errors))
    assert watcher.errors[0]["extensions"]["key"] == f"Message:{message.pk}"
    assert f"Message:{message.pk}" not in watcher.folded.nodes
    watcher.state()
    mend()
    await converge(watcher)
    assert f"Message:{message.pk}" in watcher.folded.nodes


async def test_snapshot_leaves_a_failed_row_out(
    hub: Hub, world: World, mend: Callable[[], None]
) -> None:
    """A snapshot has all other rows, and an error for the one that can't be shown; the save that mends it brings it."""
    message = await sync_to_async(world.say)("boom", position=3)
    watcher = await watch(hub, world)
    assert watcher.errors[0]["extensions"]["key"] == f"Message:{message.pk}"
    assert f"Message:{world.first.pk}" in watcher.folded.nodes
    assert f"Message:{message.pk}" not in watcher.folded.nodes
    message.text = "calm"
    await sync_to_async(message.save)()
    await converge(watcher)


async def test_root_that_fails(hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a root there is no state: an error with a code, and no word of the exception."""

    def to_representation(self: RoomSerializer, instance: Any) -> Any:
        raise RuntimeError("a secret of the server")

    reader = RoomChannel.tree.root
    assert reader.serializer is not None
    name = reader.fields[0].field
    monkeypatch.setattr(type(name), "to_representation", to_representation)
    snapshot._reader.cache_clear()
    with pytest.raises(ChannelError) as raised:
        await Watcher.open(hub, RoomChannel, "lobby", world.room.pk)
    snapshot._reader.cache_clear()
    assert raised.value.code == ErrorCode.INTERNAL
    asked = await get_schema().execute(
        'query { room(name: "lobby") { name } }', context_value={"user": AnonymousUser()}
    )
    assert [error.extensions for error in asked.errors or []] == [{"code": "INTERNAL"}]
    assert "secret" not in str(raised.value)
    monkeypatch.undo()
    watcher = await Watcher.open(hub, RoomChannel, "lobby", world.room.pk)
    assert watcher.state() == await sync_to_async(expected)(RoomChannel, world.room.pk)
