"""From a commit to a page: the graphql-ws client over real sockets, a real server, changes made in another process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.db import transaction
from django.utils import timezone, translation

from tests.changes import (
    CHANGES,
    Change,
    World,
    cascade,
    create_and_delete,
    editor_deleted,
    editor_renamed,
    join,
    join_from_the_other_end,
    leave,
    message_and_author,
    move_away,
    move_in,
    pinned_deleted,
    tag,
    update,
)
from tests.chat.channels import MemberChannel, RoomChannel
from tests.chat.models import Room
from tests.folding import document
from tests.services import StartUvicorn
from tests.sockets import Client, SocketWatcher, node_client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


@pytest_asyncio.fixture
async def client(live_server_uvicorn: StartUvicorn) -> AsyncIterator[Client]:
    server = await sync_to_async(live_server_uvicorn)()
    async with node_client(server) as client:
        yield client


async def watch_a_world(client: Client, name: str = "") -> tuple[World, SocketWatcher]:
    world = await sync_to_async(World)(name)
    watcher = await client.watch(RoomChannel, world.room.name, world.room.pk)
    assert watcher.state() == await watcher.expected()
    return world, watcher


async def assert_nothing_more(world: World, watcher: SocketWatcher) -> None:
    """The page holds all that was committed, and no other event is on its way."""
    assert watcher.state() == await watcher.expected()
    await sync_to_async(sentinel)(world)
    event = await watcher.next()
    assert texts(event) == ["sentinel"]
    assert watcher.state() == await watcher.expected()
    assert watcher.folded.snapshots == 1


def texts(event: dict[str, Any]) -> list[str]:
    return [message["text"] for message in event["messages"]]


def sentinel(world: World) -> None:
    world.say("sentinel", position=99)


# They commit twice; the second commit may be seen before the first is told.
TWO_COMMITS = {editor_deleted, editor_renamed, pinned_deleted}
# They leave everything as it was.
NOTHING = {create_and_delete}


async def test_every_change(client: Client, subtests: pytest.Subtests) -> None:
    """Each kind of change arrives, one event a commit, and the page then holds what the serializer makes."""
    for change in CHANGES:
        with subtests.test(change.__name__):
            world, watcher = await watch_a_world(client, f" of {change.__name__}")
            await sync_to_async(change)(world)
            if change in TWO_COMMITS:
                await sync_to_async(sentinel)(world)
                while "sentinel" not in texts(await watcher.next()):
                    pass
            elif change not in NOTHING:
                await watcher.next()
            await assert_nothing_more(world, watcher)
            await watcher.operation.end()


class OnPurposeError(Exception):
    pass


async def test_rollback(client: Client, subtests: pytest.Subtests) -> None:
    """What was rolled back never arrives."""
    world, watcher = await watch_a_world(client)
    for change in (update, move_in, message_and_author, cascade, join, tag):
        with subtests.test(change.__name__):
            await sync_to_async(roll_back)(change, world)
            await assert_nothing_more(world, watcher)


def roll_back(change: Change, world: World) -> None:
    with suppress(OnPurposeError), transaction.atomic():
        change(world)
        raise OnPurposeError


async def test_savepoint(client: Client) -> None:
    """A savepoint's rollback takes nothing along, neither of its own transaction nor of the next one."""
    world, watcher = await watch_a_world(client)

    def commit_around_a_rolled_back_savepoint() -> None:
        with transaction.atomic():
            with suppress(OnPurposeError), transaction.atomic():
                world.say("never")
                raise OnPurposeError
            world.say("of the transaction")

    def commit_nothing_but_a_rolled_back_savepoint() -> None:
        with transaction.atomic(), suppress(OnPurposeError), transaction.atomic():
            world.say("never")
            raise OnPurposeError

    await sync_to_async(commit_around_a_rolled_back_savepoint)()
    event = await watcher.next()
    assert texts(event) == ["of the transaction"]
    await sync_to_async(commit_nothing_but_a_rolled_back_savepoint)()
    await sync_to_async(world.say)("of the next transaction")
    event = await watcher.next()
    assert texts(event) == ["of the next transaction"]
    await assert_nothing_more(world, watcher)


async def test_together(client: Client) -> None:
    """A row and its author, new in one commit, come in one event; so do two edited rows."""
    world, watcher = await watch_a_world(client)
    await sync_to_async(message_and_author)(world)
    event = await watcher.next()
    assert texts(event) == ["hello"]
    assert [user["username"] for user in event["users"]] == ["new in lobby"]

    def edit_two() -> None:
        with transaction.atomic():
            for message in (world.first, world.second):
                message.text = "edited"
                message.save()

    await sync_to_async(edit_two)()
    event = await watcher.next()
    assert texts(event) == ["edited", "edited"]
    await assert_nothing_more(world, watcher)


async def test_both_ends_of_a_move(client: Client) -> None:
    """A child that moves leaves one page and comes to the other; only moved away, it is in `removed` all the same."""
    world, watcher = await watch_a_world(client)
    other = await client.watch(RoomChannel, world.other.name, world.other.pk)
    await sync_to_async(move_away)(world)
    left, came = await watcher.next(), await other.next()
    assert f"Message:{world.first.pk}" in left["removed"]
    assert [message["id"] for message in came["messages"]] == [str(world.first.pk)]
    assert other.state() == await other.expected()
    await assert_nothing_more(world, watcher)


async def test_both_ends_of_a_link(client: Client) -> None:
    """A link is seen from both of its ends, whichever end it was made from."""
    world, watcher = await watch_a_world(client)
    member = await client.watch(MemberChannel, world.eve.pk, world.eve.pk)
    for change in (join, leave_from_the_other_end, join_from_the_other_end, leave):
        await sync_to_async(change)(world)
        if change is not leave:
            await member.next()
            assert member.state() == await member.expected()
        await watcher.next()
        assert watcher.state() == await watcher.expected()
    await assert_nothing_more(world, watcher)


def leave_from_the_other_end(world: World) -> None:
    world.eve.chat_rooms.remove(world.room)


async def test_time_zone_and_language(client: Client) -> None:
    """A save by someone with another time zone and language looks to all as the project's own would."""
    world, watcher = await watch_a_world(client)

    def save() -> None:
        with timezone.override("Asia/Tokyo"), translation.override("de"):
            message_and_author(world)
            assert translation.get_language() == "de"

    await sync_to_async(save)()
    event = await watcher.next()
    (message,) = event["messages"]
    assert message["created"].endswith("Z")
    created = datetime.fromisoformat(message["created"])
    assert message["day"] == created.strftime("%A %H:%M")
    await assert_nothing_more(world, watcher)


async def test_anchor_deleted(client: Client) -> None:
    """When the anchor is gone, so is all that was shown, and the operation is complete."""
    world, watcher = await watch_a_world(client)
    held = set(watcher.folded.nodes)
    await sync_to_async(world.room.delete)()
    event = await watcher.next()
    assert set(event["removed"]) == held
    assert await watcher.operation.answer() == {"complete": True}


async def test_refused(client: Client) -> None:
    """What can't be opened is an error with a code to the client, which doesn't try again."""
    world, watcher = await watch_a_world(client)
    await sync_to_async(Room.objects.create)(name="secret")
    answers = []
    for name in ("nothing", "secret"):
        operation = await client.begin(document(RoomChannel), key=name)
        answers.append(await operation.answer())
    assert answers[0] == answers[1]
    (error,) = answers[0]["error"]
    assert error["extensions"] == {"code": "UNAUTHENTICATED"}
    await assert_nothing_more(world, watcher)
