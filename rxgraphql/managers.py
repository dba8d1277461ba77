"""Managers and query sets whose bulk operations are seen, for models that a project owns.

    update, bulk_create, bulk_update -> Django's own statement in a transaction with the query for the keys -> mark

Django sends no signals for these. `delete()` sends one for each row, and needs nothing here. A model that no
channel reads gets Django's own statement and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from typing import Any, Final, TypeVar

from django.db import models, router, transaction

from rxgraphql import capture
from rxgraphql.among import Among
from rxgraphql.capture import Marks
from rxgraphql.changeset import ChangeSet

M = TypeVar("M", bound=models.Model)

# With more rows than this in one statement, loading anew what depends on them costs less than to send them.
MOST_ROWS: Final = 10_000
# Where Django makes the managers of a reverse foreign key and of a generic relation, as subclasses of the model's.
RELATED: Final = (
    "django.db.models.fields.related_descriptors",
    "django.contrib.contenttypes.fields",
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows that a statement is about to change: None if they are too many."""

    queryset: Any
    rows: list[Row] | None


class LiveQuerySet(models.QuerySet[M]):
    """A query set whose `update()`, `bulk_create()` and `bulk_update()` are seen, in one event at the commit."""

    # somebody has marked the rows of the next update()
    _rx_marked = False

    def update(self, **kwargs: Any) -> int:
        marks = _marks(self.model)
        if marks is None or self._rx_marked or self.query.is_sliced or self.query.combinator:
            return super().update(**kwargs)
        self._for_write = True
        with transaction.atomic(using=self.db, savepoint=False):
            chosen = self._rx_choose(marks)
            count = super(LiveQuerySet, chosen.queryset).update(**kwargs)
            capture.mark(
                self.db, lambda changes: self._rx_mark_update(marks, chosen, kwargs, changes)
            )
        self._result_cache = None
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(  # type: ignore[override]
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Sequence[str] | None = None,
        unique_fields: Sequence[str] | None = None,
    ) -> list[M]:
        def create(objs: Iterable[M]) -> list[M]:
            return super(LiveQuerySet, self).bulk_create(
                objs, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
            )

        marks = _marks(self.model)
        if marks is None:
            return create(objs)
        objs = list(objs)
        self._for_write = True
        with transaction.atomic(using=self.db, savepoint=False):
            created = create(objs)

            def note(changes: ChangeSet) -> None:
                for obj in objs:
                    _mark(marks, obj, changes)
                if update_conflicts:
                    self._rx_mark_upsert(
                        marks, objs, update_fields or (), unique_fields or (), changes
                    )

            capture.mark(self.db, note)
        return created

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(
        self, objs: Iterable[M], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        marks = _marks(self.model)
        fields = list(fields)
        if marks is None or marks.link is not None:
            # a link may get other ends, and update() reads those that it had
            return super().bulk_update(objs, fields, batch_size)
        objs = tuple(objs)
        marked: Any = self.all()
        marked._rx_marked = True
        marked._for_write = self._for_write = True
        with transaction.atomic(using=self.db, savepoint=False):
            count = super(LiveQuerySet, marked).bulk_update(objs, fields, batch_size)

            def note(changes: ChangeSet) -> None:
                for obj in objs:
                    _mark(marks, obj, changes)

            capture.mark(self.db, note)
        return count

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def _raw_delete(self, using: str | None) -> int:
        marks = capture.current().marks(self.model)
        using = using or self.db
        if marks is None:
            return super()._raw_delete(using)
        with transaction.atomic(using=using, savepoint=False):
            chosen = self.using(using)._rx_choose(marks)
            count: int = super(LiveQuerySet, chosen.queryset)._raw_delete(using)

            def note(changes: ChangeSet) -> None:
                for row in chosen.rows or ():
                    marks.deleted(changes, row)
                if chosen.rows is None:
                    marks.unknown(changes)
                    changes.links_unknown.update(label for label, _, _ in marks.ends)

            capture.mark(using, note)
        return count

    _raw_delete.alters_data = True  # type: ignore[attr-defined]

    @classmethod
    def as_manager(cls) -> LiveManager[Any]:
        manager: LiveManager[Any] = LiveManager.from_queryset(cls)()
        manager._built_with_asmanager = True  # type: ignore[attr-defined]
        return manager

    as_manager.queryset_only = True  # type: ignore[attr-defined]

    def _clone(self) -> Any:
        clone: Any = super()._clone()  # type: ignore[misc]
        clone._rx_marked = self._rx_marked
        return clone

    def _rx_choose(self, marks: Marks) -> Chosen:
        """Reads which rows match, and gives the query set restricted to them.

        The keys first: after the statement its own rows may no longer match its filter. And then filter and keys
        together: without the keys, a row that another writer has made match since would be changed unmarked;
        without the filter, one that it took out of the filter since would be changed although it doesn't match.
        """
        keys: Any = self.all()
        keys.query.clear_ordering(force=True)
        keys.query.select_for_update = False
        keys.query.select_related = False
        keys.query.distinct_fields = ()
        found = keys.values_list("pk", *marks.columns)[: MOST_ROWS + 1]
        rows = [dict(zip(("pk", *marks.columns), values, strict=True)) for values in found]
        if len(rows) > MOST_ROWS:
            return Chosen(self, None)
        return Chosen(self.filter(Among("pk", [row["pk"] for row in rows])), rows)

    def _rx_mark_update(
        self, marks: Marks, chosen: Chosen, values: dict[str, Any], changes: ChangeSet
    ) -> None:
        if chosen.rows is None:
            marks.unknown(changes)
            return
        for row in chosen.rows:
            marks.row(changes, row)
        for label, column in marks.rows:
            if new := [values[name] for name in _names(self.model, column) if name in values]:
                self._rx_mark_new_key(label, new[0], changes)
                for row in chosen.rows:
                    marks.links(changes, row)
        link = marks.link
        if link is not None and values.keys() & {
            *_names(self.model, link.a),
            *_names(self.model, link.b),
        }:
            again = self.model._base_manager.using(self.db).filter(
                Among("pk", [row["pk"] for row in chosen.rows])
            )
            for a, b in again.values_list(link.a, link.b):
                changes.link(link.label, a, b)
            if values.keys() & _names(self.model, self.model._meta.pk.attname):
                changes.links_unknown.add(link.label)

    def _rx_mark_new_key(self, label: str, key: Any, changes: ChangeSet) -> None:
        changes.row(label, key.pk if isinstance(key, models.Model) else key)

    def _rx_mark_upsert(
        self,
        marks: Marks,
        objs: list[M],
        update_fields: Sequence[str],
        unique_fields: Sequence[str],
        changes: ChangeSet,
    ) -> None:
        """Marks the rows that were there already: they keep their keys, whatever the objects say."""
        link = marks.link
        if link is not None and {*update_fields} & {
            *_names(self.model, link.a),
            *_names(self.model, link.b),
        }:
            changes.links_unknown.add(link.label)
        pk = self.model._meta.pk
        if not marks.rows or (unique_fields and {*unique_fields} <= {"pk", pk.name, pk.attname}):
            return
        fields: list[Any] = [self.model._meta.get_field(name) for name in unique_fields]
        columns = [field.attname for field in fields]
        values = {column: [getattr(obj, column) for obj in objs] for column in columns}
        if not columns or any(
            hasattr(value, "resolve_expression") for found in values.values() for value in found
        ):
            changes.unknown.update(label for label, _ in marks.rows)
            return
        # of several columns perhaps more than were meant: harmless
        there: LiveQuerySet[M] = LiveQuerySet(self.model, using=self.db).filter(
            *(Among(column, found) for column, found in values.items())
        )
        chosen = there._rx_choose(marks)
        if chosen.rows is None:
            marks.unknown(changes)
        for row in chosen.rows or ():
            marks.row(changes, row)


class LiveManager(models.Manager[M]):
    """A manager whose query sets are `LiveQuerySet`s.

    As a model's default manager it has those of the reverse side seen too: `room.messages.add()`, `remove()`,
    `clear()` and `set()`. `LiveManager.from_queryset(MyQuerySet)` wants a subclass of LiveQuerySet, and raises
    TypeError for others.
    """

    _queryset_class: type[LiveQuerySet[Any]] = LiveQuerySet

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not issubclass(cls._queryset_class, LiveQuerySet):
            raise TypeError(
                f"{cls.__name__} is a LiveManager, but its query sets are {cls._queryset_class.__name__}s, whose "
                f"bulk operations nobody sees. Let {cls._queryset_class.__name__} inherit from LiveQuerySet."
            )
        if cls.__module__ in RELATED and "bulk" in signature(cls.__dict__["add"]).parameters:
            cls.add = _seen(cls.add)  # type: ignore[attr-defined]


def _seen(add: Callable[..., None]) -> Callable[..., None]:
    """`room.messages.add(message)` updates through the base manager, which isn't ours."""

    @wraps(add)
    def seen(self: Any, *objs: models.Model, bulk: bool = True) -> None:
        add(self, *objs, bulk=bulk)
        marks = _marks(self.model)
        if not bulk or not objs or marks is None:
            return

        def note(changes: ChangeSet) -> None:
            for obj in objs:
                _mark(marks, obj, changes)
            if marks.link is not None:
                changes.links_unknown.add(marks.link.label)

        capture.mark(router.db_for_write(self.model, instance=self.instance), note)

    return seen


def _marks(model: type[models.Model]) -> Marks | None:
    """What a change of the model's rows marks; None if no channel reads them."""
    marks = capture.current().marks(model)
    return marks if marks is not None and (marks.rows or marks.link) else None


def _mark(marks: Marks, obj: models.Model, changes: ChangeSet) -> None:
    row = {column: getattr(obj, column) for column in marks.columns}
    if any(row[column] is None for _, column in marks.rows):
        # the database made a key and told none
        changes.unknown.update(label for label, _ in marks.rows)
        if marks.link is not None:
            changes.link(marks.link.label, row[marks.link.a], row[marks.link.b])
    else:
        marks.row(changes, row)


def _names(model: type[models.Model], column: str) -> set[str]:
    """The names by which `update()` may be told the column."""
    return {model._meta.get_field(column).name, column}
