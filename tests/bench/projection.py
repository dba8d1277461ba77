"""A compiled projection with its JSON beside graphql-core, which is given projected data and makes no JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from graphql import parse, validate

from rxgraphql.projection import Payload
from rxgraphql.schema import Operation, Schema
from tests.bench.case import Case
from tests.rooms import Room

DOCUMENTS = {
    "lists": """
        subscription { room(name: "a") {
            kind cursor removed lists { node field index removed inserted }
            rooms { id name topic pinned { id text } }
            messages {
                id text position created editor editorName roomName tagNames shout
                author { id username firstName } reactions { id }
            }
            reactions { id emoji user { id } }
            users { id username firstName }
        } }
    """,
    "nested": """
        subscription { room(name: "a") { kind state {
            id name topic members { id username } pinned { id }
            messages {
                id text position created author { id username firstName }
                reactions { id emoji user { id username } }
            }
        } } }
    """,
}


def cases() -> Iterable[Case]:
    schema, room = Schema(), Room(users=100, messages=2500, reactions=3)
    change = room.set("Message", "7", text="edited")
    for name, query in DOCUMENTS.items():
        operation = schema.prepare(query)
        assert isinstance(operation, Operation)
        assert operation.projection is not None
        for what, make, times in (
            (
                "10,102 nodes",
                partial(operation.projection.snapshot, room.replica, lambda: "cursor"),
                1,
            ),
            (
                "one row",
                partial(operation.projection.change, change, room.replica, lambda: "cursor"),
                20 if name == "lists" else 1,
            ),
        ):
            payload = make()
            assert payload is not None
            yield Case(
                f"projection, {name}: {what}",
                partial(microseconds, partial(encoded, make), times),
                partial(microseconds, execution(schema, query, payload), times),
                unit="µs",
                rounds=3 if times == 1 else 7,
            )
    query = DOCUMENTS["lists"]
    yield Case(
        "a known document prepared, beside parsed and validated",
        partial(microseconds, partial(schema.prepare, query), 20),
        partial(microseconds, lambda: validate(schema._schema, parse(query)), 20),
        unit="µs",
    )


def encoded(make: Callable[[], Payload | None]) -> bytes:
    payload = make()
    assert payload is not None
    return payload.body


def execution(schema: Schema, query: str, payload: Payload) -> Callable[[], Any]:
    """What graphql-core does for one event of one subscriber."""
    executor: Any = schema.execution_context_class.build(schema._schema, parse(query))

    def execute() -> Any:
        result = executor.build_per_event_executor(payload.field).execute_operation(False)
        assert payload.data == result.data
        return result

    return execute


def microseconds(function: Callable[[], Any], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - start) / times * 1e6
