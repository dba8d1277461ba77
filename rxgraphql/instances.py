"""Reads a model instance that a user's resolver returns, field by field, as the channel would show it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model

from rxgraphql.execution import public_error
from rxgraphql.rows import RowReader, project_locale

if TYPE_CHECKING:
    from rxgraphql.tree import Edge, NodeField, NodeType

# Gives the value, or an awaitable of it where the database may be asked and an event loop runs.
Reader = Callable[[Model], Any]


def field_reader(node_type: NodeType, node_field: NodeField) -> Reader:
    """Reads one flat field as the serializer represents it."""

    @cache
    def reading() -> tuple[RowReader, Any]:
        reader = RowReader(node_type)
        return reader, next(field for field in reader._fields if field.name == node_field.name)

    def read(instance: Model) -> Any:
        reader, field = reading()
        with project_locale():
            if reader._whole is None:
                return field.read(instance)
            return field.read(reader._whole.to_representation(instance))

    def at_hand(instance: Model) -> bool:
        column = reading()[1].column
        return column is not None and column.path in instance.__dict__

    return _guarded(read, at_hand)


def edge_reader(edge: Edge) -> Reader:
    """Reads one relation: the instances, in the order in which the channel lists them."""
    name = edge.relation.name
    if not edge.many:

        def one(instance: Model) -> Any:
            try:
                return getattr(instance, name)
            except ObjectDoesNotExist:
                return None

        return _guarded(one, lambda instance: name in instance._state.fields_cache)

    order_by = edge.order.order_by if edge.order is not None else ("pk",)

    def many(instance: Model) -> Any:
        queryset = getattr(instance, name).all()
        if _prefetched(instance, name):
            return list(queryset)
        return list(queryset.order_by(*order_by))

    return _guarded(many, lambda instance: _prefetched(instance, name))


def _prefetched(instance: Model, name: str) -> bool:
    return name in getattr(instance, "_prefetched_objects_cache", ())


def _guarded(read: Reader, at_hand: Callable[[Model], bool]) -> Reader:
    """Keeps queries out of the event loop, and the texts of exceptions out of responses."""

    def checked(instance: Model) -> Any:
        try:
            return read(instance)
        except Exception as error:
            raise public_error(error) from error

    def reader(instance: Model) -> Any:
        if at_hand(instance) or not _in_event_loop():
            return checked(instance)
        return sync_to_async(checked)(instance)

    return reader


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
