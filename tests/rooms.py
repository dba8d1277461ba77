"""A replica of a chat room that never was in a database: any size, and entries of the log for it."""

from __future__ import annotations

from typing import Any

from rxgraphql.change import Change
from rxgraphql.log import Entry
from rxgraphql.replica import Replica
from rxgraphql.rows import Row
from rxgraphql.snapshot import Loaded, Wanted
from rxgraphql.tree import NodeType
from tests.chat.channels import RoomChannel

SAMPLES = {"Int": 1, "DateTime": "2026-11-24T10:00:00Z", "List": ["a", "b"]}


def node_type(name: str) -> NodeType:
    return next(found for found in RoomChannel.tree.all_types if found.name == name)


def make_row(name: str, values: dict[str, Any], hidden: dict[str, Any]) -> Row:
    found = node_type(name)
    return Row(
        tuple(
            values.get(
                field.name,
                None if field.type.nullable else SAMPLES.get(field.type.kind, "some text"),
            )
            for field in found.fields
        ),
        tuple(hidden.get(column) for column in found.hidden),
        True,
    )


class Room:
    """Room 1: `users` members, `messages` messages in turn by each of them, `reactions` reactions on each message."""

    def __init__(self, users: int = 3, messages: int = 4, reactions: int = 2) -> None:
        loaded = Loaded()
        edges = {(edge.parent.name, edge.name): edge for edge in RoomChannel.tree.edges()}

        def add(name: str, pk: str, **hidden: Any) -> None:
            found = node_type(name)
            loaded.rows[found.key(pk)] = (found, pk, make_row(name, {}, hidden))

        add("Room", "1", pinned_id="0")
        add("Pinned", "0")
        for user in range(users):
            add("User", str(user))
        loaded.lists[edges["Room", "members"], "1"] = [str(user) for user in range(users)]
        loaded.lists[edges["Room", "messages"], "1"] = [str(i) for i in range(messages)]
        for message in range(messages):
            author = str(message % users)
            add("Message", str(message), **message_columns(message, author))
            keys = [str(message * reactions + i) for i in range(reactions)]
            for key in keys:
                add("Reaction", key, message_id=str(message), user_id=str(int(key) % users))
            loaded.lists[edges["Message", "reactions"], str(message)] = keys
        complete(loaded)
        self.replica = Replica(RoomChannel(), "1")
        self.replica.replace(loaded, 0, 1)
        self._ticket = 1

    def commit(self, *rows: tuple[str, str, Row | None]) -> Change:
        """One commit of (type, key, row or None), and what has to be loaded for it."""
        entry = Entry(layout="", rows={})
        for name, pk, row in rows:
            entry.rows.setdefault(name, {})[pk] = row
        entry.ticket = entry.end = self._ticket = self._ticket + 1
        wanted = self.replica.apply(entry, True)
        while wanted:
            wanted = self.replica.absorb(self._load(wanted, entry), entry.ticket, entry.end)
        return self.replica.finish()

    def _load(self, wanted: Wanted, entry: Entry) -> Loaded:
        """What the database would give after the commit: its rows, and the lists as they are."""
        loaded, nodes = Loaded(), self.replica.nodes
        for found, pks in wanted.rows.items():
            for pk in pks:
                held = nodes.get(found.key(pk))
                row = entry.rows.get(found.name, {}).get(pk, held.row if held else None)
                loaded.rows[found.key(pk)] = (found, pk, row)
        for edge, pks in wanted.lists.items():
            for pk in pks:
                held = nodes[edge.parent.key(pk)]
                loaded.lists[edge, pk] = [child.pk for child in held.child_nodes(edge)]
        return loaded

    def set(self, name: str, pk: str, **values: Any) -> Change:
        return self.commit((name, pk, self.changed(name, pk, values)))

    def changed(
        self, name: str, pk: str, values: dict[str, Any], hidden: dict[str, Any] | None = None
    ) -> Row:
        """The node's row, with some values or hidden columns replaced."""
        found = node_type(name)
        row = self.replica.nodes[found.key(pk)].row
        assert row.values is not None
        old_values = dict(zip((field.name for field in found.fields), row.values, strict=True))
        old_hidden = dict(zip(found.hidden, row.hidden, strict=True))
        return make_row(name, old_values | values, old_hidden | (hidden or {}))


def complete(loaded: Loaded) -> None:
    """Adds what a load would bring too: empty lists, and the rows that only stand behind others."""
    for found, pk, row in list(loaded.rows.values()):
        assert row is not None
        for edge in found.edges:
            if edge.kind != "forward":
                loaded.lists.setdefault((edge, pk), [])
            elif edge.child.is_virtual and (target := row.hidden[edge.column]) is not None:
                loaded.rows[edge.child.key(target)] = (edge.child, target, Row((), (), True))


def message_columns(position: int, author: str) -> dict[str, Any]:
    return {"room_id": "1", "author_id": author, "position": position, "created": 0}
