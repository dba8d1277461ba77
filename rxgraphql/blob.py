"""A replica as bytes and back: what one process knows of an anchor, for another that would have to load it.

    capture(replica) -> Captured          between two events, on the event loop: rows are immutable, lists are copied
    pack(captured, mark) -> bytes         in a thread; None for what MessagePack can't hold
    unpack(bytes, replica) -> Mark, Saved in a thread; None for what this process doesn't understand
    replica.restore(saved)                behaves from then on exactly as the one that was captured

A line of text, which put.lua reads, then MessagePack, deflated. Never pickle: whoever can write to Redis must not run
code here.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import msgspec
from django.conf import settings

from rxgraphql.garbage import few_collections
from rxgraphql.graph import Node
from rxgraphql.rows import Row
from rxgraphql.tree import Edge, NodeType, StateTree

if TYPE_CHECKING:
    from rxgraphql.replica import Replica

logger = logging.getLogger("rxgraphql.cache")

FORMAT: Final = "1"
# Bytes in which the first line has room.
HEADER: Final = 256
# Level 1 takes a fifth of what packing takes, and leaves Redis a third to a fifth of the bytes
COMPRESSION: Final = 1
NOBODY: Final = -1


@dataclass(frozen=True, slots=True)
class Mark:
    """Which state it is. `sequence` is the last position that was applied, `highest` the highest end of any interval
    that the hub had heard of there, `loaded_end` the replica's own; `layout` is `layout_of()` the tree."""

    layout: str
    epoch: str
    generation: int
    sequence: int
    highest: int
    loaded_end: int


class Part(msgspec.Struct, array_like=True):
    """The nodes of one type, in their order."""

    name: str
    pks: list[str]
    rows: list[Row]
    # (how many nodes, start, end), since most were read together
    intervals: list[tuple[int, int, int]]
    # for each edge to one child, for each node: the child's number, or NOBODY
    ones: list[list[int]]
    # for each edge to many, for each node: the children's numbers
    lists: list[list[list[int]]]


class Saved(msgspec.Struct, array_like=True):
    """All nodes of a replica. A node's number is its place in all parts, one after the other."""

    root_key: str
    parts: list[Part]
    # key that is not held -> the numbers of the nodes that point there
    dangling: dict[str, list[int]]
    # filled in from the mark
    loaded_end: int = 0


@dataclass(slots=True)
class _Nodes:
    """The nodes of one type with what may change: `children` by edge.index."""

    nodes: list[Node]
    rows: list[Row]
    starts: list[int]
    ends: list[int]
    children: list[list[Any]]

    @classmethod
    def of(cls, node_type: NodeType, nodes: list[Node]) -> _Nodes:
        children = [
            [n.children[i][:] for n in nodes] if edge.many else [n.children[i] for n in nodes]
            for i, edge in enumerate(node_type.edges)
        ]
        rows, starts = [n.row for n in nodes], [n.start for n in nodes]
        return cls(nodes, rows, starts, [n.end for n in nodes], children)


@dataclass(slots=True)
class Captured:
    """A replica as it was at one moment; what happens to the replica later doesn't show in it."""

    tree: StateTree
    root_key: str
    loaded_end: int
    groups: list[tuple[NodeType, _Nodes]]
    dangling: dict[str, list[Node]]

    def mark(self, epoch: str, generation: int, sequence: int, highest: int) -> Mark:
        """The mark of this state; what the hub alone knows is given."""
        layout = layout_of(self.tree)
        return Mark(layout, epoch, generation, sequence, highest, self.loaded_end)


_layouts: WeakKeyDictionary[StateTree, str] = WeakKeyDictionary()


def layout_of(tree: StateTree) -> str:
    """A hash of all that must be the same where a blob is read: the rows' shapes, the relations between them, and the
    code that made the values.

    The log's layout knows no edges, since entries carry rows, and no code, since entries don't last.
    """
    if (known := _layouts.get(tree)) is not None:
        return known
    types = sorted(tree.all_types, key=lambda t: t.name)
    shape = [
        (
            t.name,
            t.label,
            t.hidden,
            t.visible_annotation,
            [(f.name, repr(f.type)) for f in t.fields],
            [_edge_shape(edge) for edge in t.edges],
        )
        for t in types
    ]
    classes: set[type[Any]] = {t.model for t in types}
    classes |= {t.serializer_class for t in types if t.serializer_class is not None}
    classes |= {type(f.field) for t in types for f in t.fields}
    code = [
        _source(name) for name in sorted({c.__module__ for cls in classes for c in cls.__mro__})
    ]
    locale = (settings.TIME_ZONE, settings.USE_TZ, settings.LANGUAGE_CODE)
    found = hashlib.sha256(repr((shape, code, locale)).encode()).hexdigest()[:16]
    _layouts[tree] = found
    return found


@cache
def _source(module: str) -> str:
    """A hash of the module's file: where it is edited, a SerializerMethodField may give something else."""
    path = getattr(sys.modules.get(module), "__file__", None)
    with suppress(OSError):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""
    return ""


def _edge_shape(edge: Edge) -> tuple[Any, ...]:
    order = edge.order and [(c.attname, c.descending, c.nulls_first) for c in edge.order.columns]
    link = edge.link and edge.link.label
    at = (edge.name, edge.child.name, edge.kind, edge.many, edge.nullable, edge.column, edge.shows)
    return (*at, link, edge.parent_is_a, edge.relation.filtered, order, edge.computable)


# ---------------------------------------------------------------------------------------------- to bytes


def capture(replica: Replica) -> Captured | None:
    """The replica as it is now; None if it has no root, or has rows that could not be serialized.

    Called on the event loop between two events, while nothing is being loaded.
    """
    if replica.root is None or replica.stale or replica.broken or replica.must_reload:
        return None
    with few_collections():
        by_type: dict[NodeType, list[Node]] = {t: [] for t in replica.tree.all_types}
        for node in replica.nodes.values():
            by_type[node.type].append(node)
        groups = [(node_type, _Nodes.of(node_type, nodes)) for node_type, nodes in by_type.items()]
    dangling = {key: list(nodes) for key, nodes in replica._dangling.items() if nodes}
    return Captured(replica.tree, replica.root_key, replica.loaded_end, groups, dangling)


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Saved)


def pack(captured: Captured, mark: Mark) -> bytes | None:
    """The blob; None if a value doesn't fit into one, such as a decimal of an ordering beyond 64 bits."""
    try:
        with few_collections():
            body = zlib.compress(_encode(_saved(captured)), COMPRESSION)
    except OverflowError as error:
        logger.debug("%s can't be kept in the cache: %s", captured.root_key, error)
        return None
    return _header(mark) + body


def _saved(captured: Captured) -> Saved:
    every = [node for _, group in captured.groups for node in group.nodes]
    number: dict[Node | None, int] = {node: i for i, node in enumerate(every)}
    number[None] = NOBODY
    find = number.__getitem__
    parts = []
    for node_type, group in captured.groups:
        ones: list[list[int]] = []
        lists: list[list[list[int]]] = []
        for edge, children in zip(node_type.edges, group.children, strict=True):
            if edge.many:
                lists.append([list(map(find, held)) for held in children])
            else:
                ones.append(list(map(find, children)))
        pks = [node.pk for node in group.nodes]
        runs = list(_runs(group.starts, group.ends))
        parts.append(Part(node_type.name, pks, group.rows, runs, ones, lists))
    dangling = {key: list(map(find, nodes)) for key, nodes in captured.dangling.items()}
    return Saved(captured.root_key, parts, dangling)


def _runs(starts: list[int], ends: list[int]) -> Iterator[tuple[int, int, int]]:
    for (start, end), run in groupby(zip(starts, ends, strict=True)):
        yield sum(1 for _ in run), start, end


def _header(mark: Mark) -> bytes:
    words = (mark.layout, mark.epoch, mark.generation, mark.sequence, mark.highest, mark.loaded_end)
    return " ".join(map(str, (FORMAT, *words))).encode() + b"\n"


# ---------------------------------------------------------------------------------------------- and back


def read_mark(blob: bytes) -> Mark | None:
    """The mark of a blob, or of its first bytes (HEADER of them are enough); None for another format."""
    line, end, _ = blob[:HEADER].partition(b"\n")
    words = line.decode("ascii", "replace").split(" ")
    if not end or words[0] != FORMAT or len(words) != 7:
        return None
    try:
        generation, sequence, highest, loaded_end = map(int, words[3:])
    except ValueError:
        return None
    return Mark(words[1], words[2], generation, sequence, highest, loaded_end)


def unpack(blob: bytes, replica: Replica) -> tuple[Mark, Saved] | None:
    """What the blob holds, for a replica of the same anchor; None for another format, layout or anchor, or broken
    data."""
    mark = read_mark(blob)
    if mark is None or mark.layout != layout_of(replica.tree):
        return None
    try:
        with few_collections():
            # zlib has a checksum of its own
            saved = _decoder.decode(zlib.decompress(memoryview(blob)[blob.index(b"\n") + 1 :]))
    except (zlib.error, msgspec.DecodeError):
        return None
    if saved.root_key != replica.root_key:
        return None
    saved.loaded_end = mark.loaded_end
    return mark, saved


def rebuild(saved: Saved, types: dict[str, NodeType]) -> list[Node]:
    """The nodes by their numbers, with all that holds them together."""
    nodes: list[Node] = []
    groups: list[tuple[Part, list[Node]]] = []
    for part in saved.parts:
        node_type = types[part.name]
        at = 0
        group: list[Node] = []
        for count, start, end in part.intervals:
            pairs = zip(part.pks[at : at + count], part.rows[at : at + count], strict=True)
            group += [Node(node_type, pk, row, start, end) for pk, row in pairs]
            at += count
        groups.append((part, group))
        nodes += group
    for part, group in groups:
        ones, lists = iter(part.ones), iter(part.lists)
        for i, edge in enumerate(types[part.name].edges):
            if edge.many:
                _hold_many(edge, i, group, next(lists), nodes)
            else:
                _hold_one(edge, i, group, next(ones), nodes)
    return nodes


def _hold_one(edge: Edge, i: int, group: list[Node], held: list[int], nodes: list[Node]) -> None:
    for parent, number in zip(group, held, strict=True):
        if number == NOBODY:
            continue
        child = nodes[number]
        parent.children[i] = child
        holders = child.held_by.get(edge)
        if holders is None:
            child.held_by[edge] = {parent: None}
        else:
            holders[parent] = None


def _hold_many(
    edge: Edge, i: int, group: list[Node], held: list[list[int]], nodes: list[Node]
) -> None:
    for parent, numbers in zip(group, held, strict=True):
        if not numbers:
            continue
        parent.children[i] = children = [nodes[number] for number in numbers]
        for child in children:
            holders = child.held_by.get(edge)
            if holders is None:
                child.held_by[edge] = {parent: None}
            else:
                holders[parent] = None
