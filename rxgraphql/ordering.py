"""The order of a to-many relation's rows, and raw column values as numbers and text that keep it.

An order is computed from the rows where that gives what the database would; else the database is asked.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import connections, models, router
from django.db.models.expressions import Col, F, OrderBy, RawSQL
from django.db.models.functions import Now, Random
from django.db.models.lookups import Lookup
from django.db.models.sql.query import Query

from rxgraphql.errors import UnsupportedError

Primitive = int | float | str | bool | None


class Descending:
    """Turns a value's order around, for values that have no negative."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: Descending) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class OrderColumn:
    attname: str
    descending: bool
    nulls_first: bool
    # for keys, which are text in the hidden columns
    convert: Callable[[str], Any] | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """How the rows of a to-many relation follow each other.

    `columns` decide, then the primary key. `computable` is False where only the database knows (text under a
    collation, an expression): then the list is read again when one of `columns` changes.
    """

    columns: tuple[OrderColumn, ...]
    computable: bool
    order_by: tuple[Any, ...]


def order_of(model: type[models.Model]) -> Order:
    """The order in which the related managers of the model list its rows."""
    query = model._default_manager.all().query
    if not query.standard_ordering:
        raise UnsupportedError(
            f"{model.__name__}'s default manager calls reverse().",
            "Turn each column of its ordering around.",
        )
    terms = list(query.order_by or query.extra_order_by or ())
    if not terms and query.default_ordering:
        terms = list(model._meta.ordering or ())
    columns: list[OrderColumn] = []
    computable = True
    connection = connections[router.db_for_write(model)]
    nulls_first_ascending = connection.vendor in ("sqlite", "mysql")
    for term in terms:
        descending, expression, nulls_first = _term(term, model)
        names = [expression] if isinstance(expression, str) else _names(expression, model)
        plain = isinstance(expression, str)
        for name in names:
            field = _own_column(model, name)
            if nulls_first is None:
                nulls_first = nulls_first_ascending != descending
            convert = key_order(field) if field.is_relation or field.primary_key else None
            columns.append(OrderColumn(field.attname, descending, nulls_first, convert))
            computable = computable and plain and _computable(field, connection)
    return Order(tuple(columns), computable, (*terms, "pk"))


def _term(term: Any, model: type[models.Model]) -> tuple[bool, Any, bool | None]:
    """(descending, column name or expression, nulls first or None for the database's own way)"""
    if isinstance(term, str):
        if term == "?":
            raise UnsupportedError(
                f"{model.__name__} is ordered at random.", "Order by a column in Meta.ordering."
            )
        return term.startswith("-"), term.lstrip("-+"), None
    if isinstance(term, F):
        return False, _name(term), None
    if isinstance(term, OrderBy):
        inner = term.expression
        nulls_first = True if term.nulls_first else False if term.nulls_last else None
        return term.descending, _name(inner) if isinstance(inner, F) else inner, nulls_first
    return False, term, None


def _name(f: Any) -> str:
    return str(f.name)


def _names(expression: Any, model: type[models.Model]) -> list[str]:
    """The columns of the model that the expression reads."""
    query = Query(model)
    try:
        parts = list(_parts(expression.resolve_expression(query)))
    except FieldError as error:
        raise UnsupportedError(
            f"{model.__name__} is ordered by {expression!r}: {error}", "Order by a column."
        ) from None
    joined = len([alias for alias, count in query.alias_refcount.items() if count]) > 1
    if joined or any(
        isinstance(part, Now | Random | RawSQL)
        or hasattr(part, "query")
        or hasattr(part, "alias_map")
        for part in parts
    ):
        raise UnsupportedError(
            f"{model.__name__} is ordered by {expression!r}, which can change without a save of the row.",
            "Order by the row's own columns.",
        )
    return list(dict.fromkeys(part.target.name for part in parts if isinstance(part, Col)))


def _parts(node: Any) -> Iterator[Any]:
    yield node
    if isinstance(node, Lookup):
        inner = [node.lhs, node.rhs]
    elif hasattr(node, "get_source_expressions") and not hasattr(node, "alias_map"):
        inner = node.get_source_expressions()
    else:
        return
    for part in inner:
        yield from _parts(part)


def _own_column(model: type[models.Model], name: str) -> Any:
    if name == "pk":
        return model._meta.pk
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = next((f for f in model._meta.concrete_fields if f.attname == name), None)
    if field is None or "__" in name or not field.concrete or field.many_to_many:
        raise UnsupportedError(
            f"{model.__name__} is ordered by {name!r}, which is not a column of its own.",
            "Order by the row's own columns: the order must not change without a save of the row.",
        )
    if field.is_relation and field.attname != name and field.related_model._meta.ordering:
        raise UnsupportedError(
            f"{model.__name__} is ordered by {name!r}, which follows the ordering of {field.related_model.__name__}.",
            f"Order by {field.attname!r}, or by a column of its own.",
        )
    return field


def _computable(field: Any, connection: Any) -> bool:
    is_key = field.is_relation or field.primary_key
    while field.is_relation:
        field = field.target_field
    if hasattr(field, "from_db_value") or (is_key and isinstance(field, models.DurationField)):
        # the value that Python gets may sort in another way
        return False
    if isinstance(field, models.CharField | models.TextField):
        # SQLite compares text byte by byte, as Python does; others by a collation that Python does not know
        return connection.vendor == "sqlite" and not getattr(field, "db_collation", None)
    if isinstance(field, models.DecimalField):
        return _fits_a_number(field)
    return isinstance(
        field,
        models.IntegerField
        | models.AutoField
        | models.FloatField
        | models.BooleanField
        | models.DateField
        | models.TimeField
        | models.DurationField
        | models.UUIDField,
    )


def _fits_a_number(field: Any) -> bool:
    """Whether the decimals, without their point, are numbers of 64 bits: larger ones fit into no entry of the log."""
    return field.decimal_places is not None and (field.max_digits or 99) <= 18


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
_MICROSECOND = datetime.timedelta(microseconds=1)


def primitive_of(field: Any) -> Callable[[Any], Primitive]:
    """How a raw column value becomes a number or text that keeps its order; keys become text."""
    if field.is_relation or field.primary_key:
        return _key
    if isinstance(field, models.DecimalField) and _fits_a_number(field):
        places = field.decimal_places or 0
        return lambda value: None if value is None else int(decimal.Decimal(value).scaleb(places))
    return primitive


def _key(value: Any) -> Primitive:
    return None if value is None else str(value)


def primitive(value: Any) -> Primitive:
    """A number or text for any column value, such that equal types keep their order."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime.datetime():
            return (value - (_EPOCH if value.tzinfo else _NAIVE_EPOCH)) // _MICROSECOND
        case datetime.date():
            return value.toordinal()
        case datetime.time():
            return (
                (value.hour * 60 + value.minute) * 60 + value.second
            ) * 1_000_000 + value.microsecond
        case datetime.timedelta():
            return value // _MICROSECOND
        case uuid.UUID():
            return str(value)
        case _:
            return str(value)


def pk_order(model: type[models.Model]) -> Callable[[str], Any]:
    """How a primary key's text sorts as the database sorts the key."""
    return key_order(model._meta.pk)


def key_order(field: Any) -> Callable[[str], Any]:
    """How the text of a key column's values sorts as the database sorts them."""
    while field.is_relation:
        field = field.target_field
    if isinstance(field, models.IntegerField):
        return int
    if isinstance(field, models.DecimalField):
        return decimal.Decimal
    return float if isinstance(field, models.FloatField) else str
