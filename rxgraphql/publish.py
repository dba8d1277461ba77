"""Commit -> ticket -> rows -> log.

    changes -> which labels are watched? -> begin: ticket -> read the rows again -> append

After the commit and before the read: then an entry with a higher ticket saw every commit that one with a lower
ticket saw. Nothing in here ever fails or delays the writer beyond WRITER_TIMEOUT: what can't be said now is owed
and said at the next chance.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db import InterfaceError, OperationalError, router

from rxgraphql import embedded
from rxgraphql.changeset import ChangeSet
from rxgraphql.channel import Built, registry
from rxgraphql.conf import settings
from rxgraphql.errors import LogUnavailableError
from rxgraphql.log import PROMISE_RELIED, BreakerOpenError, Entry, Ticket, WriterLog
from rxgraphql.relations import Link
from rxgraphql.rows import Row, project_locale
from rxgraphql.snapshot import other_ends, pairs_present, rows_by_key
from rxgraphql.tree import NodeType

logger = logging.getLogger("rxgraphql.publish")

# Keys that one process remembers while Redis is away.
MOST_OWED = 10_000
# A ticket can lose its epoch to a failover again and again; after this many the keys are owed instead.
ATTEMPTS = 5


class Publisher:
    """What one process needs to publish, for one compilation of the channels and one log."""

    def __init__(self, built: Built, log: WriterLog) -> None:
        self.log = log
        self.layout = built.layout
        self.types: dict[str, list[NodeType]] = defaultdict(list)
        self.links: dict[str, Link] = {}
        for channel in built.channels:
            for node_type in channel.tree.all_types:
                if node_type not in self.types[node_type.label]:
                    self.types[node_type.label].append(node_type)
            for edge in channel.tree.edges():
                if edge.link is not None:
                    self.links[edge.link.label] = edge.link
        self._owed: dict[str, ChangeSet] = {}
        self._lost = False
        self._lock = threading.Lock()

    def publish(self, using: str, changes: ChangeSet) -> None:
        """Appends one entry for the change set, if anyone watches. Never raises."""
        try:
            # The promise first: it is what is asked at every save of a project that nobody watches
            labels = self.log.watched(changes.labels())
            if using in self._owed or any(self._is_read(label, using) for label in labels):
                changes = self._with_owed(using, changes)
                self._publish(using, changes)
        except BreakerOpenError:
            self._owe(using, changes)
        except LogUnavailableError as error:
            logger.warning("Nothing is published and changed keys are owed until then: %s", error)
            self._owe(using, changes)
        except (OperationalError, InterfaceError):
            logger.exception("The changed rows could not be read; they are at the next commit.")
            self._owe(using, changes)
        except Exception:
            # The commit stands and the caller did nothing wrong. What it changed is in nobody's state: all reload
            self._lost = True
            logger.exception("Could not publish %d changed keys of %s.", len(changes), using)

    def _publish(self, using: str, changes: ChangeSet) -> None:
        labels = sorted(label for label in changes.labels() if self._is_read(label, using))
        if self._lost:
            self.log.new_epoch()
            self._lost = False
        for _ in range(ATTEMPTS):
            ticket = self.log.begin(labels)
            if ticket is None or self.log.append(ticket, self._entry(using, changes, ticket)):
                return
        raise LogUnavailableError("The epoch changed at each attempt.")

    def _is_read(self, label: str, using: str) -> bool:
        """Whether channels read the label's rows, and from this database."""
        if label in self.links:
            model: Any = self.links[label].through
        elif label in self.types:
            model = self.types[label][0].model
        else:
            return False
        return router.db_for_write(model) == using

    def _entry(self, using: str, changes: ChangeSet, ticket: Ticket) -> Entry:
        rows: dict[str, dict[str, Row | None]] = {}
        with project_locale():
            for label in changes.rows.keys() & ticket.watched:
                for node_type in self.types.get(label, ()):
                    rows[node_type.name] = rows_by_key(node_type, changes.rows[label], using)
        links = {
            label: self._links(label, changes.links[label], using)
            for label in changes.links.keys() & ticket.watched
            if label in self.links
        }
        return Entry(
            self.layout,
            rows,
            links,
            self._link_sets(changes.link_ends, ticket, using),
            sorted(changes.links_unknown & ticket.watched),
            self._recreated(changes, rows),
        )

    def _recreated(
        self, changes: ChangeSet, rows: dict[str, dict[str, Row | None]]
    ) -> dict[str, list[str]]:
        found = {
            node_type.name: [
                key
                for key in sorted(str(node_type.to_python(pk)) for pk in pks)
                if rows.get(node_type.name, {}).get(key)
            ]
            for label, pks in changes.deleted.items()
            for node_type in self.types.get(label, ())
        }
        return {name: pks for name, pks in found.items() if pks}

    def _links(
        self, label: str, pairs: Iterable[tuple[str, str]], using: str
    ) -> list[tuple[str, str, bool]]:
        present = pairs_present(self.links[label], sorted(pairs), using)
        return [(a, b, is_present) for (a, b), is_present in present.items()]

    def _link_sets(
        self, ends: Iterable[tuple[str, bool, str]], ticket: Ticket, using: str
    ) -> list[tuple[str, bool, str, list[str]]]:
        grouped: dict[tuple[str, bool], list[str]] = defaultdict(list)
        for label, is_a, pk in sorted(ends):
            if label in ticket.watched and label in self.links:
                grouped[label, is_a].append(pk)
        return [
            (label, is_a, pk, others)
            for (label, is_a), pks in grouped.items()
            for pk, others in other_ends(self.links[label], is_a, pks, using).items()
        ]

    def _with_owed(self, using: str, changes: ChangeSet) -> ChangeSet:
        with self._lock:
            owed = self._owed.pop(using, None)
        if owed is None:
            return changes
        owed.update(changes)
        return owed

    def _owe(self, using: str, changes: ChangeSet) -> None:
        with self._lock:
            owed = self._owed.get(using)
            if owed is None and len(changes) <= MOST_OWED:
                # most often what `_with_owed()` gave a moment ago: not to be copied at each save
                self._owed[using] = changes
                return
            if owed is not None and len(owed) + len(changes) <= MOST_OWED:
                owed.update(changes)
                return
            self._owed[using] = ChangeSet()
            self._lost = True
        logger.error("More than %d keys are owed: every replica will reload instead.", MOST_OWED)


_publishers: dict[tuple[Built, str, str | None], Publisher] = {}
_embedded: tuple[float, str | None] = (0.0, None)
_pid = os.getpid()
_lock = threading.Lock()


def publisher() -> Publisher | None:
    """The process's publisher; None where no server can have a listener."""
    global _pid
    url = settings.REDIS_URL or _embedded_url()
    if url is None:
        return None
    built = registry.built
    key = (built, url, settings.RX_NAMESPACE)
    found = _publishers.get(key)
    if found is not None and _pid == os.getpid():
        return found
    with _lock:
        if _pid != os.getpid():
            _publishers.clear()
            _pid = os.getpid()
        return _publishers.setdefault(key, Publisher(built, WriterLog(url)))


def _embedded_url() -> str | None:
    """Like a promise that nobody watches: looked for after the commit, and relied on for less time than a hub
    waits when it has started a server.
    """
    global _embedded
    asked = time.monotonic()
    until, url = _embedded
    if asked >= until:
        url = embedded.running_url()
        _embedded = (asked + PROMISE_RELIED, url)
    return url


def publish(using: str, changes: ChangeSet) -> None:
    """What the commit hook calls. Never raises: a save must not fail for us."""
    try:
        found = publisher()
    except Exception:
        logger.exception("The log can't be reached.")
        return
    if found is not None:
        found.publish(using, changes)
