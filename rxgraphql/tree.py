"""The state tree: a channel's serializer, compiled once into node types and the relations between them.

    serializer class -> NodeType (fields, edges, hidden columns)     one per class, shared by all channels
    anchor           -> StateTree (the root's type and all types below it)

A node type holds what a row shows. Its edges are the nested serializers, and, hidden, the relations whose other
rows a flat field shows or points at: when such a row changes, the rows that show it are read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from django.db import models
from rest_framework import serializers

from rxgraphql.ordering import Descending, Order, Primitive, pk_order, primitive_of
from rxgraphql.relations import Kind, Link, Relation, label_of

if TYPE_CHECKING:
    from rxgraphql.fields import FieldType

Shows = Literal["nothing", "deletion", "change"]

# Named in each query that has to tell which rows the relation's manager lets through.
VISIBLE = "_rx_visible"


def camel(name: str) -> str:
    """The GraphQL name that Strawberry gives to a Python name."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() if part else "_" for part in rest)


def snake(name: str) -> str:
    """`ChatRoom` -> `chat_room`, `HTTPRoute` -> `http_route`."""
    out: list[str] = []
    for i, letter in enumerate(name):
        after_lower = i > 0 and not name[i - 1].isupper()
        before_lower = 0 < i < len(name) - 1 and name[i + 1].islower()
        if letter.isupper() and i > 0 and (after_lower or before_lower) and name[i - 1] != "_":
            out.append("_")
        out.append(letter.lower())
    return "".join(out)


class NodeField:
    """One flat field of a node type."""

    __slots__ = ("field", "graphql_name", "name", "type")

    def __init__(
        self, name: str, field: serializers.Field[Any, Any, Any, Any], type_: FieldType
    ) -> None:
        self.name = name
        self.graphql_name = camel(name)
        self.field = field
        self.type = type_


class Edge:
    """A relation from a parent type to a child type.

    `shows` is what the parent's own row owes to the child (hidden edges only): "change" when it shows the child's
    data, "deletion" when it only points there by a key that the database may set to null.
    """

    __slots__ = (
        "child",
        "column",
        "graphql_name",
        "hidden",
        "index",
        "kind",
        "link",
        "many",
        "name",
        "nullable",
        "order",
        "order_columns",
        "parent",
        "parent_is_a",
        "relation",
        "shows",
        "sort_key",
    )

    def __init__(self, parent: NodeType, child: NodeType, name: str, found: Relation) -> None:
        self.parent = parent
        self.child = child
        self.name = name
        self.graphql_name = camel(name)
        self.relation = found
        self.kind: Kind = found.kind
        self.many = found.many
        self.nullable = found.nullable
        self.hidden = child.is_hidden
        self.shows: Shows = "nothing"
        self.link: Link | None = found.link
        self.parent_is_a = found.parent_is_a
        self.index = len(parent.edges)
        # forward: where the parent's hidden columns hold the key; reverse: where the child's do
        self.column = -1
        self.order: Order | None = None
        self.order_columns: tuple[int, ...] = ()
        self.sort_key: Callable[[Any], Any] = by_key(pk_order(child.model))

    def __repr__(self) -> str:
        return f"<Edge {self.parent.name}.{self.name} -> {self.child.name}>"

    @property
    def computable(self) -> bool:
        """Whether the order can be told from the rows, without the database."""
        return self.order is None or self.order.computable


class NodeType:
    """All that is known of the rows that one serializer class shows (or of rows that only stand behind others:
    hidden)."""

    def __init__(
        self,
        name: str,
        model: type[models.Model],
        serializer_class: type[serializers.ModelSerializer[Any]] | None,
    ) -> None:
        self.name = name
        self.model = model
        self.label = label_of(model)
        self.serializer_class = serializer_class
        self.serializer: serializers.ModelSerializer[Any] | None = None
        self.list_name = ""
        self.fields: tuple[NodeField, ...] = ()
        self.edges: list[Edge] = []
        # reverse edges that lead to this type: a row's own columns say which parents hold it
        self.arrivals: list[Edge] = []
        # every edge that leads to this type
        self.inbound: list[Edge] = []
        self.hidden: tuple[str, ...] = ()
        self.primitives: tuple[Callable[[Any], Primitive], ...] = ()
        self.visible_annotation: str | None = None

    def __repr__(self) -> str:
        return f"<NodeType {self.name}>"

    @property
    def is_hidden(self) -> bool:
        return self.serializer_class is None

    @property
    def is_virtual(self) -> bool:
        """Nothing of its rows is needed but their keys, so nothing is read."""
        return self.is_hidden and not self.hidden and self.visible_annotation is None

    @property
    def links(self) -> int:
        """Bit i: edges[i] is many-to-many."""
        return sum(1 << edge.index for edge in self.edges if edge.link is not None)

    def key(self, pk: str) -> str:
        return f"{self.name}:{pk}"

    def column(self, attname: str) -> int:
        """The position of a hidden column, which is added if it is new."""
        if attname not in self.hidden:
            field = next(f for f in self.model._meta.concrete_fields if f.attname == attname)
            self.hidden = (*self.hidden, attname)
            self.primitives = (*self.primitives, primitive_of(field))
        return self.hidden.index(attname)

    def to_python(self, pk: str) -> Any:
        """A key's text as the value that a query takes."""
        field: Any = self.model._meta.pk
        while field.is_relation:
            field = field.target_field
        return field.to_python(pk)

    def shown_lists(self) -> list[Edge]:
        """Lists that a flat field shows. A row and these must be read in one transaction: a child that came and
        went between two reads would stay in the row, and nobody would know whose row it is in."""
        return [edge for edge in self.edges if edge.shows == "change" and edge.kind != "forward"]

    def visible_edges(self) -> Iterator[Edge]:
        return (edge for edge in self.edges if not edge.hidden)


class StateTree:
    """What one channel streams. `labels` are the models whose rows and links it depends on."""

    def __init__(self, root: NodeType) -> None:
        self.root = root
        self.all_types = tuple(_below(root))
        self.node_types = tuple(t for t in self.all_types if not t.is_hidden)
        labels = {node_type.label for node_type in self.all_types}
        labels |= {edge.link.label for t in self.all_types for edge in t.edges if edge.link}
        self.labels = tuple(sorted(labels))

    def edges(self) -> Iterator[Edge]:
        return (edge for node_type in self.all_types for edge in node_type.edges)


def _below(root: NodeType) -> Iterator[NodeType]:
    seen: dict[str, NodeType] = {root.name: root}
    queue = [root]
    while queue:
        node_type = queue.pop(0)
        yield node_type
        for edge in node_type.edges:
            if edge.child.name not in seen:
                seen[edge.child.name] = edge.child
                queue.append(edge.child)


def by_key(key: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda node: key(node.pk)


def column_key(
    order: Order, indexes: tuple[int, ...], key: Callable[[str], Any]
) -> Callable[[Any], Any]:
    """Node -> what it sorts by; the node's hidden columns hold the values."""
    parts = [
        (index, column.descending, column.nulls_first, column.convert)
        for index, column in zip(indexes, order.columns, strict=True)
    ]

    def sort_key(node: Any) -> Any:
        hidden = node.row.hidden
        out: list[Any] = []
        for index, descending, nulls_first, convert in parts:
            value = hidden[index]
            if value is None:
                out.append((0 if nulls_first else 2, 0))
                continue
            if convert is not None:
                value = convert(value)
            if descending:
                value = Descending(value) if isinstance(value, str) else -value
            out.append((1, value))
        out.append(key(node.pk))
        return out

    return sort_key
