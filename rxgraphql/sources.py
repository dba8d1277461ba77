"""Where the value of a serializer field comes from: a column, a relation, or code; and across which relations."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partialmethod
from typing import Any, Final, Literal

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.related_descriptors import (
    ForeignKeyDeferredAttribute,
    ForwardManyToOneDescriptor,
    ForwardOneToOneDescriptor,
    ReverseOneToOneDescriptor,
)
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init
from rest_framework import serializers

from rxgraphql.errors import UnsupportedError
from rxgraphql.hints import UNKNOWN, return_hint, shows_rows

__all__ = ["Hop", "Source", "is_drf", "resolve", "resolve_path"]

_JOINABLE: Final = frozenset(
    {ForwardManyToOneDescriptor, ForwardOneToOneDescriptor, ReverseOneToOneDescriptor}
)
_PLAIN: Final = frozenset({DeferredAttribute, ForeignKeyDeferredAttribute})
_FILES: Final = frozenset({FileDescriptor, ImageFileDescriptor})


@dataclass(frozen=True, slots=True)
class Hop:
    """One relation on the way from a row to another."""

    name: str  # in lookups and `_meta.get_field()`
    accessor: str  # on instances
    owner: type[models.Model]
    model: type[models.Model]
    relation: Any  # the model field or the reverse relation
    many: bool
    nullable: bool

    @property
    def forward(self) -> bool:
        return isinstance(self.relation, models.ForeignKey)

    @property
    def joinable(self) -> bool:
        """Does a join give what the attribute gives? Not where the related model's base manager hides rows."""
        if type(inspect.getattr_static(self.owner, self.accessor)) not in _JOINABLE:
            return False
        return not self.model._base_manager.get_queryset().query.where


@dataclass(frozen=True, slots=True)
class Source:
    """`row`: the instance itself. `column`: of the row that the hops lead to. `relation`: the last hop.
    `computed`: code of that row's class (`attribute`), whose annotation is `hint`."""

    kind: Literal["row", "column", "relation", "computed"]
    model: type[models.Model]
    hops: tuple[Hop, ...] = ()
    column: Any = None
    attribute: str = ""
    hint: Any = UNKNOWN
    inside: bool = False  # goes on into the value: "data.key"
    unknown: bool = False  # an overridden `get_attribute()` may give anything

    @property
    def nullable(self) -> bool:
        if self.unknown or self.inside or any(hop.nullable for hop in self.hops):
            return True
        if self.kind == "column":
            return bool(self.column.null)
        return self.kind == "computed" and self.hint is UNKNOWN

    @property
    def path(self) -> tuple[str, ...]:
        """The relations whose rows it passes or ends at, by their attributes' names."""
        return tuple(hop.accessor for hop in self.hops)

    @property
    def is_key(self) -> bool:
        """The column holds a primary key, the row's own or another's."""
        if self.kind != "column":
            return False
        if self.column.primary_key:
            return True
        return isinstance(self.column, models.ForeignKey) and self.column.target_field.primary_key

    @property
    def lookup(self) -> str | None:
        """The column's path for `values_list()`; None if the attribute may differ from what that gives."""
        if self.kind == "relation":
            *before, last = self.hops
            if not last.forward:
                return None
            hops, owner, column = tuple(before), last.owner, last.relation
        elif self.kind == "column" and not self.inside:
            hops, owner, column = self.hops, self.model, self.column
        else:
            return None
        if any(hop.many or not hop.joinable or not _loads_plainly(hop.model) for hop in hops):
            return None
        kind = type(inspect.getattr_static(owner, column.attname))
        if not _loads_plainly(owner) or kind not in (_PLAIN | _FILES):
            return None
        return "__".join((*(hop.name for hop in hops), column.attname))


def resolve(field: serializers.Field[Any, Any, Any, Any], model: type[models.Model]) -> Source:
    """Follows the field's `source`; raises UnsupportedError where it leads to what can't be watched."""
    if field.source == "*" or isinstance(field, serializers.ModelField):
        return Source("row", model)
    try:
        return resolve_path(model, field.source_attrs, str(field.source))
    except UnsupportedError:
        if is_drf(field, "get_attribute"):
            raise
        return Source("row", model, unknown=True)


def is_drf(field: serializers.Field[Any, Any, Any, Any], *methods: str) -> bool:
    """Are these methods of the field as DRF wrote them?"""
    return all(
        name not in vars(field)
        and getattr(getattr(type(field), name), "__module__", "").startswith("rest_framework.")
        for name in methods
    )


def resolve_path(model: type[models.Model], attributes: Sequence[str], source: str) -> Source:
    hops: tuple[Hop, ...] = ()
    for position, name in enumerate(attributes):
        last = position == len(attributes) - 1
        found = _member(model, name)
        if isinstance(found, Hop):
            hops = (*hops, found)
            model = found.model
            if found.many and not last:
                raise UnsupportedError(
                    f"source={source!r} computes something from the rows of {name!r}.",
                    "Keep the result in a column of the model, or let the client compute it from a nested list.",
                )
        elif isinstance(found, models.Field):
            return Source("column", model, hops, column=found, inside=not last)
        else:
            return _computed(model, name, hops, source, last)
    return Source("relation", model, hops)


def _member(model: type[models.Model], name: str) -> Any:
    """What an instance's attribute is: a Hop, a column, or None for anything else."""
    options = model._meta
    if name == "pk":
        if isinstance(options.pk, models.CompositePrimaryKey):
            raise UnsupportedError(
                f"{model.__name__} has a composite primary key.", "Leave the field `pk` out."
            )
        return options.pk
    try:
        field: Any = options.get_field(name)
    except FieldDoesNotExist:
        field = None
    if isinstance(field, models.Field):
        if not field.is_relation or name == getattr(field, "attname", None) != field.name:
            return field
        if not isinstance(field, models.ForeignKey | models.ManyToManyField):
            raise UnsupportedError(
                f"{model.__name__}.{name} is a generic relation.",
                "Leave the field out, or use a foreign key to one model.",
            )
        return Hop(
            name=field.name,
            accessor=field.name,
            owner=model,
            model=_related(field),
            relation=field,
            many=bool(field.many_to_many),
            nullable=not field.many_to_many and (field.null or _hides_rows(_related(field))),
        )
    for relation in options.related_objects:
        if relation.get_accessor_name() == name:
            return Hop(
                name=relation.name,
                accessor=name,
                owner=model,
                model=_related(relation),
                relation=relation,
                many=not relation.one_to_one,
                nullable=bool(relation.one_to_one),
            )
    return None


def _related(relation: Any) -> type[models.Model]:
    related: type[models.Model] = relation.related_model
    return related


def _hides_rows(model: type[models.Model]) -> bool:
    return bool(model._base_manager.get_queryset().query.where)


def _computed(
    model: type[models.Model], name: str, hops: tuple[Hop, ...], source: str, last: bool
) -> Source:
    try:
        attribute = inspect.getattr_static(model, name)
    except AttributeError:
        raise UnsupportedError(
            f"{model.__name__} has no attribute {name!r} (source={source!r}).",
            "Rows are read without the annotations of a view's queryset: make it a property of the model, or a "
            "SerializerMethodField.",
        ) from None
    hint = _display_hint(model, attribute) if isinstance(attribute, partialmethod) else UNKNOWN
    if hint is UNKNOWN:
        hint = return_hint(attribute)
    if shows_rows(hint):
        raise UnsupportedError(
            f"{model.__name__}.{name} (source={source!r}) returns rows, whose changes could not be seen.",
            "Name a relation of the model as the source.",
        )
    if not last:
        if hint is UNKNOWN:
            raise UnsupportedError(
                f"source={source!r} goes through {model.__name__}.{name}, which may return a row.",
                f"Annotate what {name} returns, or make a property that returns the value itself.",
            )
        hint = UNKNOWN
    return Source("computed", model, hops, attribute=name, hint=hint, inside=not last)


def _display_hint(model: type[models.Model], attribute: partialmethod[Any]) -> Any:
    """`get_kind_display()` has no annotation of its own."""
    field = attribute.keywords.get("field")
    display = model._get_FIELD_display  # type: ignore[attr-defined]
    if attribute.func is not display or field is None:
        return UNKNOWN
    return str | None if field.null else str


def _loads_plainly(model: type[models.Model]) -> bool:
    """Are the attributes of an instance what the database gave?"""
    return (
        model.__init__ is models.Model.__init__
        and _function(model.from_db) is _function(models.Model.from_db)
        and not post_init.has_listeners(model)
    )


def _function(method: Any) -> Any:
    return getattr(method, "__func__", method)
