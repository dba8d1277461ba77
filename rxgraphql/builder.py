"""Compiles serializers into node types and edges; gathers what can't be streamed instead of stopping at the first."""

from __future__ import annotations

import hashlib
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from rest_framework import serializers

from rxgraphql import fields as field_types
from rxgraphql.errors import Fault, UnsupportedError
from rxgraphql.ordering import order_of, pk_order
from rxgraphql.relations import Link, Relation, check_model, label_of, relation
from rxgraphql.rows import SharedContext
from rxgraphql.tree import VISIBLE, Edge, NodeField, NodeType, StateTree, column_key, snake


class TreeBuilder:
    """Compiles anchors into trees over one common set of node types; gathers faults instead of stopping at the
    first."""

    def __init__(self) -> None:
        self.node_types: dict[str, NodeType] = {}
        self.by_serializer: dict[type[Any], NodeType] = {}
        self.faults: list[Fault] = []
        # After the channels are compiled: types that only the schema shows must not change the shape of rows any
        # more, since processes that never make the schema would not know.
        self.sealed = False
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
        cls: Any = type(serializer)
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
        except UnsupportedError as error:
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
                    raise UnsupportedError(
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
            except UnsupportedError as error:
                self._fault(where, error.message, error.fix)
        node_type.fields = tuple(flat)
        for target in points:
            shown.setdefault(target, None)
        self._show(node_type, shown, location)

    @staticmethod
    def _is_pk(field: serializers.Field[Any, Any, Any, Any], model: type[models.Model]) -> bool:
        pk = model._meta.pk
        return field.source in ("pk", pk.name, pk.attname)

    def _nested(
        self,
        parent: NodeType,
        name: str,
        field: serializers.BaseSerializer[Any],
        location: str,
        above: tuple[type[Any], ...],
    ) -> None:
        child_serializer: Any = field
        if isinstance(field, serializers.ListSerializer):
            if type(field).to_representation is not serializers.ListSerializer.to_representation:
                raise UnsupportedError(
                    f"{type(field).__name__} overrides to_representation of a list.",
                    "Filter and order in the related model's default manager.",
                )
            assert field.child is not None
            child_serializer = field.child
        found = relation(parent.model, field.source or name)
        if found.many != isinstance(field, serializers.ListSerializer):
            raise UnsupportedError(
                f"The relation {field.source!r} is {'to many rows' if found.many else 'to one row'}.",
                "Write many=True." if found.many else "Remove many=True.",
            )
        child = self.node_type(child_serializer, location, above)
        if child is None:
            return
        if child.model._meta.concrete_model is not found.model._meta.concrete_model:
            raise UnsupportedError(
                f"The relation leads to {found.model.__name__}, the serializer is for {child.model.__name__}.",
                "Use a serializer for the related model.",
            )
        if found.many and child.model is not found.model:
            raise UnsupportedError(
                f"The relation lists rows as {found.model.__name__}'s manager does, the serializer "
                f"is for {child.model.__name__}.",
                f"Set its Meta.model to {found.model.__name__}.",
            )
        edge = self._edge(parent, child, name, found)
        edge.nullable = found.nullable or (
            bool(getattr(field, "allow_null", False)) and not found.many
        )

    def _edge(self, parent: NodeType, child: NodeType, name: str, found: Relation) -> Edge:
        if (
            found.link is not None
            and self._links.setdefault(found.link.label, found.link) != found.link
        ):
            raise UnsupportedError(
                f"{found.link.through.__name__} stands between two pairs of models, of which one is "
                f"{parent.name}.{name}.",
                "Give each many-to-many field a table of its own.",
            )
        edge = Edge(parent, child, name, found)
        if found.many and not edge.hidden:
            edge.order = order_of(child.model)
        parent.edges.append(edge)
        if self.sealed:
            return edge
        child.inbound.append(edge)
        if found.kind == "forward":
            edge.column = parent.column(found.column)
        elif found.kind == "reverse":
            edge.column = child.column(found.column)
            child.arrivals.append(edge)
        if found.filtered:
            child.visible_annotation = VISIBLE
        if (order := edge.order) is not None:
            edge.order_columns = tuple(child.column(column.attname) for column in order.columns)
            if order.computable and order.columns:
                edge.sort_key = column_key(order, edge.order_columns, pk_order(child.model))
        return edge

    def _show(self, node_type: NodeType, shown: dict[str, Any], location: str) -> None:
        """Adds the hidden edges for `{relation: {relation: ...} | None}`; None: only its deletion matters."""
        for name, below in shown.items():
            try:
                found = relation(node_type.model, name)
                check_model(found.model)
                child = self._hidden_type(found.model, below or {}, found, location)
                edge = self._edge(node_type, child, f"~{name}", found)
            except UnsupportedError as error:
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
    plural = model._meta.original_attrs.get("verbose_name_plural")
    if plural is not None:
        spelled = snake("_".join(str(plural).replace("-", " ").split()))
        if spelled.isidentifier() and spelled.isascii():
            return spelled
    return snake(name) + "s"
