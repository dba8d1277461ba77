"""What Django's metadata says of a relation: which way it goes, who is let through, in which order.

Everything here is asked once, at start-up. What can't be derived from a row's own columns is refused with a fix.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import connections, models, router
from django.db.models.expressions import Col, Expression, F, OrderBy, RawSQL
from django.db.models.functions import Now, Random
from django.db.models.lookups import Lookup
from django.db.models.sql.query import Query
from django.db.models.sql.where import ExtraWhere, NothingNode, WhereNode

from rxgraphql.errors import UnsupportedError

Kind = Literal["forward", "reverse", "link"]
Primitive = int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class Link:
    """A many-to-many table: a fact of it is (label, a, b), the two ends' primary keys as text."""

    label: str
    through: type[models.Model]
    a: str  # the column of the end that declares the field, as an attname of `through`
    b: str

    def __hash__(self) -> int:
        return hash(self.label)


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation as seen from its parent model."""

    name: str
    kind: Kind
    many: bool
    nullable: bool
    model: type[models.Model]  # the child's
    column: str = ""  # forward: the parent's attname; reverse: the child's attname
    link: Link | None = None
    parent_is_a: bool = True  # link: which end of it the parent is
    query_name: str = ""  # link: how a query on the child names the parent
    filtered: bool = False  # whether the manager of this relation lets only some rows through


def concrete(model: type[models.Model]) -> type[models.Model]:
    """The model whose table it is: signals and keys speak of that one, also for a proxy."""
    found = model._meta.concrete_model
    assert found is not None
    return found


def label_of(model: type[models.Model]) -> str:
    return concrete(model)._meta.label_lower


def relation(model: type[models.Model], name: str) -> Relation:
    """The relation that `instance.name` follows. Raises UnsupportedError for anything else."""
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if field is None or (field.auto_created and not field.concrete):
        field = next(
            (
                rel
                for rel in model._meta.get_fields()
                if rel.auto_created and not rel.concrete and rel.get_accessor_name() == name  # type: ignore[union-attr]
            ),
            None,
        )
    if field is None or not field.is_relation or field.related_model in (None, "self"):
        raise UnsupportedError(
            f"{model.__name__}.{name} is not a relation of the model.",
            "A nested serializer's source must be a foreign key, a one-to-one, a many-to-many field "
            "or the reverse of one.",
        )
    child = field.related_model
    _supported_model(child)
    if field.many_to_many:
        return _link_relation(model, name, field, child)
    if field.concrete:
        if field.target_field is not child._meta.pk:
            raise UnsupportedError(
                f"{model.__name__}.{name} points at {child.__name__}.{field.target_field.name} (to_field).",
                "Point the key at the primary key.",
            )
        if _filters(child._base_manager):
            raise UnsupportedError(
                f"{child.__name__}'s base manager filters rows, so {name} can vanish without a change of its row.",
                "Remove Meta.base_manager_name or its filter.",
            )
        return Relation(name, "forward", False, field.null, child, column=field.attname)
    if not hasattr(field, "field") or not isinstance(field.field, models.ForeignKey):
        raise UnsupportedError(
            f"{model.__name__}.{name} is a generic relation.",
            "Use a foreign key, or leave the field out.",
        )
    if field.field.target_field is not model._meta.pk:
        raise UnsupportedError(
            f"{child.__name__}.{field.field.name} points at "
            f"{model.__name__}.{field.field.target_field.name} (to_field).",
            "Point the key at the primary key.",
        )
    many = not field.one_to_one
    filtered = many and _filters(child._default_manager)
    return Relation(
        name, "reverse", many, not many, child, column=field.field.attname, filtered=filtered
    )


def _link_relation(
    model: type[models.Model], name: str, field: Any, child: type[models.Model]
) -> Relation:
    many_to_many = field if field.concrete else field.field
    through = many_to_many.remote_field.through
    a = through._meta.get_field(many_to_many.m2m_field_name())
    b = through._meta.get_field(many_to_many.m2m_reverse_field_name())
    for end in (a, b):
        if end.target_field is not end.related_model._meta.pk:
            raise UnsupportedError(
                f"{through.__name__}.{end.name} does not point at a primary key (to_field).",
                "Point both keys of the table between at primary keys.",
            )
    if not through._meta.auto_created and not _unique_pair(through, {a.name, b.name}):
        raise UnsupportedError(
            f"{through.__name__} may hold the same pair twice, so {model.__name__}.{name} could list a row twice.",
            f"Add a UniqueConstraint over {a.name} and {b.name} to it.",
        )
    return Relation(
        name,
        "link",
        True,
        False,
        child,
        link=Link(label_of(through), through, a.attname, b.attname),
        parent_is_a=field.concrete,
        query_name=many_to_many.related_query_name() if field.concrete else many_to_many.name,
        filtered=_filters(child._default_manager),
    )


def _unique_pair(through: type[models.Model], pair: set[str]) -> bool:
    together = [set(names) for names in through._meta.unique_together]
    constraints = [
        set(constraint.fields)
        for constraint in through._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and constraint.condition is None
    ]
    return pair in together or pair in constraints


def _supported_model(model: type[models.Model]) -> None:
    if concrete(model)._meta.parents:
        raise UnsupportedError(
            f"{model.__name__} inherits from another model's table (multi-table inheritance).",
            "Use an abstract base class.",
        )
    if not concrete(model)._meta.managed and not concrete(model)._meta.db_table:
        raise UnsupportedError(f"{model.__name__} has no table.", "Stream a model that has one.")


def check_model(model: type[models.Model]) -> None:
    """Raises UnsupportedError when rows of the model can't be streamed."""
    _supported_model(model)
    if len(getattr(model._meta, "pk_fields", [model._meta.pk])) > 1:
        raise UnsupportedError(
            f"{model.__name__} has a composite primary key.", "Give it a primary key of one column."
        )


def _filters(manager: models.Manager[Any]) -> bool:
    """Whether the manager lets only some rows through; raises UnsupportedError if not by the row's own columns."""
    query = manager.all().query
    name = manager.model.__name__
    if query.is_sliced or query.distinct_fields or query.combinator:
        raise UnsupportedError(
            f"{name}'s default manager slices, combines or uses DISTINCT ON.",
            "Filter by the row's own columns.",
        )
    if len([alias for alias, count in query.alias_refcount.items() if count]) > 1:
        raise UnsupportedError(
            f"{name}'s default manager filters through another table.",
            "Filter by the row's own columns: what passes must not change without a save of the row.",
        )
    if not query.where:
        return False
    _check_where(query.where, name)
    if query.where != manager.all().query.where:
        raise UnsupportedError(
            f"{name}'s default manager filters by something else each time, such as the present moment.",
            "Filter by a stored column: what passes must not change without a save of the row.",
        )
    return True


def _check_where(node: Any, name: str) -> None:
    if isinstance(node, WhereNode):
        for child in node.children:
            _check_where(child, name)
    elif isinstance(node, Lookup | Expression):
        for part in (
            [node.lhs, node.rhs] if isinstance(node, Lookup) else node.get_source_expressions()
        ):
            _check_where(part, name)
        if isinstance(node, Now | Random):
            raise UnsupportedError(
                f"{name}'s default manager filters by time or at random.",
                "Filter by a stored column.",
            )
        if isinstance(node, RawSQL):
            raise _raw(name)
    elif isinstance(node, ExtraWhere):
        raise _raw(name)
    elif hasattr(node, "query") or hasattr(node, "alias_map"):
        raise UnsupportedError(
            f"{name}'s default manager filters by a subquery.",
            "Filter by the row's own columns: what passes must not change without a save of the row.",
        )
    elif isinstance(node, NothingNode):
        raise UnsupportedError(
            f"{name}'s default manager lets nothing through.", "Return rows from it."
        )


def _raw(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"{name}'s default manager filters by SQL of its own, which can't be looked into.",
        "Filter by lookups on the row's own columns.",
    )


# ---------------------------------------------------------------------------------------------- order


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
        return (field.max_digits or 99) <= 18
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


# ---------------------------------------------------------------------------------------------- values


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
_MICROSECOND = datetime.timedelta(microseconds=1)


def primitive_of(field: Any) -> Callable[[Any], Primitive]:
    """How a raw column value becomes a number or text that keeps its order; keys become text."""
    if field.is_relation or field.primary_key:
        return _key
    if isinstance(field, models.DecimalField) and field.decimal_places is not None:
        places = field.decimal_places
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
