"""The triggers of the outbox: what each statement notes, and that `rxtriggers` makes, shows and drops them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from pytest_django import Settings

from rxgraphql.triggers import OUTBOX
from tests.services import Valkey
from tests.shop import Shop

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.every_database,
]
needs_postgres = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="triggers with an outbox need PostgreSQL"
)

Note = tuple[str, str, str | None, str | None, bool]


def rxtriggers(*arguments: str) -> str:
    out = StringIO()
    call_command("rxtriggers", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def execute(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)


def fetch(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def notes() -> list[Note]:
    """What was noted since the last look, in order."""
    found = fetch(f"SELECT label, kind, key, other, deleted FROM {OUTBOX} ORDER BY id")
    execute(f"DELETE FROM {OUTBOX}")
    return found


@pytest.fixture
def installed(transactional_db: None, redis_url: str) -> Iterator[None]:
    rxtriggers("install")
    yield
    connection.rollback()
    rxtriggers("remove")


@pytest.fixture
def shop(installed: None) -> Shop:
    shop = Shop()
    notes()
    return shop


# ------------------------------------------------------------------------------------------ what is noted


@needs_postgres
def test_rows(shop: Shop) -> None:
    """Each row that raw SQL makes, changes or deletes is noted with its key."""
    execute("UPDATE shelves_book SET title = 'raw' WHERE position = 1")
    assert notes() == [("shelves.book", "row", str(shop.two.pk), None, False)]
    execute("INSERT INTO shelves_shelf (id, name) VALUES ('raw', '')")
    execute("DELETE FROM shelves_shelf WHERE id = 'raw'")
    assert notes() == [
        ("shelves.shelf", "row", "raw", None, False),
        ("shelves.shelf", "row", "raw", None, True),
    ]


@needs_postgres
def test_links(shop: Shop) -> None:
    """Of a table between two models it is the link that was and the one that is."""
    one, two = str(shop.one.pk), str(shop.two.pk)
    novel = str(shop.novel.pk)
    execute("UPDATE shelves_shelving SET book_id = %s", shop.two.pk)
    assert sorted(notes()) == [
        ("shelves.shelving", "link", one, novel, True),
        ("shelves.shelving", "link", two, novel, False),
    ]
    execute("UPDATE shelves_shelving SET weight = 9")
    assert notes() == [("shelves.shelving", "link", two, novel, False)]


@needs_postgres
def test_links_to_nothing(shop: Shop) -> None:
    """An end becomes null: the link that was is noted, and then that it is back."""
    execute("ALTER TABLE shelves_shelving ALTER book_id DROP NOT NULL")
    one, novel = str(shop.one.pk), str(shop.novel.pk)
    try:
        execute("UPDATE shelves_shelving SET book_id = NULL")
        assert notes() == [
            ("shelves.shelving", "link", None, novel, False),
            ("shelves.shelving", "link", one, novel, True),
        ]
        execute("UPDATE shelves_shelving SET book_id = %s", shop.one.pk)
        assert ("shelves.shelving", "link", one, novel, False) in notes()
    finally:
        execute("DELETE FROM shelves_shelving")
        execute("ALTER TABLE shelves_shelving ALTER book_id SET NOT NULL")


@needs_postgres
def test_keys_that_change(shop: Shop) -> None:
    """The row of the old key is gone."""
    execute("INSERT INTO shelves_shelf (id, name) VALUES ('raw', '')")
    notes()
    execute("UPDATE shelves_shelf SET id = 'new' WHERE id = 'raw'")
    assert notes() == [
        ("shelves.shelf", "row", "new", None, False),
        ("shelves.shelf", "row", "raw", None, True),
    ]


@needs_postgres
def test_nothing_changed(shop: Shop) -> None:
    """An update that changes nothing notes nothing, and so does a rolled-back one."""
    execute("UPDATE shelves_book SET title = title")
    with transaction.atomic():
        execute("UPDATE shelves_book SET title = 'never'")
        transaction.set_rollback(True)
    execute("UPDATE auth_user SET first_name = 'nobody'")
    assert notes() == []


@needs_postgres
def test_truncate(shop: Shop) -> None:
    """After TRUNCATE nobody knows which rows there were."""
    execute("TRUNCATE shelves_shelving")
    assert notes() == [("shelves.shelving", "all", None, None, True)]


@needs_postgres
def test_equal_is_not_the_same(shop: Shop) -> None:
    """A value that is equal and looks different is a change, and a type that knows no equality is no obstacle."""
    execute("ALTER TABLE shelves_book ADD extra json, ADD price numeric")
    try:
        execute("UPDATE shelves_book SET price = 1.0, extra = '{}' WHERE position = 1")
        notes()
        execute("UPDATE shelves_book SET price = 1.00 WHERE position = 1")
        execute("UPDATE shelves_book SET extra = '{ }' WHERE position = 1")
        execute("UPDATE shelves_book SET extra = '{ }' WHERE position = 1")
        assert len(notes()) == 2
    finally:
        execute("ALTER TABLE shelves_book DROP extra, DROP price")


@needs_postgres
def test_other_roles(shop: Shop) -> None:
    """Who may write a table needs no right on the outbox, whatever its search path."""
    execute("CREATE ROLE clerk")
    try:
        execute("GRANT SELECT, UPDATE ON shelves_book TO clerk")
        with transaction.atomic():
            execute("SET LOCAL ROLE clerk")
            execute("SET LOCAL search_path = pg_temp")
            execute("UPDATE public.shelves_book SET title = 'clerk' WHERE position = 1")
        assert [note[2] for note in notes()] == [str(shop.two.pk)]
    finally:
        execute("DROP OWNED BY clerk")
        execute("DROP ROLE clerk")


@needs_postgres
def test_one_transaction(shop: Shop) -> None:
    """All rows of a transaction, savepoints included, bear one number."""
    with transaction.atomic():
        execute("UPDATE shelves_book SET title = 'x' WHERE position = 1")
        with transaction.atomic():
            execute("UPDATE shelves_book SET title = 'y' WHERE position = 2")
    execute("UPDATE shelves_book SET title = 'z' WHERE position = 1")
    counts = fetch(f"SELECT count(*) FROM {OUTBOX} GROUP BY xact ORDER BY 1")
    assert counts == [(1,), (2,)]


@needs_postgres
def test_odd_names(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemas of their own, and names that want quotes."""
    from rxgraphql import triggers

    odd = triggers.Table(
        'aside"."Odd %s Table', ("odd.row", "Key %s"), ("odd.link", "Key %s", "b'")
    )
    monkeypatch.setattr(triggers, "watched_tables", lambda *args: [odd])
    execute("CREATE SCHEMA aside")
    try:
        execute('CREATE TABLE aside."Odd %s Table" ("Key %s" integer, "b\'" text)')
        assert "Odd" in rxtriggers("install")
        execute('INSERT INTO aside."Odd %s Table" VALUES (7, NULL)')
        execute('UPDATE aside."Odd %s Table" SET "Key %s" = 8')
        assert notes() == [
            ("odd.row", "row", "7", None, False),
            ("odd.link", "link", "7", None, False),
            ("odd.row", "row", "8", None, False),
            ("odd.link", "link", "8", None, False),
            ("odd.row", "row", "7", None, True),
            ("odd.link", "link", "7", None, True),
        ]
        assert "already" in rxtriggers("install")
        rxtriggers("status")
    finally:
        execute("DROP SCHEMA aside CASCADE")
    with pytest.raises(CommandError, match="run migrate first"):
        rxtriggers("status")


@needs_postgres
def test_partitions(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partitioned table is one table; a view is none, and the command says so."""
    from rxgraphql import triggers

    parted = triggers.Table("parted", ("parted.row", "id"))
    view = triggers.Table("a_view", ("a.view", "id"))
    monkeypatch.setattr(triggers, "watched_tables", lambda *args: [parted, view])
    execute("CREATE TABLE parted (id integer) PARTITION BY RANGE (id)")
    execute("CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (9)")
    execute("CREATE VIEW a_view AS SELECT * FROM parted")
    try:
        assert "a_view is not a table" in rxtriggers("install")
        execute("INSERT INTO parted VALUES (1)")
        execute("DELETE FROM part")
        assert [note[2:] for note in notes()] == [("1", None, False), ("1", None, True)]
        assert "parted: current" in rxtriggers("status")
    finally:
        execute("DROP TABLE parted CASCADE")


# ------------------------------------------------------------------------------------------ the command


@needs_postgres
def test_install_twice(installed: None) -> None:
    """A second time changes nothing; then all is well."""
    made = fetch("SELECT oid, xmin FROM pg_trigger ORDER BY 1")
    assert "already" in rxtriggers("install")
    assert fetch("SELECT oid, xmin FROM pg_trigger ORDER BY 1") == made
    status = rxtriggers("status")
    assert "shelves_book: current" in status
    assert "chat_room_members: current" in status
    assert "0 rows wait" in status
    assert "shelves_receipt" not in status


@needs_postgres
def test_installed_by_several_at_once(transactional_db: None, redis_url: str) -> None:
    """Deployments that begin together don't fail beside each other."""
    failed: list[BaseException] = []
    together = threading.Barrier(4)

    def install() -> None:
        try:
            together.wait()
            rxtriggers("install")
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=install) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert failed == []
        rxtriggers("status")
    finally:
        rxtriggers("remove")


@needs_postgres
@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("DROP TRIGGER rxgraphql_rows ON shelves_book", "outdated"),
        ("ALTER TABLE shelves_book DISABLE TRIGGER rxgraphql_update", "outdated"),
        ("COMMENT ON FUNCTION {} IS 'rxgraphql:old'", "outdated"),
        ("DROP FUNCTION {} CASCADE", "missing"),
    ],
)
def test_faults(fault: str, word: str, installed: None) -> None:
    """What is not as it was made fails the status, and is made anew."""
    ((function,),) = fetch(
        "SELECT tgfoid::regprocedure FROM pg_trigger "
        "WHERE tgname = 'rxgraphql_rows' AND tgrelid = 'shelves_book'::regclass"
    )
    execute(fault.format(function))
    with pytest.raises(CommandError, match="rxtriggers install"):
        rxtriggers("status")
    assert word in status_of("shelves_book")
    assert rxtriggers("install") == "renewed shelves_book\n"
    assert "current" in status_of("shelves_book")
    rxtriggers("status")


def status_of(table: str) -> str:
    out = StringIO()
    with suppress(CommandError):
        call_command("rxtriggers", "status", stdout=out)
    return next(line for line in out.getvalue().splitlines() if line.startswith(table))


@needs_postgres
def test_no_longer_watched(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that no channel reads any more is shown, and its triggers go with the next install."""
    from rxgraphql import triggers

    watched = triggers.watched_tables
    monkeypatch.setattr(
        triggers,
        "watched_tables",
        lambda *args: [t for t in watched(*args) if t.name != "shelves_book"],
    )
    assert "no longer watched" in status_of("public.shelves_book")
    assert "shelves_book" in rxtriggers("install")
    assert not fetch(
        "SELECT 1 FROM pg_trigger WHERE tgrelid = 'shelves_book'::regclass AND NOT tgisinternal"
    )


@needs_postgres
def test_a_table_takes_the_name_of_another(shop: Shop) -> None:
    """A table is renamed and keeps its triggers, and a new one gets its name: one install has the new one watched."""
    execute("ALTER TABLE shelves_shelving RENAME TO shelves_before")
    execute("CREATE TABLE shelves_shelving (LIKE shelves_before)")
    try:
        assert "renewed shelves_shelving" in rxtriggers("install")
        rxtriggers("status")
        execute("INSERT INTO shelves_shelving SELECT * FROM shelves_before")
        assert len(notes()) == 1
        execute("DELETE FROM shelves_before")
        assert notes() == []
    finally:
        execute("DROP TABLE shelves_shelving")
        execute("ALTER TABLE shelves_before RENAME TO shelves_shelving")


@needs_postgres
def test_remove(transactional_db: None, redis_url: str) -> None:
    """Nothing of it stays: no table, no trigger, no function."""
    left = "SELECT proname FROM pg_proc WHERE proname LIKE 'rxgraphql%'"
    rxtriggers("install")
    assert fetch(left)
    rxtriggers("remove")
    assert fetch(left) == []
    assert fetch("SELECT 1 FROM pg_trigger WHERE tgname LIKE 'rxgraphql%'") == []
    assert fetch(f"SELECT to_regclass('{OUTBOX}')") == [(None,)]
    assert rxtriggers("remove") == ""
    for action in ("status", "drain"):
        with pytest.raises(CommandError, match="rxtriggers install"):
            rxtriggers(action)


@needs_postgres
def test_remove_without_redis(
    shop: Shop, start_valkey: Callable[..., Valkey], settings: Settings
) -> None:
    """It can be removed when Redis has gone for good, and says what that costs."""
    server = start_valkey()
    server.kill()
    settings.REDIS_URL = server.url
    execute("UPDATE shelves_book SET title = 'raw' WHERE position = 1")
    with pytest.raises(CommandError, match="Nothing was lost"):
        rxtriggers("drain")
    assert "not published" in rxtriggers("remove")
    assert fetch(f"SELECT to_regclass('{OUTBOX}')") == [(None,)]


@needs_postgres
def test_rows_that_wait(shop: Shop) -> None:
    """Rows that nobody drains fail the status after a while."""
    execute("UPDATE shelves_book SET title = 'raw' WHERE position = 1")
    assert "1 rows wait" in rxtriggers("status")
    execute(f"UPDATE {OUTBOX} SET written = now() - interval '2 minutes'")
    with pytest.raises(CommandError, match="Nobody drains"):
        rxtriggers("status")
    assert rxtriggers("drain") == "1 rows\n"
    rxtriggers("status")


@needs_postgres
def test_tables_that_are_locked(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers aren't made to wait behind us: the command gives up, and says so."""
    from django.db import connections

    execute("DROP TRIGGER rxgraphql_rows ON shelves_book")
    monkeypatch.setattr("rxgraphql.triggers.LOCK_TIMEOUT", "50ms")
    other: Any = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        other.cursor().execute("LOCK TABLE shelves_book IN ROW EXCLUSIVE MODE")
        with pytest.raises(CommandError, match="run it again"):
            rxtriggers("install")
    finally:
        other.rollback()
        other.close()
    assert rxtriggers("install") == "renewed shelves_book\n"


@needs_postgres
def test_migrations(installed: None) -> None:
    """Columns may be added, altered and dropped beneath the triggers."""
    execute("ALTER TABLE shelves_book ALTER COLUMN title TYPE varchar(70)")
    execute("ALTER TABLE shelves_book ALTER COLUMN position TYPE bigint")
    execute("ALTER TABLE shelves_book ALTER COLUMN position TYPE integer")
    execute("ALTER TABLE shelves_book ADD extra integer")
    execute("ALTER TABLE shelves_book DROP extra")
    rxtriggers("status")


@needs_postgres
def test_triggers_follow_migrations(installed: None) -> None:
    """After a migration what it left behind is made anew; without an outbox nothing is made."""
    config: Any = apps.get_app_config("rxgraphql")
    execute("ALTER TABLE shelves_book RENAME COLUMN id TO number")
    execute("ALTER TABLE shelves_book RENAME COLUMN number TO id")
    execute("DROP TRIGGER rxgraphql_rows ON shelves_book")
    config._migrated(using="default", plan=[object()])
    rxtriggers("status")
    rxtriggers("remove")
    config._migrated(using="default", plan=[object()])
    assert fetch(f"SELECT to_regclass('{OUTBOX}')") == [(None,)]


def test_other_databases(transactional_db: None) -> None:
    """Where it can't be done, the command says so and what to do instead."""
    with pytest.raises(CommandError, match=r"SQLite.*LiveManager and touch"):
        rxtriggers("install", "--database", "other")
    with pytest.raises(CommandError, match="DATABASES has no 'third'"):
        rxtriggers("status", "--database", "third")
