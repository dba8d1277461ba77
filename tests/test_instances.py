from __future__ import annotations

from typing import Any

import pytest
import strawberry
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from rest_framework import serializers

from rxgraphql import Schema, type_for
from rxgraphql.channel import registry
from rxgraphql.rows import RowReader
from tests.chat.channels import RoomChannel
from tests.chat.models import Message, Reaction, Room, Tag
from tests.chat.serializers import MessageSerializer, RoomSerializer, UserSerializer
from tests.records import ColumnsSerializer, make_record, selection
from tests.schemas import list_of, query_of
from tests.values_app.models import Record
from tests.values_app.serializers import InstanceSerializer


@pytest.mark.django_db
@pytest.mark.parametrize("serializer_class", [ColumnsSerializer, InstanceSerializer])
def test_instance_shows_what_the_channel_shows(serializer_class: Any) -> None:
    """An instance that a user's resolver returns has the values that a channel streams, field by field."""
    record = make_record()

    made = Schema(query=query_of(type_for(serializer_class), record), channels=())
    result = made.execute_sync(f"{{ found {{ {selection(serializer_class)} }} }}")
    assert result.errors is None
    node_type = registry.node_type(serializer_class)
    ((pk, row, _),) = RowReader(node_type).read(Record.objects.filter(pk=record.pk))
    assert row.error is None
    assert row.values is not None
    names = [field.graphql_name for field in node_type.fields]
    assert result.data == {"found": {"id": pk, **dict(zip(names, row.values, strict=True))}}


NESTED = """
    id text created editorName roomName tagNames shout
    author { id username profile { id } } reactions { id emoji user { username } } tags { name }
"""


def make_messages() -> None:
    room = Room.objects.create(name="lobby")
    ada, bob = (User.objects.create(username=name) for name in ("ada", "bob"))
    room.members.add(ada)
    for position in (2, 1):
        message = Message.objects.create(
            room=room, author=ada, editor=bob, text=f"m{position}", position=position
        )
        message.tags.set([Tag.objects.create(name=name) for name in ("b", "a")])
        Reaction.objects.create(message=message, user=bob, emoji="+1")


@pytest.mark.django_db(transaction=True)
async def test_mutation_normalizes_with_the_stream(redis_url: str) -> None:
    """A mutation's instances, relations included, look as the channel shows them; no query runs in the event loop."""
    await sync_to_async(make_messages)()

    async def all_messages() -> Any:
        return [message async for message in Message.objects.order_by("position")]

    @strawberry.type
    class Mutation:
        messages = strawberry.mutation(
            resolver=all_messages, graphql_type=list_of(type_for(MessageSerializer))
        )

    made = Schema(mutation=Mutation, channels=[RoomChannel])
    mutated = await made.execute(f"mutation {{ messages {{ {NESTED} }} }}")
    assert mutated.errors is None
    queried = await made.execute(f'{{ room(name: "lobby") {{ messages {{ {NESTED} }} }} }}')
    assert queried.errors is None
    assert queried.data is not None
    assert mutated.data == {"messages": queried.data["room"]["messages"]}
    assert [tag["name"] for tag in queried.data["room"]["messages"][0]["tags"]] == ["a", "b"]


@pytest.mark.django_db
def test_prefetched_instances_are_not_queried_again(django_assert_num_queries: Any) -> None:
    """What the user's resolver fetched along is not fetched again."""
    make_messages()

    rooms = Room.objects.prefetch_related("messages__author", "members")
    made = Schema(
        query=query_of(list_of(type_for(RoomSerializer)), lambda: list(rooms)), channels=()
    )
    with django_assert_num_queries(4):
        result = made.execute_sync(
            "{ found { members { id } messages { text author { username } } } }"
        )
    assert result.errors is None


@pytest.mark.django_db
def test_union_of_generated_types() -> None:
    """An instance finds its type in a union of the user's."""
    make_messages()

    union = type_for(UserSerializer) | type_for(RoomSerializer)
    query = query_of(list_of(union), [*Room.objects.all(), *User.objects.order_by("id")])
    result = Schema(query=query, channels=()).execute_sync(
        "{ found { __typename ... on User { username } ... on Room { name } } }"
    )
    assert result.data == {
        "found": [
            {"__typename": "Room", "name": "lobby"},
            {"__typename": "User", "username": "ada"},
            {"__typename": "User", "username": "bob"},
        ]
    }


@pytest.mark.django_db
def test_failing_field_is_masked(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in a serializer doesn't tell the client its text."""

    class FailingSerializer(serializers.ModelSerializer[Tag]):
        secret = serializers.SerializerMethodField()

        class Meta:
            model = Tag
            fields = ("id", "name", "secret")
            graphql_name = "Failing"

        def get_secret(self, tag: Tag) -> str:
            raise ValueError("1234")

    query = query_of(type_for(FailingSerializer), Tag(id=1, name="a"))
    result = Schema(query=query, channels=()).execute_sync("{ found { name secret } }")
    (error,) = result.errors or []
    assert error.extensions == {"code": "INTERNAL"}
    assert "1234" not in error.message
    assert "1234" in caplog.text
