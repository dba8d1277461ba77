"""The rooms of a run, and who changes them."""

from __future__ import annotations

import random
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction

from tests.chat.channels import RoomChannel
from tests.chat.models import Message, Reaction, Tag
from tests.chat.models import Room as RoomModel
from tests.folding import expected
from tests.soak.site import Room

# Messages of a room that is written to
FEWEST, MOST = 5, 30
# Rooms that a writer keeps
FEWEST_ROOMS, MOST_ROOMS = 4, 30


def prepare(rooms: int, messages: int, users: int = 8) -> list[Room]:
    """Empties the database and makes the world anew."""
    call_command("flush", interactive=False, verbosity=0)
    for i in range(users):
        User.objects.create(username=f"user-{i}")
    for name in ("urgent", "fun", "later"):
        Tag.objects.create(name=name)
    return make_rooms(rooms, messages)


def make_rooms(count: int, messages: int) -> list[Room]:
    people = list(User.objects.order_by("pk"))
    begin = RoomModel.objects.count()
    return [make_room(f"room-{begin + i}", people, messages) for i in range(count)]


def make_room(name: str, people: list[User], messages: int) -> Room:
    with transaction.atomic():
        room = RoomModel.objects.create(name=name)
        room.members.set(people[:4])
        Message.everything.bulk_create(
            Message(
                room=room,
                author=people[i % len(people)],
                text=f"message {i} of {name}, which says what a message says",
                position=i,
            )
            for i in range(messages)
        )
    return Room(name, room.pk)


def mark(rooms: list[Room], text: str) -> None:
    """A last write to each."""
    for one in rooms:
        room = RoomModel.objects.get(pk=one.pk)
        room.topic = text
        room.save()


def edit(room: Room, count: int, text: str) -> None:
    """So many messages, each in a transaction of its own."""
    for message in Message.objects.filter(room_id=room.pk)[:count]:
        message.text = text
        message.save()


def state(room: Room) -> dict[str, Any]:
    return expected(RoomChannel, room.pk)


class Writing:
    """One writer's steps, each a transaction."""

    def __init__(self, seed: int, lives: bool) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.lives = lives
        self.made = 0
        # rooms that this writer made: no other one deletes them
        self.own: list[Room] = []
        self.people = list(User.objects.order_by("pk"))
        self.tags = list(Tag.objects.order_by("pk"))

    def step(self) -> None:
        if self.lives and (len(self.own) < FEWEST_ROOMS or self.rng.random() < 0.2):
            self._live()
            return
        with transaction.atomic():
            self.rng.choice(STEPS)(self, self._room())

    def _live(self) -> None:
        if len(self.own) < FEWEST_ROOMS or (self.rng.random() < 0.5 and len(self.own) < MOST_ROOMS):
            self.made += 1
            made = make_room(f"life-{self.seed}-{self.made}", self.people, FEWEST)
            self.own.append(made)
            print("+", made.name, made.pk, flush=True)
        else:
            gone = self.own.pop(self.rng.randrange(len(self.own)))
            print("-", gone.name, gone.pk, flush=True)
            RoomModel.objects.get(pk=gone.pk).delete()

    def _room(self) -> RoomModel:
        if self.own:
            return RoomModel.objects.get(pk=self.rng.choice(self.own).pk)
        return self.rng.choice(list(RoomModel.objects.order_by("pk")))

    def _message(self, room: RoomModel) -> Any:
        return self.rng.choice(list(Message.objects.filter(room=room)))

    def say(self, room: RoomModel) -> None:
        count = Message.objects.filter(room=room).count()
        if count >= MOST:
            self._message(room).delete()
            return
        author, position = self.rng.choice(self.people), self.rng.randrange(100)
        Message.objects.create(room=room, author=author, position=position, text="something new")

    def edit(self, room: RoomModel) -> None:
        message = self._message(room)
        message.text = f"edited {self.rng.randrange(10_000)}"
        message.position = self.rng.randrange(100)
        message.save()

    def delete(self, room: RoomModel) -> None:
        if Message.objects.filter(room=room).count() > FEWEST:
            self._message(room).delete()

    def react(self, room: RoomModel) -> None:
        user = self.rng.choice(self.people)
        Reaction.objects.create(message=self._message(room), user=user, emoji="+1")

    def tag(self, room: RoomModel) -> None:
        self._message(room).tags.set(self.rng.sample(self.tags, 2))

    def join(self, room: RoomModel) -> None:
        room.members.set(self.rng.sample(self.people, 3))

    def rename(self, room: RoomModel) -> None:
        room.topic = f"topic {self.rng.randrange(10_000)}"
        room.save()

    def rename_person(self, room: RoomModel) -> None:
        person = self.rng.choice(self.people)
        person.first_name = f"name {self.rng.randrange(10_000)}"
        person.save()


STEPS: list[Any] = [
    *(Writing.say, Writing.say, Writing.edit, Writing.edit, Writing.edit, Writing.delete),
    *(Writing.react, Writing.tag, Writing.join, Writing.rename, Writing.rename_person),
]
