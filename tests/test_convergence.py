"""Every kind of change, one at a time: the folded state equals the serializer's own output after each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import transaction

from rxgraphql.hub import Hub
from tests.chat.channels import MemberChannel, RoomChannel
from tests.chat.models import Message, Profile, Reaction, Room, Tag
from tests.folding import Watcher, expected

pytestmark = pytest.mark.django_db(transaction=True)


class Rolled(Exception):
    pass


class World:
    """Two rooms, three users; the changes are methods that are run in a thread, as a request would."""

    def __init__(self) -> None:
        self.ada, self.bob, self.eve = (
            User.objects.create(username=name, first_name=name.title()) for name in ("ada", "bob", "eve")
        )
        Profile.objects.create(user=self.ada, color="red")
        self.room = Room.objects.create(name="lobby")
        self.other = Room.objects.create(name="attic")
        self.room.members.add(self.ada, self.bob)
        self.tags = [Tag.objects.create(name=name) for name in ("urgent", "fun")]
        self.first = self.say("first", position=1)
        self.second = self.say("second", position=2, author=self.bob)
        self.first.tags.add(self.tags[0])
        Reaction.objects.create(message=self.first, user=self.bob, emoji="+1")

    def say(self, text: str, **fields: Any) -> Message:
        fields = {"room": self.room, "author": self.ada, **fields}
        message: Message = Message.everything.create(text=text, **fields)
        return message


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    hub = Hub()
    yield hub
    await hub.stop()


@pytest.fixture
async def world(transactional_db: None, redis_url: str) -> World:
    return await sync_to_async(World)()


async def watch(hub: Hub, world: World) -> Watcher:
    return await Watcher.open(hub, RoomChannel, "lobby", world.room.pk)


def create(w: World) -> None:
    w.say("third", position=3)


def create_first(w: World) -> None:
    w.say("zeroth", position=0, author=w.eve)


def update(w: World) -> None:
    w.first.text = "edited"
    w.first.save()


def update_author(w: World) -> None:
    w.ada.first_name = "Augusta"
    w.ada.save()


def update_shared_profile(w: World) -> None:
    w.ada.profile.color = "blue"  # type: ignore[attr-defined]
    w.ada.profile.save()  # type: ignore[attr-defined]


def add_profile(w: World) -> None:
    Profile.objects.create(user=w.bob, color="green")


def delete(w: World) -> None:
    w.first.delete()


def move_away(w: World) -> None:
    w.first.room = w.other
    w.first.save()


def move_in(w: World) -> None:
    message = Message.objects.get(room=w.other)
    message.room = w.room
    message.save()


def reorder(w: World) -> None:
    w.first.position = 9
    w.first.save()


def swap(w: World) -> None:
    with transaction.atomic():
        w.first.position, w.second.position = 2, 1
        w.first.save()
        w.second.save()


def hide(w: World) -> None:
    w.first.hidden = True
    w.first.save()


def show(w: World) -> None:
    message = Message.everything.get(hidden=True)
    message.hidden = False
    message.save()


def join(w: World) -> None:
    w.room.members.add(w.eve)


def join_from_the_other_end(w: World) -> None:
    w.eve.chat_rooms.add(w.room)  # type: ignore[attr-defined]


def leave(w: World) -> None:
    w.room.members.remove(w.bob)


def clear_members(w: World) -> None:
    w.room.members.clear()


def set_members(w: World) -> None:
    w.room.members.set([w.eve, w.bob])


def tag(w: World) -> None:
    w.second.tags.add(*w.tags)


def untag(w: World) -> None:
    w.first.tags.clear()


def rename_tag(w: World) -> None:
    w.tags[0].name = "aaa"
    w.tags[0].save()


def delete_tag(w: World) -> None:
    w.tags[0].delete()


def rename_room(w: World) -> None:
    w.room.name = "hall"
    w.room.save()


def react(w: World) -> None:
    Reaction.objects.create(message=w.second, user=w.ada, emoji="!")


def cascade(w: World) -> None:
    w.bob.delete()


def edit_by_other(w: World) -> None:
    w.first.editor = w.eve
    w.first.save()


def editor_deleted(w: World) -> None:
    """SET_NULL sends no signal, and two fields of the message show the editor."""
    w.first.editor = w.eve
    w.first.save()
    w.eve.delete()


def editor_renamed(w: World) -> None:
    w.first.editor = w.eve
    w.first.save()
    w.eve.username = "evelyn"
    w.eve.save()


def pin(w: World) -> None:
    w.room.pinned = w.first
    w.room.save()


def pinned_deleted(w: World) -> None:
    w.room.pinned = w.second
    w.room.save()
    w.second.delete()


def message_and_author(w: World) -> None:
    with transaction.atomic():
        author = User.objects.create(username="new")
        Profile.objects.create(user=author, color="white")
        message = w.say("hello", author=author, position=5)
        message.tags.add(w.tags[1])
        Reaction.objects.create(message=message, user=author, emoji="?")


def create_and_delete(w: World) -> None:
    with transaction.atomic():
        w.say("never").delete()
        w.first.save()


def delete_and_recreate(w: World) -> None:
    """The same key is a new row, without the old one's links."""
    with transaction.atomic():
        pk = w.first.pk
        w.first.delete()
        w.say("reborn", pk=pk, position=7)


def swap_links_and_rows(w: World) -> None:
    with transaction.atomic():
        w.room.members.remove(w.ada)
        w.first.author = w.bob
        w.first.save()
        w.second.author = w.ada
        w.second.save()


CHANGES: list[Callable[[World], None]] = [
    create,
    create_first,
    update,
    update_author,
    update_shared_profile,
    add_profile,
    delete,
    move_away,
    reorder,
    swap,
    hide,
    join,
    join_from_the_other_end,
    leave,
    clear_members,
    set_members,
    tag,
    untag,
    rename_tag,
    delete_tag,
    rename_room,
    react,
    cascade,
    edit_by_other,
    editor_deleted,
    editor_renamed,
    pin,
    pinned_deleted,
    message_and_author,
    create_and_delete,
    delete_and_recreate,
    swap_links_and_rows,
]


async def converge(watcher: Watcher) -> None:
    """Takes events until the state equals DRF's."""
    wanted = await sync_to_async(expected)(watcher.channel, watcher.pk)
    async with asyncio.timeout(2):
        while watcher.state() != wanted:
            await watcher.next()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_change(hub: Hub, world: World, change: Callable[[World], None]) -> None:
    """After the change the folded state equals a fresh serialization, without a second snapshot."""
    watcher = await watch(hub, world)
    assert watcher.state() == await sync_to_async(expected)(RoomChannel, world.room.pk)
    await sync_to_async(change)(world)
    await converge(watcher)
    assert watcher.folded.snapshots == 1
    assert not watcher.errors
