"""Commit -> ticket -> rows -> log.

    changes -> which labels are watched? -> begin: ticket -> read the rows again -> append

After the commit and before the read: then an entry with a higher ticket saw every commit that one with a lower
ticket saw. Nothing in here ever fails or delays the writer beyond WRITER_TIMEOUT: what can't be said now is owed
(owed.py), and said by the next commit or by a thread (payer.py), whichever comes first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from django.db import InterfaceError, OperationalError

from rxgraphql.changeset import ChangeSet
from rxgraphql.channel import Built
from rxgraphql.entries import Entries
from rxgraphql.errors import LogUnavailableError
from rxgraphql.log import BreakerOpenError, Entry, EntryTooLargeError, Ticket, WriterLog
from rxgraphql.owed import Owed
from rxgraphql.payer import Payer
from rxgraphql.recent import RECENT_SECONDS, Recent

logger = logging.getLogger("rxgraphql.publish")

# Keys that are read for one event: with more, what depends on their tables is loaded anew.
MOST_KEYS = 10_000
# How long the end of a process waits for what its thread has in hand.
EXIT_SECONDS = 5.0
# A ticket can lose its epoch to a failover again and again; after this many the keys are owed instead.
ATTEMPTS = 5


class Publisher:
    """What one process needs to publish, for one compilation of the channels and one log."""

    def __init__(self, built: Built, log: WriterLog) -> None:
        self.log = log
        self.entries = Entries(built)
        self._owed = Owed()
        self._epoch = ""
        self._recent = Recent()
        self._payer = Payer(self)
        log.on_epoch = self._meet

    def publish(self, using: str, changes: ChangeSet) -> None:
        """Appends one entry for the change set, if anyone watches. Never raises."""
        try:
            # The promise first: it is what is asked at every save of a project that nobody watches
            labels = self.log.watched(changes.labels())
            watched = labels and self.entries.labels(using, labels)
            if not watched and using not in self._owed:
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
        labels = changes.labels()
        self.log.forget(label for label in labels if self.entries.database(label) is None)
        if not self.entries.labels(using, self.log.watched(labels)):
            return
        read = self.entries.labels(using, labels)
        try:
            for _ in range(ATTEMPTS):
                ticket = self.log.begin(read)
                if ticket is None or self._append(using, changes, ticket):
                    return
            raise LogUnavailableError("The epoch changed at each attempt.")
        except (LogUnavailableError, OperationalError, InterfaceError):
            raise
        except Exception as error:
            _log_fault(using, changes, error)
            self._owed.lose()
            self._reload()
            self._payer.wake(sooner=True)

    def tell_suspects(self, labels: Iterable[str]) -> None:
        """Appends whom `recheck()` names, whether or not anyone watches. Never raises: what can't be said now is found
        from time to time."""
        named = sorted(labels)
        entry = Entry(self.entries.layout, {}, unknown=named, labels=named)
        try:
            for _ in range(ATTEMPTS):
                if self.log.append(Ticket(self.log.look(), 0, frozenset()), entry):
                    return
            raise LogUnavailableError("The epoch changed at each attempt.")
        except LogUnavailableError as error:
            logger.warning("Permissions are asked for again within RX_RECHECK only: %s", error)
        except Exception:
            logger.exception("Permissions are asked for again within RX_RECHECK only.")

    # ------------------------------------------------------------------------------------------ for the payer

    def owes(self) -> bool:
        """Whether anything is, if only in the hands of a thread that is about to publish it."""
        return bool(self._owed)

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
        paid = [self._publish(using, ChangeSet()) for using in self._owed.databases()]
        return all(paid) and not self._owed.lost

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
        with self._owed.in_hand():
            try:
                self._reload()
                for _ in range(ATTEMPTS):
                    changes = self._owed.take(using, changes)
                    ticket = self.log.begin(self.entries.labels(using, changes.labels()))
                    if using in self._owed:
                        # another epoch than before, to which all that is recent has to be said again
                        continue
                    if ticket is None or self._append(using, changes, ticket):
                        return True
                raise LogUnavailableError("The epoch changed at each attempt.")
            except BreakerOpenError:
                self._owe(using, changes)
            except LogUnavailableError as error:
                message = "Nothing is published and changed keys are owed until then: %s"
                logger.warning(message, error)
                self._owe(using, changes)
            except (OperationalError, InterfaceError):
                logger.exception("The changed rows could not be read; they are owed until then.")
                self._owe(using, changes)
            except Exception as error:
                self._fault(using, changes, error)
            except BaseException:
                self._owe(using, changes)
                raise
        return False

    def _append(self, using: str, changes: ChangeSet, ticket: Ticket) -> bool:
        if len(changes) > MOST_KEYS:
            changes = changes.unnamed()
        try:
            done = self.log.append(ticket, self.entries.read(using, changes, ticket))
        except (EntryTooLargeError, OperationalError) as error:
            if isinstance(error, OperationalError) and not _is_cancelled(error):
                raise
            # the same would happen each time, and to all that is told with it
            changes = changes.unnamed()
            done = self.log.append(ticket, self.entries.read(using, changes, ticket))
        if not done:
            return False
        self.log.forget(changes.unknown & ticket.watched)
        self._recent.add(ticket.epoch, using, changes)
        self._payer.wake()
        return True

    def _reload(self, at_once: bool = False) -> None:
        """Ends the epoch if something is lost: all reload."""
        if not self._owed.take_lost(at_once):
            return
        try:
            self.log.new_epoch()
            # An entry without rows: hubs hear at once what they would find at their next renewal
            empty = Entry(self.entries.layout, {})
            self.log.append(Ticket(self.log.look(), 0, frozenset()), empty)
        except BaseException:
            self._owed.give_lost_back()
            raise

    def _meet(self, epoch: str) -> None:
        """An answer of this epoch. What was appended to another lately may be gone with it."""
        if epoch != self._epoch:
            before, self._epoch = self._epoch, epoch
            for label in self.log.relied_on(RECENT_SECONDS) if before else ():
                # Nobody watched it where we asked. Somebody may have watched it here
                if (using := self.entries.database(label)) is not None:
                    self._owe(using, ChangeSet(unknown={label}))
        appended, too_many = self._recent.take_others(epoch)
        for using, changes in appended:
            self._owe(using, changes)
        if too_many:
            self._lose()

    def _owe(self, using: str, changes: ChangeSet) -> None:
        if self._owed.add(using, changes):
            self._payer.wake(sooner=True)

    def _lose(self) -> None:
        self._owed.lose()
        self._payer.wake(sooner=True)

    def _fault(self, using: str, changes: ChangeSet, error: Exception) -> None:
        # The commit stands and the caller did nothing wrong. What it changed is in nobody's state: all reload
        _log_fault(using, changes, error)
        self._lose()


def _log_fault(using: str, changes: ChangeSet, error: Exception) -> None:
    message = "Could not publish %d changed keys of %s."
    logger.error(message, len(changes), using, exc_info=error)


def _is_cancelled(error: OperationalError) -> bool:
    """Whether PostgreSQL ended the statement, as by its `statement_timeout`."""
    cause = error.__cause__
    return "57014" in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None))
