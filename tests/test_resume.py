"""A client hands back its cursor and continues from there: at the same process, at another one, or with a snapshot."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction

from rxgraphql import follower
from rxgraphql import hub as hubs
from rxgraphql.change import Change
from rxgraphql.channel import registry
from rxgraphql.cursor import Cursor
from rxgraphql.errors import ChannelError
from rxgraphql.follower import Follower
from rxgraphql.history import History
from rxgraphql.hub import Hub
from rxgraphql.schema import get_schema
from rxgraphql.snapshot import Loaded, Wanted, load
from tests import changes
from tests.changes import CHANGES, World, another_version
from tests.changes import Change as Change_
from tests.chat.channels import MemberChannel, RoomChannel
from tests.chat.models import Message, Room
from tests.folding import Watcher, document, expected

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 20.0


@pytest.fixture
async def other(redis_url: str) -> AsyncIterator[Hub]:
    """The hub of another process."""
    hub = Hub()
    yield hub
    await hub.stop()


async def watch(hub: Hub, world: World) -> Watcher:
    return await Watcher.open(hub, RoomChannel, world.room.name, world.room.pk)


def raw(sql: str, *parameters: Any) -> None:
    """Something changes that no signal tells."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


class Page:
    """A client that comes and goes, and keeps what it has."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.cursor = ""

    @classmethod
    async def open(cls, hub: Hub, world: World) -> Page:
        page = cls(await watch(hub, world))
        page.cursor = page.watcher.cursor
        return page

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            event = await self.watcher.next()
        self.cursor = event["cursor"]
        return event

    async def leave(self) -> None:
        await self.watcher.subscriber.aclose()

    async def come_back(self, hub: Hub, cursor: str | None = None) -> dict[str, Any]:
        """Subscribes with the cursor; gives the first event."""
        operation: Any = get_schema().prepare(
            document(RoomChannel), {"key": await sync_to_async(self.name)()}, None
        )
        async with asyncio.timeout(PATIENCE):
            self.watcher.subscriber = await hub.subscribe(
                RoomChannel,
                operation.arguments,
                operation.projection,
                operation.audience_key,
                AnonymousUser(),
                cursor or self.cursor,
            )
        return await self.next()

    def name(self) -> str:
        name: str = Room.objects.get(pk=self.watcher.pk).name
        return name

    async def assert_current(self) -> None:
        assert self.watcher.state() == await sync_to_async(expected)(RoomChannel, self.watcher.pk)


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not there():  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0)


async def settle(hub: Hub, world: World) -> None:
    """Returns when the hub shows what is in the database."""
    watcher = await watch(hub, world)
    await converge(watcher)
    await watcher.subscriber.aclose()


async def converge(watcher: Watcher) -> None:
    wanted = await sync_to_async(expected)(RoomChannel, watcher.pk)
    async with asyncio.timeout(PATIENCE):
        while watcher.state() != wanted:
            await watcher.next()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_what_happened_meanwhile_arrives(hub: Hub, world: World, change: Change_) -> None:
    """Whatever it was, one event without a snapshot tells the difference."""
    page = await Page.open(hub, world)
    await page.leave()
    await sync_to_async(change)(world)
    await settle(hub, world)
    event = await page.come_back(hub)
    assert event["kind"] == "CHANGE"
    await page.assert_current()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_resumed_at_another_process(
    hub: Hub, other: Hub, world: World, change: Change_
) -> None:
    """Another process that has watched the same continues where the first one left off."""
    await watch(other, world)
    page = await Page.open(hub, world)
    await page.leave()
    await sync_to_async(change)(world)
    await settle(other, world)
    event = await page.come_back(other)
    assert event["kind"] == "CHANGE"
    await page.assert_current()


async def test_nothing_happened(hub: Hub, other: Hub, world: World) -> None:
    """An empty event says that the subscription goes on, also at a process that has only now loaded the state."""
    page = await Page.open(hub, world)
    for at in (hub, other):
        await page.leave()
        event = await page.come_back(at)
        assert event["kind"] == "CHANGE"
        assert (event["removed"], event["lists"], event["messages"]) == ([], [], [])
        await page.assert_current()
    await sync_to_async(world.say)("later")
    await page.next()
    await page.assert_current()


async def test_linked_meanwhile(hub: Hub, world: World) -> None:
    """A row that came into the tree arrives with all below it though nobody wrote it; what left is in `removed`."""
    page = await Page.open(hub, world)
    await page.leave()
    await sync_to_async(world.room.members.add)(world.eve)
    await sync_to_async(world.room.members.remove)(world.bob)
    gone = f"Message:{world.second.pk}"
    await sync_to_async(world.second.delete)()
    await settle(hub, world)
    event = await page.come_back(hub)
    assert event["kind"] == "CHANGE"
    assert [user["username"] for user in event["users"]] == ["eve"]
    assert gone in event["removed"]
    await page.assert_current()


async def test_many_changes_are_one_event(hub: Hub, world: World) -> None:
    """What changed ten times meanwhile comes once; what came and went does not come at all."""
    page = await Page.open(hub, world)
    await page.leave()

    def write() -> None:
        for number in range(10):
            world.first.text = f"edited {number}"
            world.first.save()
        world.say("never seen").delete()
        changes.swap(world)
        changes.reorder(world)

    await sync_to_async(write)()
    await settle(hub, world)
    event = await page.come_back(hub)
    assert event["kind"] == "CHANGE"
    assert len([m for m in event["messages"] if m["text"] == "edited 9"]) == 1
    assert not event["removed"]
    await page.assert_current()


async def test_state_that_is_not_remembered(
    hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the bound of what a replica remembers a snapshot answers."""
    monkeypatch.setattr("rxgraphql.history.MOST_REMEMBERED", 3)
    page = await Page.open(hub, world)
    await page.leave()
    for number in range(4):
        await sync_to_async(world.say)(f"said {number}")
    await settle(hub, world)
    assert (await page.come_back(hub))["kind"] == "SNAPSHOT"
    await page.assert_current()


@pytest.mark.parametrize(
    "cursor",
    ["nonsense", "1.a.b.c", "2.x.1.1." + "0" * 32, "1.e-1.1.0." + "f" * 32, "\x00", "x" * 10_000],
    ids=range(6),
)
async def test_nonsense(hub: Hub, world: World, cursor: str) -> None:
    """What is no cursor, or none of this log, is answered by a snapshot."""
    page = await Page.open(hub, world)
    await page.leave()
    assert (await page.come_back(hub, cursor))["kind"] == "SNAPSHOT"
    await page.assert_current()


async def test_position_that_the_log_has_not_reached(hub: Hub, world: World) -> None:
    """A position beyond the log's end is nobody's: a snapshot, without waiting for it."""
    page = await Page.open(hub, world)
    found = Cursor.parse(page.cursor)
    assert found is not None
    beyond = Cursor(found.epoch, found.sequence + 1000, found.ahead + 1000, "0" * 32)
    await page.leave()
    async with asyncio.timeout(follower.ARRIVAL_SECONDS):
        assert (await page.come_back(hub, str(beyond)))["kind"] == "SNAPSHOT"
    await page.assert_current()


async def test_cursor_of_another_room(hub: Hub, world: World) -> None:
    """It names a state that this room never had."""
    page = await Page.open(hub, world)
    elsewhere = await Watcher.open(hub, RoomChannel, world.other.name, world.other.pk)
    await page.leave()
    event = await page.come_back(hub, elsewhere.cursor)
    assert event["kind"] == "SNAPSHOT"
    await page.assert_current()


async def test_cursor_of_an_older_epoch(hub: Hub, world: World, flush: Callable[[], None]) -> None:
    """Redis was emptied meanwhile, and nothing was told: as soon as this is seen the state is told whole."""
    page = await Page.open(hub, world)
    await page.leave()
    await sync_to_async(flush)()
    await sync_to_async(world.say)("after the flush")
    await page.come_back(hub)
    await converge(page.watcher)
    assert page.watcher.folded.snapshots == 2


async def test_ahead_of_the_other_process(
    hub: Hub, other: Hub, world: World, settings: Any
) -> None:
    """The first process has loaded a row ahead of its entry, and the reader has seen it.

    A writer commits and is held up before its ticket. The first process loads, the reader sees the new text and goes
    to the second process, which knows the log as far as the first one, but has the old text. A snapshot of that would
    go back.
    """
    settings.RX_CACHE_TTL = 0
    table = Message._meta.db_table
    await watch(other, world)
    await sync_to_async(raw)(
        f"UPDATE {table} SET text = %s WHERE id = %s", "committed, not told", world.first.pk
    )
    page = await Page.open(hub, world)
    assert "committed, not told" in str(page.watcher.state())
    await page.leave()
    await page.come_back(other)
    await page.assert_current()


async def test_behind_the_cursor(
    hub: Hub, other: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has not heard of the entries yet, which the cursor tells of, fetches them first."""
    await watch(other, world)
    page = await Page.open(hub, world)
    taken = Follower._take
    monkeypatch.setattr(
        Follower, "_take", lambda self, frame: self is other.follower or taken(self, frame)
    )
    await sync_to_async(changes.update_shared_profile)(world)
    await page.next()
    await page.leave()
    monkeypatch.undo()
    event = await page.come_back(other)
    assert event["kind"] == "CHANGE"
    await page.assert_current()


async def test_equal_cursors_share_one_execution(
    hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred who lost the same moment are brought up to date by one projection, and no load."""
    pages = [await Page.open(hub, world) for _ in range(100)]
    for page in pages:
        await page.leave()
    await sync_to_async(changes.update)(world)
    await settle(hub, world)
    ways: list[int] = []
    merged = History.since

    def counted(self: History, serial: int) -> Change | None:
        ways.append(serial)
        return merged(self, serial)

    monkeypatch.setattr(History, "since", counted)
    events = await asyncio.gather(*(page.come_back(hub) for page in pages))
    assert {event["kind"] for event in events} == {"CHANGE"}
    assert len({id(page.watcher.payload) for page in pages}) == 1
    assert len(ways) == 1
    (live,) = hub.replicas.values()
    assert live.begun == 1


async def test_slow_reader_gets_the_newest(hub: Hub, world: World, settings: Any) -> None:
    """Who doesn't read gets the newest of each node in one event, not a snapshot, and then goes on."""
    settings.RX_MAX_PENDING = 4
    slow, quick = await watch(hub, world), await watch(hub, world)
    for number in range(20):
        await sync_to_async(world.say)(f"said {number}", position=number)
    await converge(quick)
    await converge(slow)
    assert slow.folded.snapshots == 1
    assert slow.folded.events < 8
    await sync_to_async(changes.update)(world)
    await converge(slow)


async def test_reader_that_never_reads(hub: Hub, world: World, settings: Any) -> None:
    """It is ended after a while, and told why if it ever reads."""
    settings.RX_MAX_PENDING, settings.RX_SLOW_TIMEOUT = 2, 0.0
    slow = await watch(hub, world)
    told: list[str] = []
    slow.subscriber.on_slow = lambda: told.append("slow")
    quick = await watch(hub, world)
    for number in range(6):
        await sync_to_async(world.say)(f"said {number}", position=number)
        await converge(quick)
    assert told == ["slow"]
    with pytest.raises(ChannelError, match="too slowly"):
        await converge(slow)


async def test_gap_is_filled_from_the_stream(
    hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Messages that never came are read from the stream: no snapshot, no load, nothing lost."""
    watcher = await watch(hub, world)
    taken = Follower._take
    lost = [0]

    def lossy(self: Follower, frame: bytes) -> bool:
        lost[0] += 1
        return lost[0] <= 3 or taken(self, frame)

    monkeypatch.setattr(Follower, "_take", lossy)
    for number in range(4):
        await sync_to_async(world.say)(f"said {number}", position=number)
    await converge(watcher)
    assert watcher.folded.snapshots == 1
    assert lost[0] > 4


async def test_silent_tail_is_found(
    hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last message is lost and nothing comes after it: the look at the log's end finds it."""
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.1)
    watcher = await watch(hub, world)
    taken = Follower._take

    def deaf(self: Follower, frame: bytes) -> bool:
        monkeypatch.setattr(Follower, "_take", taken)
        return True

    monkeypatch.setattr(Follower, "_take", deaf)
    await sync_to_async(changes.update)(world)
    await converge(watcher)
    assert watcher.folded.snapshots == 1


async def test_trimmed_history(
    hub: Hub, world: World, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the stream has no more is loaded from the database, and told by a snapshot."""
    watcher = await watch(hub, world)
    taken, lost = Follower._take, asyncio.Semaphore(0)

    def deaf(self: Follower, frame: bytes) -> bool:
        lost.release()
        return True

    monkeypatch.setattr(Follower, "_take", deaf)
    for number in range(3):
        await sync_to_async(world.say)(f"said {number}", position=number)
        await lost.acquire()
    assert hub.follower.log is not None
    with redis.Redis.from_url(redis_url) as client:
        client.xtrim(hub.follower.log.keys.log, maxlen=1, approximate=False)
    monkeypatch.setattr(Follower, "_take", taken)
    await sync_to_async(world.say)("the next")
    async with asyncio.timeout(PATIENCE):
        assert (await watcher.next())["kind"] == "SNAPSHOT"
    await converge(watcher)


async def test_sequence_that_goes_back(
    hub: Hub, world: World, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone restored an old sequence under the same epoch: everything is loaded anew."""
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.1)
    watcher = await watch(hub, world)
    for number in range(3):
        await sync_to_async(world.say)(f"said {number}", position=number)
    await converge(watcher)
    assert hub.follower.log is not None
    with redis.Redis.from_url(redis_url) as client:
        client.set(hub.follower.log.keys.sequence, 1)
    async with asyncio.timeout(PATIENCE):
        assert (await watcher.next())["kind"] == "SNAPSHOT"
    await sync_to_async(world.say)("the next")
    await converge(watcher)


async def test_connections_killed(hub: Hub, world: World, redis_url: str) -> None:
    """All connections are killed while writers write: what was missed is read from the stream."""
    watcher = await watch(hub, world)

    def kill() -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.client_kill_filter(_type="pubsub", skipme=True)
            client.client_kill_filter(_type="normal", skipme=True)

    for number in range(10):
        await sync_to_async(world.say)(f"said {number}", position=number)
        if number % 3 == 0:
            await sync_to_async(kill)()
    await converge(watcher)
    assert watcher.folded.snapshots == 1


async def test_redis_is_away(
    hub: Hub,
    world: World,
    settings: Any,
    start_valkey: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Subscribers are told that nothing comes for now, keep what they have, and hear when it goes on."""
    monkeypatch.setattr(follower, "AWAY_SECONDS", 0.2)
    server = await sync_to_async(start_valkey)()
    settings.REDIS_URL = server.url
    watcher = await watch(hub, world)
    await sync_to_async(server.kill)()
    async with asyncio.timeout(PATIENCE):
        payload = await anext(watcher.subscriber)
    assert payload.result()["data"] is None
    assert payload.errors[0]["extensions"] == {"code": "UNAVAILABLE"}
    await sync_to_async(changes.update)(world)
    await sync_to_async(server.start)()
    async with asyncio.timeout(PATIENCE):
        assert (await watcher.next())["kind"] == "SNAPSHOT"
    await converge(watcher)


async def test_redis_hangs(
    hub: Hub,
    world: World,
    settings: Any,
    start_valkey: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that doesn't answer is away too; when it answers again nothing has been lost, and no snapshot is due."""
    monkeypatch.setattr(follower, "AWAY_SECONDS", 0.2)
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.1)
    server = await sync_to_async(start_valkey)()
    settings.REDIS_URL = server.url
    watcher = await watch(hub, world)
    server.pause()
    async with asyncio.timeout(PATIENCE):
        payload = await anext(watcher.subscriber)
    assert payload.result()["data"] is None
    server.resume()
    async with asyncio.timeout(PATIENCE):
        assert (await watcher.next())["kind"] == "CHANGE"
    await sync_to_async(changes.update)(world)
    await converge(watcher)
    assert watcher.folded.snapshots == 1


async def test_compared_with_the_database(
    hub: Hub, world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody ever told is found by the periodic comparison, and comes as a change."""
    settings.RX_RECONCILE = 0.2
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.1)
    watcher = await watch(hub, world)
    message = Message._meta.db_table
    for sql, parameters in (
        (f"UPDATE {message} SET text = %s, position = 8 WHERE id = %s", ["raw", world.first.pk]),
        (f"UPDATE {message} SET room_id = %s WHERE id = %s", [world.room.pk, world.elsewhere.pk]),
        ("DELETE FROM chat_room_members WHERE user_id = %s", [world.bob.pk]),
        ("DELETE FROM chat_reaction", []),
        (f"UPDATE {message} SET hidden = NOT hidden", []),
    ):
        await sync_to_async(raw)(sql, *parameters)
        await converge(watcher)
    assert watcher.folded.snapshots == 1


async def test_entry_of_another_version(hub: Hub, world: World, caplog: Any) -> None:
    """Two versions of the project on one log: what the other one wrote is looked up, and comes as a change."""
    watcher = await watch(hub, world)

    def write() -> None:
        with another_version(), transaction.atomic():
            world.first.text = "by another version"
            world.first.save()

    await sync_to_async(write)()
    with caplog.at_level(logging.WARNING, "rxgraphql"):
        await converge(watcher)
    assert watcher.folded.snapshots == 1


async def test_resumed_while_the_other_process_loads(
    hub: Hub, other: Hub, world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process has read the state; a commit comes, and its entry waits there for the load to end. A client
    that has seen it resumes there: it must not get the state of before.
    """
    settings.RX_CACHE_TTL = 0
    page = await Page.open(hub, world)
    go_on, has_read = threading.Event(), threading.Event()

    def slow(wanted: Wanted, held: Collection[str] = frozenset()) -> Loaded:
        found = load(wanted, held)
        if not held:
            has_read.set()
            assert go_on.wait(PATIENCE)
        return found

    monkeypatch.setattr(hubs, "load", slow)
    joining = asyncio.create_task(watch(other, world))
    assert await asyncio.to_thread(has_read.wait, PATIENCE)
    await sync_to_async(changes.update_shared_profile)(world)
    while "blue" not in str(page.watcher.state()):
        await page.next()
    await page.leave()
    coming = asyncio.create_task(page.come_back(other))
    (live,) = other.replicas.values()
    await until(lambda: bool(live._waiting and live.audiences))
    go_on.set()
    await coming
    assert "blue" in str(page.watcher.state())
    await joining


async def test_made_up_cursors(hub: Hub, world: World) -> None:
    """A cursor that no server gave is none: it doesn't have the server compare the state with the database."""
    page = await Page.open(hub, world)
    (live,) = hub.replicas.values()
    for ahead in (0, 10**18):
        text, _, signature = page.cursor.rpartition(".")
        parts = text.split(".")
        parts[3], parts[4] = str(ahead), "0" * 32
        await page.leave()
        event = await page.come_back(hub, ".".join((*parts, signature)))
        assert event["kind"] == "SNAPSHOT"
    assert live.begun == 1


async def test_comparison_that_fails(
    hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database fails while a state is compared with it: it is compared again, soon."""
    watcher = await watch(hub, world)
    await settle(hub, world)
    (live,) = hub.replicas.values()

    def fail(*args: Any) -> Any:
        monkeypatch.undo()
        raise RuntimeError("on purpose")

    await sync_to_async(raw)(
        f"UPDATE {Message._meta.db_table} SET text = 'raw' WHERE id = %s", world.first.pk
    )
    monkeypatch.setattr(hubs, "load", fail)
    live.refresh()
    await converge(watcher)
    assert watcher.folded.snapshots == 1


async def test_resumed_between_two_reloads(
    hub: Hub, other: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload has read; a commit comes, and another reason to reload, which drops its entry; a client that has seen
    the commit resumes there, and what the first reload read could be served meanwhile."""
    page = await Page.open(hub, world)
    await watch(other, world)
    (live,) = other.replicas.values()
    go_on, has_read = threading.Event(), threading.Event()

    def slow(wanted: Wanted, held: Collection[str] = frozenset()) -> Loaded:
        found = load(wanted, held)
        has_read.set()
        assert go_on.wait(PATIENCE)
        return found

    monkeypatch.setattr(hubs, "load", slow)
    live.reload()
    assert await asyncio.to_thread(has_read.wait, PATIENCE)
    await sync_to_async(changes.update_shared_profile)(world)
    while "blue" not in str(page.watcher.state()):
        await page.next()
    await until(lambda: other.follower.sequence == 1)
    live.reload()
    await page.leave()
    coming = asyncio.create_task(page.come_back(other))
    await until(lambda: live._awaited == 1 or coming.done() or not live._servable)
    go_on.set()
    await coming
    assert "blue" in str(page.watcher.state())


async def test_reader_that_waited_for_us(
    hub: Hub, world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that was behind, and then waits while nothing can be loaded for longer than a slow reader may take, is
    not a slow one."""
    settings.RX_MAX_PENDING, settings.RX_SLOW_TIMEOUT = 1, 0.3
    slow = await watch(hub, world)
    for number in range(3):
        await sync_to_async(world.say)(f"said {number}", position=number)
        await settle(hub, world)
    assert slow.subscriber._behind
    go_on = threading.Event()

    def hang(wanted: Wanted, held: Collection[str] = frozenset()) -> Loaded:
        assert go_on.wait(PATIENCE)
        return load(wanted, held)

    monkeypatch.setattr(hubs, "load", hang)
    await sync_to_async(changes.update)(world)
    reading = asyncio.create_task(converge(slow))
    await asyncio.sleep(2 * settings.RX_SLOW_TIMEOUT)
    go_on.set()
    await reading


async def test_foreign_history(
    hub: Hub, other: Hub, world: World, flush: Callable[[], None], settings: Any
) -> None:
    """A cursor of a history that this process has left may be of a later state: it is looked at, once for all."""
    settings.RX_CACHE_TTL = 0
    page = await Page.open(hub, world)
    watcher = await watch(other, world)
    (live,) = other.replicas.values()
    await sync_to_async(raw)(
        f"UPDATE {Message._meta.db_table} SET text = 'seen there' WHERE id = %s", world.first.pk
    )
    begun = live.begun
    for number in range(3):
        await page.leave()
        foreign = Cursor("another-history", 7, 9, f"{number:032x}")
        await page.come_back(other, str(foreign))
        assert "seen there" in str(page.watcher.state())
    assert live.begun == begun + 1
    await converge(watcher)


async def test_cursor_of_another_channel(hub: Hub, world: World) -> None:
    """It names a state of another channel: a snapshot, also where keys are the same."""
    page = await Page.open(hub, world)
    member = await Watcher.open(hub, MemberChannel, world.ada.pk, world.ada.pk)
    await page.leave()
    event = await page.come_back(hub, member.cursor)
    assert event["kind"] == "SNAPSHOT"
    await page.assert_current()


async def test_cursor_of_another_schema(
    hub: Hub, other: Hub, world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of the project gave it: its digests are of other fields."""
    settings.RX_CACHE_TTL = 0
    page = await Page.open(hub, world)
    await page.leave()
    monkeypatch.setattr(registry.built, "layout", "another")
    event = await page.come_back(other)
    assert event["kind"] == "SNAPSHOT"
    await page.assert_current()


async def test_resumed_at_an_entry_of_another_version(hub: Hub, other: Hub, world: World) -> None:
    """The last entry is of another layout, and is still to be looked up at the process where the client comes back."""
    page = await Page.open(hub, world)
    await watch(other, world)
    (live,) = other.replicas.values()
    live.refresh()
    await until(lambda: live.is_still)

    def write() -> None:
        with another_version():
            changes.update(world)

    await sync_to_async(write)()
    while "edited" not in str(page.watcher.state()):
        await page.next()
    await page.leave()
    await page.come_back(other)
    assert "edited" in str(page.watcher.state())


async def test_cancelled_while_it_resumes(hub: Hub, world: World) -> None:
    """A client that goes away while it resumes leaves nothing behind, at whatever moment: a cancel that comes in the
    same moment as an answer of Redis is not lost."""
    page = await Page.open(hub, world)
    foreign = str(Cursor("another-history", 7, 9, "0" * 32))
    for number in range(300):
        coming = asyncio.create_task(page.come_back(hub, foreign))
        for _ in range(number % 60):
            await asyncio.sleep(0)
        coming.cancel()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([coming])
        if not coming.cancelled():
            await page.leave()
    # the page itself was never closed
    assert hub.subscriber_count == 1


async def test_resumed_while_an_older_history_is_still_served(
    hub: Hub, other: Hub, world: World, flush: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process has read, and stands still; Redis is emptied, so that numbers begin again; a commit comes, and a client
    that has seen it; the process goes on. What it had read could be served before it reads again, and its numbers are
    higher than the client's."""
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.1)
    page = await Page.open(hub, world)
    await watch(other, world)
    for _ in range(5):
        await hub.follower.note(("chat.message",), draw=True)
    (live,) = other.replicas.values()
    go_on, has_read = threading.Event(), threading.Event()

    def slow(wanted: Wanted, held: Collection[str] = frozenset()) -> Loaded:
        found = load(wanted, held)
        if threading.current_thread() is not threading.main_thread() and not has_read.is_set():
            has_read.set()
            assert go_on.wait(PATIENCE)
        return found

    monkeypatch.setattr(hubs, "load", slow)
    live.reload()
    assert await asyncio.to_thread(has_read.wait, PATIENCE)
    await sync_to_async(flush)()
    await sync_to_async(changes.update_shared_profile)(world)
    while "blue" not in str(page.watcher.state()):
        await page.next()
    await page.leave()
    coming = asyncio.create_task(page.come_back(other))
    await until(lambda: len(live.audiences) == 1 and other.follower.epoch == hub.follower.epoch)
    await asyncio.sleep(0.05)
    go_on.set()
    await coming
    assert "blue" in str(page.watcher.state())
