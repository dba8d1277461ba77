"""The state tree: a channel's serializer, compiled once into node types and the relations between them.

    serializer class -> NodeType (fields, edges, hidden columns)     one per class, shared by all channels
    anchor           -> StateTree (the root's type and all types below it)

A node type holds what a row shows. Its edges are the nested serializers, and, hidden, the relations whose other rows a flat
field shows or points at: when such a row changes, the rows that show it are read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from rest_framework import serializers

from rxgraphql import fields as field_types
from rxgraphql.errors import Fault, Unsupported
from rxgraphql.relations import (
    Descending,
    Kind,
    Link,
    Order,
    Primitive,
    Relation,
    check_model,
    label_of,
    order_of,
    pk_order,
    primitive_of,
    relation,
)
from rxgraphql.rows import SharedContext

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

    `shows` is what the parent's own row owes to the child (hidden edges only): "change" when it shows the child's data, "deletion"
    when it only points there by a key that the database may set to null.
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
        self.sort_key: Callable[[Any], Any] = _by_key(pk_order(child.model))

    def __repr__(self) -> str:
        return f"<Edge {self.parent.name}.{self.name} -> {self.child.name}>"

    @property
    def computable(self) -> bool:
        """Whether the order can be told from the rows, without the database."""
        return self.order is None or self.order.computable


class NodeType:
    """All that is known of the rows that one serializer class shows (or of rows that only stand behind others: hidden)."""

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
        """Lists that a flat field shows. A row and these must be read in one transaction: a child that came and went between
        two reads would stay in the row, and nobody would know whose row it is in."""
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


def _by_key(key: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda node: key(node.pk)


def _sort_key(
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


class TreeBuilder:
    """Compiles anchors into trees over one common set of node types; gathers faults instead of stopping at the first."""

    def __init__(self) -> None:
        self.node_types: dict[str, NodeType] = {}
        self.by_serializer: dict[type[Any], NodeType] = {}
        self.faults: list[Fault] = []
        self._hidden: dict[tuple[Any, ...], NodeType] = {}
        self._links: dict[str, Link] = {}

    def tree(self, anchor: serializers.BaseSerializer[Any], location: str) -> StateTree | None:
        """The compiled tree, or None when a fault was noted."""
        noted = len(self.faults)
        if isinstance(anchor, serializers.ListSerializer):
            self._fault(
                location,
                "Meta.anchor is a list of roots (many=True), which is not available yet.",
                "Write the serializer without many=True.",
            )
            return None
        root = self.node_type(anchor, location, ())
        return StateTree(root) if root is not None and len(self.faults) == noted else None

    def layout(self) -> str:
        """A hash of the shapes of all rows: entries written under another layout are not understood."""
        shape = [
            (t.name, t.label, t.hidden, [(f.name, repr(f.type)) for f in t.fields])
            for t in sorted(self.node_types.values(), key=lambda t: t.name)
        ]
        return hashlib.sha256(repr(shape).encode()).hexdigest()[:16]

    def node_type(
        self,
        serializer: serializers.BaseSerializer[Any],
        location: str,
        above: tuple[type[Any], ...],
    ) -> NodeType | None:
        cls = type(serializer)
        if not isinstance(serializer, serializers.ModelSerializer):
            self._fault(
                location, f"{cls.__name__} is not a ModelSerializer.", "Write a ModelSerializer."
            )
            return None
        if cls in above:
            self._fault(
                location,
                f"{cls.__name__} appears beneath itself; recursive trees are not available yet.",
                "Give the inner level a serializer of its own.",
            )
            return None
        if cls in self.by_serializer:
            known = self.by_serializer[cls]
            self._same_fields(known, serializer, location)
            return known
        meta = getattr(cls, "Meta", None)
        model = getattr(meta, "model", None)
        if model is None:
            self._fault(location, f"{cls.__name__} has no Meta.model.", "Name the model.")
            return None
        name = getattr(meta, "graphql_name", None) or cls.__name__.removesuffix("Serializer")
        if name in self.node_types:
            self._fault(
                location,
                f"{cls.__name__} and {self.node_types[name].serializer_class} both make the GraphQL type {name}.",
                f"Set Meta.graphql_name in {cls.__name__}.",
            )
            return None
        node_type = NodeType(name, model, cls)
        try:
            check_model(model)
        except Unsupported as error:
            self._fault(location, error.message, error.fix)
            return None
        self.node_types[name] = self.by_serializer[cls] = node_type
        node_type.list_name = getattr(meta, "graphql_list_name", None) or _list_name(name, model)
        node_type.serializer = cls(context=SharedContext())
        try:
            list(node_type.serializer.fields)
        except (ImproperlyConfigured, AssertionError, AttributeError) as error:
            self._fault(location, f"{cls.__name__}: {error}", "Correct the serializer.")
            return None
        self._compile(node_type, location, (*above, cls))
        return node_type

    def _same_fields(
        self, known: NodeType, serializer: serializers.Serializer[Any], location: str
    ) -> None:
        assert known.serializer is not None
        if list(serializer.fields) != list(known.serializer.fields):
            self._fault(
                location,
                f"{type(serializer).__name__} has other fields here than elsewhere.",
                "Fields that depend on how a serializer is made need a class of their own.",
            )

    def _compile(self, node_type: NodeType, location: str, above: tuple[type[Any], ...]) -> None:
        assert node_type.serializer is not None
        flat: list[NodeField] = []
        shown: dict[str, Any] = {}
        points: list[str] = []
        for name, field in node_type.serializer.fields.items():
            where = f"{location} > {type(node_type.serializer).__name__}.{name}"
            if not field_types.is_output(field):
                continue
            try:
                if isinstance(field, serializers.BaseSerializer):
                    self._nested(node_type, name, field, where, above)
                    continue
                if name == "id" and self._is_pk(field, node_type.model):
                    continue  # served from the node's key
                if name in ("id", "pk"):
                    raise Unsupported(
                        f"The field {name!r} is not the primary key.",
                        "`id` is the primary key of every node: give the field another name.",
                    )
                flat.append(
                    NodeField(
                        name,
                        field,
                        field_types.field_type(field, node_type.model, node_type.name),
                    )
                )
                for path in field_types.shown_relations(field, node_type.model):
                    branch = shown
                    for part in path:
                        branch = branch.setdefault(part, {})
                target = field_types.points_at(field, node_type.model)
                if target is not None:
                    points.append(target)
            except Unsupported as error:
                self._fault(where, error.message, error.fix)
        node_type.fields = tuple(flat)
        for target in points:
            shown.setdefault(target, None)
        self._show(node_type, shown, location)

    @staticmethod
    def _is_pk(field: serializers.Field[Any, Any, Any, Any], model: type[models.Model]) -> bool:
        pk = model._meta.pk
        return pk is not None and field.source in ("pk", pk.name, pk.attname)

    def _nested(
        self,
        parent: NodeType,
        name: str,
        field: serializers.BaseSerializer[Any],
        location: str,
        above: tuple[type[Any], ...],
    ) -> None:
        child_serializer: serializers.BaseSerializer[Any] = field
        if isinstance(field, serializers.ListSerializer):
            if type(field).to_representation is not serializers.ListSerializer.to_representation:
                raise Unsupported(
                    f"{type(field).__name__} overrides to_representation of a list.",
                    "Filter and order in the related model's default manager.",
                )
            assert field.child is not None
            child_serializer = field.child
        found = relation(parent.model, field.source or name)
        if found.many != isinstance(field, serializers.ListSerializer):
            raise Unsupported(
                f"The relation {field.source!r} is {'to many rows' if found.many else 'to one row'}.",
                "Write many=True." if found.many else "Remove many=True.",
            )
        child = self.node_type(child_serializer, location, above)
        if child is None:
            return
        if child.model._meta.concrete_model is not found.model._meta.concrete_model:
            raise Unsupported(
                f"The relation leads to {found.model.__name__}, the serializer is for {child.model.__name__}.",
                "Use a serializer for the related model.",
            )
        if found.many and child.model is not found.model:
            raise Unsupported(
                f"The relation lists rows as {found.model.__name__}'s manager does, the serializer is for {child.model.__name__}.",
                f"Set its Meta.model to {found.model.__name__}.",
            )
        edge = self._edge(parent, child, name, found)
        edge.nullable = (
            found.nullable or bool(getattr(field, "allow_null", False)) and not found.many
        )

    def _edge(self, parent: NodeType, child: NodeType, name: str, found: Relation) -> Edge:
        if (
            found.link is not None
            and self._links.setdefault(found.link.label, found.link) != found.link
        ):
            raise Unsupported(
                f"{found.link.through.__name__} stands between two pairs of models, of which one is {parent.name}.{name}.",
                "Give each many-to-many field a table of its own.",
            )
        edge = Edge(parent, child, name, found)
        parent.edges.append(edge)
        child.inbound.append(edge)
        if found.kind == "forward":
            edge.column = parent.column(found.column)
        elif found.kind == "reverse":
            edge.column = child.column(found.column)
            child.arrivals.append(edge)
        if found.filtered:
            child.visible_annotation = VISIBLE
        if found.many and not edge.hidden:
            order = order_of(child.model)
            edge.order = order
            edge.order_columns = tuple(child.column(column.attname) for column in order.columns)
            if order.computable and order.columns:
                edge.sort_key = _sort_key(order, edge.order_columns, pk_order(child.model))
        return edge

    def _show(self, node_type: NodeType, shown: dict[str, Any], location: str) -> None:
        """Adds the hidden edges for `{relation: {relation: ...} | None}`; None: only its deletion matters."""
        for name, below in shown.items():
            try:
                found = relation(node_type.model, name)
                check_model(found.model)
                child = self._hidden_type(found.model, below or {}, found, location)
                edge = self._edge(node_type, child, f"~{name}", found)
            except Unsupported as error:
                self._fault(f"{location} > {node_type.name}.{name}", error.message, error.fix)
                continue
            edge.shows = "deletion" if below is None else "change"

    def _hidden_type(
        self, model: type[models.Model], below: dict[str, Any], found: Relation, location: str
    ) -> NodeType:
        arrival = (found.column,) if found.kind == "reverse" else ()
        shape = (label_of(model), repr(sorted(below.items())), arrival, found.filtered)
        if shape not in self._hidden:
            name = f"~{label_of(model)}" + (f"~{len(self._hidden)}" if below or arrival else "")
            while name in self.node_types:
                name += "~"
            hidden = NodeType(name, model, None)
            self._hidden[shape] = self.node_types[name] = hidden
            self._show(hidden, below, location)
        return self._hidden[shape]

    def _fault(self, location: str, message: str, fix: str) -> None:
        fault = Fault(location, message, fix)
        if fault not in self.faults:
            self.faults.append(fault)


def _list_name(name: str, model: type[models.Model]) -> str:
    plural = model._meta.original_attrs.get("verbose_name_plural")  # type: ignore[attr-defined]
    if plural is not None:
        spelled = snake("_".join(str(plural).replace("-", " ").split()))
        if spelled.isidentifier() and spelled.isascii():
            return spelled
    return snake(name) + "s"
