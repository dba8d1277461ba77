"""A load of the whole state, put into an empty graph at once, is what it would be piece by piece."""

from __future__ import annotations

from typing import Any

import pytest

from rxgraphql.replica import Replica
from rxgraphql.rows import Row
from rxgraphql.snapshot import Loaded, load
from tests.changes import World
from tests.chat.channels import RoomChannel
from tests.chat.models import Message
from tests.rooms import Room


def held(replica: Replica) -> dict[str, Any]:
    """All that a replica is, by keys, in order."""
    return {
        "nodes": {
            key: (
                node.row,
                (node.start, node.end),
                [[child.key for child in node.child_nodes(edge)] for edge in node.type.edges],
                {edge: {parent.key for parent in at} for edge, at in node.held_by.items()},
            )
            for key, node in replica.nodes.items()
        },
        "broken": replica.broken,
        "stale": replica.stale,
        "dangling": {
            key: {node.key for node in nodes} for key, nodes in replica._dangling.items() if nodes
        },
        "loaded_end": replica.loaded_end,
    }


def piece_by_piece(loaded: Loaded, pk: str) -> Replica:
    replica = Replica(RoomChannel(), pk)
    replica._begin()
    replica.absorb(loaded, 3, 7)
    replica._let_go()
    return replica


def both(loaded: Loaded, pk: str) -> dict[str, Any]:
    replica = Replica(RoomChannel(), pk)
    replica.replace(loaded, 3, 7)
    found = held(replica)
    assert found == held(piece_by_piece(loaded, pk))
    return found


def made(room: Room) -> Loaded:
    """What a load would have given for the room."""
    loaded = Loaded()
    for key, node in reversed(room.replica.nodes.items()):
        loaded.rows[key] = (node.type, node.pk, node.row)
        for edge in node.type.edges:
            if edge.kind != "forward":
                loaded.lists[edge, node.pk] = [child.pk for child in node.child_nodes(edge)]
    return loaded


def test_whole() -> None:
    """Rows in any order, lists in order."""
    room = Room()
    assert set(both(made(room), "1")["nodes"]) == set(room.replica.nodes)


def test_nothing() -> None:
    """An anchor that is gone leaves nothing."""
    loaded = Loaded(rows={"Room:1": (RoomChannel.tree.root, "1", None)})
    assert both(loaded, "1")["nodes"] == {}


@pytest.mark.parametrize("key", ["Message:1", "User:1", "Reaction:0", "Pinned:0", "Room:1"])
def test_row_that_failed(key: str) -> None:
    """A row that was not serialized is left out, with all that can't be without it and all below it alone."""
    loaded = made(Room())
    node_type, pk, row = loaded.rows[key]
    assert row is not None
    loaded.rows[key] = (node_type, pk, Row(None, row.hidden, row.visible, "failed"))
    assert key in both(loaded, "1")["broken"]


@pytest.mark.parametrize("key", ["Message:1", "User:1", "Reaction:0", "Pinned:0"])
def test_row_that_is_missing(key: str) -> None:
    """Who points at a row that is not there is known, and lists are without it."""
    loaded = made(Room())
    del loaded.rows[key]
    assert key not in both(loaded, "1")["nodes"]


@pytest.mark.django_db(transaction=True)
def test_database() -> None:
    """So it is with what is read from the database."""
    world = World()
    Message.everything.filter(pk=world.first.pk).update(hidden=True)
    replica = Replica(RoomChannel(), str(world.room.pk))
    assert len(both(load(replica.wish()), str(world.room.pk))["nodes"]) > 5
