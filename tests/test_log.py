"""The state log: what its scripts do, and how a writer behaves when the server doesn't answer."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import redis
from pytest_django import Settings

from rxgraphql import log as logs
from rxgraphql.errors import LogUnavailableError
from rxgraphql.hub_log import HubLog
from rxgraphql.log import (
    BreakerOpenError,
    Entry,
    Keys,
    Ticket,
    WriterLog,
    head,
    namespace,
    read,
)
from rxgraphql.rows import Row
from tests.listening import Listener
from tests.services import ROOT, Valkey, free_ports

StartValkey = Callable[..., Valkey]

LABELS = ["chat.message", "chat.room"]
LUA = ROOT / "rxgraphql" / "lua"


class Clock:
    """The writer's clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logs, "time", clock)
    return clock


@pytest.fixture
def listener(redis_url: str) -> Iterator[Listener]:
    listener = Listener(redis_url)
    yield listener
    listener.close()


@pytest.fixture
def writer(redis_url: str) -> Iterator[WriterLog]:
    writer = WriterLog(redis_url)
    yield writer
    writer.close()


def begun(writer: WriterLog, labels: list[str] = LABELS) -> Ticket:
    ticket = writer.begin(labels)
    assert ticket is not None
    return ticket


def entry(text: str = "hello") -> Entry:
    return Entry("layout", {"Message": {"1": Row((text,), (5, None), True), "2": None}})


# ------------------------------------------------------------------------------------------ tickets and entries


def test_an_entry_comes_back_as_it_was_written(writer: WriterLog, listener: Listener) -> None:
    """What a writer appends is what a hub reads, with its place in the log and its ticket."""
    listener.watch()
    ticket = begun(writer)
    written = Entry(
        "layout",
        {
            "Message": {
                "1": Row(("héllo", 1.5, [1, {"a": None}]), ("7", 3, None), False, "why"),
                "2": None,
            }
        },
        {"chat.room_members": [("1", "2", True)]},
        [("chat.room_members", True, "1", ["2", "3"])],
        ["clubs.membership"],
        {"Message": ["1"]},
    )
    assert writer.append(ticket, written)
    found = listener.entry()
    assert (found.sequence, found.epoch, found.ticket) == (1, ticket.epoch, ticket.number)
    assert found.end >= found.ticket
    written.sequence, written.epoch, written.ticket, written.end = (
        1,
        found.epoch,
        found.ticket,
        found.end,
    )
    row = found.rows["Message"]["1"]
    assert row is not None
    assert row.values == ("héllo", 1.5, [1, {"a": None}])
    assert row.hidden == ("7", 3, None)
    assert found == written


def test_what_is_published_is_what_is_kept(writer: WriterLog, listener: Listener) -> None:
    """PUBLISH and the stream have the same bytes, and none is heard on another channel."""
    listener.watch()
    with listener.subscribe() as pubsub:
        for text in ("one", "two"):
            writer.append(begun(writer), entry(text))
        heard = [pubsub.get_message(timeout=5)["data"] for _ in range(2)]
    assert heard == listener.frames()
    assert [head(frame)[0] for frame in heard] == [1, 2]


def test_tickets_rise(writer: WriterLog, listener: Listener, redis_url: str) -> None:
    """A ticket is above every ticket that any writer took before, and its interval ends with the counter."""
    listener.watch()
    other = WriterLog(redis_url)
    first, second = begun(writer), begun(other)
    assert first.number < second.number
    writer.append(first, entry())
    found = listener.entry()
    assert (found.ticket, found.end) == (first.number, second.number)
    other.close()


def test_only_the_watched_labels(writer: WriterLog, listener: Listener) -> None:
    """A ticket says which of the labels are watched; none is taken when none is."""
    counter = listener.watch("chat.room")[1]
    assert begun(writer).watched == {"chat.room"}
    assert writer.begin(["chat.message"]) is None
    assert writer.begin([]) is None
    assert int(listener.client.get(listener.keys.counter) or 0) == counter + 1


def test_a_frame_of_another_format(writer: WriterLog, listener: Listener) -> None:
    """A format that this version does not know is not read, whatever its head has beside the sequence and the epoch."""
    for frame in (
        b"2 7 e 1\nbody",
        b"2 7 e 1 2 3 4\nbody",
        b"2 7 e\nbody",
        b"1 7 e 1 2\n\x00not ours",
    ):
        assert read(frame) is None
        assert head(frame) == (7, "e")


# ------------------------------------------------------------------------------------------ epochs


def test_a_ticket_of_another_epoch_is_refused(
    writer: WriterLog, listener: Listener, flush: Callable[[], None]
) -> None:
    """A writer whose ticket is of a history that ended must take a new one and read again."""
    listener.watch()
    old = begun(writer)
    flush()
    assert not writer.append(old, entry())
    assert listener.frames() == []
    listener.watch()
    new = begun(writer)
    assert new.epoch != old.epoch
    assert writer.append(new, entry())
    assert listener.entry().epoch == new.epoch


def test_no_epoch_comes_twice(
    writer: WriterLog, listener: Listener, flush: Callable[[], None]
) -> None:
    """A process that begins the history again and again gives it another name each time."""
    epochs = set()
    for _ in range(3):
        writer.begin(LABELS)
        epochs.add(listener.watch()[0])
        flush()
    writer.begin(LABELS)
    epochs.add(listener.watch()[0])
    for _ in range(3):
        writer.new_epoch()
        writer.begin(LABELS)
        epochs.add(listener.watch()[0])
    assert len(epochs) == 7


@pytest.mark.parametrize("lost", ["epoch", "counter", "sequence"])
def test_a_lost_key_begins_an_epoch(lost: str, writer: WriterLog, listener: Listener) -> None:
    """Numbers that begin again would be taken for old ones, so a log that has lost any of them has another epoch."""
    epoch = listener.watch()[0]
    ticket = begun(writer)
    listener.client.delete(getattr(listener.keys, lost))
    assert not writer.append(ticket, entry())
    assert listener.watch()[0] != epoch


def test_a_failover_begins_an_epoch(start_valkey: StartValkey) -> None:
    """A promoted replica has all keys, but may lack the last writes: its replication id is part of the epoch."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    primary = start_valkey(
        "--port", str(port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"
    )
    replica = start_valkey("--replicaof", f"127.0.0.1 {port}")
    writer, listener = WriterLog(primary.url), Listener(primary.url)
    epoch = listener.watch()[0]
    ticket = begun(writer)
    assert replica.service is not None
    replica.service.output.wait_for("REPLICA sync: Finished with success")
    listener.client.wait(1, 5000)
    promoted = Listener(replica.url)
    promoted.client.replicaof("NO", "ONE")
    assert promoted.client.get(promoted.keys.epoch) == listener.client.get(listener.keys.epoch)
    assert promoted.watch()[0] != epoch
    after = WriterLog(replica.url)
    assert not after.append(ticket, entry())
    for part in (writer, after, listener, promoted):
        part.close()


def test_a_sequence_that_restarts_empties_the_stream(writer: WriterLog, listener: Listener) -> None:
    """The stream refuses numbers that are not above its last, so a new sequence has a new stream."""
    listener.watch()
    for _ in range(3):
        writer.append(begun(writer), entry("old"))
    listener.client.delete(listener.keys.sequence)
    listener.watch()
    assert writer.append(begun(writer), entry("new"))
    (frame,) = listener.frames()
    assert head(frame)[0] == 1


def test_the_stream_is_bounded(writer: WriterLog, listener: Listener, settings: Settings) -> None:
    """No more entries are kept than RX_LOG_LENGTH and one block of the stream, and those are the last."""
    settings.RX_LOG_LENGTH = 50
    listener.watch()
    ticket = begun(writer)
    for _ in range(400):
        writer.append(ticket, entry())
    frames = listener.frames()
    assert 50 <= len(frames) <= 50 + 100
    assert head(frames[-1])[0] == 400


# ------------------------------------------------------------------------------------------ namespaces


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://host", "tests:0"),
        ("redis://host/", "tests:0"),
        ("redis://host:6379/3", "tests:3"),
        ("rediss://user:secret@host/4", "tests:4"),
        ("redis://host/5?db=6", "tests:6"),
        ("unix:///run/redis.sock", "tests:0"),
        ("unix:///run/redis.sock?db=2", "tests:2"),
    ],
)
def test_the_namespace(
    url: str, name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys begin with the project's package and the database's number, unless the project sets something else."""
    assert namespace(url) == settings.RX_NAMESPACE
    settings.RX_NAMESPACE = None
    assert namespace(url) == name
    for module in ("tests.settings.production", "tests.settings_web", "settings"):
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", module)
        assert namespace(url) == name
    assert Keys(namespace(url)).epoch == f"rx:{{{name}}}:epoch"


def test_two_projects_on_one_server(redis_url: str, settings: Settings) -> None:
    """Two projects, or two databases of one server, hear, watch and count nothing of each other, pub/sub included."""
    settings.RX_NAMESPACE = None
    settings.ROOT_URLCONF = "tests.urls"
    urls = [redis_url, f"{redis_url}?db=1"]
    listeners = [Listener(url) for url in urls]
    writers = [WriterLog(url) for url in urls]
    settings.RX_NAMESPACE = "another"
    listeners.append(Listener(redis_url))
    writers.append(WriterLog(redis_url))
    subscriptions = [listener.subscribe() for listener in listeners]
    listeners[0].watch()
    assert [writer.begin(LABELS) is None for writer in writers] == [False, True, True]
    for listener in listeners[1:]:
        listener.watch()
    for index, writer in enumerate(writers):
        writer.append(begun(writer), entry(str(index)))
    for index, (listener, pubsub) in enumerate(zip(listeners, subscriptions, strict=True)):
        found = listener.entry()
        assert found.sequence == 1
        assert found.rows == entry(str(index)).rows
        assert pubsub.get_message(timeout=5) is not None
        # whatever was published is there already: publishing waits for nothing
        assert pubsub.get_message(timeout=0) is None
        pubsub.close()
    for listener in listeners:
        listener.client.delete(*listener.client.keys(f"{listener.keys.prefix}:*"))
        listener.close()
    for writer in writers:
        writer.close()


# ------------------------------------------------------------------------------------------ watching


def test_a_lease_that_was_gone_has_another_generation(
    writer: WriterLog, listener: Listener
) -> None:
    """Renewing keeps the generation; setting again tells that writers may have skipped commits."""
    *_, first = listener.watch("chat.room")
    assert listener.watch("chat.room")[-1] == first
    assert 0 < listener.client.pttl(listener.keys.watch("chat.room")) <= logs.LEASE_MS
    listener.client.delete(listener.keys.watch("chat.room"))
    _, counter, _, _, second = listener.watch("chat.room")
    assert second > first
    assert counter >= second
    assert begun(writer, ["chat.room"]).number > second


def test_a_hub_is_told_of_the_promise(writer: WriterLog, listener: Listener) -> None:
    """Who comes to watch what a writer was told nobody watches learns how long the writer relies on it."""
    assert writer.begin(LABELS) is None
    promised = listener.watch("chat.room")[3]
    assert 0 < promised <= logs.PROMISE_MS
    assert listener.watch("auth.user")[3] == 0
    for label in LABELS:
        listener.client.delete(listener.keys.promise(label))
    assert listener.watch("chat.room")[3] == 0


def test_a_promise_is_counted_from_before_the_question(
    clock: Clock, writer: WriterLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that took long leaves less time to rely on: the server's clock began while it was under way."""
    assert writer.watched(LABELS) == LABELS
    asked, ask = clock.now, writer._ask

    def slow(command: Any) -> Any:
        reply = ask(command)
        clock.now += 0.2
        return reply

    monkeypatch.setattr(writer, "_ask", slow)
    assert writer.begin(LABELS) is None
    clock.now = asked + logs.PROMISE_RELIED - 0.01
    assert writer.watched(LABELS) == []
    clock.now = asked + logs.PROMISE_RELIED
    assert writer.watched(LABELS) == LABELS
    assert logs.PROMISE_RELIED < logs.PROMISE_MS / 1000


def test_only_what_was_promised(clock: Clock, writer: WriterLog, listener: Listener) -> None:
    """The promise is of each label by itself."""
    listener.watch("chat.room")
    begun(writer)
    assert writer.watched(LABELS) == ["chat.room"]
    assert writer.watched(["auth.user"]) == ["auth.user"]


async def test_a_hub_and_a_writer(redis_url: str, writer: WriterLog) -> None:
    """A hub's subscription is confirmed before it goes on, and delivers what is appended from then on."""
    hub = HubLog(redis_url)
    await hub.subscribe()
    position = await hub.watch(LABELS)
    assert position.sequence == 0
    assert position.promised == 0
    assert set(position.generations) == set(LABELS)
    ticket = begun(writer)
    assert ticket.number == position.counter + 1
    writer.append(ticket, entry())
    frame = await hub.frame()
    assert frame is not None
    assert head(frame) == (1, position.epoch)
    after = await hub.watch(LABELS)
    assert (after.epoch, after.sequence) == (position.epoch, 1)
    assert after.generations == position.generations
    await hub.close()


# ------------------------------------------------------------------------------------------ a server that is silent


def timed(command: Callable[[], object]) -> tuple[float, type[BaseException] | None]:
    """Seconds that it took, and what it raised."""
    began = time.perf_counter()
    try:
        command()
        raised = None
    except LogUnavailableError as error:
        raised = type(error)
    return time.perf_counter() - began, raised


@pytest.mark.parametrize("trouble", ["kill", "pause"])
def test_a_silent_server_is_asked_once(trouble: str, start_valkey: StartValkey) -> None:
    """Killed or frozen, the first call gives up within WRITER_TIMEOUT, the next are not even sent."""
    server = start_valkey()
    writer = WriterLog(server.url)
    writer.begin(LABELS)
    getattr(server, trouble)()
    seconds, raised = timed(lambda: writer.begin(LABELS))
    assert raised is LogUnavailableError
    assert seconds < logs.WRITER_TIMEOUT + 0.05
    for command in (lambda: writer.begin(LABELS), writer.new_epoch):
        seconds, raised = timed(command)
        assert raised is BreakerOpenError
        assert seconds < 0.01
    writer.close()


def test_a_new_connection_to_a_frozen_server(start_valkey: StartValkey) -> None:
    """The kernel accepts for a frozen server: the greeting's wait is bounded like any other."""
    server = start_valkey()
    server.pause()
    writer = WriterLog(server.url)
    seconds, raised = timed(lambda: writer.begin(LABELS))
    assert raised is LogUnavailableError
    assert seconds < logs.WRITER_TIMEOUT + 0.05
    writer.close()


def test_only_who_looks_asks_a_server_that_is_away(clock: Clock, start_valkey: StartValkey) -> None:
    """No save waits for a server that was away a moment ago: a look finds that it is back, and all ask it again."""
    server = start_valkey()
    writer = WriterLog(server.url)
    server.kill()
    with pytest.raises(LogUnavailableError, match="can't be reached"):
        writer.begin(LABELS)
    for _ in range(3):
        with pytest.raises(BreakerOpenError, match="can't be reached"):
            writer.look()
        clock.now += logs.BREAKER_SECONDS - 0.01
        with pytest.raises(BreakerOpenError, match="a moment ago"):
            writer.begin(LABELS)
    server.start()
    assert writer.look()
    writer.begin(LABELS)
    writer.close()


def test_where_nobody_looks(clock: Clock, start_valkey: StartValkey) -> None:
    """One command in BREAKER_SECONDS finds out by itself, and the others don't wait for it."""
    server = start_valkey()
    writer = WriterLog(server.url)
    writer.begin(LABELS)
    server.pause()
    with pytest.raises(LogUnavailableError, match="can't be reached"):
        writer.begin(LABELS)
    for _ in range(2):
        clock.now += logs.BREAKER_SECONDS
        waited = [timed(lambda: writer.begin(LABELS))[0] for _ in range(5)]
        assert waited[0] >= logs.WRITER_TIMEOUT
        assert max(waited[1:]) < 0.05
    server.resume()
    clock.now += logs.BREAKER_SECONDS
    writer.begin(LABELS)
    writer.begin(LABELS)
    writer.close()


def test_threads_that_fail_together_tell_it_once(start_valkey: StartValkey) -> None:
    """Of threads that waited for one silent server together, one has something to tell."""
    server = start_valkey()
    writer = WriterLog(server.url)
    server.pause()
    raised: list[type[BaseException] | None] = []
    threads = [
        threading.Thread(target=lambda: raised.append(timed(lambda: writer.begin(LABELS))[1]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised.count(LogUnavailableError) == 1
    assert raised.count(BreakerOpenError) == 3
    writer.close()


def test_a_failure_ends_every_promise(clock: Clock, start_valkey: StartValkey) -> None:
    """A server that was away may have lost the promise's key, so a writer asks again."""
    server = start_valkey()
    writer = WriterLog(server.url)
    writer.begin(LABELS)
    assert writer.watched(LABELS) == []
    server.kill()
    with pytest.raises(LogUnavailableError):
        writer.begin(["auth.user"])
    assert writer.watched(LABELS) == LABELS
    writer.close()


def test_a_full_server(start_valkey: StartValkey) -> None:
    """A server that is full or read-only refuses, which is a failure like its absence."""
    server = start_valkey()
    writer, listener = WriterLog(server.url), Listener(server.url)
    listener.watch()
    ticket = begun(writer)
    listener.client.config_set("maxmemory", "1")
    with pytest.raises(LogUnavailableError, match=r"OOM|maxmemory"):
        writer.append(ticket, entry())
    writer.close()
    listener.close()


def test_a_server_that_was_emptied_of_scripts(writer: WriterLog, listener: Listener) -> None:
    """Scripts are sent again when the server has forgotten them."""
    listener.watch()
    ticket = begun(writer)
    listener.client.script_flush()
    assert writer.append(ticket, entry())


def test_labels_that_are_forgotten(writer: WriterLog, listener: Listener) -> None:
    """Whoever held their leases meets another generation, and of other labels the same."""
    *_, first = listener.watch("chat.room")
    *_, other = listener.watch("chat.message")
    writer.forget({"chat.room"})
    assert listener.watch("chat.room")[-1] > first
    assert listener.watch("chat.message")[-1] == other
    writer.forget(())


def test_a_look_takes_no_ticket(writer: WriterLog, listener: Listener) -> None:
    """It gives the epoch and changes nothing."""
    before = listener.watch()
    assert writer.look() == before[0].decode()
    assert listener.watch() == before


def test_a_look_at_a_replica(start_valkey: StartValkey) -> None:
    """A master that became a replica answers, and must not pass for one that is back."""
    server = start_valkey()
    writer = WriterLog(server.url)
    writer.look()
    with redis.Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", "1")
    with pytest.raises(LogUnavailableError, match="read only"):
        writer.look()
    with redis.Redis.from_url(server.url) as client:
        client.replicaof("NO", "ONE")
    writer.look()
    writer.close()


@pytest.mark.parametrize("name", sorted(path.name for path in LUA.iterdir()))
def test_every_key_is_given_to_the_script(name: str) -> None:
    """A cluster must know the keys of a script: none is made up in it."""
    script = (LUA / name).read_text()
    given = dict(re.findall(r"local (\w+) = (KEYS\[)", script))
    for command, first in re.findall(r"redis\.call\('(\w+)', ([^,)]+)", script):
        if command not in ("INFO", "PUBLISH"):
            assert first.startswith("KEYS[") or first in given, f"{command} {first}"


def test_all_keys_are_in_one_slot(start_valkey: StartValkey) -> None:
    """A server of a cluster runs every script."""
    # the second is of the cluster's bus
    port, bus = free_ports(2)
    server = start_valkey(
        *("--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{port}.conf"),
        *("--port", str(port), "--bind", "127.0.0.1", "--cluster-port", str(bus)),
    )
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            pass
    writer, listener = WriterLog(server.url), Listener(server.url)
    listener.watch()
    assert writer.append(begun(writer), entry())
    assert listener.entry().rows == entry().rows
    writer.look()
    writer.forget(LABELS)
    writer.close()
    listener.close()


def test_an_entry_of_a_version_before(writer: WriterLog, listener: Listener) -> None:
    """A version that knows neither `unknown` nor `labels` reads the rest, and its entries are read as having none."""
    listener.watch()
    new = entry()
    new.unknown = ["chat.room"]
    writer.append(begun(writer), new)
    found = listener.entry()
    assert found.unknown == ["chat.room"]
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(found))
    *old, unknown, labels = fields
    assert (unknown, labels) == (["chat.room"], [])
    frame = b"1 7 e 1 2\n" + msgspec.msgpack.encode(old)
    again = read(frame)
    assert again is not None
    assert again.rows == found.rows
    assert again.unknown == []


async def test_a_hub_without_a_server(start_valkey: StartValkey) -> None:
    """Every call of a hub's says LogUnavailableError, which is what the hub waits for."""
    server = start_valkey()
    hub = HubLog(server.url)
    await hub.subscribe()
    server.kill()
    with pytest.raises(LogUnavailableError):
        await hub.frame()
    with pytest.raises(LogUnavailableError):
        await hub.watch(LABELS)
    with pytest.raises(LogUnavailableError):
        await hub.subscribe()
    await hub.close()
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(server.url, retry=None).ping()
