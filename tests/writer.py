"""A process that only writes.

    python -m tests.writer wander SEED ROUNDS ROOM ROOM     random transactions over two rooms, some appended late
    python -m tests.writer move SEED ROUNDS REACTION MESSAGE...
        moves a reaction from message to message; each move counts its emoji up, and some are appended to the log late

It says "ready", and begins when its input ends.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from typing import Any

import django
from django.db import DatabaseError, transaction

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


class OnPurposeError(Exception):
    pass


def wander(seed: int, rounds: int, *rooms: int) -> None:
    chance = random.Random(seed)
    append_late(chance)
    for number in range(rounds):
        # two of them delete what the other one is about to link
        with contextlib.suppress(OnPurposeError, DatabaseError), transaction.atomic():
            for _ in range(chance.randint(1, 3)):
                step(chance, number, rooms)
            if chance.random() < 0.1:
                raise OnPurposeError


def step(chance: random.Random, number: int, rooms: tuple[int, ...]) -> None:
    from django.contrib.auth.models import User

    from tests.chat.models import Message, Reaction, Room, Tag

    def one_of(manager: Any) -> Any:
        return chance.choice(list(manager.order_by("pk")))

    room = Room.objects.get(pk=chance.choice(rooms))
    messages = Message.everything.filter(room__in=rooms)
    match chance.randrange(10):
        case 0 | 1:
            author, position = one_of(User.objects), chance.randrange(5)
            room.messages.create(author=author, text=f"said in {number}", position=position)
        case 2 if len(messages) > 3:
            one_of(messages).delete()
        case 3:
            message = one_of(messages)
            message.room = room
            message.save()
        case 4:
            message = one_of(messages)
            message.hidden = not message.hidden
            message.save()
        case 5:
            room.members.set(chance.sample(list(User.objects.order_by("pk")), 2))
        case 6:
            one_of(messages).tags.set(chance.sample(list(Tag.objects.order_by("pk")), 1))
        case 7:
            user = one_of(User.objects)
            user.first_name = f"named in {number}"
            user.save()
        case 8:
            Reaction.objects.create(message=one_of(messages), user=one_of(User.objects), emoji="+1")
        case _:
            message = one_of(messages)
            message.text, message.position = f"edited in {number}", chance.randrange(5)
            message.save()


def move(seed: int, rounds: int, pk: int, *messages: int) -> None:
    from tests.chat.models import Reaction

    chance = random.Random(seed)
    append_late(chance)
    for _ in range(rounds):
        with transaction.atomic():
            reaction = Reaction.objects.select_for_update().get(pk=pk)
            reaction.message_id = chance.choice(messages)
            reaction.emoji = f"{int(reaction.emoji) + 1:05}"
            reaction.save()


def append_late(chance: random.Random) -> None:
    """Gives other writers time to overtake this one between what it has read and the log."""
    from rxgraphql.log import Entry, Ticket, WriterLog

    append = WriterLog.append

    def late(self: WriterLog, ticket: Ticket, entry: Entry) -> bool:
        time.sleep(chance.choice((0, 0, 0.005, 0.02)))
        return append(self, ticket, entry)

    WriterLog.append = late  # type: ignore[method-assign]


if __name__ == "__main__":
    django.setup()
    print("ready", flush=True)  # noqa: T201
    sys.stdin.read()
    work: Any = {"wander": wander, "move": move}[sys.argv[1]]
    work(*map(int, sys.argv[2:]))
