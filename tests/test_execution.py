from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject

from rxgraphql.execution import ChannelExecutor, viewer
from rxgraphql.schema import (
    Operation,
    Schema,
)
from tests.rooms import Room as RoomReplica

WATCH = "subscription Watch($name: String!) { room(name: $name) { kind messages { id text } } }"


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


async def test_events_leave_nothing_behind(schema: Schema) -> None:
    """A living subscription doesn't grow with its events, whichever release of graphql-core runs it."""
    room = RoomReplica()
    operation = schema.prepare(WATCH, {"name": "a"})
    assert isinstance(operation, Operation)
    assert operation.projection is not None
    payload = operation.projection.snapshot(room.replica, lambda: "here")
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
        found = (await viewer(context)).user
        assert found.username == "ada"
    assert isinstance((await viewer(None)).user, AnonymousUser)
