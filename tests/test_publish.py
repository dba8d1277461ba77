"""From the commit to the log: the order of the steps, what an entry holds, what becomes of it without Redis."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.db.models import Value
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from pytest_django import Settings

from rxgraphql import embedded
from rxgraphql import entries as reading
from rxgraphql import log as logs
from rxgraphql import owed as owing
from rxgraphql import publish as publishing
from rxgraphql.changeset import ChangeSet
from rxgraphql.channel import registry
from rxgraphql.entries import Entries
from rxgraphql.log import Entry, Ticket, WriterLog
from rxgraphql.owed import Owed
from rxgraphql.payer import Payer
from rxgraphql.publisher import Publisher
from rxgraphql.relations import label_of
from tests.changes import elsewhere
from tests.chat.models import Message, Room, Tag
from tests.clubs.models import Club, Trophy
from tests.listening import Listener, keys, rows, values
from tests.services import Valkey
from tests.test_log import Clock, StartValkey

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGE = label_of(Message)


@pytest.fixture
def log(redis_url: str) -> Iterator[Listener]:
    """Here nobody watches yet."""
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (logs, owing, publishing):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def commits_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here no thread pays what is owed, so that it is seen what a commit does. See test_redis_away.py."""
    monkeypatch.setattr(Payer, "wake", lambda *_, **__: None)


@pytest.fixture
def message(log: Listener) -> Message:
    ada = User.objects.create(username="ada")
    room = Room.objects.create(name="lobby")
    message: Message = Message.objects.create(room=room, author=ada, text="hello")
    Club.objects.create(code="chess")
    # as if that had been long ago
    current().log._unwatched_until.clear()
    return message


@pytest.fixture
def publisher(message: Message) -> Publisher:
    return current()


def current() -> Publisher:
    """The one that saves of this test use."""
    found = publishing.publisher()
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------ the order of the steps


@pytest.mark.every_database
def test_commit_ticket_read_append(
    log: Listener, message: Message, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ticket is taken after the commit, the rows are read after the ticket, and appended last."""
    log.watch()
    seen: list[str] = []
    begin, append = publisher.log.begin, publisher.log.append

    def note(step: str) -> None:
        # another connection sees what is committed, and nothing else
        elsewhere(lambda: seen.append(f"{step} {Message.objects.get(pk=message.pk).text}"))

    def begun(labels: list[str]) -> Ticket | None:
        note("ticket after")
        ticket = begin(labels)
        # QuerySet.update() marks nothing: only a read after the ticket has it
        elsewhere(lambda: Message.objects.filter(pk=message.pk).update(text="newer"))
        return ticket

    def appended(ticket: Ticket, entry: Entry) -> bool:
        elsewhere(lambda: Message.objects.filter(pk=message.pk).update(text="too late"))
        return append(ticket, entry)

    monkeypatch.setattr(publisher.log, "begin", begun)
    monkeypatch.setattr(publisher.log, "append", appended)
    message.text = "committed"
    with transaction.atomic():
        message.save()
        note("before")
    assert seen == ["before hello", "ticket after committed"]
    assert values(log.entry(), "Message", message.pk)["text"] == "newer"


def test_a_new_epoch_is_a_new_read(
    log: Listener,
    message: Message,
    publisher: Publisher,
    monkeypatch: pytest.MonkeyPatch,
    flush: Callable[[], None],
) -> None:
    """When the ticket is refused, a new one is taken and the rows are read again, since the read was before it."""
    log.watch()
    begin, tickets = publisher.log.begin, []

    def begun(labels: list[str]) -> Ticket | None:
        ticket = begin(labels)
        tickets.append(ticket)
        text = f"after ticket {len(tickets)}"
        elsewhere(lambda: Message.objects.filter(pk=message.pk).update(text=text))
        if len(tickets) == 1:
            flush()
            log.watch()
        return ticket

    monkeypatch.setattr(publisher.log, "begin", begun)
    message.save()
    first, second = tickets
    assert first is not None
    assert second is not None
    assert first.epoch != second.epoch
    entry = log.entry()
    assert (entry.epoch, entry.ticket) == (second.epoch, second.number)
    assert values(entry, "Message", message.pk)["text"] == "after ticket 2"


def test_what_could_not_be_published_makes_all_reload(
    log: Listener, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of our own does not fail the save, and the next commit begins a new epoch: everyone reloads."""
    log.watch()
    message.save()
    before = log.entry().epoch

    def fail(*_: Any) -> Any:
        raise RuntimeError("a fault of our own")

    with monkeypatch.context() as broken:
        broken.setattr(Entries, "read", fail)
        message.save()
    log.watch()
    message.save()
    told, entry = log.entries()
    assert told.epoch == entry.epoch != before
    assert told.rows == {}


def test_one_query_for_each_type(log: Listener, message: Message) -> None:
    """A hundred rows of a commit are read like one: one query for each node type that has fields to show."""
    log.watch()

    def queries(count: int) -> int:
        with transaction.atomic():
            for n in range(count):
                Tag.objects.create(name=f"tag {n}")
            context = CaptureQueriesContext(connection)
            context.__enter__()
        context.__exit__(None, None, None)
        log.entry()
        return len([q for q in context.captured_queries if q["sql"].startswith("SELECT")])

    types = {t for c in registry.channels() for t in c.tree.all_types if t.model is Tag}
    assert queries(100) == queries(1) == len(types)


def test_the_types_of_a_row(log: Listener, message: Message) -> None:
    """A row is in the entry once for each node type that shows it or stands on it."""
    log.watch()
    message.save()
    entry = log.entry()
    assert set(entry.rows) == {t.name for t in registry.node_types().values() if t.model is Message}
    assert {"Message", "Pinned"} <= set(entry.rows)


# ------------------------------------------------------------------------------------------ nobody watches


@pytest.mark.every_database
def test_unwatched_saves_ask_twice_a_second(log: Listener, message: Message, clock: Clock) -> None:
    """A model that nobody watches costs one round trip for each promise, and no query."""
    clock.now += 1
    for _ in range(3):
        with log.counting() as commands, CaptureQueriesContext(connection) as queries:
            for _ in range(20):
                message.save()
        assert commands == ["evalsha"]
        assert [query["sql"].split()[0] for query in queries] == ["UPDATE"] * 20
        clock.now += logs.PROMISE_RELIED
    assert log.entries() == []


def test_the_promise_is_looked_at_after_the_commit(
    log: Listener, message: Message, clock: Clock
) -> None:
    """A transaction that began within a promise and committed after it asks: a watcher may have come."""
    clock.now += 1
    message.save()
    with transaction.atomic():
        message.save()
        log.watch()
        clock.now += logs.PROMISE_RELIED
    assert keys(log.entry()) == {f"chat.message:{message.pk}"}


def test_a_watched_label_among_others(log: Listener, message: Message) -> None:
    """Only rows of watched models are in an entry, and only their tables are read."""
    log.watch(label_of(Room))
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        message.save()
        message.room.save()
    assert keys(log.entry()) == {f"chat.room:{message.room_id}"}
    assert not [q for q in queries if q["sql"].startswith("SELECT") and "chat_message" in q["sql"]]


def test_a_link_of_an_unwatched_table(log: Listener, message: Message) -> None:
    """Links too are read for those who watch them."""
    log.watch(label_of(Tag))
    tag = Tag.objects.create(name="fun")
    log.entries()
    message.tags.add(tag)
    assert log.entries() == []
    pk = str(tag.pk)
    tag.delete()
    entry = log.entry()
    assert keys(entry) == {f"-chat.tag:{pk}"}
    assert entry.link_sets == []


# ------------------------------------------------------------------------------------------ what an entry holds


@pytest.mark.every_database
def test_a_row_that_can_not_be_serialized(
    log: Listener, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    """The other rows of the commit arrive, and that one says what went wrong."""
    log.watch()
    with transaction.atomic():
        good = Trophy.objects.create(club_id="chess", name="cup")
        bad = Trophy.objects.create(club_id="chess", name="broken")
    entry = log.entry()
    assert values(entry, "Trophy", good.pk)["inscription"] == "For cup"
    row = entry.rows["Trophy"][str(bad.pk)]
    assert row is not None
    assert row.values is None
    assert row.hidden[0] == "chess"
    assert row.error is not None
    assert "the engraver slipped" in row.error
    assert "the engraver slipped" in caplog.text


@pytest.mark.every_database
def test_the_savers_locale_changes_nothing(log: Listener, message: Message) -> None:
    """An entry has the same bytes, whatever time zone and language the saving thread has active."""
    log.watch()
    trophy = Trophy.objects.create(club_id="chess", name="cup", won=timezone.now())
    bodies = []
    for zone, language in (("UTC", "en-us"), ("Asia/Tokyo", "de"), ("America/Lima", "ar")):
        with timezone.override(zone), translation.override(language):
            trophy.save()
            assert translation.get_language() == language
            assert timezone.get_current_timezone_name() == zone
        bodies.append(log.frames()[-1].partition(b"\n")[2])
    assert bodies[0] == bodies[1] == bodies[2]
    assert b"Monday" in bodies[0]


def test_an_entry_that_is_too_large(
    log: Listener, message: Message, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many keys, or bytes: what depends on their tables is loaded anew, and the next save is told as always."""
    for bound, most in (("publisher.MOST_KEYS", 0), ("log.MOST_BYTES", 150)):
        log.watch()
        with monkeypatch.context() as patch:
            patch.setattr(f"rxgraphql.{bound}", most)
            message.save()
        entry = log.entry()
        assert (entry.rows, entry.unknown) == ({}, [MESSAGE])
        assert not log.client.exists(log.keys.watch(MESSAGE))
        assert not publisher.owes()
    log.watch()
    message.save()
    assert keys(log.entry()) == {f"chat.message:{message.pk}"}


# ------------------------------------------------------------------------------------------ Redis is away


@pytest.fixture
def lone(start_valkey: StartValkey, settings: Settings, message: Message) -> Valkey:
    """A server of the test's own, watched, that may be ended."""
    server = start_valkey()
    settings.REDIS_URL = server.url
    listener = Listener(server.url)
    listener.watch()
    listener.close()
    return server


def seconds(change: Callable[[], object]) -> float:
    began = time.perf_counter()
    change()
    return time.perf_counter() - began


@pytest.mark.parametrize("trouble", ["kill", "pause"])
def test_a_save_without_redis(
    trouble: str, lone: Valkey, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    """A save succeeds: at first within the bound, then at once, and the log says it once."""
    plain = min(seconds(message.save) for _ in range(5))
    getattr(lone, trouble)()
    message.text = "alone"
    assert seconds(message.save) < logs.WRITER_TIMEOUT + 0.1
    later = [seconds(message.save) for _ in range(30)]
    assert sorted(later)[15] < plain + 0.01
    message.refresh_from_db()
    assert message.text == "alone"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "owed" in caplog.text


def test_what_is_owed_comes_first(lone: Valkey, message: Message, clock: Clock) -> None:
    """Keys that could not be published are in the next entry, read again then."""
    lone.pause()
    message.text = "while away"
    message.save()
    Message.objects.filter(pk=message.pk).update(text="read at the next contact")
    with transaction.atomic():
        gone = Tag.objects.create(name="gone")
        pk = gone.pk
    gone.delete()
    lone.resume()
    clock.now += 10
    message.room.save()
    listener = Listener(lone.url)
    entry = listener.entry()
    assert keys(entry) == {
        f"chat.message:{message.pk}",
        f"-chat.tag:{pk}",
        f"chat.room:{message.room_id}",
    }
    assert values(entry, "Message", message.pk)["text"] == "read at the next contact"
    message.save()
    assert keys(listener.entry()) == {f"chat.message:{message.pk}"}
    listener.close()


def test_what_is_owed_needs_no_other_watched_change(
    lone: Valkey, message: Message, clock: Clock
) -> None:
    """Any save of a model that some channel reads is a contact, also of one that nobody watches."""
    listener = Listener(lone.url)
    listener.client.delete(listener.keys.watch("chat.tag"))
    lone.pause()
    message.save()
    lone.resume()
    clock.now += 10
    Tag.objects.create(name="of no interest")
    assert keys(listener.entry()) == {f"chat.message:{message.pk}"}
    listener.close()


def test_an_append_that_fails_is_owed(
    lone: Valkey, message: Message, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that goes away between ticket and append is away like any other."""
    found = current()
    begin = found.log.begin

    def begun(labels: list[str]) -> Ticket | None:
        ticket = begin(labels)
        lone.kill()
        return ticket

    monkeypatch.setattr(found.log, "begin", begun)
    message.save()
    monkeypatch.setattr(found.log, "begin", begin)
    lone.start()
    listener = Listener(lone.url)
    listener.watch()
    clock.now += 10
    message.room.save()
    assert f"chat.message:{message.pk}" in keys(listener.entry())
    listener.close()


def test_more_than_can_be_owed(
    lone: Valkey,
    message: Message,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Past its bound a process forgets the keys and ends the epoch, so that every replica reloads."""
    monkeypatch.setattr(owing, "MOST_OWED", 5)
    listener = Listener(lone.url)
    epoch = listener.watch()[0]
    lone.pause()
    for n in range(8):
        Tag.objects.create(name=f"tag {n}")
    found = current()
    assert len(found._owed._changes["default"]) <= 5
    assert "every replica will reload" in caplog.text
    assert seconds(message.save) < 0.1
    lone.resume()
    clock.now += 10
    message.save()
    told, entry = listener.entries()
    assert f"chat.message:{message.pk}" in keys(entry)
    assert told.epoch == entry.epoch != epoch.decode()
    again = entry.epoch
    message.save()
    assert listener.entry().epoch == again
    listener.close()


def test_a_read_that_fails_is_owed(
    log: Listener,
    message: Message,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A database connection that breaks after the commit loses nothing: the next commit reads the rows."""
    log.watch(MESSAGE)
    Tag.objects.create(name="promised to be of no interest")
    with monkeypatch.context() as patch:
        broken = mock.Mock(side_effect=OperationalError("the server closed the connection"))
        patch.setattr(reading, "rows_by_key", broken)
        message.save()
    assert "the server closed the connection" in caplog.text
    assert log.entries() == []
    Tag.objects.create(name="still of no interest")
    assert keys(log.entry()) == {f"chat.message:{message.pk}"}


def test_our_own_mistakes_fail_no_save(
    log: Listener,
    message: Message,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever goes wrong in here is logged with its traceback, and the save stands."""
    log.watch()
    for module, name in ((reading, "rows_by_key"), (publishing, "publisher")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, mock.Mock(side_effect=RuntimeError(f"in {name}")))
            message.save()
        assert f"RuntimeError: in {name}" in caplog.text
    message.save()
    assert keys(log.entries()[-1]) == {f"chat.message:{message.pk}"}


@pytest.mark.parametrize("url", ["nonsense", "http://example.org", "redis://host:port"])
def test_an_address_that_is_none(
    url: str, message: Message, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A REDIS_URL that can't be understood fails no save either."""
    settings.REDIS_URL = url
    message.save()
    assert "log" in caplog.text


# ------------------------------------------------------------------------------------------ publishers


def test_one_publisher_for_a_process(
    message: Message, publisher: Publisher, settings: Settings
) -> None:
    """One publisher serves all threads; another address or namespace has another."""
    found: list[Publisher | None] = []
    elsewhere(lambda: found.append(publishing.publisher()))
    assert found == [publisher]
    settings.RX_NAMESPACE = "another"
    assert publishing.publisher() is not publisher


def test_a_forked_process(log: Listener, message: Message, publisher: Publisher) -> None:
    """A child shares neither connection nor debts with its parent."""
    publisher._owe("default", ChangeSet(rows={MESSAGE: {"1"}}))
    child = os.fork()
    if not child:
        try:
            found = publishing.publisher()
            os._exit(0 if found is not None and found is not publisher and not found._owed else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert publishing.publisher() is publisher


def test_databases_owe_by_themselves() -> None:
    """Keys of one database are not read from another."""
    owed = Owed()
    owed.add("other", ChangeSet(rows={MESSAGE: {"1"}}))
    owed.add("default", ChangeSet(rows={MESSAGE: {"2"}}))
    assert owed.take("default", ChangeSet(rows={MESSAGE: {"3"}})).rows == {MESSAGE: {"2", "3"}}
    assert owed.take("default", ChangeSet()).rows == {}
    assert owed.take("other", ChangeSet()).rows == {MESSAGE: {"1"}}


def test_change_sets_add_up() -> None:
    """A change set takes all of another's, and counts its keys."""
    first, second = ChangeSet(), ChangeSet()
    first.row("a", 1)
    first.link("l", 1, 2)
    second.row("a", "2")
    second.row("b", 1)
    second.link("l", "1", "3")
    second.link_ends.add(("m", True, "1"))
    second.links_unknown.add("n")
    second.unknown.add("u")
    second.deleted["a"] = {"2"}
    first.update(second)
    assert first == ChangeSet(
        rows={"a": {"1", "2"}, "b": {"1"}},
        links={"l": {("1", "2"), ("1", "3")}},
        link_ends={("m", True, "1")},
        links_unknown={"n"},
        unknown={"u"},
        deleted={"a": {"2"}},
    )
    assert first.labels() == {"a", "b", "l", "m", "n", "u"}
    assert len(first) == 8


def test_keys_that_name_no_row() -> None:
    """A key that the database makes from an expression is any, and a link with an end that is null is none."""
    found = ChangeSet()
    found.row("a", Value(1), deleted=True)
    found.link("l", 1, Value(2))
    found.link("m", None, 1)
    assert found == ChangeSet(unknown={"a"}, links_unknown={"l"})


# ------------------------------------------------------------------------------------------ the embedded server


@pytest.fixture
def embedded_project(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project without REDIS_URL, whose server doesn't run yet."""
    settings.REDIS_URL = None
    settings.BASE_DIR = tmp_path
    monkeypatch.setattr(publishing, "_embedded", (0.0, None))


def test_no_embedded_server(
    message: Message, embedded_project: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer looks for the embedded server at most once in the time that a hub waits after starting it."""
    looked = mock.Mock(side_effect=embedded.running_url)
    monkeypatch.setattr(embedded, "running_url", looked)
    for _ in range(10):
        message.save()
    assert looked.call_count == 1
    clock.now += logs.PROMISE_RELIED
    message.save()
    assert looked.call_count == 2
    assert publishing.publisher() is None


def test_the_embedded_server_is_found(
    message: Message, embedded_project: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was started meanwhile is found when the last look is too old to rely on."""
    monkeypatch.setattr(embedded, "GRACE", 0.0)
    message.save()
    url = embedded.ensure()
    try:
        assert publishing.publisher() is None
        clock.now += logs.PROMISE_RELIED
        listener = Listener(url)
        listener.watch()
        message.save()
        assert keys(listener.entry()) == {f"chat.message:{message.pk}"}
        listener.close()
    finally:
        for directory in list(embedded._held):
            os.close(embedded._held.pop(directory))


def test_a_writers_log_is_closed(redis_url: str) -> None:
    """A log that was closed opens its connection again when it is used."""
    log = WriterLog(redis_url)
    log.begin([MESSAGE])
    log.close()
    log.begin([MESSAGE])
    log.close()


def test_rows_of_a_type_are_found(log: Listener, message: Message) -> None:
    """The keys of an entry's rows are the database's own."""
    log.watch()
    message.save()
    assert set(rows(log.entry(), Message)) == {str(message.pk)}
