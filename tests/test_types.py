from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import translation
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from rxgraphql import Schema, type_for
from rxgraphql.errors import UnsupportedError
from rxgraphql.schema import print_sdl
from tests.chat.channels import RoomChannel
from tests.chat.models import Tag
from tests.chat.serializers import MessageSerializer
from tests.records import ColumnsSerializer
from tests.schemas import Open, list_of, own_channels, query_of


@pytest.fixture(autouse=True)
def forget_channels() -> Iterator[None]:
    with own_channels():
        yield


def test_one_type_per_serializer() -> None:
    """A serializer has one GraphQL type, before and after schemas are built and channels are added."""
    before = type_for(MessageSerializer)
    Schema(channels=[RoomChannel])

    class AnotherChannel(Open):
        class Meta:
            anchor = MessageSerializer()

    sdl = print_sdl(Schema())
    assert "another(id: ID!): Message\n" in sdl
    assert sdl.count("\ntype Message {") == 1
    assert type_for(MessageSerializer) is before


def test_types_of_all_kinds() -> None:
    """Every kind of value has its scalar, and what may be null in the output is nullable."""

    query = query_of(type_for(ColumnsSerializer), None)
    lines = print_sdl(Schema(query=query, channels=())).splitlines()
    for line in (
        "  id: ID!",
        "  big: BigInt!",
        "  boolean: Boolean!",
        "  date: Date!",
        "  decimal: Decimal!",
        "  duration: Duration!",
        "  float: Float!",
        "  integer: Int!",
        "  ip: String",
        "  json: JSON!",
        "  maybeMood: ColumnsMaybeMood",
        "  maybeMoment: DateTime",
        "  moment: DateTime!",
        "  mood: ColumnsMood!",
        "  time: Time!",
        "  token: UUID!",
        "enum ColumnsMood {",
        "  angry",
    ):
        assert line in lines


def test_descriptions() -> None:
    """Docstrings and help texts are the types' and fields' descriptions, in the project's language."""

    class DescribedSerializer(serializers.ModelSerializer[Tag]):
        """
        What a message
        is about.
        """

        name = serializers.CharField(help_text=gettext_lazy("yes"))

        class Meta:
            model = Tag
            fields = ("id", "name")

    class DescribedChannel(Open):
        """One tag, live."""

        class Meta:
            anchor = DescribedSerializer()

    with translation.override("de"):
        sdl = print_sdl(Schema(channels=[DescribedChannel]))
    assert '"""\nWhat a message\nis about.\n"""\ntype Described {' in sdl
    assert '  """yes"""\n  name: String!' in sdl
    assert '  """One tag, live."""\n  described(' in sdl


def test_enum_of_names_that_python_reserves() -> None:
    """Choices with names that a Python enum refuses are values all the same."""

    class OddSerializer(serializers.ModelSerializer[Tag]):
        name = serializers.ChoiceField(choices=["mro", "name", "_private", "class", "plain"])

        class Meta:
            model = Tag
            fields = ("id", "name")

    names = ["mro", "name", "_private", "class", "plain"]
    query = query_of(list_of(type_for(OddSerializer)), [Tag(id=1, name=name) for name in names])
    result = Schema(query=query, channels=()).execute_sync("{ found { name } }")
    assert result.data == {"found": [{"name": name} for name in names]}


def test_unsupported_serializer() -> None:
    """A serializer that can't be streamed is refused with what would work."""

    class WithoutModel(serializers.Serializer[Any]):
        name = serializers.CharField()

    with pytest.raises(UnsupportedError, match="ModelSerializer"):
        type_for(WithoutModel)  # type: ignore[arg-type]
