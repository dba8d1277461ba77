from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import strawberry
from django.test import override_settings
from graphql import introspection_from_schema
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig

import rxgraphql
from rxgraphql import type_for
from rxgraphql.errors import ConfigurationError
from rxgraphql.schema import (
    Operation,
    Schema,
    get_schema,
    print_sdl,
    reset_schema,
)
from tests.chat.channels import MemberChannel, RoomChannel
from tests.chat.serializers import MemberSerializer, MessageSerializer
from tests.rooms import Room as RoomReplica
from tests.schemas import Open, own_channels

WATCH = "subscription Watch($name: String!) { room(name: $name) { kind messages { id text } } }"


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


def faults_of(*args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        Schema(*args, **kwargs)
    return [str(fault) for fault in raised.value.faults]


def test_sdl_of_a_channel() -> None:
    """A channel makes an event type, a subscription and a query, named and typed after it and its serializer."""
    sdl = print_sdl(Schema(channels=[MemberChannel]))
    assert "type MemberEvent implements ChannelEvent {" in sdl
    assert '  member(id: ID!, after: String): MemberEvent! @rxgraphql(app: "chat")\n' in sdl
    assert "type Query {\n  member(id: ID!): Member\n}" in sdl
    for line in (
        "  kind: ChannelEventKind!",
        "  cursor: String!",
        "  removed: [ID!]!",
        "  lists: [ListChange!]!",
        "  members: [Member!]!",
        "  roomOfMembers: [RoomOfMember!]!",
        "  state: Member\n",
        "  chatRooms: [RoomOfMember!]!",
    ):
        assert line in sdl
    assert '"""The same tables from the other end of the link."""\ntype Member {' in sdl
    assert "type Message " not in sdl


def test_sdl_names_apps_only_in_text(schema: Schema) -> None:
    """Which app a channel is of stands in the SDL, for the frontend's modules; introspection doesn't tell it."""
    assert '@rxgraphql(app: "chat")' in print_sdl(schema)
    assert '"chat"' not in json.dumps(introspection_from_schema(schema._schema))


def test_a_channel_outside_of_apps_has_none() -> None:
    """A channel whose module is in no installed app is without a label, and the SDL is complete all the same."""
    with own_channels():

        class AwayChannel(Open):
            class Meta:
                anchor = MemberSerializer()

        sdl = print_sdl(Schema(channels=[AwayChannel]))
    assert "AwayEvent!\n" in sdl
    assert "@rxgraphql" not in sdl


def test_arguments_keep_their_order() -> None:
    """Arguments stand in the SDL as they are written, which is the order of the generated constructors."""
    with own_channels():

        class OrderedChannel(Open):
            class Meta:
                anchor = MemberSerializer()

            def get_object(self, zone: str, area: int | None = None) -> Any: ...  # type: ignore[override]

        assert "ordered(zone: String!, area: Int = null, after: String)" in print_sdl(
            Schema(channels=[OrderedChannel])
        )


def test_sdl_is_stable() -> None:
    """Two schemas of the same channels print the same bytes, in whatever order they were given."""
    one = print_sdl(Schema(channels=[MemberChannel, RoomChannel]))
    assert one == print_sdl(Schema(channels=[RoomChannel, MemberChannel]))
    assert one.endswith("}\n")


def test_users_types_stay() -> None:
    """Fields of the user's own root types are beside the channels', under the types' own names and descriptions."""

    @strawberry.type(name="Root", description="Mine.")
    class Query:
        @strawberry.field
        def hello(self) -> str:
            return "hello"

    @strawberry.type
    class Mutation:
        @strawberry.mutation
        def noop(self) -> bool:
            return True

    made = Schema(query=Query, mutation=Mutation, channels=[MemberChannel])
    sdl = print_sdl(made)
    assert '"""Mine."""\ntype Root {\n  hello: String!\n  member(id: ID!): Member\n}' in sdl
    assert "type Mutation {" in sdl
    assert made.execute_sync("{ hello }").data == {"hello": "hello"}


def test_users_names_are_followed(schema: Schema) -> None:
    """With auto_camel_case off the generated names are Python's, in the schema, in documents and in `lists`."""
    made = Schema(channels=[MemberChannel], config=StrawberryConfig(auto_camel_case=False))
    assert "  chat_rooms: [RoomOfMember!]!" in print_sdl(made)
    snake = Schema(channels=[RoomChannel], config=StrawberryConfig(auto_camel_case=False))
    operation = snake.prepare(
        'subscription { room(name: "a") { pinned_messages { id } messages { room_name } lists { field } } }'
    )
    assert isinstance(operation, Operation)
    assert operation.projection is not None
    event = operation.projection.snapshot(RoomReplica().replica, lambda: "here").data["room"]
    assert event["messages"][0] == {"room_name": "some text"}


def test_no_channel_and_no_query() -> None:
    """A schema of nothing says what to write."""
    (fault,) = faults_of(channels=())
    assert "Write a StateChannel" in fault


def test_takes_what_strawberry_takes() -> None:
    """Extensions, directives, types and the rest go through to Strawberry."""
    seen: list[str] = []

    class Seen(SchemaExtension):
        def on_operation(self) -> Iterator[None]:
            seen.append(self.execution_context.query or "")
            yield

    @strawberry.type
    class Extra:
        word: str

    made = Schema(channels=[MemberChannel], extensions=[Seen], types=[Extra])
    assert made.execute_sync("{ __typename }").data == {"__typename": "Query"}
    assert seen == ["{ __typename }"]
    assert "type Extra" in print_sdl(made)


def test_extensions_see_subscriptions() -> None:
    """Where the user's own code may look at operations, a channel's subscription doesn't pass it by."""

    class Nothing(SchemaExtension):
        pass

    operation = Schema(channels=[RoomChannel], extensions=[Nothing]).prepare(WATCH, {"name": "a"})
    assert isinstance(operation, Operation)
    assert operation.channel is None


def test_prepared_subscription(schema: Schema) -> None:
    """A channel's subscription comes with its channel, its arguments in Python and its projection."""
    operation = schema.prepare(WATCH, {"name": "lobby"}, "Watch")
    assert isinstance(operation, Operation)
    assert operation.channel is RoomChannel
    assert operation.arguments == {"name": "lobby"}
    again = schema.prepare(WATCH.replace("Watch", "Other"), {"name": "attic"})
    assert isinstance(again, Operation)
    assert again.projection is operation.projection
    assert again.audience_key == operation.audience_key


def test_prepared_cursor_is_accepted(schema: Schema) -> None:
    """`after` is an argument of the field and not of the channel."""
    operation = schema.prepare('subscription { room(name: "a", after: "x") { kind } }')
    assert isinstance(operation, Operation)
    assert operation.arguments == {"name": "a"}


@pytest.mark.parametrize(
    "query",
    ["{ __typename }", 'query { room(name: "a") { id } }', "{ __schema { types { name } } }"],
)
def test_prepared_other_operations(schema: Schema, query: str) -> None:
    """Queries run the ordinary way."""
    operation = schema.prepare(query)
    assert isinstance(operation, Operation)
    assert operation.channel is None


@pytest.fixture
def fresh_schema() -> Iterator[None]:
    reset_schema()
    yield
    reset_schema()


def test_project_schema(fresh_schema: None) -> None:
    """Without RX_SCHEMA all channels make the schema, once."""
    assert get_schema() is get_schema()
    assert "type RoomEvent" in print_sdl(get_schema())


def test_project_schema_by_name(fresh_schema: None) -> None:
    """RX_SCHEMA names the project's own; what isn't one is told."""
    with override_settings(RX_SCHEMA="tests.no_channels.schema"):
        assert "type Mutation" in print_sdl(get_schema())
    reset_schema()
    for path, told in (
        ("tests.no_channels.nothing", "can't be imported"),
        ("tests.plain_schema_of_strawberry.schema", "can't be imported"),
        ("tests.no_channels.Query", "is a type"),
    ):
        with override_settings(RX_SCHEMA=path), pytest.raises(ConfigurationError, match=told):
            get_schema()


def test_public_names() -> None:
    """The package's own names lead to what is here."""
    assert rxgraphql.Schema is Schema
    assert rxgraphql.type_for is type_for
    assert type_for(MessageSerializer) is type_for(MessageSerializer)


async def test_concurrent_first_use(schema: Schema) -> None:
    """Many threads that prepare the same document at once get the same projection."""
    query = 'subscription { room(name: "a") { kind users { id } tags { id } } }'
    found = await asyncio.gather(*(asyncio.to_thread(schema.prepare, query) for _ in range(8)))
    assert (
        len({id(operation.projection) for operation in found if isinstance(operation, Operation)})
        == 1
    )
