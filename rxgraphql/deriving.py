"""Where nodes belong: lists and references, derived from the rows that changed and from facts about links.

What can't be told from what is held is wished for; replica.py has the entries and loads that lead here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rxgraphql.change import Journal, differing
from rxgraphql.graph import Graph, Node
from rxgraphql.rows import Row
from rxgraphql.snapshot import Wanted
from rxgraphql.tree import Edge, NodeType, StateTree

if TYPE_CHECKING:
    from rxgraphql.log import Entry

_VIRTUAL = Row((), (), True)


class Deriving(Graph):
    """The nodes below one anchor, moved to where their rows say that they belong."""

    def __init__(self, tree: StateTree, root_key: str) -> None:
        super().__init__(root_key)
        self.tree = tree
        # rows that could not be serialized: of held nodes (they keep their last values), and of rows that can't be
        # shown at all
        self.stale: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        # keys that are not held -> the nodes whose columns point there
        self._dangling: dict[str, dict[Node, None]] = {}
        # rows and lists read up to here may be newer than entries with lower tickets
        self.loaded_end = 0
        self._edges_by_link: dict[str, list[Edge]] = {}
        for edge in self.tree.edges():
            if edge.link is not None:
                self._edges_by_link.setdefault(edge.link.label, []).append(edge)
        self._types = {node_type.name: node_type for node_type in self.tree.all_types}
        # asked of every replica for every entry, and most often in vain
        self._arrivals = {
            t.name: (t.key, [(edge.column, edge.parent.key) for edge in t.arrivals])
            for t in self.tree.all_types
        }
        self._in_tree = set(self.tree.edges())
        self._wanted = Wanted()
        self._touched: dict[Node, None] = {}
        # links of which the child has to be read first
        self._admissions: list[tuple[Edge, Node, str]] = []
        # the state can't be continued and has to be loaded whole
        self.must_reload = False
        # of the entry that is being applied
        self._ticket = 0
        self._shown_lists = {t: t.shown_lists() for t in self.tree.all_types}

    def _begin(self) -> None:
        self._journal = Journal()
        self._wanted = Wanted()
        self._touched = {}
        self._reorder = {}
        self._admissions = []

    # -- rows

    def _ask_who_points_at(self, node: Node) -> None:
        """SET_NULL sends no signal: the rows that point at one that was deleted are read again."""
        for edge, parents in node.held_by.items():
            if edge.kind == "forward":
                for parent in list(parents):
                    self._want_again(parent)

    def _set_row(self, node: Node, row: Row, start: int, end: int) -> None:
        node.start, node.end = start, end
        old = node.row
        if row.values is None:
            self.stale[node.key] = self._journal.errors[node.key] = row.error or "not serialized"
            row = Row(old.values, row.hidden, row.visible)
        elif self.stale.pop(node.key, None) is not None:
            self._journal.errors.pop(node.key, None)
            # told even if its values are those from before: who was told of the failure is to hear that it's over
            self._journal.recovered[node] = None
        if (
            row.hidden == old.hidden
            and row.visible == old.visible
            and not differing(old.values, row.values)
        ):
            return
        self._journal.rows.setdefault(node, old)
        if row.hidden != old.hidden:
            for edge in node.type.edges if self._dangling else ():
                if edge.kind == "forward" and row.hidden[edge.column] != old.hidden[edge.column]:
                    self._points_no_more(node, edge, old)
            self._take_out_of_order(node, old, row)
        node.row = row

    def _points_no_more(self, node: Node, edge: Edge, row: Row) -> None:
        """Forgets that the row points at a key that is not held."""
        target = edge.child.key(str(row.hidden[edge.column]))
        pointing = self._dangling.get(target)
        if pointing is not None and node in pointing:
            del pointing[node]
            if not pointing:
                del self._dangling[target]

    def _take_out_of_order(self, node: Node, old: Row, row: Row) -> None:
        for edge in list(node.held_by):
            if not edge.many or all(row.hidden[i] == old.hidden[i] for i in edge.order_columns):
                continue
            for parent in node.held_by[edge]:
                if not edge.computable:
                    self._wanted.list(edge, parent.pk)
                elif node not in self._reorder.get((parent, edge), ()):
                    self._journal.touch(parent, edge)
                    self._journal.moved.setdefault((parent, edge), set()).add(node)
                    parent.children[edge.index].remove(node)
                    self._reorder.setdefault((parent, edge), []).append(node)

    def _delete(self, node: Node) -> None:
        self._ask_who_points_at(node)
        for edge, parents in list(node.held_by.items()):
            for parent in list(parents):
                self._unhold(parent, edge, node)
                if edge.shows != "nothing":
                    self._want_again(parent)
        self._drop(node)

    def _want_again(self, node: Node) -> None:
        """Reads the row again that shows or points at something that changed; through hidden ones, whoever shows
        those."""
        if self.nodes.get(node.key) is not node:
            return
        if not node.type.is_virtual:
            self._wanted.row(node.type, node.pk)
            for edge in self._shown_lists[node.type]:
                self._wanted.list(edge, node.pk)
        if node.type.is_hidden:
            self._touched[node] = None

    # -- links

    def _take_links(self, entry: Entry, fresh: bool) -> None:
        for label, pairs in entry.links.items():
            for edge in self._edges_by_link.get(label, ()):
                for a, b, present in pairs:
                    parent_pk, child_pk = (a, b) if edge.parent_is_a else (b, a)
                    self._take_link(edge, parent_pk, child_pk, present, entry, fresh)
        for label, is_a, pk, others in entry.link_sets:
            for edge in self._edges_by_link.get(label, ()):
                self._take_link_set(edge, is_a, pk, others, entry, fresh)
        for label in entry.links_unknown:
            for edge in self._edges_by_link.get(label, ()):
                for node in list(self.by_type(edge.parent)):
                    self._wanted.list(edge, node.pk)

    def _take_link(
        self, edge: Edge, parent_pk: str, child_pk: str, present: bool, entry: Entry, fresh: bool
    ) -> None:
        parent = self.nodes.get(edge.parent.key(parent_pk))
        if parent is None:
            return
        child = self.nodes.get(edge.child.key(child_pk))
        held = child is not None and parent in child.held_by.get(edge, ())
        if held == present:
            return
        if not fresh:
            # links carry no interval of their own: whenever order is in doubt the list is read
            self._wanted.list(edge, parent_pk)
            return
        if not present:
            assert child is not None
            self._unhold(parent, edge, child)
        else:
            self._admit(edge, parent, child_pk, entry, fresh)
        self._shown_changed(parent, edge)

    def _take_link_set(
        self, edge: Edge, is_a: bool, pk: str, others: list[str], entry: Entry, fresh: bool
    ) -> None:
        if edge.parent_is_a == is_a:
            parent = self.nodes.get(edge.parent.key(pk))
            if parent is None:
                return
            now = [child.pk for child in self._held(parent, edge)]
            pairs = [(pk, child, True) for child in others]
            pairs += [(pk, child, False) for child in now if child not in others]
        else:
            child_node = self.nodes.get(edge.child.key(pk))
            holders = [p.pk for p in child_node.parents(edge)] if child_node is not None else []
            pairs = [(parent_pk, pk, True) for parent_pk in others]
            pairs += [(parent_pk, pk, False) for parent_pk in holders if parent_pk not in others]
        for parent_pk, child_pk, present in pairs:
            self._take_link(edge, parent_pk, child_pk, present, entry, fresh)

    def _admit(self, edge: Edge, parent: Node, child_pk: str, entry: Entry, fresh: bool) -> None:
        child = self.nodes.get(edge.child.key(child_pk))
        if child is None:
            row = (
                _VIRTUAL
                if edge.child.is_virtual
                else entry.rows.get(edge.child.name, {}).get(child_pk)
            )
            if row is not None and edge.relation.filtered and not row.visible:
                return
            if not edge.computable:
                self._wanted.list(edge, parent.pk)
                return
            if row is None or not self._complete(edge.child, row):
                self._wanted.row(edge.child, child_pk)
                self._admissions.append((edge, parent, child_pk))
                return
            child = self._create(edge.child, child_pk, row, entry, fresh)
        if not edge.computable:
            self._wanted.list(edge, parent.pk)
        elif child.row.visible or not edge.relation.filtered:
            self._place(parent, edge, child)

    # -- relations derived from rows

    def _arrive(self, node_type: NodeType, pk: str, row: Row, entry: Entry, fresh: bool) -> None:
        """A row that is not held: does one of its own columns say that a held node holds it?"""
        key = node_type.key(pk)
        if key in self.broken:
            self.must_reload = True
        for edge in node_type.arrivals:
            parent_pk = row.hidden[edge.column]
            if parent_pk is None or edge not in self._in_tree:
                continue
            parent = self.nodes.get(edge.parent.key(str(parent_pk)))
            if parent is None or (edge.relation.filtered and not row.visible):
                continue
            if fresh and edge.computable and self._complete(node_type, row):
                child = self.nodes.get(key) or self._create(node_type, pk, row, entry, fresh)
                self._place(parent, edge, child)
                self._shown_changed(parent, edge)
            elif edge.computable:
                # its columns tell where it belongs, once they are read
                self._wanted.row(node_type, pk)
            else:
                self._wanted.list(edge, parent.pk)

    def _derive(self, entry: Entry | None, fresh: bool) -> None:
        """Moves the nodes whose columns changed to where these say they belong."""
        for node, old in list(self._journal.rows.items()):
            same = node.row.hidden == old.hidden and node.row.visible == old.visible
            if not same and self.nodes.get(node.key) is node:
                self._rederive(node, old, entry, fresh)
        self._put_in_order()
        done: set[Node] = set()
        while pending := [node for node in self._touched if node not in done]:
            for node in pending:
                done.add(node)
                for edge, parents in node.held_by.items():
                    if edge.shows == "change":
                        for parent in list(parents):
                            if parent.type.is_hidden or self._ticket > parent.start:
                                self._want_again(parent)

    def _rederive(self, node: Node, old: Row, entry: Entry | None, fresh: bool) -> None:
        row = node.row
        for edge in node.type.edges:
            changed = edge.kind == "forward" and row.hidden[edge.column] != old.hidden[edge.column]
            if changed and entry is not None:
                self._point(node, edge, entry, fresh)
        for edge in node.type.inbound:
            if edge not in self._in_tree:
                continue
            if edge.kind == "reverse":
                self._rederive_arrival(node, edge)
            elif edge.kind == "link" and edge.relation.filtered and row.visible != old.visible:
                if not row.visible:
                    for parent in list(node.parents(edge)):
                        self._unhold(parent, edge, node)
                        self._shown_changed(parent, edge)
                else:
                    # who is linked to it was not followed while it was hidden
                    for parent in list(self.by_type(edge.parent)):
                        self._wanted.list(edge, parent.pk)

    def _rederive_arrival(self, node: Node, edge: Edge) -> None:
        row = node.row
        belongs = row.visible or not edge.relation.filtered
        parent_pk = row.hidden[edge.column] if belongs else None
        parent = None if parent_pk is None else self.nodes.get(edge.parent.key(str(parent_pk)))
        for holder in list(node.parents(edge)):
            if holder is not parent:
                self._unhold(holder, edge, node)
                self._shown_changed(holder, edge)
        if parent is not None and parent not in node.held_by.get(edge, ()):
            if edge.computable:
                self._place(parent, edge, node)
                self._shown_changed(parent, edge)
            else:
                self._wanted.list(edge, parent.pk)

    def _point(self, node: Node, edge: Edge, entry: Entry | None, fresh: bool) -> None:
        """Sets the node's reference to what its column says."""
        target = node.row.hidden[edge.column]
        current: Node | None = node.children[edge.index]
        if current is not None:
            if target is not None and current.pk == str(target):
                return
            self._unhold(node, edge, current)
        if target is None:
            return
        pk = str(target)
        found = self.nodes.get(edge.child.key(pk))
        if found is None:
            row = _VIRTUAL if edge.child.is_virtual else None
            if row is None and entry is not None and fresh:
                row = entry.rows.get(edge.child.name, {}).get(pk)
            if row is None or not self._complete(edge.child, row):
                # the load follows the reference
                self._wanted.row(edge.child, pk)
                self._journal.touch(node, edge)
                return
            found = self._create(edge.child, pk, row, entry, fresh)
        self._hold(node, edge, found)

    def _complete(self, node_type: NodeType, row: Row | None) -> bool:
        """Whether an entry's row is all that a node needs."""
        return row is not None and row.values is not None and not self._shown_lists[node_type]

    def _create(
        self, node_type: NodeType, pk: str, row: Row, entry: Entry | None, fresh: bool
    ) -> Node:
        """A node from the entry; what it leads to is taken from the entry or wanted."""
        start, end = (entry.ticket, entry.end) if entry is not None else (0, 0)
        node = self._add(node_type, pk, row, start, end)
        for edge in node_type.edges:
            if edge.kind == "forward":
                self._point(node, edge, entry, fresh)
            else:
                self._wanted.list(edge, pk)
        return node

    def _shown_changed(self, parent: Node, edge: Edge) -> None:
        """A list behind a flat field changed: the row that shows it is read again."""
        if edge.shows == "change":
            self._want_again(parent)
