"""Signals -> change set. Marks what a transaction touched; asks the database nothing.

    post_save, post_delete, m2m_changed -> mark -> the connection's change set -> (commit) -> publish

The change set lives in one hook of the connection's `run_on_commit`: the first, so that no other hook's exception
can drop it, and with no savepoints, so that no savepoint's rollback can. What a rolled-back savepoint marked is
harmless: marks only say what to look at. (`run_on_commit` is private API of Django; tests pin what is relied on.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import DatabaseError, connections, models
from django.db.models import signals

from rxgraphql.changeset import ChangeSet
from rxgraphql.channel import registry
from rxgraphql.publish import publish
from rxgraphql.relations import Link, concrete, label_of

if TYPE_CHECKING:
    from rxgraphql.channel import Built


class CommitHook:
    """Called when the transaction has committed: by Django, or, `by_hand`, by the commit() that ends it."""

    __slots__ = ("by_hand", "changes", "using")

    def __init__(self, using: str) -> None:
        self.using = using
        self.by_hand = False
        self.changes = ChangeSet()

    def __call__(self) -> None:
        publish(self.using, self.changes)


def pending(using: str) -> ChangeSet | None:
    """The change set of the connection's transaction; None in autocommit mode, where there is nothing to wait for."""
    connection = connections[using]
    if connection.in_atomic_block and connection.commit_on_exit:
        return _hook(connection).changes
    if not connection.in_atomic_block and connection.get_autocommit():
        return None
    # Transactions by hand (set_autocommit(False)): on_commit() would raise, and hooks would wait for autocommit
    _publish_at_commit(connection)
    hook = _hook(connection)
    hook.by_hand = True
    return hook.changes


def _hook(connection: Any) -> CommitHook:
    hooks = connection.run_on_commit
    for _, function, _ in hooks:
        if type(function) is CommitHook:
            return function
    hook = CommitHook(connection.alias)
    hooks.insert(0, (set(), hook, False))
    return hook


def _publish_at_commit(connection: Any) -> None:
    if getattr(connection.commit, "is_rxgraphql", False):
        return
    commit = connection.commit

    def commit_and_publish() -> None:
        commit()
        # an atomic block commits through here too, and its hook is Django's to call, once autocommit is on again
        ours = [e for e in connection.run_on_commit if type(e[1]) is CommitHook and e[1].by_hand]
        if not ours:
            return
        connection.run_on_commit = [e for e in connection.run_on_commit if e not in ours]
        for _, hook, _ in ours:
            hook()
        # What was read began a transaction of which the caller knows nothing: set_autocommit(True) would fail
        with suppress(DatabaseError):
            connection._rollback()

    commit_and_publish.is_rxgraphql = True  # type: ignore[attr-defined]
    connection.commit = commit_and_publish


def mark(using: str, note: Callable[[ChangeSet], None]) -> None:
    """Has `note` write into the transaction's change set; without a transaction it is published at once."""
    changes = pending(using)
    if changes is not None:
        note(changes)
        return
    changes = ChangeSet()
    note(changes)
    publish(using, changes)


@dataclass(frozen=True, slots=True)
class Marks:
    """What a changed row of one model marks, and which of its columns have the keys."""

    rows: tuple[tuple[str, str], ...]  # (label, column), of each of its tables that is watched
    ends: tuple[tuple[str, bool, str], ...]  # (link label, whether the key is of side a, column)
    link: Link | None  # that the row is

    @property
    def columns(self) -> tuple[str, ...]:
        names = [*(c for _, c in self.rows), *(c for _, _, c in self.ends)]
        names += [self.link.a, self.link.b] if self.link else []
        return tuple(dict.fromkeys(names))

    def row(self, changes: ChangeSet, row: Mapping[str, Any]) -> None:
        """Marks the row with these columns."""
        for label, column in self.rows:
            changes.row(label, row[column])
        if self.link is not None:
            changes.link(self.link.label, row[self.link.a], row[self.link.b])

    def links(self, changes: ChangeSet, row: Mapping[str, Any]) -> None:
        """Marks all links of the row with these columns."""
        for label, is_a, column in self.ends:
            changes.link_ends.add((label, is_a, str(row[column])))

    def deleted(self, changes: ChangeSet, row: Mapping[str, Any]) -> None:
        self.row(changes, row)
        self.links(changes, row)
        for label, column in self.rows:
            changes.row(label, row[column], deleted=True)

    def unknown(self, changes: ChangeSet) -> None:
        """Marks that any row may have changed."""
        changes.unknown.update(label for label, _ in self.rows)
        if self.link is not None:
            changes.links_unknown.add(self.link.label)


class Capture:
    """The receivers for one compilation of the channels: which models and links to mark."""

    def __init__(self, built: Built) -> None:
        self.built = built
        self._marks: dict[type[models.Model], Marks | None] = {}
        self.labels: set[str] = set()
        self.links: dict[str, Link] = {}
        for channel in built.channels:
            self.labels.update(t.label for t in channel.tree.all_types)
            for edge in channel.tree.edges():
                if edge.link is not None:
                    self.links[edge.link.label] = edge.link
        # model -> the ends of links that vanish with its rows, without a signal
        self.ends: dict[str, list[tuple[str, bool]]] = {}
        for link in self.links.values():
            for is_a, attname in ((True, link.a), (False, link.b)):
                end = next(f for f in link.through._meta.concrete_fields if f.attname == attname)
                self.ends.setdefault(label_of(end.related_model), []).append((link.label, is_a))  # type: ignore[arg-type]

        self.symmetrical = {link.label for link in self.links.values() if _is_symmetrical(link)}
        # model -> (label, key's attname) of its table and of those that it inherits from: for these Django sends
        # no signal
        self.tables: dict[type[models.Model], list[tuple[str, str]]] = {}

    def marks(self, model: type[models.Model]) -> Marks | None:
        """What the model's rows mark; None if no channel reads them."""
        if model not in self._marks:
            tables = _tables(model)
            found = Marks(
                tuple((label, column) for label, column in tables if label in self.labels),
                tuple(
                    (link_label, is_a, column)
                    for label, column in tables
                    for link_label, is_a in self.ends.get(label, ())
                ),
                self.links.get(label_of(model)),
            )
            self._marks[model] = found if found.columns else None
        return self._marks[model]

    def connect(self) -> None:
        """Connects to each model by itself: a listener for all would turn off Django's fast deletes everywhere."""
        wanted = self.labels | {
            link.label for link in self.links.values() if not link.through._meta.auto_created
        }
        for model in apps.get_models(include_auto_created=True):
            self.tables[model] = [
                (label, attname) for label, attname in _tables(model) if label in wanted
            ]
            if self.tables[model]:
                signals.post_save.connect(self.saved, model, weak=False, dispatch_uid="rxgraphql")
                signals.post_delete.connect(
                    self.deleted, model, weak=False, dispatch_uid="rxgraphql"
                )
        for link in self.links.values():
            signals.m2m_changed.connect(
                self.linked, link.through, weak=False, dispatch_uid="rxgraphql"
            )

    def disconnect(self) -> None:
        for model in apps.get_models(include_auto_created=True):
            for signal in (signals.post_save, signals.post_delete, signals.m2m_changed):
                signal.disconnect(sender=model, dispatch_uid="rxgraphql")

    def saved(
        self,
        sender: type[models.Model],
        instance: models.Model,
        using: str,
        created: bool,
        **_: Any,
    ) -> None:
        link = self.links.get(label_of(sender))

        def note(changes: ChangeSet) -> None:
            for label, attname in self.tables[sender]:
                if label in self.labels:
                    changes.row(label, getattr(instance, attname))
            if link is not None:
                _mark_link(changes, link, instance)
                if not created:
                    changes.links_unknown.add(link.label)

        mark(using, note)

    def deleted(
        self, sender: type[models.Model], instance: models.Model, using: str, **_: Any
    ) -> None:
        link = self.links.get(label_of(sender))

        def note(changes: ChangeSet) -> None:
            # Now: when the hook runs, Django has set the instance's key to None
            for label, attname in self.tables[sender]:
                pk = getattr(instance, attname)
                if label in self.labels:
                    changes.row(label, pk, deleted=True)
                for link_label, is_a in self.ends.get(label, ()):
                    changes.link_ends.add((link_label, is_a, str(pk)))
            if link is not None:
                _mark_link(changes, link, instance)

        mark(using, note)

    def linked(
        self,
        sender: type[models.Model],
        instance: models.Model,
        action: str,
        reverse: bool,
        pk_set: set[Any] | None,
        using: str,
        **_: Any,
    ) -> None:
        if action not in ("post_add", "post_remove", "post_clear"):
            return
        label = label_of(sender)
        link = self.links.get(label)
        if link is None:
            return
        symmetrical = label in self.symmetrical

        def note(changes: ChangeSet) -> None:
            if pk_set is None:
                changes.link_ends.add((label, not reverse, str(instance.pk)))
                if symmetrical:
                    changes.link_ends.add((label, reverse, str(instance.pk)))
                return
            for pk in pk_set:
                pair = (pk, instance.pk) if reverse else (instance.pk, pk)
                changes.link(label, *pair)
                if symmetrical:
                    # Django sends no signal for the mirrored row
                    changes.link(label, *reversed(pair))

        if pk_set is None or pk_set:
            mark(using, note)


_current: Capture | None = None


def current() -> Capture:
    """What the channels read, as they are compiled now."""
    global _current
    found = _current
    if found is None or found.built is not registry.built:
        found = _current = Capture(registry.built)
    return found


def _tables(model: type[models.Model]) -> list[tuple[str, str]]:
    family = [concrete(model), *concrete(model)._meta.all_parents]
    return [(label_of(one), one._meta.pk.attname) for one in family]


def _mark_link(changes: ChangeSet, link: Link, row: models.Model) -> None:
    if row.get_deferred_fields() & {link.a, link.b}:
        # asking would be a query, and of a deleted row an error
        changes.links_unknown.add(link.label)
    else:
        changes.link(link.label, getattr(row, link.a), getattr(row, link.b))


def _is_symmetrical(link: Link) -> bool:
    return any(
        field.remote_field.through is link.through and field.remote_field.symmetrical
        for model in apps.get_models()
        for field in model._meta.local_many_to_many
    )
