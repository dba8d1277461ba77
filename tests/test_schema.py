from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import strawberry
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.test import override_settings
from django.utils.functional import SimpleLazyObject
from graphql import get_introspection_query
from rest_framework import serializers
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig

import rxgraphql
from rxgraphql import StateChannel, type_for
from rxgraphql.channel import registry
from rxgraphql.document import MAX_CHARACTERS, MAX_DOCUMENTS, Documents
from rxgraphql.errors import ConfigurationError
from rxgraphql.execution import ChannelExecutor, viewer
from rxgraphql.hub import get_hub
from rxgraphql.schema import (
    Operation,
    PreparedError,
    Schema,
    get_schema,
    print_sdl,
    reset_schema,
)
from tests.chat.channels import MemberChannel, RoomChannel
from tests.chat.models import Message, Room, Tag
from tests.chat.serializers import MessageSerializer, RoomSerializer, TagSerializer
from tests.rooms import Room as RoomReplica

WATCH = "subscription Watch($name: String!) { room(name: $name) { kind messages { id text } } }"


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


@pytest.fixture
def own_channels() -> Iterator[None]:
    """Channels that the test defines are forgotten after it."""
    known = dict(registry._classes)
    yield
    for name, channel in list(registry._classes.items()):
        if name not in known:
            registry.remove(channel)


@strawberry.type(name="Message")
class OwnMessage:
    word: str


@strawberry.type
class QueryOfOwnMessage:
    message: OwnMessage | None = None


class Open(StateChannel):
    """A base for channels of tests."""

    abstract = True

    def has_permission(self, user: Any, instance: Any) -> bool:
        return True


def faults_of(*args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        Schema(*args, **kwargs)
    return [str(fault) for fault in raised.value.faults]


# ---------------------------------------------------------------------------------------------- what is in it


def test_sdl_of_a_channel() -> None:
    """A channel makes an event type, a subscription and a query, named and typed after it and its serializer."""
    sdl = print_sdl(Schema(channels=[MemberChannel]))
    assert "type MemberEvent implements ChannelEvent {" in sdl
    assert "  member(after: String, id: ID!): MemberEvent!\n" in sdl
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
    event = operation.projection.snapshot(RoomReplica().replica, "here").data["room"]
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


# ---------------------------------------------------------------------------------------------- faults


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


def test_list_with_the_name_of_an_event_field(own_channels: None) -> None:
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


def test_two_lists_of_one_name(own_channels: None) -> None:
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


def test_reserved_type_name(own_channels: None) -> None:
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


def test_two_fields_of_one_graphql_name(own_channels: None) -> None:
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


def test_all_faults_at_once(own_channels: None) -> None:
    """A schema with faulty channels isn't built, and every fault of every channel is told."""

    class FirstChannel(StateChannel):
        class Meta:
            anchor = TagSerializer()

    class SecondChannel(StateChannel):
        pass

    told = "\n".join(faults_of())
    assert told.count("has_permission() is missing") == 2
    assert "Meta.anchor is missing" in told


# ---------------------------------------------------------------------------------------------- preparing


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


CODES = [
    ("subscription {", {}, None, "GRAPHQL_PARSE_FAILED"),
    ("", {}, None, "GRAPHQL_PARSE_FAILED"),
    ("subscription { nothing { kind } }", {}, None, "GRAPHQL_VALIDATION_FAILED"),
    ("subscription { room { kind } }", {}, None, "GRAPHQL_VALIDATION_FAILED"),
    ("subscription { room(name: 3) { kind } }", {}, None, "GRAPHQL_VALIDATION_FAILED"),
    (WATCH, {"name": 3}, None, "BAD_USER_INPUT"),
    (WATCH, {}, None, "BAD_USER_INPUT"),
    (WATCH, {"name": "a"}, "Nothing", "BAD_USER_INPUT"),
    (WATCH + " query Q { __typename }", {"name": "a"}, None, "BAD_USER_INPUT"),
]


@pytest.mark.parametrize(("query", "variables", "name", "code"), CODES)
async def test_refused_documents(
    schema: Schema, query: str, variables: dict[str, Any], name: str | None, code: str
) -> None:
    """A document that can't be run gives an error with a code, prepared and through Strawberry alike."""
    prepared = schema.prepare(query, variables, name)
    assert isinstance(prepared, PreparedError)
    assert {error.extensions["code"] for error in prepared.errors if error.extensions} == {code}
    if query and name is None:
        stream: Any = await schema.subscribe(query, variables)
        (result,) = [result async for result in stream]
        assert [error.message for error in result.errors] == [e.message for e in prepared.errors]
        assert {error.extensions["code"] for error in result.errors} == {code}


# ---------------------------------------------------------------------------------------------- limits


def limit_of(schema: Schema, query: str) -> str:
    prepared = schema.prepare(query)
    assert isinstance(prepared, PreparedError), "not refused"
    (error,) = prepared.errors
    assert error.extensions == {"code": "LIMIT_EXCEEDED"}
    result = schema.execute_sync(query)
    assert [e.extensions for e in result.errors or ()] == [error.extensions]
    return error.message


def test_introspection_is_no_deep_document(schema: Schema) -> None:
    """GraphiQL's introspection passes the limits."""
    query = get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
    )
    with override_settings(RX_MAX_DEPTH=3):
        assert isinstance(schema.prepare(query), Operation)
        assert schema.execute_sync(query).errors is None


def test_limits(schema: Schema) -> None:
    """A document over a limit is refused before it is validated, and the setting is named."""
    with override_settings(RX_MAX_DEPTH=3):
        nested = 'subscription { room(name: "a") { state { messages { id } } } }'
        assert "RX_MAX_DEPTH" in limit_of(schema, nested)
        spread = (
            'subscription { room(name: "a") { ...A } } fragment A on RoomEvent { state { ...B } } '
            "fragment B on Room { messages { id } }"
        )
        assert "RX_MAX_DEPTH" in limit_of(schema, spread)
    assert isinstance(schema.prepare(nested), Operation)
    aliases = " ".join(f"a{i}: __typename" for i in range(51))
    assert isinstance(schema.prepare(f"{{ {aliases} }}"), Operation)
    aliases = " ".join(f'a{i}: room(name: "a") {{ id }}' for i in range(51))
    assert "RX_MAX_ALIASES" in limit_of(schema, f"{{ {aliases} }}")
    assert "RX_MAX_TOKENS" in limit_of(schema, "{ " + "a " * 2000 + "}")


def test_hostile_documents(schema: Schema) -> None:
    """Deep nesting, fragments that double and repeated fields are refused, and soon."""
    assert "too deeply" in limit_of(schema, "{ a " * 900 + "}" * 900)
    assert "too deeply" in limit_of(schema, "{ room(name: " + "[" * 900 + "]" * 900 + ") { id } }")
    laughs = " ".join(f"fragment A{i} on Room {{ ...A{i + 1} ...A{i + 1} }}" for i in range(100))
    laughs = '{ room(name: "a") { ...A0 } } ' + laughs + " fragment A100 on Room { id }"
    assert "RX_MAX_TOKENS" in limit_of(schema, laughs)
    repeated = '{ room(name: "a") { ' + "members { id } " * 450 + "} }"
    assert "too often" in limit_of(schema, repeated)
    circle = '{ room(name: "a") { ...A } } fragment A on Room { ...B } fragment B on Room { ...A }'
    prepared = schema.prepare(circle)
    assert isinstance(prepared, PreparedError)
    assert prepared.errors[0].extensions == {"code": "GRAPHQL_VALIDATION_FAILED"}


def test_documents_are_kept_within_bounds(schema: Schema) -> None:
    """The cache of documents forgets the least recently used beyond a number of them, and of characters."""
    documents = Documents(schema._schema)
    first = "query Q0 { __typename }"
    kept = documents.load(first)
    for i in range(1, MAX_DOCUMENTS):
        documents.load(f"query Q{i} {{ __typename }}")
    assert documents.load(first) is kept
    documents.load("query More { __typename }")
    assert len(documents) == MAX_DOCUMENTS
    assert documents.load(first) is kept
    documents.load("{ __typename } #" + "." * (MAX_CHARACTERS - 100))
    assert len(documents) < 10
    documents.load("{ nothing }")
    assert len(documents) < 10


# ---------------------------------------------------------------------------------------------- served


@pytest.fixture
async def lobby(transactional_db: None, redis_url: str) -> AsyncIterator[Room]:
    def make() -> Room:
        author = User.objects.create(username="ada")
        room = Room.objects.create(name="lobby")
        room.members.add(author)
        for position in range(3):
            Message.objects.create(room=room, author=author, text=f"m{position}", position=position)
        Room.objects.create(name="secret")
        return room

    yield await sync_to_async(make)()
    await get_hub().stop()


async def test_plain_subscription(schema: Schema, lobby: Room) -> None:
    """Strawberry's own `subscribe` gives the snapshot and the changes, the same as the hub's payloads."""
    stream: Any = await schema.subscribe(WATCH, {"name": "lobby"})
    operation = schema.prepare(WATCH, {"name": "lobby"})
    assert isinstance(operation, Operation)
    first = await anext(stream)
    assert first.errors is None
    assert first.data["room"]["kind"] == "SNAPSHOT"
    assert [message["text"] for message in first.data["room"]["messages"]] == ["m0", "m1", "m2"]
    assert operation.channel is not None
    assert operation.projection is not None
    subscriber = await get_hub().subscribe(
        operation.channel,
        operation.arguments,
        operation.projection,
        operation.audience_key,
        AnonymousUser(),
    )
    payload = await anext(subscriber)
    assert payload.data == first.data
    assert orjson.loads(payload.body) == {"data": first.data}
    # one audience for both ways
    assert len(next(iter(get_hub().replicas.values())).audiences) == 1

    @sync_to_async
    def edit() -> None:
        message = Message.objects.get(text="m1")
        message.text = "edited"
        message.save()

    await edit()
    change = await anext(stream)
    assert (await anext(subscriber)).data == change.data
    assert [message["text"] for message in change.data["room"]["messages"]] == ["edited"]
    assert get_hub().subscriber_count == 2
    await stream.aclose()
    await subscriber.aclose()
    assert get_hub().subscriber_count == 0


async def test_query_reads_once(schema: Schema, lobby: Room) -> None:
    """`Query.room` gives the nested state, without a subscription, equal to the serializer's output."""
    result = await schema.execute(
        """query ($name: String!) { hall: room(name: $name) { name messages { text author { username } } } }""",
        {"name": "lobby"},
    )
    assert result.errors is None
    data = await sync_to_async(lambda: RoomSerializer(lobby).data)()
    assert result.data == {
        "hall": {
            "name": "lobby",
            "messages": [
                {"text": m["text"], "author": {"username": m["author"]["username"]}}
                for m in data["messages"]
            ],
        }
    }


@pytest.mark.parametrize("name", ["nowhere", "secret"])
@pytest.mark.parametrize("kind", ["query", "subscription"])
async def test_refused_instances(schema: Schema, lobby: Room, name: str, kind: str) -> None:
    """An unknown and a forbidden instance give the same error, in a query and in a subscription."""
    fields = "id" if kind == "query" else "kind"
    query = f'{kind} {{ room(name: "{name}") {{ {fields} }} }}'
    context = {"user": SimpleNamespace(is_authenticated=True)}
    if kind == "query":
        result: Any = await schema.execute(query, context_value=context)
        assert result.data == {"room": None}
    else:
        (result,) = [r async for r in await schema.subscribe(query, context_value=context)]
        assert result.data is None
    (error,) = result.errors
    assert error.extensions == {"code": "NOT_FOUND"}
    assert error.message == "Room was not found, or you may not see it."
    assert error.path == ["room"]


async def test_failures_are_masked(
    schema: Schema, lobby: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in a generated field is INTERNAL to the client; its text is in the log alone."""

    async def read(*args: Any) -> Any:
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr(get_hub(), "read", read)
    result = await schema.execute('{ room(name: "lobby") { id } }')
    (error,) = result.errors or []
    assert error.extensions == {"code": "INTERNAL"}
    assert "1234" not in error.message
    assert "1234" in caplog.text


async def test_users_errors_stay(caplog: pytest.LogCaptureFixture) -> None:
    """The user's own resolvers keep Strawberry's behaviour, and clients' mistakes are not logged."""

    @strawberry.type
    class Query:
        @strawberry.field
        def fail(self) -> str:
            raise ValueError("mine")

    made = Schema(query=Query, channels=())
    result = await made.execute("{ fail }")
    assert [error.message for error in result.errors or ()] == ["mine"]
    assert "mine" in caplog.text
    caplog.clear()
    await made.execute("{ nothing }")
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_events_leave_nothing_behind(schema: Schema) -> None:
    """A living subscription doesn't grow with its events, whichever release of graphql-core runs it."""
    room = RoomReplica()
    operation = schema.prepare(WATCH, {"name": "a"})
    assert isinstance(operation, Operation)
    assert operation.projection is not None
    payload = operation.projection.snapshot(room.replica, "here")
    document = schema._documents.load(WATCH).document
    assert document is not None
    executor = ChannelExecutor.build(schema._schema, document, raw_variable_values={"name": "a"})
    assert isinstance(executor, ChannelExecutor)
    seen = set()
    for _ in range(50):
        event: Any = executor.build_per_event_executor(payload.field)
        assert event.execute_operation(False).data == payload.data
        assert event._relevant_sub_fields
        seen.add(id(event._relevant_sub_fields))
        del event
        gc.collect(0)
    assert executor._relevant_sub_fields == {}


# ---------------------------------------------------------------------------------------------- the viewer


@pytest.mark.django_db(transaction=True)
async def test_viewer() -> None:
    """The viewer is found in every kind of context, and a lazy user is loaded outside the event loop."""
    user = await User.objects.acreate(username="ada")

    def load() -> User:
        return User.objects.get(pk=user.pk)

    lazy = SimpleLazyObject(load)
    for context in (
        {"user": lazy},
        {"request": SimpleNamespace(user=lazy)},
        SimpleNamespace(request=SimpleNamespace(user=SimpleLazyObject(load))),
    ):
        found = await viewer(context)
        assert found.username == "ada"
    assert isinstance(await viewer(None), AnonymousUser)


# ---------------------------------------------------------------------------------------------- the project's schema


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
