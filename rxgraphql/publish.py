"""Commit -> ticket -> rows -> log.

    changes -> which labels are watched? -> begin: ticket -> read the rows again -> append

After the commit and before the read: then an entry with a higher ticket saw every commit that one with a lower
ticket saw. Nothing in here ever fails or delays the writer beyond WRITER_TIMEOUT: what can't be said now is owed,
and said by the next commit or by a thread (payer.py), whichever comes first.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing.util
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
from rxgraphql.log import (
    PROMISE_RELIED,
    BreakerOpenError,
    Entry,
    EntryTooLargeError,
    Ticket,
    WriterLog,
)
from rxgraphql.payer import Payer
from rxgraphql.recent import RECENT_SECONDS, Recent
from rxgraphql.relations import Link
from rxgraphql.rows import Row, project_locale
from rxgraphql.snapshot import other_ends, pairs_present, rows_by_key
from rxgraphql.tree import NodeType

logger = logging.getLogger("rxgraphql.publish")

# Keys that one process remembers while Redis is away.
MOST_OWED = 10_000
# Keys that are read for one event: with more, what depends on their tables is loaded anew.
MOST_KEYS = 10_000
# Seconds between two epochs that one process ends: all that listen reload at each.
EPOCH_SECONDS = 5.0
# How long the end of a process waits for what its thread has in hand.
EXIT_SECONDS = 5.0
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
        # what nobody can name any more: a new epoch makes all reload
        self._lost = False
        self._next_epoch = 0.0
        # threads that publish what was owed
        self._in_hand = 0
        self._lock = threading.Lock()
        self._epoch = ""
        self._recent = Recent()
        self._payer = Payer(self)
        log.on_epoch = self._meet

    def publish(self, using: str, changes: ChangeSet) -> None:
        """Appends one entry for the change set, if anyone watches. Never raises."""
        try:
            # The promise first: it is what is asked at every save of a project that nobody watches
            labels = self.log.watched(changes.labels())
            if using not in self._owed and not any(self._is_read(label, using) for label in labels):
                return
            if self.log.is_away(asked=self._payer.is_alive()):
                # and what is owed is left where it is: ten thousand keys are not to be moved at each save
                self._owe(using, changes)
                return
        except Exception as error:
            self._fault(using, changes, error)
            return
        except BaseException:
            self._owe(using, changes)
            raise
        self._publish(using, changes)

    def deliver(self, using: str, changes: ChangeSet) -> None:
        """Like `publish()`, for a caller who keeps what was not published: it is raised, and nothing is owed.

        Raises LogUnavailableError, OperationalError and InterfaceError. After any other error all reload, for the
        same keys would raise it again. Labels that no channel of ours reads have whoever reads them load anew.
        """
        self.log.forget(label for label in changes.labels() if self._database(label) is None)
        if not any(self._is_read(label, using) for label in self.log.watched(changes.labels())):
            return
        labels = sorted(label for label in changes.labels() if self._is_read(label, using))
        try:
            for _ in range(ATTEMPTS):
                ticket = self.log.begin(labels)
                if ticket is None or self._append(using, changes, ticket):
                    return
            raise LogUnavailableError("The epoch changed at each attempt.")
        except (LogUnavailableError, OperationalError, InterfaceError):
            raise
        except Exception as error:
            message = "Could not publish %d changed keys of %s."
            logger.error(message, len(changes), using, exc_info=error)
            self._lost = True
            self._reload()
            self._payer.wake(sooner=True)

    # ------------------------------------------------------------------------------------------ for the payer

    def owes(self) -> bool:
        """Whether anything is, if only in the hands of a thread that is about to publish it."""
        return bool(self._owed) or self._lost or self._in_hand > 0

    def has_work(self) -> bool:
        """Whether something is owed, or was appended so lately that a failover may still take it away."""
        return self.owes() or bool(self._recent)

    def pay(self, at_once: bool = False) -> bool:
        """Publishes what is owed, if Redis answers; whether nothing is left."""
        try:
            self.log.look()
            self._reload(at_once)
        except LogUnavailableError as error:
            logger.debug("Nothing can be published yet: %s", error)
            return False
        # each of them: what one database can't give must not keep the others waiting
        paid = [self._publish(using, ChangeSet()) for using in list(self._owed)]
        return all(paid) and not self._lost

    def pay_at_exit(self) -> bool:
        """The last attempt, when its thread has done what it had in hand; whether nothing is left."""
        if self.owes():
            self._payer.end(EXIT_SECONDS)
            return self.pay(at_once=True) and not self.owes()
        return True

    def end(self) -> None:
        """Ends its thread and its connections. What is owed stays owed."""
        self._payer.end()
        self.log.close()

    # ------------------------------------------------------------------------------------------ publishing

    def _publish(self, using: str, changes: ChangeSet) -> bool:
        """With what is owed of this database. If it can't be done, all of it is owed.

        Never raises, but for what others raise in this thread to end it.
        """
        with self._lock:
            self._in_hand += 1
        try:
            self._reload()
            for _ in range(ATTEMPTS):
                changes = self._with_owed(using, changes)
                labels = sorted(label for label in changes.labels() if self._is_read(label, using))
                ticket = self.log.begin(labels)
                if using in self._owed:
                    # another epoch than before, to which all that is recent has to be said again
                    continue
                if ticket is None:
                    return True
                if self._append(using, changes, ticket):
                    return True
            raise LogUnavailableError("The epoch changed at each attempt.")
        except BreakerOpenError:
            self._owe(using, changes)
        except LogUnavailableError as error:
            logger.warning("Nothing is published and changed keys are owed until then: %s", error)
            self._owe(using, changes)
        except (OperationalError, InterfaceError):
            logger.exception("The changed rows could not be read; they are owed until then.")
            self._owe(using, changes)
        except Exception as error:
            self._fault(using, changes, error)
        except BaseException:
            self._owe(using, changes)
            raise
        finally:
            with self._lock:
                self._in_hand -= 1
        return False

    def _append(self, using: str, changes: ChangeSet, ticket: Ticket) -> bool:
        if len(changes) > MOST_KEYS:
            changes = changes.unnamed()
        try:
            done = self.log.append(ticket, self._entry(using, changes, ticket))
        except (EntryTooLargeError, OperationalError) as error:
            if isinstance(error, OperationalError) and not _is_cancelled(error):
                raise
            # the same would happen each time, and to all that is told with it
            changes = changes.unnamed()
            done = self.log.append(ticket, self._entry(using, changes, ticket))
        if not done:
            return False
        self.log.forget(changes.unknown & ticket.watched)
        self._recent.add(ticket.epoch, using, changes)
        self._payer.wake()
        return True

    def _fault(self, using: str, changes: ChangeSet, error: Exception) -> None:
        # The commit stands and the caller did nothing wrong. What it changed is in nobody's state: all reload
        message = "Could not publish %d changed keys of %s."
        logger.error(message, len(changes), using, exc_info=error)
        self._lost = True
        self._payer.wake(sooner=True)

    def _reload(self, at_once: bool = False) -> None:
        """Ends the epoch if something is lost. Not for each that is lost: a fault may come with every save."""
        with self._lock:
            now = time.monotonic()
            if not self._lost or (now < self._next_epoch and not at_once):
                return
            # before it is done: another thread may lose something meanwhile
            self._lost = False
            self._next_epoch = now + EPOCH_SECONDS
        try:
            self.log.new_epoch()
            # An entry without rows: hubs hear at once what they would find at their next renewal
            self.log.append(Ticket(self.log.look(), 0, frozenset()), Entry(self.layout, {}))
        except BaseException:
            self._lost = True
            self._next_epoch = 0.0
            raise

    def _meet(self, epoch: str) -> None:
        """An answer of this epoch. What was appended to another lately may be gone with it."""
        if epoch != self._epoch:
            before, self._epoch = self._epoch, epoch
            for label in self.log.relied_on(RECENT_SECONDS) if before else ():
                # Nobody watched it where we asked. Somebody may have watched it here
                if (using := self._database(label)) is not None:
                    self._owe(using, ChangeSet(unknown={label}))
        appended, too_many = self._recent.take_others(epoch)
        for using, changes in appended:
            self._owe(using, changes)
        if too_many:
            self._lost = True
            self._payer.wake(sooner=True)

    def _is_read(self, label: str, using: str) -> bool:
        """Whether channels read the label's rows, and from this database."""
        return self._database(label) == using

    def _database(self, label: str) -> str | None:
        """Where the label's rows are written, and so read; None if no channel reads them."""
        if label in self.links:
            model: Any = self.links[label].through
        elif label in self.types:
            model = self.types[label][0].model
        else:
            return None
        return router.db_for_write(model)

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
            unknown=sorted(changes.unknown & ticket.watched),
            labels=sorted(changes.labels() & ticket.watched),
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
            first = not self._owed
            if self._remember(using, changes):
                if first:
                    self._payer.wake(sooner=True)
                return
            self._owed[using] = ChangeSet()
            known, self._lost = self._lost, True
        self._payer.wake(sooner=True)
        if not known:
            message = "More than %d keys are owed: every replica will reload instead."
            logger.error(message, MOST_OWED)

    def _remember(self, using: str, changes: ChangeSet) -> bool:
        owed = self._owed.get(using)
        if owed is None and len(changes) <= MOST_OWED:
            # most often what `_with_owed()` gave a moment ago: not to be copied at each save
            self._owed[using] = changes
            return True
        if owed is not None and len(owed) + len(changes) <= MOST_OWED:
            owed.update(changes)
            return True
        return False


def _is_cancelled(error: OperationalError) -> bool:
    """Whether PostgreSQL ended the statement, as by its `statement_timeout`."""
    cause = error.__cause__
    return "57014" in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None))


_publishers: dict[tuple[Built, str, str | None], Publisher] = {}
_embedded: tuple[float, str | None] = (0.0, None)
_lock = threading.Lock()


def _after_fork() -> None:
    """A child has neither its parent's connections nor its debts, nor the thread that pays them."""
    global _lock
    _lock = threading.Lock()
    _publishers.clear()


os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _before_exit() -> None:
    """A last attempt: what a process owes at its end is known to nobody else."""
    for found in list(_publishers.values()):
        # the server for development ends with the last who could listen, and nobody misses anything
        if not found.pay_at_exit() and settings.REDIS_URL:
            logger.error("The process ends, and the last changes are not published.")


def publisher() -> Publisher | None:
    """The process's publisher; None where no server can have a listener."""
    url = settings.REDIS_URL or _embedded_url()
    if url is None:
        return None
    built = registry.built
    key = (built, url, settings.RX_NAMESPACE)
    found = _publishers.get(key)
    if found is not None:
        return found
    with _lock:
        found = _publishers.get(key)
        if found is None:
            if not _publishers and multiprocessing.parent_process() is not None:
                # such a process ends without atexit
                multiprocessing.util.Finalize(None, _before_exit, exitpriority=0)
            found = _publishers[key] = Publisher(built, WriterLog(url))
        return found


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
