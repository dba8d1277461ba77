"""A process that has nothing of an anchor continues from what another one keeps in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.db.backends.utils import CursorWrapper

from rxgraphql import follower
from rxgraphql import hub as hubs
from rxgraphql import warm as warming
from rxgraphql.authorize import authorize
from rxgraphql.cache import clear_after_migrate
from rxgraphql.errors import ChannelError
from rxgraphql.hub import Hub
from rxgraphql.log import LEASE_MS, WriterLog
from rxgraphql.replica import Replica
from rxgraphql.snapshot import Loaded, Wanted, load
from tests import changes
from tests.changes import CHANGES, Change, World, another_version
from tests.chat.channels import RoomChannel
from tests.chat.models import Message
from tests.chat.serializers import MessageSerializer
from tests.test_resume import Page, converge, other, settle, until, watch

__all__ = ["other"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every load from the database, by any hub."""
    found: list[str] = []

    def noted(wanted: Wanted, held: Collection[str] = frozenset()) -> Loaded:
        found.append("part" if held else "whole")
        return load(wanted, held)

    monkeypatch.setattr(hubs, "load", noted)
    return found


async def kept(hub: Hub) -> None:
    """Returns when what the hub has loaded is in the cache."""
    while hub._warmth._tasks:
        await asyncio.gather(*hub._warmth._tasks)


async def test_cold_process_asks_the_database_for_nothing(
    hub: Hub,
    other: Hub,
    world: World,
    loads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """10,000 rows that one process holds: another one serves them without a query but those of the permission."""

    def many() -> None:
        Message.everything.bulk_create(
            Message(room=world.room, author=world.ada, text=f"{n}", position=n)
            for n in range(10_000)
        )

    await sync_to_async(many)()
    warm = await watch(hub, world)
    await kept(hub)
    loads.clear()
    queries: list[str] = []
    execute = CursorWrapper.execute

    def counted(self: CursorWrapper, sql: Any, params: Any = None) -> Any:
        queries.append(str(sql))
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", counted)
    cold = await watch(other, world)
    monkeypatch.undo()
    assert len(cold.folded.nodes) > 10_000
    # the row for which the permission is asked, and asked again once there is a state to show
    assert len(queries) == 2, queries
    assert all('WHERE "chat_room"."' in query for query in queries)
    assert cold.state() == warm.state()
    await sync_to_async(changes.update)(world)
    # not the serializer's own output: that takes half a minute for so many rows
    for watcher in (warm, cold):
        assert (await watcher.next())["kind"] == "CHANGE"
    assert cold.state() == warm.state()
    assert "edited" in str(cold.folded.nodes[f"Message:{world.first.pk}"])


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_what_was_appended_since(
    hub: Hub, other: Hub, world: World, change: Change, loads: list[str]
) -> None:
    """The entries after the state that was kept are applied to it; whoever was at the older state resumes there."""
    page = await Page.open(hub, world)
    await kept(hub)
    await page.leave()
    await sync_to_async(change)(world)
    await settle(hub, world)
    loads.clear()
    event = await page.come_back(other)
    assert event["kind"] == "CHANGE"
    await page.assert_current()
    assert "whole" not in loads
    later = await watch(other, world)
    await sync_to_async(world.say)("later")
    await converge(later)
    await converge(page.watcher)


async def test_deployed(hub: Hub, other: Hub, world: World, loads: list[str]) -> None:
    """A process that stops leaves its states to the one that takes over: its clients resume there without a load."""
    page = await Page.open(hub, world)
    await sync_to_async(changes.update_author)(world)
    await converge(page.watcher)
    page.cursor = page.watcher.cursor
    await hub.stop()
    loads.clear()
    event = await page.come_back(other)
    assert event["kind"] == "CHANGE"
    assert loads == []
    await page.assert_current()


async def test_one_loads_while_the_others_wait(
    redis_url: str, world: World, loads: list[str]
) -> None:
    """Five cold processes are asked at once: one reads the database."""
    hubs_ = [Hub() for _ in range(5)]
    try:
        watchers = await asyncio.gather(*(watch(hub, world) for hub in hubs_))
        assert len(loads) == 1
        for watcher in watchers:
            await converge(watcher)
    finally:
        for hub in hubs_:
            await hub.stop()


async def test_leases_lapsed_in_between(
    hub: Hub, other: Hub, world: World, redis_url: str, loads: list[str]
) -> None:
    """Nobody watched for a while, so commits may be missing after the state that was kept: it isn't used."""
    await watch(hub, world)
    await kept(hub)
    assert hub.follower.log is not None
    with redis.Redis.from_url(redis_url) as client:
        for label in RoomChannel.tree.labels:
            client.delete(hub.follower.log.keys.watch(label))
    await sync_to_async(changes.update)(world)
    loads.clear()
    cold = await watch(other, world)
    assert loads
    await converge(cold)
    assert cold.folded.events == 1


async def test_history_is_gone(
    hub: Hub, other: Hub, world: World, redis_url: str, loads: list[str]
) -> None:
    """The log has no more what came after the state that was kept: it isn't used."""
    watcher = await watch(hub, world)
    await kept(hub)
    for number in range(3):
        await sync_to_async(world.say)(f"said {number}")
    await converge(watcher)
    assert hub.follower.log is not None
    with redis.Redis.from_url(redis_url) as client:
        client.xtrim(hub.follower.log.keys.log, maxlen=1, approximate=False)
    loads.clear()
    cold = await watch(other, world)
    assert loads
    await converge(cold)


async def test_switched_off(
    hub: Hub, other: Hub, world: World, settings: Any, loads: list[str]
) -> None:
    """Without a time to live nothing is kept."""
    settings.RX_CACHE_TTL = 0
    await watch(hub, world)
    loads.clear()
    await watch(other, world)
    assert len(loads) == 1


async def test_kept_while_it_is_held(
    hub: Hub,
    other: Hub,
    world: World,
    settings: Any,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    loads: list[str],
) -> None:
    """It lives on while a process holds the anchor, and is put anew when it is gone or the log has moved far on."""
    settings.RX_CACHE_TTL = 0.4
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(warming, "MOST_BEHIND", 2)
    watcher = await watch(hub, world)
    await kept(hub)
    assert hub.follower.log is not None
    (live,) = hub.replicas.values()
    key = hub.follower.log.keys.state(*live.anchor)
    with redis.Redis.from_url(redis_url) as client:
        async with asyncio.timeout(10):
            first = client.get(key)
            client.delete(key)
            while client.get(key) is None:  # noqa: ASYNC110 -- Redis tells nobody
                await asyncio.sleep(0.01)
            for number in range(3):
                await sync_to_async(world.say)(f"said {number}")
            await converge(watcher)
            while client.get(key) in (None, first):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(2 * settings.RX_CACHE_TTL)
            assert client.get(key) is not None
    loads.clear()
    await watch(other, world)
    assert loads == []


async def test_migrated(hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration changes rows without a signal: every process that is up loads its states anew."""
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.1)
    watcher = await watch(hub, world)
    await kept(hub)

    def migrate() -> None:
        Message.everything.filter(pk=world.first.pk).update(text="migrated")
        clear_after_migrate()

    await sync_to_async(migrate)()
    async with asyncio.timeout(10):
        assert (await watcher.next())["kind"] == "SNAPSHOT"
    await converge(watcher)


async def test_state_of_before_a_lapsed_lease(
    hub: Hub, other: Hub, world: World, redis_url: str, settings: Any
) -> None:
    """A process stands still until its lease lapses; a commit is skipped, since nobody watches; it goes on.

    Its first look finds the new lease and then sees to the cache: what it puts must not be what it held before.
    """
    settings.RX_CACHE_TTL = 0.5
    warm = await watch(hub, world)
    await kept(hub)
    await sync_to_async(changes.update)(world)
    await warm.next()
    await asyncio.sleep(settings.RX_CACHE_TTL / 2)
    assert hub.follower.log is not None
    with redis.Redis.from_url(redis_url) as client:
        for label in hub.labels():
            client.delete(hub.follower.log.keys.watch(label))
    settings.RX_CACHE_TTL = 60
    await sync_to_async(world.say)("skipped", position=7)
    await hub.follower._look_at_the_end()
    await hub.looked()
    cold = await watch(other, world)
    await converge(cold)
    assert cold.folded.events == 1
    await converge(warm)


async def test_put_before_a_comparison(hub: Hub, other: Hub, world: World) -> None:
    """An entry of another layout waits to be looked up: what is put meanwhile doesn't claim to have it."""
    watcher = await watch(hub, world)
    await kept(hub)
    (live,) = hub.replicas.values()
    live.refresh()
    await until(lambda: live.is_still)

    def write() -> None:
        with another_version():
            changes.update(world)

    await sync_to_async(write)()
    await until(lambda: live._refresh_timer is not None)
    await hub._warmth._put(live)
    cold = await watch(other, world)
    await converge(cold)
    await converge(watcher)


async def test_found_by_comparison(hub: Hub, other: Hub, world: World, redis_url: str) -> None:
    """What a comparison with the database found has no position of its own, and is put all the same."""
    watcher = await watch(hub, world)
    await kept(hub)

    def write() -> None:
        Message.everything.filter(pk=world.first.pk).update(text="raw")
        # the counter moves on, as with any commit elsewhere
        log = WriterLog(redis_url)
        log.begin(["chat.Message"])
        log.close()

    await sync_to_async(write)()
    (live,) = hub.replicas.values()
    live.refresh()
    await converge(watcher)
    await hub._warmth._put(live)
    cold = await watch(other, world)
    await converge(cold)
    assert cold.folded.events == 1


async def test_comes_while_the_hub_stops(
    hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked before the hub was stopped is refused after it: it doesn't start again."""
    await watch(hub, world)
    allowed = asyncio.Event()

    async def slow(*arguments: Any) -> str:
        pk = await authorize(*arguments)
        await allowed.wait()
        return pk

    monkeypatch.setattr(hubs, "authorize", slow)
    coming = asyncio.create_task(watch(hub, world))
    await asyncio.sleep(0)
    await hub.stop()
    allowed.set()
    with pytest.raises(ChannelError):
        await coming
    assert not hub.follower.started
    assert not hub.replicas


async def test_nobody_watches_for_a_while(
    hub: Hub, other: Hub, world: World, settings: Any, redis_url: str, loads: list[str]
) -> None:
    """The last process lets go: writers go on to publish for as long as the state is kept, so that it can be used."""
    settings.RX_LINGER = 0
    page = await Page.open(hub, world)
    await kept(hub)
    await page.leave()
    await until(lambda: not hub.replicas)
    await kept(hub)
    assert hub.follower.log is not None
    keys = hub.follower.log.keys
    with redis.Redis.from_url(redis_url) as client:
        for label in RoomChannel.tree.labels:
            left = client.pttl(keys.watch(label))
            assert left > LEASE_MS
    await sync_to_async(changes.update)(world)
    loads.clear()
    event = await page.come_back(other)
    assert event["kind"] == "CHANGE"
    assert "whole" not in loads
    await page.assert_current()


async def test_row_that_failed_after_the_state_was_kept(
    hub: Hub, other: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the entries after it has a row whose serializer raised: it is tried again where the state is continued."""
    monkeypatch.setattr("rxgraphql.live.RETRY_FIRST", 0.1)
    watcher = await watch(hub, world)
    await kept(hub)
    with monkeypatch.context() as broken:
        broken.setattr(MessageSerializer, "get_shout", lambda self, message: 1 / 0)
        await sync_to_async(changes.update)(world)
        await watcher.next()
        cold = await watch(other, world)
        assert cold.errors
    await converge(cold)


async def test_blob_that_breaks(
    hub: Hub, other: Hub, world: World, monkeypatch: pytest.MonkeyPatch, loads: list[str]
) -> None:
    """Whatever is wrong with what is kept, the state is loaded."""
    await watch(hub, world)
    await kept(hub)
    loads.clear()

    def fail(self: Replica, saved: Any) -> None:
        raise KeyError("on purpose")

    monkeypatch.setattr(Replica, "restore", fail)
    await converge(await watch(other, world))
    assert loads == ["whole"]
