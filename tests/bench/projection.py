"""A compiled projection beside graphql-core on the same data: `python -m tests.bench.projection`, best of several runs.

The plain path is what Strawberry does for each subscriber, given data that is projected already: the least it can cost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from graphql import parse  # noqa: E402

from rxgraphql.replica import Change, Replica  # noqa: E402
from rxgraphql.rows import Row  # noqa: E402
from rxgraphql.schema import Operation, Schema  # noqa: E402
from rxgraphql.snapshot import Loaded  # noqa: E402
from tests.chat.channels import RoomChannel  # noqa: E402

USERS, MESSAGES, REACTIONS = 100, 2500, 3

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
    "state": """
        subscription { room(name: "a") { kind state {
            id name topic members { id username } pinned { id }
            messages {
                id text position created author { id username firstName }
                reactions { id emoji user { id username } }
            }
        } } }
    """,
}


def replica() -> Replica:
    """A room of 10,102 nodes that never was in a database."""
    tree = RoomChannel.tree
    types = {node_type.name: node_type for node_type in tree.all_types}
    edges = {(edge.parent.name, edge.name): edge for edge in tree.edges()}
    loaded = Loaded()

    def add(name: str, pk: str, **hidden: Any) -> None:
        node_type = types[name]
        kinds = {"Int": 1, "List": ["a", "b"]}
        values = tuple(
            None if field.type.nullable else kinds.get(field.type.kind, "some text")
            for field in node_type.fields
        )
        row = Row(values, tuple(hidden.get(column) for column in node_type.hidden), True)
        loaded.rows[node_type.key(pk)] = (node_type, pk, row)

    add("Room", "1", pinned_id="1")
    add("Pinned", "1")
    for user in range(USERS):
        add("User", str(user))
    loaded.lists[edges["Room", "members"], "1"] = [str(user) for user in range(USERS)]
    for message in range(MESSAGES):
        author = str(message % USERS)
        add("Message", str(message), room_id="1", author_id=author, position=message, created=0)
        reactions = [str(message * REACTIONS + i) for i in range(REACTIONS)]
        for reaction in reactions:
            user = str(int(reaction) % USERS)
            add("Reaction", reaction, message_id=str(message), user_id=user)
        loaded.lists[edges["Message", "reactions"], str(message)] = reactions
    loaded.lists[edges["Room", "messages"], "1"] = [str(i) for i in range(MESSAGES)]
    made = Replica(RoomChannel(), "1")
    made.replace(loaded, 0, 1)
    return made


def best(function: Callable[[], object], seconds: float = 1.0) -> float:
    """Milliseconds of the fastest run."""
    fastest, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        function()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest * 1000


def main() -> None:
    schema, room = Schema(), replica()
    print(f"{len(room.nodes)} nodes")
    for name, query in DOCUMENTS.items():
        operation = schema.prepare(query)
        assert isinstance(operation, Operation)
        projection = operation.projection
        assert projection is not None
        executor = schema.execution_context_class.build(schema._schema, parse(query))
        assert not isinstance(executor, list)
        change = Change(fields={room.nodes["Message:7"]: 1})
        print(f"{name}: prepare again {best(lambda: schema.prepare(query)) * 1000:.0f} µs")
        for what, make in {
            "snapshot": lambda: projection.snapshot(room, "cursor"),
            "one row": lambda: projection.change(change, room, "cursor"),
        }.items():
            payload: Any = make()

            def plain(payload: Any = payload, executor: Any = executor) -> Any:
                return executor.build_per_event_executor(payload.field).execute_operation(False)

            assert plain().data == payload.data
            ours, theirs = best(lambda: make().body), best(plain)  # noqa: B023
            print(
                f"  {what}: {ours:.4f} ms with {len(payload.body)} bytes, "
                f"graphql-core {theirs:.4f} ms, {theirs / ours:.0f}x"
            )


if __name__ == "__main__":
    main()
