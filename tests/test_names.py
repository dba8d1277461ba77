from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import strawberry
from rest_framework import serializers

from rxgraphql import StateChannel
from rxgraphql.errors import ConfigurationError
from rxgraphql.schema import (
    Schema,
)
from tests.chat.channels import RoomChannel
from tests.chat.models import Message, Tag
from tests.chat.serializers import TagSerializer
from tests.schemas import Open, own_channels


@pytest.fixture(autouse=True)
def forget_channels() -> Iterator[None]:
    with own_channels():
        yield


@strawberry.type(name="Message")
class OwnMessage:
    word: str


@strawberry.type
class QueryOfOwnMessage:
    message: OwnMessage | None = None


def faults_of(*args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        Schema(*args, **kwargs)
    return [str(fault) for fault in raised.value.faults]


def test_field_of_the_users_own() -> None:
    """A channel whose field the user's Query has already is a fault."""

    @strawberry.type
    class Query:
        room: str = ""

    (fault,) = faults_of(query=Query, channels=[RoomChannel])
    assert "RoomChannel" in fault
    assert "Query has a field room of its own" in fault


def test_type_of_the_users_own() -> None:
    """A type of the user's with the name of a generated one is a fault that names the serializer."""

    (fault,) = faults_of(query=QueryOfOwnMessage, channels=[RoomChannel])
    assert fault.startswith("tests.chat.serializers.MessageSerializer: ")


def test_list_with_the_name_of_an_event_field() -> None:
    """A node type whose list would be called `lists` is a fault that names Meta's way out."""

    class ListSerializer(serializers.ModelSerializer[Tag]):
        class Meta:
            model = Tag
            fields = ("id", "name")

    class ListChannel(Open):
        class Meta:
            anchor = ListSerializer()

    (fault,) = faults_of(channels=[ListChannel])
    assert "every event has a field of that name" in fault
    assert "Meta.graphql_list_name" in fault


def test_two_lists_of_one_name() -> None:
    """Two node types of one event with one list name are a fault."""

    class InnerSerializer(serializers.ModelSerializer[Tag]):
        class Meta:
            model = Tag
            fields = ("id", "name")
            graphql_list_name = "outers"

    class OuterSerializer(serializers.ModelSerializer[Message]):
        tags = InnerSerializer(many=True)

        class Meta:
            model = Message
            fields = ("id", "tags")

    class OuterChannel(Open):
        class Meta:
            anchor = OuterSerializer()

    (fault,) = faults_of(channels=[OuterChannel])
    assert "can't be called outers" in fault


def test_reserved_type_name() -> None:
    """A serializer can't take the name of a type that every schema has."""

    class QuerySerializer(serializers.ModelSerializer[Tag]):
        class Meta:
            model = Tag
            fields = ("id", "name")

    class TagChannel(Open):
        class Meta:
            anchor = QuerySerializer()

    (fault,) = faults_of(channels=[TagChannel])
    assert "The GraphQL type Query exists in every schema" in fault


def test_two_fields_of_one_graphql_name() -> None:
    """Two fields that become one in camel case are a fault, and not one field in silence."""

    class TwiceSerializer(serializers.ModelSerializer[Tag]):
        tag_name = serializers.CharField(source="name")
        tagName = serializers.CharField(source="name")  # noqa: N815

        class Meta:
            model = Tag
            fields = ("id", "tag_name", "tagName")

    class TwiceChannel(Open):
        class Meta:
            anchor = TwiceSerializer()

    (fault,) = faults_of(channels=[TwiceChannel])
    assert "Its GraphQL name tagName is that of tag_name too" in fault


def test_all_faults_at_once() -> None:
    """A schema with faulty channels isn't built, and every fault of every channel is told."""

    class FirstChannel(StateChannel):
        class Meta:
            anchor = TagSerializer()

    class SecondChannel(StateChannel):
        pass

    told = "\n".join(faults_of())
    assert told.count("has_permission() is missing") == 2
    assert "Meta.anchor is missing" in told
