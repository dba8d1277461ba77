"""The outbox -> log: what the triggers noted is published, whoever wrote it.

    NOTIFY, or a look every few seconds -> select, locked -> ticket -> read in a new snapshot -> append -> delete

The rows that were selected are deleted last: whatever ends a drain on its way, the next one does that work again,
and a replica that is told what it has shows nothing. Any number of processes drain; none waits for another.
"""

from __future__ import annotations

import logging
import random
import selectors
import socket
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps
from django.conf import settings as django_settings
from django.db import DatabaseError, InterfaceError, connections, router

from rxgraphql.capture import current
from rxgraphql.changeset import ChangeSet
from rxgraphql.errors import LogUnavailableError
from rxgraphql.publish import publisher
from rxgraphql.triggers import NOTIFICATIONS, OUTBOX

logger = logging.getLogger("rxgraphql.outbox")

# Seconds between looks that no notification asked for: it may be lost, with the connection or by a pooler.
LOOK_SECONDS: Final = 5.0
# Without notifications (psycopg2) new rows are found by these looks alone.
POLL_SECONDS: Final = 0.5
# Seconds between looks whether the outbox has been installed.
INSTALLED_SECONDS: Final = 20.0
# Seconds for which more is waited for after a notification, each time 0.5 to 1.5 of it: not all processes at once.
BATCH_SECONDS: Final = 0.02
# Transactions and rows that are told in one event. A transaction with more rows isn't told row by row: what
# depends on its tables is loaded anew.
MOST_TRANSACTIONS: Final = 100
MOST_ROWS: Final = 10_000
# Seconds after which the database takes back what a process has in hand and does nothing with.
FROZEN_SECONDS: Final = 60
# While two versions of the project run, one may have channels that the other doesn't know: each takes what its own
# read. What nobody has taken for so long is told by its label alone.
OURS: Final = "(label = ANY(%s) OR written < clock_timestamp() - interval '60 s')"
PAUSES: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Batch:
    """What one round has in hand: whole transactions, what they changed, and how their rows are deleted."""

    count: int = 0
    delete: str = ""
    parameters: tuple[Any, ...] = ()
    changes: ChangeSet = field(default_factory=ChangeSet)

    def take(
        self, label: str, kind: str, key: str = "", other: str = "", deleted: bool = False
    ) -> None:
        """What one row of the outbox says."""
        if kind == "all":
            self.changes.unknown.add(label)
        elif kind == "link":
            self.changes.link(label, key, other)
        else:
            self.changes.row(label, key, deleted)


class Outbox:
    """One connection to a database's outbox, and the rounds of draining it. For one thread."""

    def __init__(self, using: str) -> None:
        self.using = using
        # Not the thread's own, by which the rows are read: its transaction is open meanwhile. It listens, which is
        # nothing to give back to a pool, and wants each statement to see what others have deleted.
        self.connection: Any = connections.create_connection(using)
        known = self.connection.settings_dict
        options = {
            k: v for k, v in known["OPTIONS"].items() if k not in ("pool", "isolation_level")
        }
        self.connection.settings_dict = {**known, "OPTIONS": options}
        self.heard = False
        self.listens = False

    def is_installed(self) -> bool:
        return bool(self._fetch("SELECT to_regclass(%s) IS NOT NULL", OUTBOX)[0][0])

    def listen(self) -> None:
        """Has notifications end `wait()`, if the driver can: psycopg 3."""
        self.connection.ensure_connection()
        driver = self.connection.connection
        if hasattr(driver, "add_notify_handler"):
            # they come with the answers of other statements, too
            driver.add_notify_handler(self._hear)
            self._execute(f"LISTEN {NOTIFICATIONS}")
            self.listens = True

    def wait(self, stop: socket.socket, seconds: float) -> bool:
        """Returns at a notification (True), when `stop` can be read, or after that time."""
        with selectors.DefaultSelector() as selector:
            selector.register(stop, selectors.EVENT_READ)
            if self.listens:
                selector.register(self.connection.connection.fileno(), selectors.EVENT_READ)
            ready = [] if self.heard else selector.select(seconds)
        if any(key.fileobj is not stop for key, _ in ready):
            # has the driver read what has come, and find out if the connection is dead
            self._execute("SELECT 1")
        return self.heard

    def round(self) -> int:
        """Publishes the oldest transactions that no other process has in hand; gives how many rows were done.

        Raises LogUnavailableError, and the database's errors. Then all of it is still there, for any process.
        """
        self.heard = False
        self.connection.set_autocommit(False)
        try:
            batch = self._batch()
            if batch.count:
                self._deliver(batch.changes)
            self._finish(batch)
        except BaseException:
            # rolled back with the connection, whatever state that is in
            self.close()
            raise
        return batch.count

    def close(self) -> None:
        self.listens = False
        self.connection.close()

    def _batch(self) -> Batch:
        # A process that is frozen with transactions in hand gives them back
        self._execute(f"SET LOCAL idle_in_transaction_session_timeout = '{FROZEN_SECONDS}s'")
        capture = current()
        ours = [*capture.labels, *capture.links]
        # A transaction's first row stands for all of them: who has it locked has the transaction. So one commit
        # is one event, and not two by two processes.
        candidates = f"""
            WITH RECURSIVE first AS (
                (SELECT xact, id FROM {OUTBOX} WHERE {OURS} ORDER BY xact, id LIMIT 1)
                UNION ALL
                SELECT next.xact, next.id FROM first, LATERAL (
                    SELECT xact, id FROM {OUTBOX} WHERE xact > first.xact AND {OURS}
                    ORDER BY xact, id LIMIT 1
                ) AS next
            )
            SELECT xact::text FROM {OUTBOX}
            WHERE (xact, id) IN (SELECT xact, id FROM first LIMIT %s)
            ORDER BY xact LIMIT %s FOR UPDATE SKIP LOCKED
        """
        limits = (4 * MOST_TRANSACTIONS, MOST_TRANSACTIONS)
        xacts = [xact for (xact,) in self._fetch(candidates, ours, ours, *limits)]
        if not xacts:
            return Batch()
        rows = self._fetch(
            f"SELECT id, xact::text, label, kind, key, other, deleted FROM {OUTBOX} "
            f"WHERE xact = ANY(%s::text[]::xid8[]) AND {OURS} ORDER BY xact, id LIMIT %s",
            xacts,
            ours,
            MOST_ROWS + 1,
        )
        if len(rows) > MOST_ROWS:
            last = rows[-1][1]
            whole = [row for row in rows if row[1] != last]
            if not whole:
                return self._huge(last, ours)
            rows = whole
        delete = (
            f"DELETE FROM {OUTBOX} USING unnest(%s::text[]::xid8[], %s::bigint[]) AS done (xact, id) "
            f"WHERE {OUTBOX}.xact = done.xact AND {OUTBOX}.id = done.id"
        )
        batch = Batch(len(rows), delete, ([row[1] for row in rows], [row[0] for row in rows]))
        for _, _, *note in rows:
            batch.take(*note)
        return batch

    def _huge(self, xact: str, ours: list[str]) -> Batch:
        """A transaction of more rows than one event tells: what depends on its tables is loaded anew."""
        labels = self._fetch(
            f"SELECT label, count(*), max(id) FROM {OUTBOX} WHERE xact = %s::text::xid8 AND {OURS} GROUP BY 1",
            xact,
            ours,
        )
        batch = Batch(
            sum(count for _, count, _ in labels),
            f"DELETE FROM {OUTBOX} WHERE xact = %s::text::xid8 AND label = ANY(%s) AND id <= %s",
            (xact, [label for label, *_ in labels], max(last for *_, last in labels)),
        )
        for label, *_ in labels:
            batch.take(label, "all")
        return batch

    def _deliver(self, changes: ChangeSet) -> None:
        found = publisher()
        if found is not None:
            found.deliver(self.using, changes)
        elif not django_settings.DEBUG:
            # with DEBUG no server runs, and nobody listens; here others may, by an address that this one lacks
            raise LogUnavailableError("REDIS_URL is not set in this process.")

    def _finish(self, batch: Batch) -> None:
        try:
            self._delete(batch)
            self.connection.commit()
            self.connection.set_autocommit(True)
        except (DatabaseError, InterfaceError):
            # It took so long that the database took them back. They are told: else they would be told for ever
            listens = self.listens
            self.close()
            if listens:
                self.listen()
            self._delete(batch)

    def _delete(self, batch: Batch) -> None:
        if batch.count:
            self._execute(batch.delete, *batch.parameters)

    def _hear(self, _: Any) -> None:
        self.heard = True

    def _execute(self, sql: str, *parameters: Any) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)

    def _fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def drain(using: str) -> int:
    """Publishes what waits in the outbox and isn't in other hands; gives how many rows. Raises as `Outbox.round()`."""
    outbox = Outbox(using)
    try:
        count = 0
        while done := outbox.round():
            count += done
        return count
    finally:
        outbox.close()


class Drain:
    """Drains the outbox of a database, where there is one, until it is stopped: in a thread, or by `run()`."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._stop, self._stopper = socket.socketpair()
        self._failures = 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, name="rxgraphql-outbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended and its connections are closed."""
        self.end()
        if self._thread is not None:
            self._thread.join()

    def end(self) -> None:
        """Has `run()` return; safe in a signal handler."""
        self._stopping.set()
        with suppress(OSError):
            self._stopper.send(b"x")

    def run(self) -> None:
        with self._stop, self._stopper:
            while not self._stopping.is_set():
                pause = self._attempt()
                self._stopping.wait(pause * (0.5 + random.random()))

    def _attempt(self) -> float:
        """Drains until it is stopped, until something fails, or not at all; gives the seconds to the next attempt."""
        outbox = Outbox(self.using)
        try:
            if outbox.is_installed():
                outbox.listen()
                self._drain(outbox)
            self._failures = 0
            return INSTALLED_SECONDS
        except Exception as error:
            return self._failed(error)
        finally:
            outbox.close()
            connections.close_all()

    def _drain(self, outbox: Outbox) -> None:
        """Round after round, until it is stopped. Raises what `round()` raises."""
        while not self._stopping.is_set():
            if outbox.round():
                self._failures = 0
                continue
            self._failures = 0
            jitter = 0.5 + random.random()
            if outbox.wait(self._stop, (LOOK_SECONDS if outbox.listens else POLL_SECONDS) * jitter):
                self._stopping.wait(BATCH_SECONDS * jitter)
            else:
                # idle: the thread's own connection, by which rows are read, isn't kept for that
                connections.close_all()

    def _failed(self, error: Exception) -> float:
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        level = logging.DEBUG if self._failures else logging.WARNING
        self._failures += 1
        if isinstance(error, LogUnavailableError | DatabaseError | InterfaceError):
            logger.log(level, "The outbox of %r waits: %s", self.using, error)
        else:
            message = "The outbox of %r could not be drained; it is tried again."
            logger.error(message, self.using, exc_info=error)
        return pause


class Drains:
    """The drains of all databases from which channels read."""

    def __init__(self) -> None:
        self._drains: list[Drain] = []

    def start(self) -> None:
        """A second time does nothing."""
        if not self._drains:
            self._drains = [Drain(using) for using in drained()]
            for one in self._drains:
                one.start()
                # a hub whose event loop has ended without a word is nobody's any more
                weakref.finalize(self, one.end)

    def stop(self) -> None:
        """Blocks until what they have in hand is done, or given back."""
        for one in self._drains:
            one.end()
        for one in self._drains:
            one.stop()
        self._drains = []


def drained() -> list[str]:
    """The databases that may have an outbox: PostgreSQL, and channels read what is written there."""
    capture = current()
    models: list[Any] = [apps.get_model(label) for label in capture.labels]
    models += [link.through for link in capture.links.values()]
    found = sorted({router.db_for_write(model) for model in models})
    return [using for using in found if connections[using].vendor == "postgresql"]
