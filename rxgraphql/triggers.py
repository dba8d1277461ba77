"""The outbox's triggers on PostgreSQL: whoever writes, the same transaction notes what changed.

    INSERT, UPDATE, DELETE, TRUNCATE on a watched table -> a row of rxgraphql_outbox, and NOTIFY -> outbox.py

One function for each table, with its columns written out: looking them up by name costs more than all the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import md5
from typing import Any, Final, Literal

from django.apps import apps
from django.db import DatabaseError, OperationalError, connections, router, transaction

from rxgraphql.capture import Capture, current

logger = logging.getLogger("rxgraphql.outbox")

OUTBOX: Final = "rxgraphql_outbox"
# What LISTEN and NOTIFY call it; they know no schemas.
NOTIFICATIONS: Final = "rxgraphql_outbox"
TRIGGERS: Final = ("rxgraphql_rows", "rxgraphql_update", "rxgraphql_truncate")
# Writers queue behind a lock that is waited for.
LOCK_TIMEOUT: Final = "3s"

State = Literal[
    "current", "outdated", "missing", "no longer watched", "no such table", "not a table"
]


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose changes are noted: `rows` is (label, key), `link` is (label, a, b), the columns as in SQL."""

    name: str
    rows: tuple[str, str] | None = None
    link: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Installed:
    """A function of ours, and the table that it has triggers on, unless that was dropped."""

    function: str
    version: str
    table: str | None
    triggers: frozenset[str]  # those that are switched on

    @property
    def is_complete(self) -> bool:
        return self.triggers == frozenset(TRIGGERS)


def watched_tables(capture: Capture, using: str) -> list[Table]:
    """The tables of all that channels read, if they are written to in this database."""
    found: dict[str, Table] = {}
    for label in sorted(capture.labels):
        model: Any = apps.get_model(label)
        if router.db_for_write(model) == using:
            name = model._meta.db_table
            found[name] = Table(name, rows=(label, model._meta.pk.column))
    for link in capture.links.values():
        if router.db_for_write(link.through) == using:
            name = link.through._meta.db_table
            a, b = (str(link.through._meta.get_field(end).column) for end in (link.a, link.b))  # type: ignore[union-attr]
            found[name] = replace(found.get(name, Table(name)), link=(link.label, a, b))
    return sorted(found.values(), key=lambda table: table.name)


class Triggers:
    """What is installed in one database. Raises OperationalError where a table is locked for more than 3 s."""

    def __init__(self, capture: Capture, using: str) -> None:
        self.connection = connections[using]
        self.tables = watched_tables(capture, using)
        schema = self._value(
            "SELECT coalesce((SELECT relnamespace::regnamespace::text FROM pg_class "
            "WHERE oid = to_regclass(%s)), quote_ident(current_schema()))",
            OUTBOX,
        )
        if schema is None:
            raise OperationalError("The search path names no schema that exists.")
        self.schema: str = schema
        self.outbox = f"{schema}.{OUTBOX}"

    # ------------------------------------------------------------------------------------------ what is there

    def is_installed(self) -> bool:
        return self._value("SELECT to_regclass(%s) IS NOT NULL", self.outbox) is True

    def states(self) -> dict[str, State]:
        """Of each table that is watched or has our triggers. Of what is not a table changes can't be noted."""
        installed = {found.table: found for found in self._installed() if found.table}
        states: dict[str, State] = {}
        for table in self.tables:
            name, kind = self._relation(table)
            found = installed.pop(name, None)
            if kind not in ("r", "p"):
                states[table.name] = "not a table" if kind else "no such table"
            elif found is None:
                states[table.name] = "missing"
            else:
                is_current = found.version == self._version(table) and found.is_complete
                states[table.name] = "current" if is_current else "outdated"
        return states | dict.fromkeys(installed, "no longer watched")

    def waiting(self) -> tuple[int, float]:
        """How many rows wait in the outbox, and for how many seconds the oldest of them has."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(written)), 0) FROM {self.outbox}"
            )
            count, seconds = cursor.fetchone()
        return count, float(seconds)

    # ------------------------------------------------------------------------------------------ install, remove

    def install(self) -> list[str]:
        """Makes what is missing or outdated and drops what is no longer watched; gives the tables it touched."""
        with self._locking():
            self._execute(_outbox(self.outbox))
        states = self.states()
        for table in self.tables:
            if states[table.name] in ("missing", "outdated"):
                with self._locking():
                    for statement in self._statements(table):
                        self._execute(statement)
        wanted = {self._relation(table)[0] for table in self.tables}
        installed = self._installed()
        # a table that was renamed takes its triggers along, and they call the function of the one that has its name
        used = {found.function for found in installed if found.table in wanted}
        self._drop((found for found in installed if found.table not in wanted), used)
        changed = ("missing", "outdated", "no longer watched")
        return [name for name, state in states.items() if state in changed]

    def remove_triggers(self) -> list[str]:
        """Drops all triggers; gives the tables that had some."""
        installed = self._installed()
        self._drop(installed)
        return [found.table for found in installed if found.table]

    def remove_outbox(self) -> None:
        with self._locking():
            self._execute(f"DROP TABLE IF EXISTS {self.outbox}")

    # ------------------------------------------------------------------------------------------ SQL

    def _statements(self, table: Table) -> Iterator[str]:
        function = f"{self.schema}.rxgraphql_outbox_{_digest(self._relation(table)[0])}"
        target = self._quote(table.name)
        yield f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger {self._body(table)}"
        yield f"COMMENT ON FUNCTION {function}() IS 'rxgraphql:{self._version(table)}'"
        rows, update, truncate = TRIGGERS
        for name in TRIGGERS:
            yield f"DROP TRIGGER IF EXISTS {name} ON {target}"
        yield (
            f"CREATE TRIGGER {rows} AFTER INSERT OR DELETE ON {target} "
            f"FOR EACH ROW EXECUTE FUNCTION {function}()"
        )
        # As images: "1.0" and "1.00" are equal, and some types have no equality at all
        yield (
            f"CREATE TRIGGER {update} AFTER UPDATE ON {target} FOR EACH ROW "
            f"WHEN (OLD.* OPERATOR(pg_catalog.*<>) NEW.*) EXECUTE FUNCTION {function}()"
        )
        yield (
            f"CREATE TRIGGER {truncate} AFTER TRUNCATE ON {target} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )

    def _body(self, table: Table) -> str:
        """With the rights of who installed it: those who may write the table need not know of the outbox.

        So nothing in it may be looked up by the writer's search path. (`SET search_path` would do that as well, and
        cost more than all else.)
        """

        def note(*values: str) -> str:
            return (
                f"INSERT INTO {self.outbox} (label, kind, key, other, deleted) "
                f"VALUES ({', '.join(values)});"
            )

        def column(row: str, name: str) -> str:
            return f"{row}.{self._quote(name)}::pg_catalog.text"

        def all_of(row: str, deleted: str) -> str:
            notes = []
            if table.rows:
                label, key = table.rows
                notes.append(note(_text(label), "'row'", column(row, key), "NULL", deleted))
            if table.link:
                label, *ends = table.link
                pair = [column(row, end) for end in ends]
                notes.append(note(_text(label), "'link'", *pair, deleted))
            return " ".join(notes)

        keys = [*([table.rows[1]] if table.rows else []), *(table.link[1:] if table.link else ())]
        moved = " OR ".join(
            f"{column('OLD', key)} OPERATOR(pg_catalog.<>) {column('NEW', key)} "
            f"OR ({column('OLD', key)} IS NULL) OPERATOR(pg_catalog.<>) ({column('NEW', key)} IS NULL)"
            for key in keys
        )
        truncated = " ".join(
            note(_text(label), "'all'", "NULL", "NULL", "true")
            for label, *_ in filter(None, (table.rows, table.link))
        )
        return (
            "LANGUAGE plpgsql SECURITY DEFINER AS $rxgraphql$\n"
            "BEGIN\n"
            f"  IF {_is('UPDATE')} THEN {all_of('NEW', 'false')}\n"
            f"    IF {moved} THEN {all_of('OLD', 'true')} END IF;\n"
            f"  ELSIF {_is('INSERT')} THEN {all_of('NEW', 'false')}\n"
            f"  ELSIF {_is('DELETE')} THEN {all_of('OLD', 'true')}\n"
            f"  ELSE {truncated}\n"
            "  END IF;\n"
            f"  PERFORM pg_catalog.pg_notify('{NOTIFICATIONS}', '');\n"
            "  RETURN NULL;\n"
            "END $rxgraphql$"
        )

    def _version(self, table: Table) -> str:
        return _digest(self._body(table))

    def _relation(self, table: Table) -> tuple[str, str]:
        """Schema and name, and of which kind it is; empty if there is none."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT relnamespace::regnamespace || '.' || quote_ident(relname), relkind::text "
                "FROM pg_class WHERE oid = to_regclass(%s)",
                [self._quote(table.name)],
            )
            found: tuple[str, str] | None = cursor.fetchone()
        return found or ("", "")

    def _installed(self) -> list[Installed]:
        with self.connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc'),
                    relnamespace::regnamespace || '.' || quote_ident(relname),
                    coalesce(array_agg(tgname::text) FILTER (WHERE tgenabled IN ('O', 'A')), '{}')
                FROM pg_proc p LEFT JOIN pg_trigger t ON tgfoid = p.oid AND tgparentid = 0
                LEFT JOIN pg_class c ON c.oid = tgrelid
                WHERE pronamespace = %s::regnamespace
                    AND obj_description(p.oid, 'pg_proc') LIKE 'rxgraphql:%%'
                GROUP BY 1, 2, 3 ORDER BY 3
                """,
                [self.schema],
            )
            return [
                Installed(function, comment.removeprefix("rxgraphql:"), table, frozenset(triggers))
                for function, comment, table, triggers in cursor.fetchall()
            ]

    def _drop(self, installed: Iterable[Installed], used: Set[str] = frozenset()) -> None:
        """Their triggers, and their functions but for those that are `used` elsewhere."""
        for found in installed:
            with self._locking():
                if found.function not in used:
                    self._execute(f"DROP FUNCTION IF EXISTS {found.function} CASCADE")
                    continue
                for name in TRIGGERS if found.table else ():
                    self._execute(f"DROP TRIGGER IF EXISTS {name} ON {found.table}")

    def _quote(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))

    def _value(self, sql: str, *parameters: Any) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            row = cursor.fetchone()
        return row[0] if row else None

    def _execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    @contextmanager
    def _locking(self) -> Iterator[None]:
        with transaction.atomic(using=self.connection.alias):
            self._execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            # two deployments at once: IF NOT EXISTS and OR REPLACE fail beside each other
            self._execute(f"SELECT pg_advisory_xact_lock(hashtext({_text(self.outbox)}))")
            yield


def _outbox(name: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ("
        "id bigserial, "
        # all rows of one transaction are told in one event
        "xact xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(), "
        "label text NOT NULL, kind text NOT NULL, key text, other text, "
        "deleted boolean NOT NULL DEFAULT false, "
        "written timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), "
        "PRIMARY KEY (xact, id))"
    )


def _is(operation: str) -> str:
    return f"TG_OP OPERATOR(pg_catalog.=) '{operation}'"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _digest(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()[:12]


def renew(using: str) -> None:
    """After a migration: where the outbox is, its triggers follow the tables. Never raises."""
    if connections[using].vendor != "postgresql":
        return
    try:
        triggers = Triggers(current(), using)
        if triggers.is_installed():
            triggers.install()
    except DatabaseError as error:
        message = "The triggers of %r are not renewed: %s Run `manage.py rxtriggers install`."
        logger.error(message, using, error)
