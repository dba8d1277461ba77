"""The nodes that one replica holds, and who holds whom.

Only moves: what is put where, taken out and let go is decided in replica.py. Every move is noted in the journal,
and the change of an event is the difference between what the journal noted and what is there in the end.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Iterable, Iterator
from typing import Any

from rxgraphql.change import ALL, Change, Journal, Moved, differing, list_changes
from rxgraphql.rows import Row
from rxgraphql.snapshot import Loaded
from rxgraphql.tree import Edge, NodeType


class Node:
    """One row of one node type, with what it leads to and who holds it.

    `start` and `end` are the interval of the ticket counter in which the row was read: (start, end].
    """

    __slots__ = ("children", "end", "held_by", "key", "pk", "row", "start", "type")

    def __init__(self, node_type: NodeType, pk: str, row: Row, start: int, end: int) -> None:
        self.type = node_type
        self.pk = pk
        self.key = node_type.key(pk)
        self.row = row
        self.start = start
        self.end = end
        # by edge.index: a list of nodes, or a node, or None
        self.children: list[Any] = [[] if edge.many else None for edge in node_type.edges]
        # a dict for its order
        self.held_by: dict[Edge, dict[Node, None]] = {}

    def __repr__(self) -> str:
        return f"<Node {self.key}>"

    def parents(self, edge: Edge) -> Iterable[Node]:
        """The nodes that hold it through the edge."""
        return self.held_by.get(edge, ())

    def child_nodes(self, edge: Edge) -> list[Node]:
        held = self.children[edge.index]
        if edge.many:
            nodes: list[Node] = held
            return nodes
        return [] if held is None else [held]


class Graph:
    """Nodes by key, below one root."""

    def __init__(self, root_key: str) -> None:
        self.root_key = root_key
        self.nodes: dict[str, Node] = {}
        self._journal = Journal()
        # nodes taken out of their lists because what they sort by changed: put back when all rows are known
        self._reorder: dict[tuple[Node, Edge], list[Node]] = {}

    @property
    def root(self) -> Node | None:
        return self.nodes.get(self.root_key)

    def by_type(self, node_type: NodeType) -> Iterator[Node]:
        return (node for node in self.nodes.values() if node.type is node_type)

    def _dropped(self, node: Node) -> None:
        """Called for each node that goes."""

    def _clear(self) -> None:
        """Lets all nodes go. Those that hold each other would wait for the garbage collector."""
        for node in self.nodes.values():
            node.held_by.clear()
        self.nodes.clear()

    def _fill(
        self, loaded: Loaded, broken: Container[str], start: int, end: int
    ) -> Iterator[tuple[Node, str]]:
        """Puts a load of the whole state into the empty graph: what `absorb()` does piece by piece, without noting
        anything, since there is no state before it to compare with. Gives who points at a key that is not held.
        """
        nodes = self.nodes
        for key, (node_type, pk, row) in loaded.rows.items():
            if row is not None and key not in broken:
                nodes[key] = Node(node_type, pk, row, start, end)
        for node in nodes.values():
            for edge in node.type.edges:
                if edge.kind != "forward":
                    continue
                target = node.row.hidden[edge.column]
                if target is None:
                    continue
                child = nodes.get(key := edge.child.key(str(target)))
                if child is None:
                    yield node, key
                    continue
                node.children[edge.index] = child
                child.held_by.setdefault(edge, {})[node] = None
        for (edge, parent_pk), pks in loaded.lists.items():
            parent = nodes.get(edge.parent.key(parent_pk))
            if parent is None or not pks:
                continue
            children = [child for pk in pks if (child := nodes.get(edge.child.key(pk))) is not None]
            if not edge.many:
                del children[1:]
                parent.children[edge.index] = children[0] if children else None
            else:
                if edge.computable and len(children) > 1:
                    children.sort(key=edge.sort_key)
                parent.children[edge.index] = children
            for child in children:
                child.held_by.setdefault(edge, {})[parent] = None
        self._journal.released = dict.fromkeys(n for n in nodes.values() if not n.held_by)

    def _held(self, parent: Node, edge: Edge) -> list[Node]:
        """The children, those included that are out of their list for a moment."""
        return [*parent.child_nodes(edge), *self._reorder.get((parent, edge), ())]

    def _put_in_order(self) -> None:
        for (parent, edge), nodes in self._reorder.items():
            for node in nodes:
                if parent in node.held_by.get(edge, ()):
                    insort(parent.children[edge.index], node, key=edge.sort_key)
        self._reorder = {}

    def _add(self, node_type: NodeType, pk: str, row: Row, start: int, end: int) -> Node:
        node = Node(node_type, pk, row, start, end)
        self.nodes[node.key] = node
        self._journal.added[node] = None
        # looked at in the end: if nobody came to hold it, it goes
        self._journal.released[node] = None
        return node

    def _place(self, parent: Node, edge: Edge, child: Node) -> None:
        """Puts the child where its order says. A single reverse reference replaces what was there."""
        if parent in child.held_by.get(edge, ()):
            return
        if not edge.many:
            current: Node | None = parent.children[edge.index]
            if current is not None:
                self._unhold(parent, edge, current)
            self._hold(parent, edge, child)
            return
        self._journal.touch(parent, edge)
        self._journal.moved.setdefault((parent, edge), set()).add(child)
        insort(parent.children[edge.index], child, key=edge.sort_key)
        child.held_by.setdefault(edge, {})[parent] = None

    def _hold(self, parent: Node, edge: Edge, child: Node) -> None:
        self._journal.touch(parent, edge)
        parent.children[edge.index] = child
        child.held_by.setdefault(edge, {})[parent] = None

    def _unhold(self, parent: Node, edge: Edge, child: Node) -> None:
        holders = child.held_by.get(edge)
        if holders is None or parent not in holders:
            return
        self._journal.touch(parent, edge)
        del holders[parent]
        if not holders:
            del child.held_by[edge]
        if edge.many:
            self._journal.moved.setdefault((parent, edge), set()).add(child)
            if child in self._reorder.get((parent, edge), ()):
                self._reorder[parent, edge].remove(child)
            else:
                parent.children[edge.index].remove(child)
        else:
            parent.children[edge.index] = None
        self._journal.released[child] = None

    def _let_go(self) -> None:
        """Removes what no path reaches any more. Additions came first, so what only moved is still held."""
        queue = list(self._journal.released)
        while queue:
            node = queue.pop()
            if node.held_by or node.key == self.root_key or self.nodes.get(node.key) is not node:
                continue
            queue += self._drop(node)

    def _drop(self, node: Node) -> list[Node]:
        """Takes a node out that nothing holds; gives the children that it held."""
        self._remove(node)
        released = []
        for edge in node.type.edges:
            for child in self._held(node, edge):
                holders = child.held_by.get(edge, {})
                holders.pop(node, None)
                if not holders:
                    child.held_by.pop(edge, None)
                self._journal.released[child] = None
                released.append(child)
        return released

    def _remove(self, node: Node) -> None:
        del self.nodes[node.key]
        self._dropped(node)
        if node in self._journal.added:
            del self._journal.added[node]
        else:
            self._journal.removed[node] = None

    def _change(self) -> Change:
        journal = self._journal
        change = Change(errors=list(journal.errors.items()))
        for node in journal.added:
            if not node.type.is_hidden:
                change.added.add(node)
                change.fields[node] = change.edges[node] = ALL
        change.removed = [node for node in journal.removed if not node.type.is_hidden]
        for node, old in journal.rows.items():
            if node.key in self.nodes and node not in journal.added and not node.type.is_hidden:
                mask = differing(old.values, node.row.values)
                if mask:
                    change.fields[node] = mask
        for node in journal.recovered:
            if self.nodes.get(node.key) is node and not node.type.is_hidden:
                # all that it shows, but not as one that is new: whoever shows no more of it than its id shows the same
                change.fields[node] = (1 << len(node.type.fields)) - 1
                change.edges[node] = ALL
        for (parent, edge), before in journal.children.items():
            if self.nodes.get(parent.key) is not parent or edge.hidden:
                continue
            after = parent.children[edge.index]
            if before == after if edge.many else before is after:
                continue
            if parent not in change.added:
                change.edges[parent] = change.edges.get(parent, 0) | (1 << edge.index)
            if edge.many:
                may_have = journal.moved.get((parent, edge), set())
                moved: Moved = dict.fromkeys((n for n in before if n in may_have), True)
                moved |= dict.fromkeys(may_have - moved.keys(), False)
                change.moved[parent, edge] = moved
                change.lists += list_changes(parent, edge, moved, after)
        return change
