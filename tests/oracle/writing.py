"""What a writing process does: see writer.py."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.models import signals

from rxgraphql.entries import Entries
from rxgraphql.log import Entry, Ticket, WriterLog
from rxgraphql.publish import publisher
from rxgraphql.publisher import Publisher
from tests.oracle import sabotage
from tests.oracle.models import Transaction
from tests.oracle.work import MODELS, STEPS, OnPurposeError, Work, spoil

# Seconds for which a writer tries to publish what it owes, at its end
PATIENCE = 30.0
# Transactions that are made without a pause
BURST = 10
# The label under which the names of transactions travel
NAMES = "oracle.transaction"


def say(*words: object) -> None:
    """At once, so that nothing is lost with the process."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Writer:
    """One writer and what it has committed but not published yet."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = random.Random(f"{seed} {name}")
        self.number = 0
        self.unpublished: list[str] = []
        self.kill_at = int(os.environ.get("RX_ORACLE_KILL_AT", 0))
        # seconds for each transaction, on the average
        self.pause = float(os.environ.get("RX_ORACLE_PAUSE", 0))
        self.outbox = os.environ.get("RX_ORACLE_OUTBOX") == "1"

    # ------------------------------------------------------------------------------------------ its publishes

    def watch_publishes(self) -> None:
        """Notes where each change is in the log, and gives other writers time to overtake this one.

        The names of transactions travel in their change sets, as keys of a model that nobody reads: so they are where
        the changes are, also when these are owed and published later, by whatever thread.
        """
        begin, append = WriterLog.begin, WriterLog.append
        ask, publish, entry_of = WriterLog._ask, Publisher.publish, Entries.read
        chance = random.Random(self.rng.random())
        thread: Any = threading.local()

        def asked(log: WriterLog, command: Any) -> Any:
            thread.reply = ask(log, command)
            return thread.reply

        def begin_late(log: WriterLog, labels: Any) -> Ticket | None:
            if self.kill_at and self.number >= self.kill_at and self.unpublished:
                say("K", *self.unpublished)
                os.kill(os.getpid(), signal.SIGKILL)
            pause(chance)
            ticket = begin(log, labels)
            pause(chance)
            return ticket

        def read(entries: Entries, using: str, changes: Any, ticket: Ticket) -> Entry:
            thread.names = sorted(changes.rows.get(NAMES, ()))
            return entry_of(entries, using, changes, ticket)

        def append_late(log: WriterLog, ticket: Ticket, entry: Entry) -> bool:
            pause(chance)
            done = append(log, ticket, entry)
            if done and entry.rows:
                for name in thread.names:
                    say("P", name, ticket.epoch, thread.reply[1])
                    self.forget(name)
            return done

        def published(publisher: Publisher, using: str, changes: Any) -> None:
            for name in self.unpublished[-1:]:
                changes.row(NAMES, name)
            publish(publisher, using, changes)
            if not publisher.owes():
                self.unpublished.clear()

        patched: Any = WriterLog
        patched._ask, patched.begin, patched.append = asked, begin_late, append_late
        patched = Entries
        patched.read = read
        patched = Publisher
        patched.publish = published

    # ------------------------------------------------------------------------------------------ its transactions

    def write(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            self.transaction()
            # in bursts: it is together that writers go wrong
            if self.number % BURST == 0:
                time.sleep(self.pause * BURST * self.rng.uniform(0.5, 1.5))
        self.settle()

    def transaction(self) -> None:
        work = Work(f"{self.name}-{self.number}", self.rng, self.outbox)
        steps = [self.rng.choice(STEPS) for _ in range(self.rng.randint(1, 3))]
        rolls_back = self.rng.random() < 0.15
        outcome = self.attempt(work, steps, rolls_back)
        say("T", work.name, outcome, *(step.__name__ for step in steps))

    def attempt(self, work: Work, steps: list[Any], rolls_back: bool) -> str:
        try:
            with work.committed():
                for step in steps:
                    step(work)
                if rolls_back:
                    spoil(work)
                    raise OnPurposeError
                self.unpublished.append(work.name)
        except OnPurposeError:
            return "rolled-back"
        except (OperationalError, InterfaceError) as error:
            self.forget(work.name)
            if not is_connection_lost(error):
                return "refused"
            connection.close()
            # nobody knows whether the commit was done before the connection went
            if self.was_committed(work.name):
                self.heal(work.name)
                return "committed"
            return "lost"
        except DatabaseError:
            self.forget(work.name)
            return "refused"
        return "committed"

    def forget(self, name: str) -> None:
        if name in self.unpublished:
            self.unpublished.remove(name)

    def was_committed(self, name: str) -> bool:
        return bool(retried(lambda: Transaction.objects.filter(name=name).exists()))

    def heal(self, name: str) -> None:
        """Publishes what a transaction left unpublished, as a project's own repair would: all of it is touched."""
        if self.outbox:
            return
        found = None
        # a commit of a writer that was killed may still be under way, or never have come so far
        for _ in range(10):
            found = retried(lambda: Transaction.objects.filter(name=name).first())
            if found is not None:
                break
            time.sleep(0.1)
        else:
            return
        record = found.record
        while not retried(lambda: self.touched(record)):
            time.sleep(0.05)
        say("H", name)

    def touched(self, record: Any) -> bool:
        self.number += 1
        work = Work(f"{self.name}-{self.number}", self.rng, self.outbox)
        try:
            with work.committed():
                touch(record)
                self.unpublished.append(work.name)
        except (OperationalError, InterfaceError):
            self.forget(work.name)
            connection.close()
            return False
        say("T", work.name, "committed", "heal")
        return True

    def settle(self) -> None:
        """What is owed is published by itself, soon."""
        found = publisher()
        assert found is not None
        deadline = time.monotonic() + PATIENCE
        while found.owes() and time.monotonic() < deadline:
            time.sleep(0.05)
        if found.owes():
            say("O", *self.unpublished)


def touch(record: Any) -> None:
    """All rows that the record names, those that are gone included, and all their links."""
    for key in (*record["rows"], *record["deleted"]):
        name, _, pk = key.partition(":")
        model = MODELS[name]
        said = {"sender": model, "instance": model(pk=int(pk)), "using": "default"}
        if key in record["deleted"]:
            signals.post_delete.send(origin=None, **said)
        else:
            signals.post_save.send(created=False, raw=False, update_fields=None, **said)
        for field in model._meta.many_to_many:
            signals.m2m_changed.send(
                **{**said, "sender": field.remote_field.through, "model": field.related_model},
                action="post_clear",
                reverse=False,
                pk_set=None,
            )


def pause(chance: random.Random) -> None:
    time.sleep(chance.choice((0, 0, 0, 0.002, 0.01, 0.03)))


def is_connection_lost(error: Exception) -> bool:
    return (
        connection.connection is None or connection.connection.closed or not connection.is_usable()
    )


def retried(read: Any) -> Any:
    for _ in range(50):
        try:
            return read()
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(0.05)
    return read()


def run(name: str, seed: int, count: int, unpublished: list[str]) -> None:
    writer = Writer(name, seed)
    writer.watch_publishes()
    sabotage.apply("writer")
    connection.ensure_connection()
    for killed in unpublished:
        writer.heal(killed)
    writer.write(count)
