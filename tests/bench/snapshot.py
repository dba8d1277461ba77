"""A cold snapshot of 10,000 nodes beside nested DRF with its prefetches, whole and in its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from django.contrib.auth.models import User
from rest_framework import serializers

from rxgraphql import StateChannel
from rxgraphql.channel import registry
from rxgraphql.replica import Replica
from rxgraphql.schema import Operation, Schema
from rxgraphql.snapshot import load
from tests.bench.case import Case
from tests.chat.channels import RoomChannel
from tests.chat.models import Message, Profile, Reaction, Room, Tag
from tests.chat.serializers import RoomSerializer
from tests.folding import document

USERS, MESSAGES, REACTIONS = 100, 2_500, 3


class PlainUserSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("id", "username", "first_name")


class PlainReactionSerializer(serializers.ModelSerializer[Reaction]):
    user = PlainUserSerializer()

    class Meta:
        model = Reaction
        fields = ("id", "emoji", "user")


class PlainMessageSerializer(serializers.ModelSerializer[Message]):
    author = PlainUserSerializer()
    reactions = PlainReactionSerializer(many=True)

    class Meta:
        model = Message
        fields = ("id", "text", "position", "created", "author", "editor", "reactions")


class PlainRoomSerializer(serializers.ModelSerializer[Room]):
    """All of its fields are columns."""

    members = PlainUserSerializer(many=True)
    messages = PlainMessageSerializer(many=True)

    class Meta:
        model = Room
        fields = ("id", "name", "topic", "members", "messages")


PREFETCH = (
    "members",
    "messages__author",
    "messages__reactions__user",
)
# what the other serializer shows, too
PREFETCH_ALL = (
    *PREFETCH,
    "members__profile",
    "messages__author__profile",
    "messages__reactions__user__profile",
    "messages__tags",
    "messages__room",
    "messages__editor",
    "pinned",
)


def cases() -> Iterable[Case]:
    for name, make, serializer, prefetch in (
        ("plain", plain_channel, PlainRoomSerializer, PREFETCH),
        ("method fields, tags", lambda: RoomChannel, RoomSerializer, PREFETCH_ALL),
    ):
        cold = Cold(make)
        yield Case(
            f"cold snapshot, 10,000 nodes, {name}",
            cold.whole,
            partial(nested, serializer, prefetch),
            environment=cold.ready,
            rounds=5,
        )
        for part, function in (
            ("load", cold.load),
            ("replica", cold.replace),
            ("projection and bytes", cold.project),
        ):
            yield Case(
                f"share of the {part}, {name}",
                function,
                cold.whole,
                environment=cold.ready,
                rounds=5,
            )


@cache
def plain_channel() -> type[StateChannel]:
    class PlainRoomChannel(StateChannel):
        class Meta:
            anchor = PlainRoomSerializer()

        def has_permission(self, user: Any, room: Any) -> bool:
            return True

    return PlainRoomChannel


def nested(serializer: Callable[[Room], Any], prefetch: tuple[str, ...]) -> None:
    """What one would write: `.data`, without its JSON."""
    room = Room.objects.prefetch_related(*prefetch).get(pk=filled())
    assert len(serializer(room).data["messages"]) == MESSAGES


class Cold:
    """The way of a first subscriber: load, replica, projection, bytes; nothing is kept from one run to the next."""

    def __init__(self, channel: Callable[[], type[StateChannel]]) -> None:
        self._make = channel

    @contextmanager
    def ready(self) -> Iterator[None]:
        pk = str(filled())
        self._channel = self._make()
        registry.add(self._channel)
        # there is no other process that would have to find it
        registry.late.clear()
        try:
            operation = Schema().prepare(document(self._channel), {"key": pk})
            assert isinstance(operation, Operation)
            assert operation.projection is not None
            self._projection = operation.projection
            self._replica = Replica(self._channel(), pk)
            self._loaded = load(self._replica.wish())
            self.replace()
            yield
        finally:
            if self._channel is not RoomChannel:
                registry.remove(self._channel)

    def whole(self) -> None:
        replica = Replica(self._channel(), str(filled()))
        assert replica.replace(load(replica.wish()), 0, 1)
        assert self._projection.snapshot(replica, lambda: "cursor").body

    def load(self) -> None:
        load(self._replica.wish())

    def replace(self) -> None:
        assert self._replica.replace(self._loaded, 0, 1)

    def project(self) -> None:
        assert self._projection.snapshot(self._replica, lambda: "cursor").body


@cache
def filled() -> int:
    """A room of so many rows, made at the first use."""
    users = User.objects.bulk_create(User(username=f"user {i}") for i in range(USERS))
    Profile.objects.bulk_create(Profile(user=user) for user in users)
    tags = Tag.objects.bulk_create(Tag(name=f"tag {i}") for i in range(10))
    room = Room.objects.create(name="large")
    room.members.add(*users)
    messages = Message.everything.bulk_create(
        Message(
            room=room, author=users[i % USERS], editor=users[0], text=f"message {i}", position=i
        )
        for i in range(MESSAGES)
    )
    Reaction.objects.bulk_create(
        Reaction(message=message, user=users[(i + n) % USERS], emoji="+1")
        for i, message in enumerate(messages)
        for n in range(REACTIONS)
    )
    linked = Message.tags.through
    linked.objects.bulk_create(
        linked(message_id=message.pk, tag_id=tags[(i + n) % 10].pk)
        for i, message in enumerate(messages)
        for n in range(2)
    )
    room.pinned = messages[0]
    room.save()
    return int(room.pk)
