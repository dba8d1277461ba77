"""What a replica's last changes were, so that whoever holds one of its former states can be brought up to date.

    change -> Moment -> since(serial) -> one Change: the difference between the state then and the state now

Newest wins: of a node that changed ten times the change tells the last value, once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from rxgraphql.change import ALL, Change, list_changes

if TYPE_CHECKING:
    from rxgraphql.graph import Graph

# Nodes and list places that are remembered, all moments together: as many as the graph has nodes, since beyond that a
# snapshot is as cheap, within these bounds
LEAST_REMEMBERED: Final = 1_000
MOST_REMEMBERED: Final = 20_000


class History:
    """The last changes of one replica. `serial` counts them, and names the state that each led to."""

    def __init__(self) -> None:
        self.serial = 0
        self._moments: deque[Change] = deque()
        self._size = 0

    @property
    def oldest(self) -> int:
        """The serial of the oldest state from which the way is still known."""
        return self.serial - len(self._moments)

    def record(self, change: Change, graph: Graph) -> None:
        self.serial += 1
        self._moments.append(change)
        self._size += _size(change)
        most = min(MOST_REMEMBERED, max(LEAST_REMEMBERED, len(graph.nodes)))
        while self._size > most:
            self._size -= _size(self._moments.popleft())

    def restart(self) -> None:
        """The state was loaded anew: no way leads there from the ones before."""
        self.serial += 1
        self._moments.clear()
        self._size = 0

    def since(self, serial: int, graph: Graph) -> Change | None:
        """The difference between the state of that serial and the graph as it is; None if it isn't known any more."""
        if serial < self.oldest:
            return None
        skipped = len(self._moments) - (self.serial - serial)
        moments = [moment for i, moment in enumerate(self._moments) if i >= skipped]
        if len(moments) == 1:
            return moments[0]
        return _merged(moments, graph)


def _size(change: Change) -> int:
    places = sum(len(moved) for moved in change.moved.values())
    return 1 + len(change.fields) + len(change.edges) + len(change.removed) + places


def _merged(moments: list[Change], graph: Graph) -> Change:
    """Nodes are told apart by identity: one that was deleted and made anew under its key is removed, and added."""
    whole = Change()
    came: set[object] = set()
    errors: dict[str, str] = {}
    for moment in moments:
        came |= moment.added
        for node, mask in moment.fields.items():
            whole.fields[node] = whole.fields.get(node, 0) | mask
        for node, mask in moment.edges.items():
            whole.edges[node] = whole.edges.get(node, 0) | mask
        # what came and went meanwhile was never held by whoever asks
        whole.removed += [node for node in moment.removed if node not in came]
        for at, moved in moment.moved.items():
            places = whole.moved.setdefault(at, {})
            for node, was_in in moved.items():
                places.setdefault(node, was_in)
        errors.update(moment.errors)
    held = graph.nodes
    for masks in (whole.fields, whole.edges):
        for node in [node for node in masks if held.get(node.key) is not node]:
            del masks[node]
    whole.added = {node for node, mask in whole.fields.items() if mask == ALL and node in came}
    whole.moved = {at: moved for at, moved in whole.moved.items() if held.get(at[0].key) is at[0]}
    for (parent, edge), moved in whole.moved.items():
        whole.lists += list_changes(parent, edge, moved, parent.children[edge.index])
    whole.errors = list(errors.items())
    return whole
