from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import strawberry
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User

from rxgraphql.hub import get_hub
from rxgraphql.schema import (
    Operation,
    Schema,
)
from tests.chat.models import Message, Room
from tests.chat.serializers import RoomSerializer

WATCH = "subscription Watch($name: String!) { room(name: $name) { kind messages { id text } } }"


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


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
