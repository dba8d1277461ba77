"""What happened between two states that were served: the journal of an event, and the change that it comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from rxgraphql.graph import Node
    from rxgraphql.rows import Row
    from rxgraphql.tree import Edge

# a mask with every bit: an added node
ALL = -1
# node -> whether the list had it before: all that may have changed its place in one list
Moved = dict["Node", bool]


@dataclass(frozen=True, slots=True)
class ListChange:
    """What moved inside one list: take `removed` out, then insert `inserted` at `index`."""

    node: str
    edge: Edge
    index: int
    removed: tuple[str, ...]
    inserted: tuple[str, ...]


@dataclass(slots=True)
class Change:
    """One event: the difference between two states that were served."""

    # bit i: the value of type.fields[i] changed; ALL for an added node
    fields: dict[Node, int] = field(default_factory=dict)
    # bit i: the children of type.edges[i] changed; ALL for an added node
    edges: dict[Node, int] = field(default_factory=dict)
    added: set[Node] = field(default_factory=set)
    removed: list[Node] = field(default_factory=list)
    lists: list[ListChange] = field(default_factory=list)
    # what `lists` was made of
    moved: dict[tuple[Node, Edge], Moved] = field(default_factory=dict)
    # (key, what went wrong): the node keeps its last values
    errors: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.fields or self.edges or self.removed or self.errors)


class Journal:
    """What nodes were before the event, noted at the first touch of each."""

    def __init__(self) -> None:
        self.rows: dict[Node, Row] = {}
        self.children: dict[tuple[Node, Edge], Any] = {}
        # keys that may have changed their place in a list
        self.moved: dict[tuple[Node, Edge], set[Node]] = {}
        self.added: dict[Node, None] = {}
        self.removed: dict[Node, None] = {}
        # nodes that lost a holder
        self.released: dict[Node, None] = {}
        self.errors: dict[str, str] = {}
        # nodes that could not be serialized before, and can be now
        self.recovered: dict[Node, None] = {}

    def touch(self, parent: Node, edge: Edge) -> None:
        if (parent, edge) not in self.children:
            held = parent.children[edge.index]
            self.children[parent, edge] = list(held) if edge.many else held


def differing(old: tuple[Any, ...] | None, new: tuple[Any, ...] | None) -> int:
    if old is None or new is None:
        return ALL
    mask = 0
    for i, (before, after) in enumerate(zip(old, new, strict=True)):
        if not _same(before, after):
            mask |= 1 << i
    return mask


def _same(before: Any, after: Any) -> bool:
    """Equal on the wire too: True == 1 and 1 == 1.0 in Python only."""
    if before is after:
        return True
    if before != after or type(before) is not type(after):
        return False
    return not isinstance(before, dict | list) or orjson.dumps(before) == orjson.dumps(after)


def list_changes(parent: Node, edge: Edge, moved: Moved, after: list[Node]) -> list[ListChange]:
    """Take all that moved out, then put it in, one run of neighbours at a time, from the front."""
    out = [node.key for node, was_in in moved.items() if was_in]
    taken = set(out)
    if any(node in moved and node.key in taken for node in after):
        # What is new goes out as well, or a second application would put what only moved before it
        out += [node.key for node in after if node in moved and node.key not in taken]
    changes: list[ListChange] = []
    run: list[str] = []
    at = 0
    for index, node in enumerate(after):
        if node in moved:
            if not run:
                at = index
            run.append(node.key)
        elif run:
            changes.append(ListChange(parent.key, edge, at, (), tuple(run)))
            run = []
    if run:
        changes.append(ListChange(parent.key, edge, at, (), tuple(run)))
    if not changes:
        return [ListChange(parent.key, edge, 0, tuple(out), ())] if out else []
    first = changes[0]
    changes[0] = ListChange(first.node, edge, first.index, tuple(out), first.inserted)
    return changes
