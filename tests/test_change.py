"""The changes of a list, as a client applies them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rxgraphql.change import ListChange, Moved, list_changes


def apply(changes: Iterable[ListChange], keys: list[str]) -> list[str]:
    """In the words of the schema: take `removed` out, then insert `inserted` at `index` if absent."""
    for change in changes:
        keys = [key for key in keys if key not in change.removed]
        new = [key for key in change.inserted if key not in keys]
        keys[change.index : change.index] = new
    return keys


@dataclass(frozen=True)
class Node:
    key: str


PARENT: Any = Node("Room:1")
EDGE: Any = "messages"
NODES = [Node(f"Message:{number}") for number in range(8)]


@given(
    before=st.lists(st.sampled_from(NODES), unique=True),
    after=st.lists(st.sampled_from(NODES), unique=True),
    more=st.sets(st.sampled_from(NODES)),
)
def test_applied_twice(before: list[Any], after: list[Any], more: set[Any]) -> None:
    """They turn the old list into the new one; applied again, whole, they change nothing."""
    moved = (set(before) ^ set(after)) | more
    if [n for n in before if n not in moved] != [n for n in after if n not in moved]:
        moved |= set(after)
    places: Moved = {node: node in before for node in moved}
    changes = list_changes(PARENT, EDGE, places, after)
    wanted = [node.key for node in after]
    once = apply(changes, [node.key for node in before])
    assert once == wanted
    assert apply(changes, once) == wanted
