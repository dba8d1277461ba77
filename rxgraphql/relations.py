"""What Django's metadata says of a relation: which way it goes, who is let through, in which order.

Everything here is asked once, at start-up. What can't be derived from a row's own columns is refused with a fix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.expressions import Expression, RawSQL
from django.db.models.functions import Now, Random
from django.db.models.lookups import Lookup
from django.db.models.sql.where import ExtraWhere, NothingNode, WhereNode

from rxgraphql.errors import UnsupportedError

Kind = Literal["forward", "reverse", "link"]


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
