"""`manage.py rxtriggers`: the outbox on PostgreSQL, into which triggers note what no signal tells."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from rxgraphql.capture import current
from rxgraphql.errors import LogUnavailableError
from rxgraphql.outbox import Drain, drain
from rxgraphql.triggers import LOCK_TIMEOUT, OUTBOX, Triggers

# Seconds after which a row of the outbox should be gone wherever a process drains it.
PATIENCE = 60.0

MISSING = f"There is no {OUTBOX}. Run `manage.py rxtriggers install`."
FAULTS = {
    "missing": "has no triggers",
    "outdated": "has triggers of another version, or switched off",
    "no longer watched": "has triggers that nobody needs",
    "no such table": "isn't there: run migrate first",
}


class Command(BaseCommand):
    help = "Installs, removes, shows or drains the outbox of a PostgreSQL database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "action",
            choices=("install", "remove", "status", "drain"),
            help="install: make or renew the outbox and its triggers. remove: drop them. status: fails if "
            "something is missing, outdated or waits too long. drain: publish what waits, once.",
        )
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, help="Alias of the database; `default`."
        )
        parser.add_argument(
            "--forever", action="store_true", help="Drain until the process is told to end."
        )

    def handle(self, *, action: str, database: str, forever: bool, **options: Any) -> None:
        if database not in connections:
            raise CommandError(f"DATABASES has no {database!r}.")
        connection = connections[database]
        if connection.vendor != "postgresql":
            raise CommandError(
                f"{database!r} is {connection.display_name}, and triggers with an outbox need PostgreSQL. On other "
                "databases use LiveManager and touch()."
            )
        if forever and action != "drain":
            raise CommandError(f"--forever goes with drain, not with {action}.")
        try:
            if action == "drain":
                self.drain(database, forever)
            else:
                getattr(self, action)(Triggers(current(), database))
        except LogUnavailableError as error:
            raise CommandError(f"Nothing was lost, and nothing published: {error}") from error
        except DatabaseError as error:
            message = str(error).strip()
            if "lock timeout" in message:
                message += (
                    f"\nA table that is locked for longer than {LOCK_TIMEOUT} is not waited for, since writers would "
                    "wait behind. What was done stays: run it again."
                )
            raise CommandError(message) from error

    def install(self, triggers: Triggers) -> None:
        if not triggers.tables:
            raise CommandError(
                f"No channel reads what is written to {triggers.connection.alias!r}: nothing to watch."
            )
        changed = triggers.install()
        for name in changed:
            self.stdout.write(f"renewed {name}")
        unseen = [name for name, s in triggers.states().items() if s == "not a table"]
        for name in unseen:
            self.stderr.write(f"{name} is not a table: its changes are not seen.")
        if missing := [name for name, s in triggers.states().items() if s == "no such table"]:
            raise CommandError(f"Run migrate first: {', '.join(missing)}")
        if not changed:
            self.stdout.write("All triggers are there already.")

    def remove(self, triggers: Triggers) -> None:
        for name in triggers.remove_triggers():
            self.stdout.write(f"removed from {name}")
        if triggers.is_installed():
            try:
                drain(triggers.connection.alias)
            except LogUnavailableError as error:
                self.stderr.write(f"What waited is not published: {error}")
            triggers.remove_outbox()
            self.stdout.write(f"removed {triggers.outbox}")

    def status(self, triggers: Triggers) -> None:
        if not triggers.is_installed():
            raise CommandError(MISSING)
        states = triggers.states()
        for name, state in states.items():
            self.stdout.write(f"{name}: {state}")
        count, seconds = triggers.waiting()
        oldest = f", the oldest for {seconds:.0f} s" if count else ""
        self.stdout.write(f"{count} rows wait{oldest}")
        faults = [f"{name} {FAULTS[state]}." for name, state in states.items() if state in FAULTS]
        if faults:
            faults.append("Run `manage.py rxtriggers install`.")
        if count and seconds > PATIENCE:
            faults.append(
                "Nobody drains the outbox: no process serves, it can't reach Redis, or it is too slow."
            )
        if faults:
            raise CommandError("\n".join(faults))

    def drain(self, database: str, forever: bool) -> None:
        if not forever:
            if not Triggers(current(), database).is_installed():
                raise CommandError(MISSING)
            self.stdout.write(f"{drain(database)} rows")
            return
        worker = Drain(database)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.end())
        self.stdout.write("draining")
        self.stdout.flush()
        worker.run()
