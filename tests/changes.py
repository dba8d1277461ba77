"""A world of rooms, users and messages, and every kind of change to it, each a function that a request could be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.db import connections, transaction

from rxgraphql.publish import publisher
from tests.chat.models import Message, Profile, Reaction, Room, Tag

# Seconds for what another thread or process does
PATIENCE = 20.0


def elsewhere(change: Callable[[], object]) -> None:
    """Does it on another connection, committed when this returns."""

    def run() -> None:
        try:
            change()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@contextmanager
def another_version() -> Iterator[None]:
    """What is saved meanwhile is published as another version of the project would, with another layout."""
    found = publisher()
    assert found is not None
    entries = found.entries
    layout, entries.layout = entries.layout, "another"
    try:
        yield
    finally:
        entries.layout = layout


class World:
    """Two rooms, three users. Worlds of different names share one database."""

    def __init__(self, name: str = "") -> None:
        self.ada, self.bob, self.eve = (
            User.objects.create(username=user + name, first_name=user.title())
            for user in ("ada", "bob", "eve")
        )
        Profile.objects.create(user=self.ada, color="red")
        self.room = Room.objects.create(name=f"lobby{name}")
        self.other = Room.objects.create(name=f"attic{name}")
        self.room.members.add(self.ada, self.bob)
        self.tags = [Tag.objects.create(name=name) for name in ("urgent", "fun")]
        self.first = self.say("first", position=1)
        self.second = self.say("second", position=2, author=self.bob)
        self.elsewhere = self.say("elsewhere", room=self.other)
        self.unseen = self.say("unseen", position=3, hidden=True)
        self.first.tags.add(self.tags[0])
        Reaction.objects.create(message=self.first, user=self.bob, emoji="+1")

    def say(self, text: str, **fields: Any) -> Message:
        fields = {"room": self.room, "author": self.ada, **fields}
        message: Message = Message.everything.create(text=text, **fields)
        return message


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
    w.ada.profile.color = "blue"
    w.ada.profile.save()


def add_profile(w: World) -> None:
    Profile.objects.create(user=w.bob, color="green")


def delete(w: World) -> None:
    w.first.delete()


def move_away(w: World) -> None:
    w.first.room = w.other
    w.first.save()


def move_in(w: World) -> None:
    w.elsewhere.room = w.room
    w.elsewhere.save()


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
    w.unseen.hidden = False
    w.unseen.save()


def join(w: World) -> None:
    w.room.members.add(w.eve)


def join_from_the_other_end(w: World) -> None:
    w.eve.chat_rooms.add(w.room)


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
    w.room.name = f"hall of {w.room.name}"
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
    w.eve.username = f"{w.eve.username}lyn"
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
        author = User.objects.create(username=f"new in {w.room.name}")
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


Change = Callable[[World], None]

CHANGES: list[Change] = [
    create,
    create_first,
    update,
    update_author,
    update_shared_profile,
    add_profile,
    delete,
    move_away,
    move_in,
    reorder,
    swap,
    hide,
    show,
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
