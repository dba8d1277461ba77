"""`touch()`: look at these rows again, for whatever changed them without a signal."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.db import models, router
from django.db.models.query import ModelIterable

from rxgraphql import capture
from rxgraphql.changeset import ChangeSet

ACCEPTED = "model instances, iterables of instances, and query sets"


def touch(*things: models.Model | Iterable[models.Model] | models.QuerySet[Any]) -> None:
    """Has the rows looked at again, and all their many-to-many links; a row of a `through` model stands for its link.

    Takes model instances, iterables of them, and query sets, of which it reads the keys in one query (of one that
    was evaluated already, what it found). In a transaction it is told with the commit, else at once, all in one
    event. Models that no channel reads are passed over. Raises TypeError for anything else, and ValueError for an
    instance without a primary key.
    """
    found: dict[str, ChangeSet] = {}
    for thing in things:
        if isinstance(thing, models.QuerySet):
            _query_set(thing, found)
            continue
        for instance in _instances(thing):
            _instance(instance, found)
    for using, changes in found.items():
        capture.mark(using, partial(_add, changes))


async def atouch(*things: models.Model | Iterable[models.Model] | models.QuerySet[Any]) -> None:
    """`touch()` for async code."""
    await sync_to_async(touch)(*things)


def _add(found: ChangeSet, changes: ChangeSet) -> None:
    changes.update(found)


def _query_set(queryset: models.QuerySet[Any], found: dict[str, ChangeSet]) -> None:
    marks = capture.current().marks(queryset.model)
    if marks is None:
        return
    if queryset._result_cache is not None and queryset._iterable_class is ModelIterable:
        # what it filtered by may be what has changed since
        for instance in queryset._result_cache:
            _instance(instance, found)
        return
    keys: Any = queryset.all()
    # a replica of the database may not have the rows yet, and nobody reads from it
    keys._for_write = True
    changes = found.setdefault(keys.db, ChangeSet())
    for values in keys.values_list(*marks.columns):
        row = dict(zip(marks.columns, values, strict=True))
        marks.row(changes, row)
        marks.links(changes, row)


def _instances(thing: Any) -> Iterable[models.Model]:
    if isinstance(thing, models.Model):
        return (thing,)
    if isinstance(thing, type | str | bytes | dict | models.Manager) or not isinstance(
        thing, Iterable
    ):
        raise _refused(thing)
    instances = list(thing)
    for instance in instances:
        if not isinstance(instance, models.Model):
            raise _refused(instance)
    return instances


def _instance(instance: models.Model, found: dict[str, ChangeSet]) -> None:
    marks = capture.current().marks(type(instance))
    if marks is None:
        return
    row = {column: getattr(instance, column) for column in marks.columns}
    if None in row.values():
        raise ValueError(
            f"touch() can't tell which row {instance!r} is: it has no primary key. Save it first; a row that was "
            "deleted is seen by the signal of its deletion."
        )
    using = router.db_for_write(type(instance), instance=instance)
    changes = found.setdefault(using, ChangeSet())
    marks.row(changes, row)
    marks.links(changes, row)


def _refused(thing: Any) -> TypeError:
    hint = " Write `.all()` after the manager." if isinstance(thing, models.Manager) else ""
    return TypeError(f"touch() takes {ACCEPTED}, not {thing!r:.100}.{hint}")
