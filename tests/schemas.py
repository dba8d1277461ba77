"""Schemas of tests: channels that are forgotten afterwards, queries of a user's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import GenericAlias
from typing import Any

import strawberry

from rxgraphql import StateChannel
from rxgraphql.channel import registry


class Open(StateChannel):
    """A base for channels that anyone may look at."""

    abstract = True

    def has_permission(self, user: Any, instance: Any) -> bool:
        return True


@contextmanager
def own_channels() -> Iterator[None]:
    """Channels that are defined within are as those of an app's `channels`, and forgotten afterwards."""
    known = set(registry._classes)
    registry._discovering = True
    try:
        yield
    finally:
        registry._discovering = False
        for name, channel in list(registry._classes.items()):
            if name not in known:
                registry.remove(channel)


def query_of(type_: Any, value: Any, **fields: Any) -> Any:
    """A user's Query with one field, `found`, whose resolver returns the value."""

    def found() -> Any:
        return value() if callable(value) else value

    fields["found"] = strawberry.field(resolver=found, graphql_type=type_)
    return strawberry.type(type("Query", (), {"__annotations__": {}, **fields}))


def list_of(type_: Any) -> Any:
    return GenericAlias(list, (type_,))
