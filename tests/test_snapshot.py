"""Loads of whole states: how many queries they take, that they see one moment, and where they run."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.db.backends.signals import connection_created
from django.test.utils import CaptureQueriesContext

from rxgraphql.channel import StateChannel
from rxgraphql.hub import Hub
from rxgraphql.replica import Replica
from rxgraphql.schema import Operation, get_schema
from rxgraphql.snapshot import Loaded, load
from tests.changes import World
from tests.chat.channels import MemberChannel, RoomChannel
from tests.chat.models import Message, Profile, Reaction, Room, Tag
from tests.folding import Folded, Watcher, document, expected

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.every_database,
    pytest.mark.usefixtures("redis_url"),
]

# Seconds after which a test gives up on another thread.
PATIENCE = 20.0


def fill(rows: int) -> Room:
    """A room of so many rows, spread over all the tables below it."""
    each = max(rows // 4, 2)
    users = User.objects.bulk_create(User(username=f"user {i}") for i in range(each))
    Profile.objects.bulk_create(Profile(user=user) for user in users)
    tags = Tag.objects.bulk_create(Tag(name=f"tag {i}") for i in range(3))
    room = Room.objects.create(name="lobby")
    messages = Message.everything.bulk_create(
        Message(room=room, author=user, editor=users[0], text="hello", position=i)
        for i, user in enumerate(users)
    )
    Reaction.objects.bulk_create(
        Reaction(message=message, user=user, emoji="+1")
        for message, user in zip(messages, reversed(users), strict=True)
    )
    room.members.add(*users)
    linked = Message.tags.through
    linked.objects.bulk_create(
        linked(message_id=message.pk, tag_id=tag.pk)
        for message, tag in zip(messages, itertools.cycle(tags), strict=False)
    )
    room.pinned = messages[0]
    room.save()
    return room


def replica(channel: type[StateChannel], pk: Any) -> Replica:
    return Replica(channel(), str(pk))


def selects(queries: CaptureQueriesContext) -> list[str]:
    """The queries of tables; BEGIN and the like don't count."""
    return [query["sql"] for query in queries if query["sql"].startswith("SELECT")]


@pytest.mark.parametrize("rows", [10, 1_000, 10_000])
def test_queries(rows: int) -> None:
    """A load takes one query for each relation at most, and one for the anchor, however many rows there are."""
    room = fill(rows)
    loading = replica(RoomChannel, room.pk)
    with CaptureQueriesContext(connection) as queries:
        loaded = load(loading.wish())
    assert loading.replace(loaded, 0, 1)
    assert sum(not node.type.is_hidden for node in loading.nodes.values()) >= rows
    edges = list(RoomChannel.tree.edges())
    assert 1 < len(selects(queries)) <= len(edges) + 1, "\n".join(selects(queries))


def test_queries_of_all_relations() -> None:
    """The same number of queries for one row in each list as for a hundred: none is made row by row."""
    counts = []
    for rows in (10, 1_000):
        room = fill(rows)
        with CaptureQueriesContext(connection) as queries:
            load(replica(RoomChannel, room.pk).wish())
        counts.append(len(selects(queries)))
        for model in (Room, User, Tag):
            model._base_manager.all().delete()
    assert counts[0] == counts[1]


def test_nothing_twice() -> None:
    """A row that is read again with the lists that it shows: no query is made a second time."""
    world = World()
    loading = replica(RoomChannel, world.room.pk)
    loading.replace(load(loading.wish()), 0, 1)
    loading._begin()
    loading._want_again(loading.nodes[f"Message:{world.first.pk}"])
    assert loading._wanted.rows
    assert loading._wanted.lists
    with CaptureQueriesContext(connection) as queries:
        load(loading._wanted, loading.nodes)
    assert len(set(selects(queries))) == len(selects(queries))


class Pause:
    """Halts a load after one of its queries (of the table), until it may go on."""

    def __init__(self, after: int, table: str = "") -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._left = after
        self._table = table

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.startswith("SELECT") and self._table in sql:
            self._left -= 1
            if self._left == 0:
                self.reached.set()
                assert self.go_on.wait(PATIENCE)
        return result


def load_with_pause(pause: Pause, wanted: Replica) -> Loaded:
    try:
        with connection.execute_wrapper(pause):
            return load(wanted.wish())
    finally:
        connections.close_all()


@pytest.mark.parametrize("after", range(1, 6))
def test_one_moment(after: int) -> None:
    """A commit between two queries of a load is not in it, not even where a later query would see it."""
    world = World()
    before, loading = expected(RoomChannel, world.room.pk), replica(RoomChannel, world.room.pk)
    pause = Pause(after)
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(load_with_pause, pause, loading)
        assert pause.reached.wait(PATIENCE)
        with transaction.atomic():
            author = User.objects.create(username="new")
            Profile.objects.create(user=author)
            message = world.say("new", author=author, position=-1)
            message.tags.add(world.tags[0])
            Reaction.objects.create(message=world.first, user=author, emoji="!")
            world.room.topic = "new"
            world.room.members.add(author)
            world.room.save()
            User.objects.filter(pk=world.ada.pk).update(username="renamed")
            world.second.delete()
        pause.go_on.set()
        assert loading.replace(loaded.result(PATIENCE), 0, 1)
    assert served(loading) == before
    assert loading.replace(load(loading.wish()), 1, 2)
    assert served(loading) == expected(RoomChannel, world.room.pk) != before


def served(replica: Replica) -> Any:
    """What a query of the whole state gives."""
    operation = get_schema().prepare(document(RoomChannel), {"key": "lobby"}, None)
    assert isinstance(operation, Operation)
    assert operation.projection is not None
    folded = Folded(RoomChannel)
    folded.fold(operation.projection.snapshot(replica, lambda: "").data)
    return folded.tree(replica.tree.root, replica.root_key)


@pytest_asyncio.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    hub = Hub()
    yield hub
    await hub.stop()


@contextmanager
def wrapped(wrapper: Any) -> Iterator[None]:
    """Every connection that is opened meanwhile has the wrapper."""

    def opened(sender: Any, connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(wrapper)

    connection_created.connect(opened)
    try:
        yield
    finally:
        connection_created.disconnect(opened)


async def test_event_loop_is_free(hub: Hub) -> None:
    """While a load waits for its database the event loop goes on, and others are served."""
    world = await sync_to_async(World)()
    pause = Pause(1, "chat_reaction")
    with wrapped(pause):
        member = await Watcher.open(hub, MemberChannel, world.eve.pk, world.eve.pk)
        opening = asyncio.create_task(Watcher.open(hub, RoomChannel, "lobby", world.room.pk))
        assert await asyncio.to_thread(pause.reached.wait, PATIENCE)
    await sync_to_async(world.eve.chat_rooms.add)(world.room)
    async with asyncio.timeout(PATIENCE):
        await member.next()
    assert member.state() == await sync_to_async(expected)(MemberChannel, world.eve.pk)
    assert not opening.done()
    pause.go_on.set()
    async with asyncio.timeout(PATIENCE):
        room = await opening
        wanted = await sync_to_async(expected)(RoomChannel, world.room.pk)
        while room.state() != wanted:
            await room.next()


async def test_one_load_for_all(hub: Hub) -> None:
    """Many who come at once share one load, and who comes later needs none."""
    world = await sync_to_async(World)()
    counted: list[str] = []

    def count(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if "chat_reaction" in sql:
            counted.append(sql)
        return execute(sql, params, many, context)

    with wrapped(count):
        await asyncio.gather(
            *(Watcher.open(hub, RoomChannel, "lobby", world.room.pk) for _ in range(20))
        )
        await Watcher.open(hub, RoomChannel, "lobby", world.room.pk)
    assert len(counted) == 1
