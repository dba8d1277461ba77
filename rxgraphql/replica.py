"""One anchor's nodes in this process, and the rules by which an entry of the log changes them.

    entry -> facts taken, dropped or loaded again (the interval rule)
          -> lists and references derived from the rows
          -> what is new is loaded, what no path reaches any more has left
          -> Change: the difference between two states that were served

The replica knows no Redis and no event loop: `apply()` takes an entry and says what must be loaded, `finish()`
takes what was loaded and gives the change. Between the two nothing else is applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rxgraphql.blob import Saved, rebuild
from rxgraphql.change import Change, Journal, differing
from rxgraphql.garbage import few_collections
from rxgraphql.graph import Graph, Node
from rxgraphql.log import Entry
from rxgraphql.rows import Row
from rxgraphql.snapshot import Loaded, Wanted
from rxgraphql.tree import Edge, NodeType, StateTree

if TYPE_CHECKING:
    from rxgraphql.channel import StateChannel

_VIRTUAL = Row((), (), True)


class Replica(Graph):
    """The nodes below one anchor."""

    def __init__(self, channel: StateChannel, pk: str) -> None:
        self.channel = channel
        self.tree: StateTree = channel.tree
        self.pk = pk
        super().__init__(self.tree.root.key(pk))
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

    # ------------------------------------------------------------------------------------------ loading whole

    def wish(self) -> Wanted:
        """What a load of the whole state asks for."""
        wanted = Wanted()
        wanted.row(self.tree.root, self.pk)
        return wanted

    def replace(self, loaded: Loaded, start: int, end: int) -> bool:
        """Takes a load of the whole state, read in (start, end]. False when there is no root (any more)."""
        self._clear()
        self.stale.clear()
        self.broken.clear()
        self._dangling.clear()
        # in a new epoch the tickets begin anew
        self.loaded_end = 0
        self._begin()
        self.loaded_end = max(self.loaded_end, end)
        self.broken.update(self._unusable(loaded))
        with few_collections():
            for node, key in self._fill(loaded, self.broken, start, end):
                self._dangling.setdefault(key, {})[node] = None
        self._let_go()
        self._begin()
        self.must_reload = False
        return self.root is not None

    def restore(self, saved: Saved) -> None:
        """Becomes what another replica was: it goes on from there as that one would."""
        self._clear()
        for kept in (self.stale, self.broken, self._dangling):
            kept.clear()
        self._begin()
        with few_collections():
            nodes = rebuild(saved, self._types)
            self.nodes.update((node.key, node) for node in nodes)
        for key, numbers in saved.dangling.items():
            self._dangling[key] = dict.fromkeys(nodes[number] for number in numbers)
        self.loaded_end = saved.loaded_end
        self.must_reload = False

    # ------------------------------------------------------------------------------------------ one event

    def concerns(self, entry: Entry) -> bool:
        """Whether the entry names anything that this replica holds or that now belongs to it."""
        nodes, broken, dangling = self.nodes, self.broken, self._dangling
        for name, rows in entry.rows.items():
            arrivals = self._arrivals.get(name)
            if arrivals is None:
                continue
            key, columns = arrivals
            for pk, row in rows.items():
                if (at := key(pk)) in nodes or at in broken or at in dangling:
                    return True
                if row is None:
                    continue
                for column, parent_key in columns:
                    parent_pk = row.hidden[column]
                    if parent_pk is not None and parent_key(str(parent_pk)) in nodes:
                        return True
        followed = self._edges_by_link
        return not (
            followed.keys().isdisjoint(entry.links)
            and followed.keys().isdisjoint(entry.links_unknown)
            and all(label not in followed for label, *_ in entry.link_sets)
        )

    def apply(self, entry: Entry, fresh: bool) -> Wanted:
        """Takes what the entry says; gives what must be loaded and absorbed before `finish()`.

        `fresh`: the entry's ticket is above the end of every interval seen before it. Only then can a row that is
        not held, or a link, be taken from the entry: otherwise a newer entry for it may have passed unnoticed.
        """
        self._begin()
        self._ticket = entry.ticket
        fresh = fresh and entry.ticket > self.loaded_end
        arrived = self._take_rows(entry)
        for name, pk, row in arrived:
            self._arrive(self._types[name], pk, row, entry, fresh)
        self._take_links(entry, fresh)
        self._derive(entry, fresh)
        return self._wanted

    def absorb(self, loaded: Loaded, start: int, end: int) -> Wanted:
        """Takes what was loaded in (start, end]; gives what must be loaded because of it."""
        self.loaded_end = max(self.loaded_end, end)
        self._wanted = Wanted()
        self._touched = {}
        self._build(loaded, start, end)
        return self._wanted

    def compare(self, loaded: Loaded, start: int, end: int) -> Wanted:
        """Takes a load of the whole state as `absorb()` does; `finish()` gives what differs from the state before."""
        self._begin()
        self._ticket = 0
        return self.absorb(loaded, start, end)

    def finish(self) -> Change:
        """The change of the whole event."""
        self._let_go()
        for node, edge in self._journal.children:
            required = edge.kind == "forward" and not edge.nullable and not edge.hidden
            if required and self.nodes.get(node.key) is node and node.children[edge.index] is None:
                self.must_reload = True
        return self._change()

    def retry(self) -> Wanted:
        """The wish to look again at the rows that could not be serialized."""
        self._begin()
        for key in self.stale:
            if key in self.nodes:
                self._wanted.row(self.nodes[key].type, self.nodes[key].pk)
        return self._wanted

    def _begin(self) -> None:
        self._journal = Journal()
        self._wanted = Wanted()
        self._touched = {}
        self._reorder = {}
        self._admissions = []

    # -- rows

    def _take_rows(self, entry: Entry) -> list[tuple[str, str, Row]]:
        """Applies the interval rule to rows that are held; gives the others that are there."""
        unknown: list[tuple[str, str, Row]] = []
        gone: list[Node] = []
        for name, rows in entry.rows.items():
            node_type = self._types.get(name)
            if node_type is None:
                continue
            for pk, row in rows.items():
                node = self.nodes.get(node_type.key(pk))
                for pointing in self._dangling.pop(node_type.key(pk), ()):
                    self._want_again(pointing)
                if node is None:
                    if row is not None:
                        unknown.append((name, pk, row))
                    continue
                if node_type.is_hidden:
                    # whoever shows it may have read it before this entry, whenever it was read itself
                    self._touched[node] = None
                if entry.ticket <= node.start:
                    continue
                if row is not None and self._shown_lists[node_type]:
                    self._want_again(node)
                elif entry.ticket > node.end or node_type.is_virtual:
                    if row is None:
                        gone.append(node)
                    else:
                        self._set_row(node, row, entry.ticket, entry.end)
                else:
                    # which of the two reads saw more can't be known
                    self._wanted.row(node_type, pk)
        for name, pks in entry.recreated.items():
            for pk in pks if name in self._types else ():
                node = self.nodes.get(self._types[name].key(pk))
                if node is not None:
                    self._ask_who_points_at(node)
        for node in gone:
            self._delete(node)
        return unknown

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
        else:
            self.stale.pop(node.key, None)
        if (
            row.hidden == old.hidden
            and row.visible == old.visible
            and not differing(old.values, row.values)
        ):
            return
        self._journal.rows.setdefault(node, old)
        if row.hidden != old.hidden:
            self._take_out_of_order(node, old, row)
        node.row = row

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

    # -- what was loaded

    def _build(self, loaded: Loaded, start: int, end: int) -> None:
        """Takes loaded rows (they are the newest: nothing was applied meanwhile), then references, then lists."""
        broken = self._unusable(loaded)
        refer: dict[Node, None] = {}
        for key, (node_type, pk, row) in loaded.rows.items():
            node = self.nodes.get(key)
            if row is None:
                if node is not None:
                    self._delete(node)
                continue
            if node is not None:
                self._set_row(node, row, start, end)
            elif key in broken:
                self.broken[key] = self._journal.errors[key] = broken[key]
            else:
                self.broken.pop(key, None)
                node = self._add(node_type, pk, row, start, end)
            if node is not None:
                refer[node] = None
        # and those that an entry brought or changed, whose references had to be loaded
        for node in (*refer, *self._journal.added, *self._journal.rows):
            if self.nodes.get(node.key) is node:
                for edge in node.type.edges:
                    if edge.kind == "forward":
                        self._refer(node, edge)
        self._derive(None, False)
        for node in list(self._journal.added):
            self._place_added(node, loaded)
        for edge, holder, child_pk in self._admissions:
            child = self.nodes.get(edge.child.key(child_pk))
            if child is None or self.nodes.get(holder.key) is not holder:
                continue
            if child.row.visible or not edge.relation.filtered:
                self._place(holder, edge, child)
        for (edge, parent_pk), pks in loaded.lists.items():
            parent = self.nodes.get(edge.parent.key(parent_pk))
            if parent is not None:
                self._set_list(parent, edge, pks)

    def _place_added(self, node: Node, loaded: Loaded) -> None:
        """Puts a row that was read by itself into the lists where its columns say that it belongs."""
        for edge in node.type.arrivals:
            parent_pk = node.row.hidden[edge.column]
            read = (edge, str(parent_pk)) in loaded.lists
            if not read and edge in self._in_tree and self.nodes.get(node.key) is node:
                self._rederive_arrival(node, edge)

    def _refer(self, node: Node, edge: Edge) -> None:
        target = node.row.hidden[edge.column]
        child = None if target is None else self.nodes.get(edge.child.key(str(target)))
        current = node.children[edge.index]
        if current is not child:
            if current is not None:
                self._unhold(node, edge, current)
            if child is not None:
                self._hold(node, edge, child)
        if child is None and target is not None:
            # gone already, or not to be shown: an entry that names it concerns the one who points there
            self._dangling.setdefault(edge.child.key(str(target)), {})[node] = None

    def _set_list(self, parent: Node, edge: Edge, pks: list[str]) -> None:
        children = [
            child for pk in pks if (child := self.nodes.get(edge.child.key(pk))) is not None
        ]
        if not edge.many:
            current = parent.children[edge.index]
            child = children[0] if children else None
            if child is not current:
                if current is not None:
                    self._unhold(parent, edge, current)
                if child is not None:
                    self._hold(parent, edge, child)
                self._shown_changed(parent, edge)
            return
        if edge.computable:
            if edge.kind == "reverse":
                # One that is held and whose own columns still say otherwise was moved by a commit whose entry is to
                # come: until then it stays where it is, or it would be in two lists
                children = [child for child in children if _belongs(child, parent, edge)]
            children.sort(key=edge.sort_key)
        old: list[Node] = parent.children[edge.index]
        if old == children:
            return
        self._journal.touch(parent, edge)
        moved = self._journal.moved.setdefault((parent, edge), set())
        before, after = set(old), set(children)
        moved |= before ^ after
        if [n for n in old if n in after] != [n for n in children if n in before]:
            moved |= before | after
        for child in before - after:
            holders = child.held_by[edge]
            del holders[parent]
            if not holders:
                del child.held_by[edge]
            self._journal.released[child] = None
        for child in children:
            child.held_by.setdefault(edge, {})[parent] = None
        parent.children[edge.index] = children
        self._shown_changed(parent, edge)

    def _unusable(self, loaded: Loaded) -> dict[str, str]:
        """Rows that can't be shown: not serialized and never seen before, or pointing at such a one without a way
        to be null."""
        broken = {
            key: row.error or "not serialized"
            for key, (_, _, row) in loaded.rows.items()
            if row is not None and row.values is None and key not in self.nodes
        }
        pending = bool(broken)
        while pending:
            pending = False
            for key, (node_type, _, row) in loaded.rows.items():
                if row is None or key in broken or key in self.nodes:
                    continue
                for edge in node_type.edges:
                    if edge.kind == "forward" and not edge.nullable and not edge.hidden:
                        target = edge.child.key(str(row.hidden[edge.column]))
                        if target in broken:
                            broken[key] = f"{target}: {broken[target]}"
                            pending = True
        return broken

    def _dropped(self, node: Node) -> None:
        self.stale.pop(node.key, None)
        for edge in node.type.edges if self._dangling else ():
            if edge.kind == "forward":
                target = edge.child.key(str(node.row.hidden[edge.column]))
                if node in self._dangling.get(target, ()):
                    del self._dangling[target][node]


def _belongs(child: Node, parent: Node, edge: Edge) -> bool:
    """Whether the child's own columns say that the parent's list has it."""
    row = child.row
    return str(row.hidden[edge.column]) == parent.pk and (row.visible or not edge.relation.filtered)
