"""Writers while Redis is away, and after a failover: what is owed is paid without another commit, and what an old
master took with it is published again.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import OperationalError, connections, transaction
from pytest_django import Settings

from rxgraphql import entries as reading
from rxgraphql import hub as hubs
from rxgraphql import owed as owing
from rxgraphql import payer as paying
from rxgraphql import publish as publishing
from rxgraphql import recent
from rxgraphql.changeset import ChangeSet
from rxgraphql.hub import Hub
from rxgraphql.log import WRITER_TIMEOUT, Entry, Ticket, WriterLog, head, read
from rxgraphql.publisher import Publisher
from rxgraphql.relations import label_of
from rxgraphql.snapshot import Loaded, load, rows_by_key
from tests.changes import World
from tests.chat.channels import RoomChannel
from tests.chat.models import Message, Room, Tag
from tests.folding import Watcher, expected
from tests.listening import Listener, keys, values
from tests.services import ROOT, Service, Valkey, free_ports
from tests.test_log import StartValkey

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGE = label_of(Message)
PATIENCE = 15.0


@pytest.fixture
def away(start_valkey: StartValkey, settings: Settings) -> Valkey:
    """A server of the test's own."""
    server = start_valkey()
    settings.REDIS_URL = server.url
    return server


@pytest.fixture
def message(away: Valkey) -> Message:
    ada = User.objects.create(username="ada")
    room = Room.objects.create(name="lobby")
    message: Message = Message.objects.create(room=room, author=ada, text="hello")
    current().log._unwatched_until.clear()
    return message


def current() -> Publisher:
    found = publishing.publisher()
    assert found is not None
    return found


class Ears:
    """A listener that watches, and awaits what is published from now on."""

    def __init__(self, url: str) -> None:
        self.listener = Listener(url)
        self.epoch = self.listener.watch()[0].decode()
        self._pubsub = self.listener.subscribe()

    def frame(self) -> bytes:
        message = self._pubsub.get_message(timeout=PATIENCE)
        assert message is not None, "nothing was published"
        data: bytes = message["data"]
        return data

    def entry(self) -> Entry:
        entry = read(self.frame())
        assert entry is not None
        return entry

    def hear(self, *wanted: str) -> None:
        """Returns when all of these keys were heard."""
        left = set(wanted)
        while left:
            left -= keys(self.entry())

    def close(self) -> None:
        self._pubsub.close()
        self.listener.close()


@contextlib.contextmanager
def ears(server: Valkey) -> Iterator[Ears]:
    heard = Ears(server.url)
    yield heard
    heard.close()


# ------------------------------------------------------------------------------------------ owed, and paid


@pytest.mark.every_database
@pytest.mark.parametrize("trouble", ["kill", "pause", "flush"])
def test_owed_keys_are_paid_without_another_commit(
    trouble: str, away: Valkey, message: Message
) -> None:
    """Killed or frozen: what was saved meanwhile is published as soon as the server answers, as it is then."""
    with ears(away) as heard:
        message.save()
        heard.hear(f"{MESSAGE}:{message.pk}")
        if trouble == "flush":
            # the log is gone, and the writer has no reason to speak: see below for how it finds out
            heard.listener.client.flushall()
            heard.listener.watch()
            heard.hear(f"{MESSAGE}:{message.pk}")
            return
        getattr(away, trouble)()
        message.text = "while away"
        message.save()
        gone = Tag.objects.create(name="gone")
        pk = gone.pk
        gone.delete()
        Message.objects.filter(pk=message.pk).update(text="read when it is paid")
        if trouble == "pause":
            away.resume()
            entry = heard.entry()
            assert keys(entry) == {f"{MESSAGE}:{message.pk}", f"-chat.tag:{pk}"}
            assert values(entry, "Message", message.pk)["text"] == "read when it is paid"
    if trouble == "kill":
        away.start()
        with ears(away) as heard:
            heard.hear(f"{MESSAGE}:{message.pk}", f"-chat.tag:{pk}")


def test_the_thread_ends_when_nothing_is_left(
    away: Valkey, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lives while something is owed or recent, is made anew for the next, and leaves no connection open."""
    monkeypatch.setattr(recent, "RECENT_SECONDS", 0.2)
    monkeypatch.setattr(paying, "LOOK_SECONDS", 0.1)
    closed = threading.Event()
    close_all = connections.close_all

    def close() -> None:
        close_all()
        closed.set()

    monkeypatch.setattr(connections, "close_all", close)
    with ears(away) as heard:
        for _ in range(2):
            message.save()
            heard.hear(f"{MESSAGE}:{message.pk}")
            thread = current()._payer._thread
            assert thread is not None
            assert thread.daemon
            thread.join(PATIENCE)
            assert not thread.is_alive()
            assert current()._payer._thread is None
            assert closed.is_set()
            closed.clear()


def test_nobody_watches(away: Valkey, message: Message) -> None:
    """An unwatched save is remembered nowhere and starts no thread."""
    for _ in range(3):
        current().log._unwatched_until.clear()
        message.save()
    assert not current().has_work()
    assert current()._payer._thread is None


def test_past_the_bound_all_reload(
    away: Valkey, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More keys than are remembered become a new epoch, told without another commit."""
    monkeypatch.setattr(owing, "MOST_OWED", 5)
    with ears(away) as heard:
        away.pause()
        for n in range(8):
            Tag.objects.create(name=f"tag {n}")
        away.resume()
        assert heard.entry().epoch != heard.epoch


@pytest.mark.every_database
def test_a_database_that_can_not_be_read(
    away: Valkey, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that fails while paying loses no key: it is tried again until the database answers."""
    failed: list[str] = []

    def broken(*arguments: Any) -> Any:
        if len(failed) < 3:
            failed.append(threading.current_thread().name)
            raise OperationalError("the database restarts")
        return rows_by_key(*arguments)

    monkeypatch.setattr(reading, "rows_by_key", broken)
    with ears(away) as heard:
        message.save()
        heard.hear(f"{MESSAGE}:{message.pk}")
    assert len(failed) == 3
    assert failed[1:] == ["payer-rxgraphql"] * 2


def test_a_fault_of_ours_is_paid(
    away: Valkey, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody can name any more becomes a new epoch, told without another commit."""
    with ears(away) as heard:
        with monkeypatch.context() as patch:
            patch.setattr(reading, "rows_by_key", lambda *_: 1 / 0)
            message.save()
        assert heard.entry().epoch != heard.epoch


def test_a_fault_of_ours_at_every_save(
    away: Valkey, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All reload at once, and then now and again: one epoch for all that failed before it."""
    monkeypatch.setattr(reading, "rows_by_key", lambda *_: 1 / 0)
    with ears(away) as heard:
        message.save()
        first = heard.entry().epoch
        for _ in range(10):
            heard.listener.watch()
            message.save()
        assert heard.listener.watch()[0].decode() == first
        assert current().owes()
        current()._payer.end()
        assert current().pay(at_once=True)
        assert heard.entry().epoch != first
        assert not current().owes()


def test_a_look_that_takes_long(
    away: Valkey, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the thread still looks, as where a name server doesn't answer, no save asks, however long that takes."""
    log, looks, done = current().log, threading.Event(), threading.Event()

    def look() -> str:
        looks.set()
        assert done.wait(PATIENCE)
        return WriterLog.look(log)

    def never(_: Any) -> Any:
        raise AssertionError

    with ears(away) as heard:
        monkeypatch.setattr(log, "look", look)
        away.pause()
        message.save()
        assert looks.wait(PATIENCE)
        with monkeypatch.context() as patch:
            patch.setattr(log, "begin", never)
            # the breaker's time is over
            log._closed_until = 0.0
            message.save()
        away.resume()
        done.set()
        heard.hear(f"{MESSAGE}:{message.pk}")
        assert not current()._owed.lost


class TagsElsewhere:
    """Tags are in the other database."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "other" if model is Tag else None

    db_for_write = db_for_read

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_two_databases(away: Valkey, message: Message, settings: Settings) -> None:
    """Keys of each database are paid from it, and one that fails keeps no other waiting."""
    settings.DATABASE_ROUTERS = [TagsElsewhere()]
    with ears(away) as heard:
        away.pause()
        tag = Tag.objects.create(name="there")
        message.save()
        away.resume()
        entries = [heard.entry(), heard.entry()]
        assert {key for entry in entries for key in keys(entry)} == {
            f"{MESSAGE}:{message.pk}",
            f"chat.tag:{tag.pk}",
        }
        assert tag._state.db == "other"


def test_many_threads_save_while_away(away: Valkey, message: Message) -> None:
    """All of what they saved is paid."""
    with ears(away) as heard:
        away.pause()
        pks: list[int] = []

        def save() -> None:
            try:
                pks.extend(
                    Message.objects.create(room=message.room, author=message.author).pk
                    for _ in range(5)
                )
            finally:
                connections.close_all()

        threads = [threading.Thread(target=save) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        away.resume()
        heard.hear(*(f"{MESSAGE}:{pk}" for pk in pks))
    assert len(pks) == 20


def test_no_save_waits_for_a_server_that_is_known_to_be_frozen(
    away: Valkey, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread waits once at most, at the beginning: it is the payer that finds out whether the server is back."""
    log, looks = current().log, threading.Semaphore(0)
    look = log.look

    def looked() -> str:
        try:
            return look()
        finally:
            looks.release()

    with ears(away):
        message.save()
        monkeypatch.setattr(log, "look", looked)
        away.pause()
        stop = threading.Event()
        slow: list[float] = []

        def save() -> None:
            mine = Message.objects.get()
            try:
                while not stop.wait(0.005):
                    began = time.perf_counter()
                    mine.save()
                    if (took := time.perf_counter() - began) >= WRITER_TIMEOUT:
                        slow.append(took)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=save) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            assert looks.acquire(timeout=PATIENCE)
        stop.set()
        for thread in threads:
            thread.join()
        away.resume()
    assert 1 <= len(slow) <= 3


# ------------------------------------------------------------------------------------------ other processes

SCRIPT = """
import sys, django
django.setup()
from rxgraphql import publish
from rxgraphql.payer import Payer
from tests.chat.models import Message
message = Message.objects.get()
if sys.argv[1] == "without":
    Payer.wake = lambda *_, **__: None
message.save()
assert publish.publisher().owes()
print("saved", flush=True)
sys.stdin.readline()
print("ends", flush=True)
"""


@contextlib.contextmanager
def saving(env: dict[str, str], thread: str) -> Iterator[Any]:
    """A process that saves the message while Redis is away, and ends when its input has a line."""
    end, start = os.pipe()
    service = Service(
        [sys.executable, "-c", f"import os; os.dup2({end}, 0)\n{SCRIPT}", thread],
        env=env,
        cwd=ROOT,
        pass_fds=[end],
    )
    os.close(end)
    try:
        service.output.wait_for("saved")
        yield service, lambda: os.write(start, b"\n")
    finally:
        os.close(start)
        service.stop()


def ended(service: Service) -> str:
    assert service.process.wait(PATIENCE) == 0
    service.output.join()
    return service.output.text.partition("ends\n")[2]


def test_a_process_that_pays_and_exits(
    away: Valkey, message: Message, process_env: dict[str, str]
) -> None:
    """It pays while it does something else, and its thread doesn't keep it."""
    with ears(away) as heard:
        away.pause()
        with saving({**process_env, "REDIS_URL": away.url}, "with") as (service, end):
            away.resume()
            heard.hear(f"{MESSAGE}:{message.pk}")
            end()
            assert ended(service) == ""


def test_a_process_that_exits_with_keys_owed(
    away: Valkey, message: Message, process_env: dict[str, str]
) -> None:
    """It isn't kept, ends without an error, and says that something was not published."""
    away.kill()
    with saving({**process_env, "REDIS_URL": away.url}, "with") as (service, end):
        end()
        assert "the last changes are not published" in ended(service)


def test_a_last_attempt_at_the_end(
    away: Valkey, message: Message, process_env: dict[str, str]
) -> None:
    """A process that ends before its thread has tried again tries once more."""
    with ears(away) as heard:
        away.pause()
        with saving({**process_env, "REDIS_URL": away.url}, "without") as (service, end):
            away.resume()
            end()
            assert ended(service) == ""
        heard.hear(f"{MESSAGE}:{message.pk}")


def test_a_child_of_multiprocessing(away: Valkey, message: Message) -> None:
    """It ends without atexit, and tries once more all the same."""

    def work() -> None:
        current()._payer.end()
        current()._owe("default", ChangeSet(rows={MESSAGE: {str(message.pk)}}))

    with ears(away) as heard:
        connections.close_all()
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join(PATIENCE)
        assert child.exitcode == 0
        heard.hear(f"{MESSAGE}:{message.pk}")


def test_an_end_while_it_is_paid(
    away: Valkey, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends while its thread reads what is owed: it is waited for."""
    reads, ends = threading.Event(), threading.Event()
    end = paying.Payer.end

    def slow(*arguments: Any) -> Any:
        reads.set()
        assert ends.wait(PATIENCE)
        return rows_by_key(*arguments)

    def ended(self: paying.Payer, seconds: float | None = None) -> None:
        ends.set()
        end(self, seconds)

    monkeypatch.setattr(reading, "rows_by_key", slow)
    monkeypatch.setattr(paying.Payer, "end", ended)
    with ears(away) as heard:
        current()._owe("default", ChangeSet(rows={MESSAGE: {str(message.pk)}}))
        assert reads.wait(PATIENCE)
        publishing._before_exit()
        assert not current().owes()
        heard.hear(f"{MESSAGE}:{message.pk}")


def test_a_writer_that_is_interrupted(
    away: Valkey, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends a thread in the middle of it ends the save, and what that had in hand is paid."""
    with ears(away) as heard:
        tag = str(Tag.objects.create(name="owed").pk)
        heard.hear(f"chat.tag:{tag}")
        with monkeypatch.context() as patch:
            patch.setattr(current()._payer, "wake", lambda **_: None)
            current()._owe("default", ChangeSet(rows={"chat.tag": {tag}}))
            patch.setattr(reading, "rows_by_key", interrupt)
            with pytest.raises(SystemExit):
                message.save()
        current()._payer.wake(sooner=True)
        heard.hear(f"{MESSAGE}:{message.pk}", f"chat.tag:{tag}")


def interrupt(*_: Any) -> Any:
    raise SystemExit


def test_a_child_has_a_thread_of_its_own(away: Valkey, message: Message) -> None:
    """A forked process owes nothing of its parent's, and pays what it owes itself."""
    with ears(away) as heard:
        away.kill()
        message.save()
        assert current()._payer._thread is not None
        connections.close_all()
        child = os.fork()
        if not child:
            try:
                clean = not current().owes() and current()._payer._thread is None
                current()._owe("default", ChangeSet(rows={MESSAGE: {"1"}}))
                alive = current()._payer._thread is not None
                os._exit(0 if clean and alive else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    away.start()
    with ears(away) as heard:
        heard.hear(f"{MESSAGE}:{message.pk}")


# ------------------------------------------------------------------------------------------ an old master


class Split:
    """A master and its replica, which is promoted while the master lives on. `link` is where writers find it."""

    def __init__(self, start: StartValkey, directory: Path) -> None:
        (port,) = free_ports(1)
        self.old = start(
            "--port", str(port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"
        )
        self.new = start("--replicaof", f"127.0.0.1 {port}")
        assert self.new.service is not None
        self.new.service.output.wait_for("REPLICA sync: Finished with success")
        self.link = directory / "master.sock"
        self.link.symlink_to(self.old.socket)

    def promote(self) -> None:
        with redis.Redis.from_url(self.old.url) as old, redis.Redis.from_url(self.new.url) as new:
            old.wait(1, 5000)
            new.replicaof("NO", "ONE")

    def move_writers(self) -> None:
        """The old master ends the writers' connections, and they find the new one."""
        self.link.unlink()
        self.link.symlink_to(self.new.socket)
        with redis.Redis.from_url(self.old.url) as old:
            old.client_kill_filter(_type="normal", skipme=True)


@pytest.fixture
def split(start_valkey: StartValkey, tmp_path: Path, settings: Settings) -> Split:
    split = Split(start_valkey, tmp_path)
    settings.REDIS_URL = f"unix://{split.link}"
    return split


@pytest.fixture
def behind(split: Split) -> Iterator[tuple[Message, Ears]]:
    """A hub is on the new master, a writer still on the old one has just saved the message.

    The hub watches on the master; the lease is replicated. The replica is promoted, and the hub moves to it, notes the
    new epoch and loads. Then the writer commits: the old master still has the lease, gives a ticket and takes the
    entry. Nobody listens there, and the entry is lost with that server.
    """
    ada = User.objects.create(username="ada")
    room = Room.objects.create(name="lobby")
    message: Message = Message.objects.create(room=room, author=ada, text="hello")
    before = Ears(split.old.url)
    current().log._unwatched_until.clear()
    message.save()
    before.hear(f"{MESSAGE}:{message.pk}")
    before.close()
    split.promote()
    heard = Ears(split.new.url)
    assert heard.epoch != before.epoch
    message.text = "only the old master took it"
    message.save()
    assert not current().owes()
    yield message, heard
    heard.close()


def test_a_new_master_is_told_again(split: Split, behind: tuple[Message, Ears]) -> None:
    """The writer's next commit, on the new master, brings the keys of those before it."""
    message, heard = behind
    split.move_writers()
    message.room.save()
    # its connection was ended: the room is owed, and all is paid
    heard.hear(f"{MESSAGE}:{message.pk}", f"chat.room:{message.room_id}")


def test_a_new_master_is_told_again_by_a_commit(
    split: Split, behind: tuple[Message, Ears], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread looks, one commit is enough: it meets the new epoch, and takes another ticket for all."""
    message, heard = behind
    current()._payer.end()
    split.move_writers()
    current().log._client.close()
    message.room.save()
    assert keys(heard.entry()) == {f"{MESSAGE}:{message.pk}", f"chat.room:{message.room_id}"}


def test_a_quiet_writer_finds_out(split: Split, behind: tuple[Message, Ears]) -> None:
    """It commits nothing more, and still looks at the epoch while it has recent entries."""
    message, heard = behind
    split.move_writers()
    entry = heard.entry()
    assert keys(entry) == {f"{MESSAGE}:{message.pk}"}
    assert values(entry, "Message", message.pk)["text"] == "only the old master took it"


def test_what_is_not_recent_is_not_told_again(
    split: Split, behind: tuple[Message, Ears], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds later every hub has loaded: only what is new is told."""
    message, heard = behind
    current()._payer.end()
    monkeypatch.setattr(recent, "RECENT_SECONDS", 0.0)
    split.move_writers()
    current().log._client.close()
    message.room.save()
    assert keys(heard.entry()) == {f"chat.room:{message.room_id}"}


def test_too_much_to_tell_again(
    split: Split, behind: tuple[Message, Ears], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More keys than are remembered become another new epoch: all reload what the old master took."""
    message, heard = behind
    monkeypatch.setattr(recent, "MOST_RECENT", 3)
    with transaction.atomic():
        for _ in range(5):
            Message.objects.create(room=message.room, author=message.author)
    split.move_writers()
    assert heard.entry().epoch != heard.epoch


def test_who_came_to_watch_only_the_new_master(split: Split) -> None:
    """What an old master said nobody watches may have been watched on the new one.

    Nobody watches. The replica is promoted, a hub comes to it, sets its lease there and loads. The writer commits; the
    old master says that nobody watches, and the writer remembers nothing. When it meets the new master, it ends the
    leases of what it had a promise for: the hub meets another generation, and loads again.
    """
    current()
    split.promote()
    heard = Ears(split.new.url)
    *_, generation = heard.listener.watch("chat.tag")
    Tag.objects.create(name="nobody is told")
    assert not current().has_work()
    split.move_writers()
    current().log._client.close()
    User.objects.create(username="another")
    assert "chat.tag" in heard.entry().unknown
    assert heard.listener.watch("chat.tag")[-1] > generation
    heard.close()


def test_an_entry_that_the_old_master_takes_late(
    split: Split, behind: tuple[Message, Ears], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads of a process, one on each master: what was appended to the old one after the other had met the new
    one is told again, too.

    A takes a ticket from the old master and reads. B meets the new master, and all that is recent is told there. Then A
    appends, to the old master. The next look at the epoch finds an entry of another one.
    """
    message, heard = behind
    append = current().log.append
    late: list[Ticket] = []

    def appended(ticket: Ticket, entry: Entry) -> bool:
        if not late:
            late.append(ticket)
            current()._meet("another epoch, met by another thread")
        return append(ticket, entry)

    monkeypatch.setattr(current().log, "append", appended)
    tag = Tag.objects.create(name="late")
    split.move_writers()
    heard.hear(f"chat.tag:{tag.pk}", f"{MESSAGE}:{message.pk}")


def test_a_master_that_became_a_replica(split: Split, behind: tuple[Message, Ears]) -> None:
    """READONLY is an absence like any other, and the next attempt connects anew."""
    message, heard = behind
    with redis.Redis.from_url(split.old.url) as old:
        old.replicaof("127.0.0.1", str(free_ports(1)[0]))
    split.link.unlink()
    split.link.symlink_to(split.new.socket)
    message.room.save()
    heard.hear(f"{MESSAGE}:{message.pk}", f"chat.room:{message.room_id}")


# ------------------------------------------------------------------------------------------ rows that nobody can name


def test_unknown_rows_end_the_leases(away: Valkey, message: Message) -> None:
    """After the commit the leases of the labels are gone, and hubs are told which."""
    with ears(away) as heard:
        *_, tags = heard.listener.watch("chat.tag")
        *_, messages = heard.listener.watch(MESSAGE)
        publishing.publish("default", ChangeSet(unknown={MESSAGE}))
        entry = heard.entry()
        assert entry.unknown == [MESSAGE]
        assert entry.rows == {}
        assert heard.listener.watch(MESSAGE)[-1] > messages
        assert heard.listener.watch("chat.tag")[-1] == tags


def test_unknown_rows_that_nobody_watches(away: Valkey, message: Message) -> None:
    """They cost what a save costs: one question, and none under its promise."""
    listener = Listener(away.url)
    with listener.counting() as commands:
        for _ in range(3):
            publishing.publish("default", ChangeSet(unknown={MESSAGE}))
    assert commands == ["evalsha"]
    listener.close()


def test_unknown_rows_are_owed(away: Valkey, message: Message) -> None:
    """Without Redis they are remembered like keys."""
    with ears(away) as heard:
        *_, generation = heard.listener.watch(MESSAGE)
        away.pause()
        publishing.publish("default", ChangeSet(unknown={MESSAGE}))
        away.resume()
        assert heard.entry().unknown == [MESSAGE]
        # what was appended is told, what ends the lease comes right after it
        current()._payer.end()
        assert heard.listener.watch(MESSAGE)[-1] > generation


@pytest.mark.parametrize("when", ["before it reads", "after it has read"])
async def test_a_hub_that_loads_can_not_miss_it(
    when: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that is loading reads what was committed, or meets another generation when it notes for the second time.

    It notes the generations. [The writer commits and ends the leases.] It reads. [Or here, after it has read the old
    rows.] It notes again, sets the lease anew, and finds that the generation is not the one that it had.
    """
    world = await sync_to_async(World)()
    changed = threading.Event()

    def change() -> None:
        if not changed.is_set():
            changed.set()
            Message.objects.filter(pk=world.first.pk).update(text="by nobody's signal")
            publishing.publish("default", ChangeSet(unknown={MESSAGE}))

    def reading(*arguments: Any) -> Loaded:
        if when == "before it reads":
            change()
        loaded = load(*arguments)
        change()
        return loaded

    monkeypatch.setattr(hubs, "load", reading)
    hub = Hub()
    watcher = await Watcher.open(hub, RoomChannel, world.room.name, world.room.pk)
    wanted = await sync_to_async(expected)(RoomChannel, world.room.pk)
    async with asyncio.timeout(PATIENCE):
        while watcher.state() != wanted:
            await watcher.next()
    assert changed.is_set()
    await hub.stop()


# ------------------------------------------------------------------------------------------ two versions on one log


def test_a_log_that_others_write_too(away: Valkey, message: Message) -> None:
    """Entries of another format or layout, by workers of another version, break no writer and no order."""
    with ears(away) as heard:
        log = current().log
        keys_ = [log.keys.epoch, log.keys.counter, log.keys.sequence, log.keys.log]
        for body in (b"", b"\xff not ours", b"\x91\xa0"):
            arguments = ["nonce", heard.epoch, 1, body, 100, log.keys.channel]
            log._append(keys_, arguments)
            heard.frame()
        stream: Any = heard.listener.client
        sequence = int(stream.incr(log.keys.sequence))
        stream.xadd(log.keys.log, {"f": f"9 {sequence} {heard.epoch} ?"}, id=f"{sequence}-1")
        ticket = log.begin([MESSAGE])
        assert ticket is not None
        log.append(ticket, Entry("another layout", {"Unheard": {"1": None}}))
        assert heard.entry().layout == "another layout"
        message.save()
        frame = heard.frame()
        assert head(frame) == (sequence + 2, heard.epoch)
        entry = read(frame)
        assert entry is not None
        assert keys(entry) == {f"{MESSAGE}:{message.pk}"}
        assert not current().owes()
