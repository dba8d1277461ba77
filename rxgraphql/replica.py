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
from rxgraphql.change import Change
from rxgraphql.deriving import Deriving
from rxgraphql.garbage import few_collections
from rxgraphql.graph import Node
from rxgraphql.log import Entry
from rxgraphql.rows import Row
from rxgraphql.snapshot import Loaded, Wanted
from rxgraphql.tree import Edge

if TYPE_CHECKING:
    from rxgraphql.channel import StateChannel


class Replica(Deriving):
    """The nodes below one anchor."""

    def __init__(self, channel: StateChannel, pk: str) -> None:
        self.channel = channel
        self.pk = pk
        super().__init__(channel.tree, channel.tree.root.key(pk))

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

    def is_anchor_in(self, entry: Entry) -> bool:
        """Whether the entry tells of the anchor's own row."""
        root = self.tree.root
        return any(root.key(pk) == self.root_key for pk in entry.rows.get(root.name, ()))

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
        if self._dangling:
            for edge in node.type.edges:
                if edge.kind == "forward":
                    self._points_no_more(node, edge, node.row)


def _belongs(child: Node, parent: Node, edge: Edge) -> bool:
    """Whether the child's own columns say that the parent's list has it."""
    row = child.row
    return str(row.hidden[edge.column]) == parent.pk and (row.visible or not edge.relation.filtered)
