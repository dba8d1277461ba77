"""Python annotation -> GraphQL type: what serializer methods and model properties say that they return."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property, partial
from typing import Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

from django.db.models import Manager, Model, QuerySet
from django.utils.functional import Promise
from django.utils.functional import cached_property as django_cached_property

from rxgraphql.errors import UnsupportedError
from rxgraphql.wire import INT32, FieldType

__all__ = ["UNKNOWN", "as_nullable", "choices_type", "hint_type", "return_hint", "shows_rows"]

UNKNOWN: Final = object()

# In this order: a bool is an int, a datetime is a date.
_SCALARS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "Boolean"),
    (int, "Int"),
    (float, "Float"),
    (str, "String"),
    (Promise, "String"),
    (Decimal, "Decimal"),
    (UUID, "UUID"),
    (datetime, "DateTime"),
    (date, "Date"),
    (time, "Time"),
    (timedelta, "Duration"),
)
# `strawberry.ID`, `rxgraphql.BigInt` and the like are NewTypes that bear the scalar's name.
_NAMED: Final = frozenset({"ID", "BigInt", "JSON", "Duration"})


def return_hint(function: Any) -> Any:
    """The evaluated return annotation of a function, method, property or cached property; UNKNOWN without one.

    Only the return annotation is evaluated: those of the parameters may name what is imported for type checkers only.
    """
    if isinstance(function, property):
        function = function.fget
    elif isinstance(function, cached_property | django_cached_property):
        function = function.func
    elif isinstance(function, staticmethod | classmethod):
        function = function.__func__
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function) if callable(function) else function
    annotation = getattr(function, "__annotations__", {}).get("return", UNKNOWN)
    if annotation is UNKNOWN:
        return UNKNOWN
    holder = types.SimpleNamespace(__annotations__={"return": annotation})
    name = getattr(function, "__qualname__", repr(function))
    try:
        return typing.get_type_hints(holder, globalns=getattr(function, "__globals__", {}))[
            "return"
        ]
    except NameError as error:
        raise UnsupportedError(
            f"The return annotation of {name} can't be evaluated: {error}.",
            "Import that name at the module's top level, not under TYPE_CHECKING or in a function.",
        ) from None


def shows_rows(hint: Any) -> bool:
    """Is it annotated with model instances, however wrapped?"""
    if inspect.isclass(hint) and not get_args(hint):
        return issubclass(hint, Model | QuerySet | Manager)
    origin = get_origin(hint)
    if inspect.isclass(origin) and issubclass(origin, QuerySet | Manager):
        return True
    return any(shows_rows(argument) for argument in get_args(hint))


def hint_type(hint: Any, enum_name: str, where: str) -> FieldType:
    """The type of an evaluated annotation; `where` names the annotated thing in the error."""
    if shows_rows(hint):
        raise UnsupportedError(
            f"{where} returns rows of a model, whose changes could not be seen.",
            "Use a nested serializer over a relation, or return plain values.",
        )
    found = _type(hint, enum_name)
    if found is None:
        name = getattr(hint, "__name__", None) or str(hint)
        raise UnsupportedError(
            f"{where} is annotated with {name}, which has no GraphQL type.",
            "Annotate it with str, int, float, bool, Decimal, UUID, a date or time, an Enum, a Literal, dict, "
            "a list of one of these, or one of these | None.",
        )
    return found


def _type(hint: Any, enum_name: str) -> FieldType | None:
    if hasattr(hint, "__value__"):  # type Name = ...
        return _type(hint.__value__, enum_name)
    if hint is Any:
        return FieldType("JSON", nullable=True)
    if (name := getattr(hint, "__name__", "")) in _NAMED and not isinstance(hint, type):
        return FieldType(name)
    if isinstance(hint, typing.NewType):
        return _type(hint.__supertype__, enum_name)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Union or origin is types.UnionType:
        return _union(arguments, enum_name)
    if origin is Literal:
        return _literal(arguments, enum_name)
    if typing.is_typeddict(hint):
        return FieldType("JSON")
    kind = origin or hint
    if not inspect.isclass(kind):
        return None
    if issubclass(kind, Enum):
        return choices_type([member.value for member in kind], enum_name)
    for python, scalar in _SCALARS:
        if issubclass(kind, python):
            return FieldType(scalar)
    if issubclass(kind, Mapping):
        return FieldType("JSON")
    if issubclass(kind, Iterable) and not issubclass(kind, bytes):
        arguments = tuple(argument for argument in arguments if argument is not Ellipsis)
        if len(set(arguments)) > 1:
            return FieldType("List", item=FieldType("JSON", nullable=True))
        item = _type(arguments[0] if arguments else Any, enum_name)
        return item and FieldType("List", item=item)
    return None


def _union(arguments: tuple[Any, ...], enum_name: str) -> FieldType | None:
    given = [argument for argument in arguments if argument is not type(None)]
    nullable = len(given) < len(arguments)
    if not given:
        return None
    found = {_type(argument, enum_name) for argument in given}
    if found == {FieldType("Int"), FieldType("Float")}:
        found = {FieldType("Float")}
    one = found.pop()
    if found or one is None:
        return None
    return as_nullable(one) if nullable else one


def _literal(values: tuple[Any, ...], enum_name: str) -> FieldType:
    given = [value for value in values if value is not None]
    found = choices_type(given, enum_name)
    return as_nullable(found) if len(given) < len(values) else found


def as_nullable(field_type: FieldType, nullable: bool = True) -> FieldType:
    return replace(field_type, nullable=nullable)


def choices_type(values: Sequence[Any], enum_name: str) -> FieldType:
    """An enum if all values are names that GraphQL allows for one, else the scalar that holds all of them."""
    values = [value.value if isinstance(value, Enum) else value for value in values]
    if values and all(isinstance(value, bool) for value in values):
        return FieldType("Boolean")
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return FieldType("Int" if all(value in INT32 for value in values) else "BigInt")
    if values and all(isinstance(value, float) for value in values):
        return FieldType("Float")
    if values and all(isinstance(value, str) and _is_enum_name(value) for value in values):
        return FieldType("Enum", choices=tuple(dict.fromkeys(values)), enum_name=enum_name)
    return FieldType("String")


def _is_enum_name(value: str) -> bool:
    # Beside GraphQL's own rules: names that Python's Enum keeps for itself ("mro", "_sunder_").
    return (
        value.isascii()
        and value.isidentifier()
        and not value.startswith("__")
        and not (value[0] == value[-1] == "_")
        and value not in ("true", "false", "null", "mro")
    )
