from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Iterator
from types import GenericAlias
from typing import Any

import pytest
import strawberry
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import translation
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from rxgraphql import Schema, StateChannel, type_for
from rxgraphql.channel import registry
from rxgraphql.errors import UnsupportedError
from rxgraphql.rows import RowReader
from rxgraphql.scalars import PYTHON_TYPES, BigInt, Duration
from rxgraphql.schema import Operation, PreparedError, print_sdl
from tests.chat.channels import RoomChannel
from tests.chat.models import Message, Reaction, Room, Tag
from tests.chat.serializers import MessageSerializer, RoomSerializer, UserSerializer
from tests.values_app.models import Company, Person, Record
from tests.values_app.models import Tag as RecordTag
from tests.values_app.serializers import CompiledSerializer, InstanceSerializer


@pytest.fixture
def own_channels() -> Iterator[None]:
    """Channels that the test defines are forgotten after it."""
    known = dict(registry._classes)
    yield
    for name, channel in list(registry._classes.items()):
        if name not in known:
            registry.remove(channel)


class ColumnsSerializer(CompiledSerializer):
    handle_key = None  # type: ignore[assignment]  # a key that points at no primary key can't be followed

    class Meta(CompiledSerializer.Meta):
        fields = [name for name in CompiledSerializer.Meta.fields if name != "handle_key"]


def query_of(type_: Any, value: Any, **fields: Any) -> Any:
    """A user's Query with one field, `found`, whose resolver returns the value."""

    def found() -> Any:
        return value() if callable(value) else value

    fields["found"] = strawberry.field(resolver=found, graphql_type=type_)
    return strawberry.type(type("Query", (), {"__annotations__": {}, **fields}))


def list_of(type_: Any) -> Any:
    return GenericAlias(list, (type_,))


def selection(serializer_class: Any) -> str:
    """Every flat field of a node type."""
    fields = registry.node_type(serializer_class).fields
    return " ".join(["id", *(field.graphql_name for field in fields)])


def make_record() -> Record:
    company = Company.objects.create(name="Acme", founded=datetime.date(1999, 12, 31))
    person = Person.objects.create(name="Ada", handle="ada", company=company)
    record = Record.objects.create(
        author=person,
        editor=person,
        big=2**60,
        char="words",
        decimal=decimal.Decimal("1.250"),
        duration=datetime.timedelta(days=1, seconds=30),
        json={"deep": [1, {"er": None}]},
        maybe_decimal=decimal.Decimal("0.10"),
        token=uuid.UUID(int=7),
        mood="angry",
        small=3,
        integer=2,
    )
    record.tags.add(RecordTag.objects.create(label="one"), RecordTag.objects.create(label="two"))
    return Record.objects.get(pk=record.pk)


# ---------------------------------------------------------------------------------------------- the types


def test_one_type_per_serializer(own_channels: None) -> None:
    """A serializer has one GraphQL type, before and after schemas are built and channels are added."""
    before = type_for(MessageSerializer)
    Schema(channels=[RoomChannel])

    class AnotherChannel(StateChannel):
        class Meta:
            anchor = MessageSerializer()

        def has_permission(self, user: Any, instance: Any) -> bool:
            return True

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


def test_descriptions(own_channels: None) -> None:
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

    class DescribedChannel(StateChannel):
        """One tag, live."""

        class Meta:
            anchor = DescribedSerializer()

        def has_permission(self, user: Any, instance: Any) -> bool:
            return True

    with translation.override("de"):
        sdl = print_sdl(Schema(channels=[DescribedChannel]))
    assert '"""\nWhat a message\nis about.\n"""\ntype Described {' in sdl
    assert '  """yes"""\n  name: String!' in sdl
    assert '  """One tag, live."""\n  described(' in sdl


def test_enum_of_names_that_python_reserves(own_channels: None) -> None:
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


# ---------------------------------------------------------------------------------------------- instances


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


# ---------------------------------------------------------------------------------------------- scalars


ARGUMENTS: list[tuple[str, Any, Any]] = [
    ("ID", "7", "7"),
    ("Int", 7, 7),
    ("BigInt", str(2**60), 2**60),
    ("BigInt", 7, 7),
    ("Float", 1.5, 1.5),
    ("Boolean", True, True),
    ("String", "a", "a"),
    ("UUID", str(uuid.UUID(int=7)), uuid.UUID(int=7)),
    ("Decimal", "1.50", decimal.Decimal("1.50")),
    ("Date", "2026-01-02", datetime.date(2026, 1, 2)),
    (
        "DateTime",
        "2026-01-02T03:04:05Z",
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    ),
    ("Time", "03:04:05", datetime.time(3, 4, 5)),
    ("Duration", "1 02:03:04", datetime.timedelta(days=1, hours=2, minutes=3, seconds=4)),
    ("Duration", "P1DT1S", datetime.timedelta(days=1, seconds=1)),
    ("JSON", {"a": [1]}, {"a": [1]}),
]


def channel_with_argument(kind: str) -> type[StateChannel]:
    class ArgumentChannel(StateChannel):
        class Meta:
            anchor = RoomSerializer()

        def get_object(self, value: Any) -> Any:  # type: ignore[override]
            raise NotImplementedError

        get_object.__annotations__["value"] = PYTHON_TYPES[kind]

        def has_permission(self, user: Any, instance: Any) -> bool:
            return True

    return ArgumentChannel


@pytest.mark.parametrize(("kind", "given", "expected"), ARGUMENTS)
def test_arguments_are_python_objects(
    own_channels: None, kind: str, given: Any, expected: Any
) -> None:
    """A channel's annotated argument arrives as a Python object of its annotation."""
    made = Schema(channels=[channel_with_argument(kind)])
    query = f"subscription ($v: {kind}!) {{ argument(value: $v) {{ kind }} }}"
    operation = made.prepare(query, {"v": given})
    assert isinstance(operation, Operation), operation
    assert operation.arguments == {"value": expected}
    assert type(operation.arguments["value"]) is type(expected)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("Int", 2**31),
        ("BigInt", "1.5"),
        ("BigInt", True),
        ("BigInt", "9" * 5000),
        ("UUID", "7"),
        ("Decimal", "one"),
        ("Date", "2026-13-01"),
        ("DateTime", "yesterday"),
        ("Duration", "long"),
        ("Duration", 5),
        ("ID", None),
    ],
)
def test_malformed_arguments(own_channels: None, kind: str, given: Any) -> None:
    """An argument that can't be parsed is the client's mistake, with a text that says so."""
    made = Schema(channels=[channel_with_argument(kind)])
    query = f"subscription ($v: {kind}!) {{ argument(value: $v) {{ kind }} }}"
    refused = made.prepare(query, {"v": given})
    assert isinstance(refused, PreparedError)
    assert [error.extensions for error in refused.errors] == [{"code": "BAD_USER_INPUT"}]
    assert "$v" in refused.errors[0].message


def test_scalars_take_objects_of_users_resolvers() -> None:
    """The scalars serialize Python objects as well as text."""

    @strawberry.type
    class Query:
        big: BigInt = BigInt(2**60)
        duration: Duration = Duration(datetime.timedelta(hours=1))
        moment: datetime.datetime = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
        token: uuid.UUID = uuid.UUID(int=7)

    made = Schema(query=Query, channels=())
    assert made.execute_sync("{ big duration moment token }", root_value=Query()).data == {
        "big": str(2**60),
        "duration": "01:00:00",
        "moment": "2026-01-02T00:00:00+00:00",
        "token": str(uuid.UUID(int=7)),
    }


@pytest.mark.django_db
def test_users_own_scalar() -> None:
    """A scalar that the user puts in a built-in one's place lets the rows' text through."""
    now = strawberry.field(
        resolver=lambda: datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        graphql_type=datetime.datetime,
    )
    query = query_of(type_for(ColumnsSerializer), make_record, now=now)
    stamp = strawberry.scalar(
        name="Stamp", serialize=lambda value: value.timestamp(), parse_value=float
    )
    made = Schema(
        query=query,
        channels=(),
        scalar_overrides={datetime.datetime: stamp},
    )
    result = made.execute_sync("{ now found { moment } }")
    assert result.data == {"now": 1767312000.0, "found": {"moment": "2020-01-02T00:00:00Z"}}
