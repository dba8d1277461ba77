"""Node types as Strawberry types, one per serializer class.

A type's fields take their values from a projection (a dict by response key) or, in a user's own resolvers, from a model
instance.
"""

from __future__ import annotations

import inspect
import keyword
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import strawberry
from django.db.models import Model
from rest_framework.serializers import ModelSerializer

from rxgraphql.channel import registry
from rxgraphql.instances import Reader, edge_reader, field_reader
from rxgraphql.relations import concrete
from rxgraphql.rows import project_locale
from rxgraphql.scalars import annotation

if TYPE_CHECKING:
    from rxgraphql.fields import FieldType
    from rxgraphql.tree import NodeField, NodeType

_types: dict[type[ModelSerializer[Any]], type] = {}
_lock = threading.RLock()


def type_for(serializer_class: type[ModelSerializer[Any]]) -> Any:
    """The GraphQL type of a serializer's rows, for annotations of your own resolvers.

        @strawberry.mutation
        def send(self, room: strawberry.ID, text: str) -> rxgraphql.type_for(MessageSerializer): ...

    The resolver returns a model instance (or a list of them, annotated `list[...]`). Raises UnsupportedError, with the
    fix, for a serializer that can't be streamed.
    """
    known = _types.get(serializer_class)
    return known if known is not None else type_of(registry.node_type(serializer_class))


def type_of(node_type: NodeType) -> type:
    """The Strawberry type of a node type: one for each serializer class, however often channels are compiled."""
    with _lock:
        new = [
            (found, _new_class(found))
            for found in _below(node_type)
            if _serializer_class(found) not in _types
        ]
        _types.update({_serializer_class(found): cls for found, cls in new})
        # all classes are there: relations may go round in circles
        for found, cls in new:
            _define(found, cls)
        return _types[_serializer_class(node_type)]


def description_of(described: type) -> str | None:
    """A class's own docstring."""
    text = described.__dict__.get("__doc__")
    return inspect.cleandoc(text) if text else None


def picked(self: Any, info: strawberry.Info) -> Any:
    """Resolves a field of projected data."""
    return self[info.path.key]


def _serializer_class(node_type: NodeType) -> type[ModelSerializer[Any]]:
    assert node_type.serializer_class is not None
    return node_type.serializer_class


def _below(node_type: NodeType) -> Iterator[NodeType]:
    seen = {node_type}
    queue = [node_type]
    while queue:
        found = queue.pop()
        yield found
        for edge in found.visible_edges():
            if edge.child not in seen:
                seen.add(edge.child)
                queue.append(edge.child)


def _new_class(node_type: NodeType) -> type:
    serializer_class = _serializer_class(node_type)
    # Strawberry takes two classes of one module and qualified name for one class, imported twice.
    unique = f"{serializer_class.__qualname__}.<graphql {len(_types)}.{id(serializer_class):x}>"
    return type(
        node_type.name,
        (),
        {"__module__": serializer_class.__module__, "__qualname__": unique, "__annotations__": {}},
    )


def _define(node_type: NodeType, cls: type) -> None:
    cls.id = _field(strawberry.ID, lambda instance: str(instance.pk))  # type: ignore[attr-defined]
    for node_field in node_type.fields:
        type_ = annotation(node_field.type, _enum(node_type, node_field))
        help_text = getattr(node_field.field, "help_text", None)
        reader = field_reader(node_type, node_field)
        setattr(cls, node_field.name, _field(type_, reader, help_text))
    for edge in node_type.visible_edges():
        child: Any = _types[_serializer_class(edge.child)]
        if edge.many:
            child = list[child]
        elif edge.nullable:
            child = child | None
        assert node_type.serializer is not None
        help_text = getattr(node_type.serializer.fields[edge.name], "help_text", None)
        setattr(cls, edge.name, _field(child, edge_reader(edge), help_text))
    strawberry.type(
        cls, name=node_type.name, description=description_of(_serializer_class(node_type))
    )
    shown = (dict, cls, concrete(node_type.model))
    definition = cast(Any, cls).__strawberry_definition__
    definition.is_type_of = lambda value, info: isinstance(value, shown)


def _field(type_: Any, read: Reader, help_text: Any = None) -> Any:
    with project_locale():
        description = str(help_text) if help_text else None
    return strawberry.field(resolver=_resolver(read), graphql_type=type_, description=description)


def _resolver(read: Reader) -> Callable[..., Any]:
    def resolve(self: Any, info: strawberry.Info) -> Any:
        if isinstance(self, Model):
            return read(self)
        return self[info.path.key]

    return resolve


def _enum(node_type: NodeType, node_field: NodeField) -> type | None:
    choices = _choices(node_field.type)
    if choices is None:
        return None
    members = {
        _member_name(value, position): strawberry.enum_value(value, name=value)
        for position, value in enumerate(choices.choices)
    }
    made = Enum(choices.enum_name, members)  # type: ignore[misc]
    made.__module__ = _serializer_class(node_type).__module__
    return cast(type, strawberry.enum(made, name=choices.enum_name))


def _choices(field_type: FieldType) -> FieldType | None:
    if field_type.item is not None:
        return _choices(field_type.item)
    return field_type if field_type.kind == "Enum" else None


def _member_name(value: str, position: int) -> str:
    """Python's enums reserve some names that GraphQL allows."""
    usable = not value.startswith("_") and value not in ("mro", "name", "value")
    return value if usable and not keyword.iskeyword(value) else f"choice_{position}"
