"""What a replica's last changes were, so that whoever holds one of its former states can be brought up to date.

    record(change)     -> the state's serial and digest
    serial_of(digest)  -> which of our states showed the same as the one that a client holds
    since(serial)      -> one Change: the difference between the state then and the state now

Newest wins: of a node that changed ten times the change tells the last value, once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from rxgraphql.change import ALL, Change, list_changes
from rxgraphql.digest import Digest

if TYPE_CHECKING:
    from rxgraphql.graph import Graph

# Nodes and list places that are remembered, all moments together: as many as the graph has nodes, since beyond that a
# snapshot is as cheap, within these bounds
LEAST_REMEMBERED: Final = 1_000
MOST_REMEMBERED: Final = 20_000


class History:
    """The last changes of one graph. `serial` counts them, and names the state that each led to."""

    def __init__(self, graph: Graph, seed: str) -> None:
        self.serial = 0
        self._graph = graph
        self._moments: deque[Change] = deque()
        self._size = 0
        self._digest = Digest(graph, seed)
        # the last state that had the digest
        self._serials: dict[str, int] = {}

    @property
    def oldest(self) -> int:
        """The serial of the oldest state from which the way is still known."""
        return self.serial - len(self._moments)

    def record(self, change: Change) -> None:
        """The graph went through the change."""
        self.serial += 1
        self._moments.append(change)
        self._size += _size(change)
        most = min(MOST_REMEMBERED, max(LEAST_REMEMBERED, len(self._graph.nodes)))
        while self._size > most:
            self._size -= _size(self._moments.popleft())
        if self._digest.is_asked_for:
            self._digest.update(change)
            self.digest()
            while (first := next(iter(self._serials))) and self._serials[first] < self.oldest:
                del self._serials[first]

    def restart(self) -> None:
        """The graph was filled anew: no way leads there from the states before."""
        self.serial += 1
        self._moments.clear()
        self._size = 0
        self._digest.restart()
        self._serials.clear()

    def digest(self) -> str:
        """Of the state as it is now. From the first time on each state's is noted."""
        text = self._digest.text()
        # at the end, also if an older state had it
        self._serials.pop(text, None)
        self._serials[text] = self.serial
        return text

    def serial_of(self, digest: str) -> int | None:
        """The serial of a state that showed the same, if the way from there is known."""
        self.digest()
        serial = self._serials.get(digest)
        return None if serial is None or serial < self.oldest else serial

    def since(self, serial: int) -> Change | None:
        """The difference between the state of that serial and the one now; None if the way isn't known any more."""
        if serial < self.oldest:
            return None
        skipped = len(self._moments) - (self.serial - serial)
        moments = [moment for i, moment in enumerate(self._moments) if i >= skipped]
        if len(moments) == 1:
            return moments[0]
        return _merged(moments, self._graph)


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
