"""Reads state from the database: rows of a node type, links, and whole trees breadth first.

One query per relation edge, however many rows, in one REPEATABLE READ transaction where the database has it. A
first snapshot, a new child with its subtree and a row that has to be looked at again are the same load with other
wishes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Exists, F, OuterRef, QuerySet, Value

from rxgraphql.among import Among
from rxgraphql.garbage import few_collections
from rxgraphql.relations import Link, Relation
from rxgraphql.rows import Row, RowReader, project_locale
from rxgraphql.tree import Edge, NodeType

_PARENT = "_rx_parent"
_EXISTS = Row((), (), True)

Read = tuple[str, Row, tuple[Any, ...]]


def database(node_type: NodeType) -> str:
    """Where the rows are read: where they are written, since a replica of it may lag behind."""
    return router.db_for_write(node_type.model)


@cache
def _reader(node_type: NodeType) -> RowReader:
    return RowReader(node_type)


def read_rows(
    node_type: NodeType, queryset: QuerySet[Any], extra: tuple[str, ...] = ()
) -> Iterator[Read]:
    """(key, row, extra columns) of each row of the queryset."""
    if not node_type.is_hidden:
        yield from _reader(node_type).read(queryset, extra)
        return
    visible = (node_type.visible_annotation,) if node_type.visible_annotation else ()
    count = len(node_type.hidden)
    for pk, *raw in queryset.values_list("pk", *node_type.hidden, *visible, *extra):
        hidden = tuple(
            convert(value) for convert, value in zip(node_type.primitives, raw[:count], strict=True)
        )
        yield (
            str(pk),
            Row((), hidden, bool(raw[count]) if visible else True),
            tuple(raw[count + len(visible) :]),
        )


def rows_by_key(node_type: NodeType, pks: Iterable[str], using: str) -> dict[str, Row | None]:
    """The rows with these keys as they are now; None for those that are gone."""
    keys = {str(key): key for key in map(node_type.to_python, pks)}
    found: dict[str, Row | None] = dict.fromkeys(keys)
    queryset = node_type.model._base_manager.using(using).filter(Among("pk", keys.values()))
    if node_type.visible_annotation:
        passes = node_type.model._default_manager.using(using).filter(pk=OuterRef("pk"))
        queryset = queryset.annotate(**{node_type.visible_annotation: Exists(passes)})
    found |= {pk: row for pk, row, _ in read_rows(node_type, queryset.order_by())}
    return found


def pairs_present(
    link: Link, pairs: Iterable[tuple[str, str]], using: str
) -> dict[tuple[str, str], bool]:
    """Whether each of the pairs is linked now. Keys come back as the database spells them."""
    fields = {f.attname: f for f in link.through._meta.concrete_fields}
    keys = [(_to_python(fields[link.a], a), _to_python(fields[link.b], b)) for a, b in pairs]
    found = dict.fromkeys(((str(a), str(b)) for a, b in keys), False)
    rows = (
        link.through._base_manager.using(using)
        .filter(Among(link.a, {a for a, _ in keys}), Among(link.b, {b for _, b in keys}))
        .order_by()
        .values_list(link.a, link.b)
    )
    for a, b in rows:
        if (pair := (str(a), str(b))) in found:
            found[pair] = True
    return found


def other_ends(link: Link, is_a: bool, pks: Iterable[str], using: str) -> dict[str, list[str]]:
    """For each key of one side, the keys that it is linked to now."""
    near, far = (link.a, link.b) if is_a else (link.b, link.a)
    column = next(f for f in link.through._meta.concrete_fields if f.attname == near)
    keys = {str(key): key for key in (_to_python(column, pk) for pk in pks)}
    found: dict[str, list[str]] = {pk: [] for pk in keys}
    rows = (
        link.through._base_manager.using(using)
        .filter(Among(near, keys.values()))
        .order_by()
        .values_list(near, far)
    )
    for this, that in rows:
        found[str(this)].append(str(that))
    return found


def _to_python(column: Any, pk: str) -> Any:
    while column.is_relation:
        column = column.target_field
    return column.to_python(pk)


# ---------------------------------------------------------------------------------------------- loads


@dataclass(slots=True)
class Wanted:
    """What a replica asks for: rows by key, lists by parent. Whatever is reached from them comes too."""

    rows: dict[NodeType, set[str]] = field(default_factory=dict)
    lists: dict[Edge, set[str]] = field(default_factory=dict)

    def row(self, node_type: NodeType, pk: str) -> None:
        self.rows.setdefault(node_type, set()).add(pk)

    def list(self, edge: Edge, parent_pk: str) -> None:
        self.lists.setdefault(edge, set()).add(parent_pk)

    def __bool__(self) -> bool:
        return bool(self.rows or self.lists)


@dataclass(slots=True)
class Loaded:
    """What was found. A row is None when it is gone; a list has its children's keys in order."""

    rows: dict[str, tuple[NodeType, str, Row | None]] = field(default_factory=dict)
    lists: dict[tuple[Edge, str], list[str]] = field(default_factory=dict)


class Loader:
    """One load. `held` are the keys that the replica has already: below them nothing new is read."""

    def __init__(self, held: Container[str] = frozenset()) -> None:
        self.held = held
        self.loaded = Loaded()
        self._next = Wanted()
        self._opened: set[str] = set()

    def load(self, wanted: Wanted) -> Loaded:
        with project_locale(), ExitStack() as transactions:
            while wanted:
                self._next = Wanted()
                for node_type, pks in wanted.rows.items():
                    missing = {pk for pk in pks if node_type.key(pk) not in self.loaded.rows}
                    if missing:
                        self._read_rows(node_type, missing, transactions)
                for edge, parents in wanted.lists.items():
                    # a row and the lists that it shows are wished for together, and the row wishes for these again
                    missing = {pk for pk in parents if (edge, pk) not in self.loaded.lists}
                    if missing:
                        self._read_lists(edge, missing, transactions)
                wanted = self._next
        return self.loaded

    def _read_rows(self, node_type: NodeType, pks: set[str], transactions: ExitStack) -> None:
        if node_type.is_virtual:
            for pk in pks:
                self._take(node_type, pk, _EXISTS)
            return
        using = self._open(database(node_type), transactions)
        for pk, row in rows_by_key(node_type, pks, using).items():
            self._take(node_type, pk, row)

    def _read_lists(self, edge: Edge, parents: set[str], transactions: ExitStack) -> None:
        for pk in parents:
            self.loaded.lists[edge, pk] = []
        using = self._open(database(edge.child), transactions)
        if edge.child.is_virtual and edge.link is not None:
            ends = other_ends(edge.link, edge.parent_is_a, parents, using)
            for parent, children in ends.items():
                self.loaded.lists[edge, parent] = children
                for pk in children:
                    self._take(edge.child, pk, _EXISTS)
            return
        known = {pk for pk in parents if edge.parent.key(pk) in self.held}
        if known:
            self._read_keys(edge, known, using)
        if new := parents - known:
            queryset, column = _children(edge, new, using)
            for pk, row, (parent,) in read_rows(edge.child, queryset, (column,)):
                self.loaded.lists[edge, str(parent)].append(pk)
                if edge.child.key(pk) not in self.loaded.rows:
                    self._take(edge.child, pk, row)

    def _read_keys(self, edge: Edge, parents: set[str], using: str) -> None:
        """The lists of parents that the replica holds: most of the children it holds too, so their rows aren't read."""
        queryset, column = _children(edge, parents, using)
        for key, parent in queryset.values_list("pk", column):
            pk = str(key)
            self.loaded.lists[edge, str(parent)].append(pk)
            if not self._known(edge.child, pk):
                self._next.row(edge.child, pk)

    def _take(self, node_type: NodeType, pk: str, row: Row | None) -> None:
        key = node_type.key(pk)
        self.loaded.rows[key] = (node_type, pk, row)
        if row is None:
            return
        held = key in self.held
        for edge in node_type.edges:
            if edge.kind == "forward":
                target = row.hidden[edge.column]
                if target is not None and not self._known(edge.child, str(target)):
                    self._next.row(edge.child, str(target))
            elif (edge, pk) not in self.loaded.lists and (not held or edge.shows == "change"):
                self._next.list(edge, pk)

    def _known(self, node_type: NodeType, pk: str) -> bool:
        key = node_type.key(pk)
        return key in self.loaded.rows or key in self.held

    def _open(self, using: str, transactions: ExitStack) -> str:
        if using not in self._opened:
            self._opened.add(using)
            transactions.enter_context(_one_view(using))
        return using


def _children(edge: Edge, parents: set[str], using: str) -> tuple[QuerySet[Any], str]:
    """The rows that the relation's manager lists for the parents, and the column that tells which parent."""
    found: Relation = edge.relation
    child = edge.child
    # one row at most: Django reads it through the base manager
    manager = child.model._default_manager if edge.many else child.model._base_manager
    queryset = manager.using(using).all()
    keys = [edge.parent.to_python(pk) for pk in parents]
    if found.kind == "reverse":
        column = found.column
    else:
        column = _PARENT
        queryset = queryset.annotate(**{_PARENT: F(f"{found.query_name}__pk")})
    queryset = queryset.filter(Among(column, keys))
    if child.visible_annotation:
        queryset = queryset.annotate(**{child.visible_annotation: _visible(edge, using)})
    if edge.computable:
        return queryset.order_by(), column
    assert edge.order is not None
    return queryset.order_by(*edge.order.order_by), column


def _visible(edge: Edge, using: str) -> Any:
    if edge.many:
        return Value(True)
    return Exists(edge.child.model._default_manager.using(using).filter(pk=OuterRef("pk")))


@contextmanager
def _one_view(using: str) -> Iterator[None]:
    """All queries see the database as of one moment: across several, snapshots were torn in 12 % of races."""
    connection = connections[using]
    if connection.vendor == "sqlite":
        # not atomic(): its BEGIN may be IMMEDIATE, which would wait for writers
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")
        return
    with transaction.atomic(using=using):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def load(wanted: Wanted, held: Container[str] = frozenset()) -> Loaded:
    """Reads all that is wanted and what is reached from it. Blocks; not for the event loop."""
    with few_collections():
        return Loader(held).load(wanted)
