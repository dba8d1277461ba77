"""Clashes of names in the schema, found before Strawberry builds it, which would merge some of them in silence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from graphql import specified_scalar_types
from strawberry.schema.config import StrawberryConfig
from strawberry.types.base import get_object_definition

from rxgraphql.errors import Fault
from rxgraphql.events import EVENT_FIELDS
from rxgraphql.scalars import PYTHON_TYPES

if TYPE_CHECKING:
    from rxgraphql.channel import StateChannel
    from rxgraphql.fields import FieldType
    from rxgraphql.tree import NodeType

RESERVED_TYPES: Final = frozenset(
    {
        "ChannelEvent",
        "ChannelEventKind",
        "ListChange",
        "Mutation",
        "Query",
        "Subscription",
        *specified_scalar_types,
        *PYTHON_TYPES,
    }
)
# what Strawberry gives to resolvers, and our own
RESERVED_ARGUMENTS: Final = frozenset({"after", "cls", "info", "root", "self"})
GRAPHQL_NAME: Final = re.compile(r"(?!__)[_A-Za-z][_0-9A-Za-z]*\Z")


def location_of(channel: type[StateChannel]) -> str:
    return f"{channel.__module__}.{channel.__qualname__}"


def name_faults(
    channels: Sequence[type[StateChannel]],
    roots: Sequence[type | None],
    config: StrawberryConfig,
) -> list[Fault]:
    """All clashes of the channels' names with each other and with the fields of the user's root types."""
    return [
        *_root_fields(channels, roots, config),
        *_arguments(channels),
        *_lists(channels, config),
        *_types(channels),
        *_fields(channels, config),
    ]


def generated_type_names(channels: Sequence[type[StateChannel]]) -> dict[str, str]:
    """Every type that channels make, and where the name comes from."""
    names: dict[str, str] = {}
    for node_type in _node_types(channels):
        names[node_type.name] = _serializer(node_type)
        for node_field in node_type.fields:
            for enum in _enums(node_field.type):
                names[enum.enum_name] = f"{_serializer(node_type)}.{node_field.name}"
    return names | {channel.event_name: location_of(channel) for channel in channels}


def _root_fields(
    channels: Sequence[type[StateChannel]], roots: Sequence[type | None], config: StrawberryConfig
) -> Iterator[Fault]:
    for root in roots:
        definition = get_object_definition(root) if root is not None else None
        if root is None or definition is None:
            continue
        taken = {config.name_converter.get_graphql_name(field) for field in definition.fields}
        for channel in channels:
            name = config.name_converter.apply_naming_config(channel.field_name)
            if name in taken:
                yield Fault(
                    location_of(channel),
                    f"{root.__module__}.{root.__qualname__} has a field {name} of its own.",
                    "Set the channel's Meta.graphql_name, or rename that field.",
                )


def _arguments(channels: Sequence[type[StateChannel]]) -> Iterator[Fault]:
    for channel in channels:
        for argument in channel.arguments:
            if argument.name in RESERVED_ARGUMENTS:
                yield Fault(
                    location_of(channel),
                    f"The argument {argument.name!r} is reserved.",
                    "Override get_object() with a parameter of another name.",
                )


def _lists(channels: Sequence[type[StateChannel]], config: StrawberryConfig) -> Iterator[Fault]:
    camel = config.name_converter.apply_naming_config
    for channel in channels:
        taken = {camel(name): "every event has a field of that name" for name in EVENT_FIELDS}
        for node_type in channel.tree.node_types:
            name = camel(node_type.list_name)
            if name in taken or not GRAPHQL_NAME.match(name):
                why = taken.get(name, "it is not a GraphQL name")
                yield Fault(
                    location_of(channel),
                    f"The list of {node_type.name} nodes can't be called {name}: {why}.",
                    f"Set Meta.graphql_list_name in {_serializer(node_type)}.",
                )
            taken[name] = f"so is the list of {node_type.name} nodes"


def _types(channels: Sequence[type[StateChannel]]) -> Iterator[Fault]:
    taken: dict[str, str] = {}
    for node_type in _node_types(channels):
        where = _serializer(node_type)
        yield from _type(node_type.name, where, f"Set Meta.graphql_name in {where}.", taken)
    for node_type in _node_types(channels):
        for node_field in node_type.fields:
            for enum in _enums(node_field.type):
                where = f"{_serializer(node_type)}.{node_field.name}"
                fix = f"Rename the field, or set Meta.graphql_name in {_serializer(node_type)}."
                yield from _type(enum.enum_name, where, fix, taken)
    for channel in channels:
        fix = "Set Meta.graphql_name in the channel."
        yield from _type(channel.event_name, location_of(channel), fix, taken)


def _type(name: str, where: str, fix: str, taken: dict[str, str]) -> Iterator[Fault]:
    if not GRAPHQL_NAME.match(name):
        yield Fault(where, f"{name!r} is not a GraphQL name.", fix)
    elif name in RESERVED_TYPES:
        yield Fault(where, f"The GraphQL type {name} exists in every schema.", fix)
    elif name in taken:
        yield Fault(where, f"The GraphQL type {name} is made by {taken[name]} too.", fix)
    taken.setdefault(name, where)


def _fields(channels: Sequence[type[StateChannel]], config: StrawberryConfig) -> Iterator[Fault]:
    camel = config.name_converter.apply_naming_config
    for node_type in _node_types(channels):
        taken = {"id": "id"}
        edges = node_type.visible_edges()
        for python_name in (*(f.name for f in node_type.fields), *(edge.name for edge in edges)):
            name = camel(python_name)
            where = f"{_serializer(node_type)}.{python_name}"
            if name in taken:
                yield Fault(
                    where,
                    f"Its GraphQL name {name} is that of {taken[name]} too.",
                    "Rename one of the fields.",
                )
            elif not GRAPHQL_NAME.match(name):
                yield Fault(where, f"{name!r} is not a GraphQL name.", "Rename the field.")
            taken[name] = python_name


def _node_types(channels: Sequence[type[StateChannel]]) -> list[NodeType]:
    return list(dict.fromkeys(t for channel in channels for t in channel.tree.node_types))


def _serializer(node_type: NodeType) -> str:
    cls = node_type.serializer_class
    assert cls is not None
    return f"{cls.__module__}.{cls.__qualname__}"


def _enums(field_type: FieldType) -> Iterator[FieldType]:
    if field_type.item is not None:
        yield from _enums(field_type.item)
    elif field_type.kind == "Enum":
        yield field_type
