"""The state cache in Redis: which state stays, who loads, what it costs when Redis fails, and for how long it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from django.core import checks
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from rxgraphql.address import Address
from rxgraphql.blob import Mark, capture, pack, unpack
from rxgraphql.cache import LEASE_SECONDS, CacheAdmin, StateCache
from rxgraphql.log import Keys
from rxgraphql.replica import Replica
from rxgraphql.snapshot import load
from tests.changes import World
from tests.chat.channels import RoomChannel
from tests.schemas import own_channels
from tests.services import Valkey
from tests.test_blob import everything

LOBBY, ATTIC = ("room", "1"), ("room", "2")
MARK = Mark("layout", "epoch-id", 3, 10, 20, 20)


def blob(sequence: int = 10, content: str = "", **changed: Any) -> bytes:
    """Only its first line matters to the cache."""
    known = {"format": "1", "layout": "layout", "epoch": "epoch-id", "generation": 3, **changed}
    line = f"{known['format']} {known['layout']} {known['epoch']} {known['generation']} {sequence} 20 20"
    return f"{line}\n{content}".encode() + b"\x00\xff\n\r"


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    client = Address.parse(redis_url).async_client(2.0)
    yield client
    await client.aclose()


@pytest.fixture
def keys(namespace: str) -> Keys:
    return Keys(namespace)


@pytest.fixture
def cache(client: redis.asyncio.Redis, keys: Keys) -> StateCache:
    return StateCache(client, keys)


# ------------------------------------------------------------------------------------------------ states


async def test_a_state_comes_back_as_it_was(cache: StateCache) -> None:
    """What is put is found, byte for byte, under its own anchor only."""
    assert await cache.get(LOBBY) is None
    assert await cache.put(LOBBY, blob(), 60)
    assert await cache.get(LOBBY) == blob()
    assert await cache.get(ATTIC) is None


@pytest.mark.parametrize(
    ("offered", "stays"),
    [
        pytest.param(blob(11, "new"), False, id="newer"),
        pytest.param(blob(10, "new"), True, id="the same position"),
        pytest.param(blob(9, "new"), True, id="older"),
        pytest.param(blob(9, epoch="other"), False, id="another epoch"),
        pytest.param(blob(9, layout="other"), False, id="another layout"),
        pytest.param(blob(9, generation=4), False, id="another generation"),
        pytest.param(blob(9, format="2"), False, id="another format"),
    ],
)
async def test_the_newest_state_of_a_history_stays(
    cache: StateCache, offered: bytes, stays: bool
) -> None:
    """A process that lags behind doesn't take a newer state away; where positions mean nothing, the last one stays."""
    assert await cache.put(LOBBY, blob(10), 60)
    assert await cache.put(LOBBY, offered, 60) != stays
    assert await cache.get(LOBBY) == (blob(10) if stays else offered)


@pytest.mark.parametrize("held", [b"", b"garbage", b"1 layout epoch-id 3 x", b"\xff" * 600])
async def test_what_is_no_state_is_replaced(
    cache: StateCache, client: redis.asyncio.Redis, keys: Keys, held: bytes
) -> None:
    """Whatever stands there, a state takes its place."""
    await client.set(keys.state(*LOBBY), held)
    assert await cache.put(LOBBY, blob(), 60)
    assert await cache.get(LOBBY) == blob()


async def test_how_long_a_state_stays(
    cache: StateCache, client: redis.asyncio.Redis, keys: Keys
) -> None:
    """So many seconds after it was put or was to be kept. One that isn't put since there is a newer one prolongs that
    one, and doesn't cut its time."""

    async def left() -> float:
        return float(await client.pttl(keys.state(*LOBBY))) / 1000

    await cache.put(LOBBY, blob(10), 60)
    assert 59 < await left() <= 60
    assert not await cache.put(LOBBY, blob(9), 90)
    assert 89 < await left() <= 90
    assert not await cache.put(LOBBY, blob(9), 30)
    assert 89 < await left() <= 90
    await cache.keep({LOBBY: 120.5})
    assert 119 < await left() <= 120.5
    await cache.put(LOBBY, blob(11), 0.0001)
    assert await left() <= 0.001


async def test_keeping_tells_what_is_gone(cache: StateCache) -> None:
    """In one round trip for all anchors, each with its own time."""
    assert await cache.keep({}) == []
    assert await cache.keep({LOBBY: 60, ATTIC: 60}) == [LOBBY, ATTIC]
    await cache.put(ATTIC, blob(), 60)
    assert await cache.keep({LOBBY: 60, ATTIC: 60}) == [LOBBY]


# ------------------------------------------------------------------------------------------------ who loads


async def test_one_process_loads(cache: StateCache) -> None:
    """Of many who ask at once one has the lease; the others have it after it was given back."""
    tokens = await asyncio.gather(*(cache.lease(LOBBY) for _ in range(10)))
    (token,) = filter(None, tokens)
    assert await cache.lease(ATTIC)
    await cache.release(LOBBY, token)
    assert await cache.lease(LOBBY)


async def test_a_lease_ends_by_itself(
    cache: StateCache, client: redis.asyncio.Redis, keys: Keys
) -> None:
    """A process that dies while it loads keeps the others waiting for a few seconds only."""
    assert await cache.lease(LOBBY)
    left = await client.pttl(keys.state_lease(*LOBBY))
    assert 0 < left <= LEASE_SECONDS * 1000


async def test_a_lease_that_another_one_has_now(
    cache: StateCache, client: redis.asyncio.Redis, keys: Keys
) -> None:
    """A loads for longer than its lease; B takes the lease; A is done and gives back what is no longer its own; C must
    not get it while B loads."""
    a = await cache.lease(LOBBY)
    assert a
    await client.delete(keys.state_lease(*LOBBY))
    assert await cache.lease(LOBBY)
    await cache.release(LOBBY, a)
    assert await cache.lease(LOBBY) is None


async def test_waiting_for_who_loads(cache: StateCache) -> None:
    """Who waits goes on as soon as the lease is given back, and at once where there is none."""
    async with asyncio.timeout(5):
        await cache.wait(LOBBY)
        token = await cache.lease(LOBBY)
        assert token
        waiting = [asyncio.create_task(cache.wait(LOBBY)) for _ in range(3)]
        done, _ = await asyncio.wait(waiting, timeout=0.2)
        assert not done
        await cache.release(LOBBY, token)
        await asyncio.gather(*waiting)


async def test_waiting_for_who_died(
    cache: StateCache, client: redis.asyncio.Redis, keys: Keys
) -> None:
    """Who waits goes on when the lease has run out."""
    assert await cache.lease(LOBBY)
    waiting = asyncio.create_task(cache.wait(LOBBY))
    await client.pexpire(keys.state_lease(*LOBBY), 50)
    async with asyncio.timeout(5):
        await waiting


# ------------------------------------------------------------------------------------------------ Redis fails


@pytest.mark.parametrize("failure", [Valkey.kill, Valkey.pause], ids=["gone", "hangs"])
async def test_a_failing_server_is_a_miss(
    start_valkey: Callable[..., Valkey], keys: Keys, failure: Callable[[Valkey], None]
) -> None:
    """Nothing is found or kept, everyone loads, nobody waits, and nothing raises."""
    server = start_valkey()
    client = Address.parse(server.url).async_client(0.1)
    cache = StateCache(client, keys)
    assert await cache.put(LOBBY, blob(), 60)
    failure(server)
    async with asyncio.timeout(5):
        assert await cache.get(LOBBY) is None
        assert not await cache.put(LOBBY, blob(11), 60)
        assert await cache.keep({LOBBY: 60}) == []
        token = await cache.lease(LOBBY)
        assert token
        await cache.release(LOBBY, token)
        await cache.wait(LOBBY)
    await client.aclose()


async def test_a_full_server_is_a_miss(start_valkey: Callable[..., Valkey], keys: Keys) -> None:
    """A server that takes no more data refuses the state, and the process goes on without."""
    server = start_valkey("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
    client = Address.parse(server.url).async_client(2.0)
    cache = StateCache(client, keys)
    assert not await cache.put(LOBBY, blob(10, "x" * 2_000_000), 60)
    assert await cache.lease(LOBBY)
    await client.aclose()


async def test_a_value_of_another_kind(
    cache: StateCache, client: redis.asyncio.Redis, keys: Keys
) -> None:
    """A key that someone else made a list is a miss, not an error."""
    await client.rpush(keys.state(*LOBBY), "x")
    assert await cache.get(LOBBY) is None
    assert not await cache.put(LOBBY, blob(), 60)


# ------------------------------------------------------------------------------------------------ together


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
async def test_a_cold_process_reads_no_row(world: World, cache: StateCache) -> None:
    """What one process has loaded and put away, another one has without a query."""

    def loaded() -> Replica:
        replica = Replica(RoomChannel(), str(world.room.pk))
        assert replica.replace(load(replica.wish()), 3, 5)
        return replica

    warm = await sync_to_async(loaded)()
    anchor = (warm.channel.field_name, warm.pk)
    captured = capture(warm)
    assert captured is not None
    mark = captured.mark("epoch", 1, 7, 5)
    packed = pack(captured, mark)
    assert packed is not None
    assert await cache.put(anchor, packed, warm.channel.cache_ttl)

    stored = await cache.get(anchor)
    cold = Replica(RoomChannel(), warm.pk)

    def restore() -> Mark:
        with CaptureQueriesContext(connection) as queries:
            found = unpack(stored or b"", cold)
            assert found is not None
            cold.restore(found[1])
        assert not queries.captured_queries
        return found[0]

    assert await sync_to_async(restore)() == mark
    assert everything(cold) == everything(warm)


# ------------------------------------------------------------------------------------------------ how long


@pytest.mark.parametrize(("value", "ttl"), [(60, 60), (0.5, 0.5), (0, 0), (None, 0)])
def test_the_setting(settings: Settings, value: Any, ttl: float) -> None:
    """RX_CACHE_TTL holds for every channel that has no value of its own; 0 and None: no cache."""
    settings.RX_CACHE_TTL = value
    assert RoomChannel().cache_ttl == ttl


def test_without_the_setting() -> None:
    """A minute."""
    assert RoomChannel().cache_ttl == 60


@pytest.mark.parametrize(("value", "ttl"), [(5, 5), (0, 0), (None, 0)])
def test_a_channels_own(value: Any, ttl: float) -> None:
    """Meta.cache_ttl overrides the setting, and 0 or None switches the cache off for this channel."""
    with own_channels():

        class BriefChannel(RoomChannel):
            class Meta(RoomChannel.Meta):
                graphql_name = "Brief"
                cache_ttl = value

        assert not checks.run_checks(tags=["rxgraphql"])
    assert BriefChannel().cache_ttl == ttl


BAD = ["60", True, -1, float("nan"), float("inf"), 10**10, [60]]


@pytest.mark.parametrize("value", BAD)
def test_a_bad_setting(settings: Settings, value: Any) -> None:
    """No server starts with a time that is none; the error tells what to write."""
    settings.RX_CACHE_TTL = value
    (error,) = checks.run_checks(tags=["rxgraphql"])
    assert error.id == "rxgraphql.E015"
    assert repr(value) in error.msg
    assert "RX_CACHE_TTL = 60" in str(error.hint)


@pytest.mark.parametrize("value", BAD)
def test_a_bad_time_of_a_channel(value: Any) -> None:
    """It is a fault of the channel, which names the fix."""
    with own_channels():

        class BriefChannel(RoomChannel):
            class Meta(RoomChannel.Meta):
                graphql_name = "Brief"
                cache_ttl = value

        (error,) = checks.run_checks(tags=["rxgraphql"])
    assert "BriefChannel" in error.msg
    assert f"Meta.cache_ttl is {value!r}" in error.msg
    assert "remove it" in str(error.hint)


# ------------------------------------------------------------------------------------------------ by hand


def put_by_hand(url: str, keys: Keys, anchors: list[tuple[str, str]], seconds: int = 60) -> None:
    with redis.Redis.from_url(url) as client:
        for anchor in anchors:
            client.set(keys.state(*anchor), blob(), ex=seconds)


def test_what_is_found(redis_url: str, keys: Keys) -> None:
    """Every state with its position and size, whatever its key is spelled like, and nothing else of the log."""
    anchors = [("room", "1"), ("room", "a:b"), ("room", "ü*"), ("rooms", "1")]
    put_by_hand(redis_url, keys, anchors)
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.epoch, "e")
        client.set(keys.state_lease("room", "1"), "t")
    with CacheAdmin(redis_url) as admin:
        found = admin.found()
        assert [(cached.channel, cached.key) for cached in found] == anchors
        assert {(cached.mark, cached.size) for cached in found} == {(MARK, len(blob()))}
        assert all(50 < cached.seconds <= 60 for cached in found)
        assert len(admin.found("room")) == 3
        assert [cached.key for cached in admin.found("room", "ü*")] == ["ü*"]
        assert admin.found("room", "9") == []


def test_what_is_cleared(redis_url: str, keys: Keys) -> None:
    """One state, those of a channel, or all, however many; the log stays."""
    put_by_hand(redis_url, keys, [("room", str(n)) for n in range(1203)] + [("member", "1")])
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.epoch, "e")
        with CacheAdmin(redis_url) as admin:
            assert admin.clear("room", "7") == 1
            assert admin.clear("room", "7") == 0
            assert admin.clear("room") == 1202
            assert [cached.channel for cached in admin.found()] == ["member"]
            assert admin.clear() == 1
        assert client.get(keys.epoch) == b"e"


def test_another_project_on_the_server(redis_url: str, keys: Keys, settings: Settings) -> None:
    """A namespace that looks like a pattern touches no other."""
    put_by_hand(redis_url, keys, [LOBBY])
    settings.RX_NAMESPACE = "[t]*"
    with CacheAdmin(redis_url) as admin:
        assert admin.found() == []
        assert admin.clear() == 0
        put_by_hand(redis_url, Keys("[t]*"), [ATTIC])
        assert admin.clear() == 1
    settings.RX_NAMESPACE = keys.prefix.removeprefix("rx:{").removesuffix("}")
    with CacheAdmin(redis_url) as admin:
        assert len(admin.found()) == 1


def test_what_expires(redis_url: str, keys: Keys) -> None:
    """The time that is left is set, not added to."""
    put_by_hand(redis_url, keys, [LOBBY, ATTIC])
    with CacheAdmin(redis_url) as admin:
        assert admin.expire(5, "room", "1") == 1
        assert admin.expire(5, "room", "9") == 0
        left = {cached.key: cached.seconds for cached in admin.found()}
        assert 4 < left["1"] <= 5
        assert left["2"] > 50
        assert admin.expire(600) == 2
        assert all(cached.seconds > 590 for cached in admin.found())
