"""The state cache in Redis: what one process holds of an anchor, for the next one that is asked for it.

    cold process: get() -> a blob that it can continue? else lease() -> load, put(), release()
                  the lease is another's: wait(), then get() again
    warm process: put() now and then, keep() while it holds the anchor

A cache only: where Redis fails, everything is a miss, and the state comes from the database.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import redis
import redis.asyncio

from rxgraphql import embedded
from rxgraphql.address import Address
from rxgraphql.blob import HEADER, Mark, read_mark
from rxgraphql.conf import settings
from rxgraphql.log import FAILURES, Keys, namespace, nonce

logger = logging.getLogger("rxgraphql.cache")

# So long one process may load while the others wait for it. When it takes longer, or dies, the next one loads.
LEASE_SECONDS: Final = 3.0
# Seconds between two looks of one that waits, at least and at most
LOOK: Final = (0.02, 0.1)
# A command waits so long for an answer
TIMEOUT: Final = 2.0
BATCH: Final = 500

_FOLDER = files("rxgraphql") / "lua"
PUT: Final = (_FOLDER / "put.lua").read_text()
RELEASE: Final = (_FOLDER / "release.lua").read_text()

# (channel.field_name, pk)
Anchor = tuple[str, str]


class StateCache:
    """The serving side, on the hub's own connection. No method raises when Redis fails."""

    def __init__(self, client: redis.asyncio.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._put = client.register_script(PUT)
        self._release = client.register_script(RELEASE)

    async def get(self, anchor: Anchor) -> bytes | None:
        """The anchor's blob, if there is one."""
        try:
            found: Any = await self._client.get(self._keys.state(*anchor))
        except FAILURES as error:
            _failed(error)
            return None
        return None if found is None else bytes(found)

    async def put(self, anchor: Anchor, blob: bytes, ttl: float) -> bool:
        """Keeps the blob for `ttl` seconds, and gives True; unless there is one as new or newer of the same layout,
        epoch and generation, which then stays for as long."""
        key, milliseconds = self._keys.state(*anchor), _milliseconds(ttl)
        try:
            return bool(await self._put(keys=[key], args=[blob, milliseconds]))
        except FAILURES as error:
            _failed(error)
            return False

    async def keep(self, ttls: Mapping[Anchor, float]) -> list[Anchor]:
        """Lets the anchors' blobs live for so many seconds from now; gives those that are gone, in one round trip."""
        if not ttls:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for anchor, ttl in ttls.items():
            pipeline.pexpire(self._keys.state(*anchor), _milliseconds(ttl))
        try:
            kept = await pipeline.execute()
        except FAILURES as error:
            _failed(error)
            return []
        return [anchor for anchor, there in zip(ttls, kept, strict=True) if not there]

    async def lease(self, anchor: Anchor) -> str | None:
        """A token for release(): this process is the one that loads. None: another one does. When Redis fails everyone
        loads, as without a cache."""
        token = nonce()
        try:
            taken = await self._client.set(
                self._keys.state_lease(*anchor), token, nx=True, px=_milliseconds(LEASE_SECONDS)
            )
        except FAILURES as error:
            _failed(error)
            return token
        return token if taken else None

    async def release(self, anchor: Anchor, token: str) -> None:
        """Gives the lease back, if it is still this one's."""
        try:
            await self._release(keys=[self._keys.state_lease(*anchor)], args=[token])
        except FAILURES as error:
            _failed(error)

    async def wait(self, anchor: Anchor) -> None:
        """Returns when nobody has the anchor's lease, after LEASE_SECONDS at the latest."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LEASE_SECONDS
        try:
            while await self._client.exists(self._keys.state_lease(*anchor)):
                left = deadline - loop.time()
                if left <= 0:
                    return
                await asyncio.sleep(min(left, random.uniform(*LOOK)))
        except FAILURES as error:
            _failed(error)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _failed(error: Exception) -> None:
    logger.debug("The state cache did not answer: %s", error)


# ---------------------------------------------------------------------------------------------- for commands


@dataclass(frozen=True, slots=True)
class Cached:
    """One state: `size` in bytes, `seconds` until it expires; `mark` is None if it is of another format."""

    channel: str
    key: str
    mark: Mark | None
    size: int
    seconds: float


class CacheAdmin:
    """What `manage.py rxcache` and `migrate` do. Blocks; every method raises what redis-py raises.

    `channel` (a field name) and `key` choose: without `key` all of a channel, without both everything.
    """

    def __init__(self, url: str) -> None:
        self._keys = Keys(namespace(url))
        self._client = Address.parse(url).client(TIMEOUT)

    def __enter__(self) -> CacheAdmin:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def found(self, channel: str = "", key: str | None = None) -> list[Cached]:
        """By channel and key."""
        states = []
        for names in self._batches(channel, key):
            pipeline = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.getrange(name, 0, HEADER - 1)
                pipeline.strlen(name)
                pipeline.pttl(name)
            replies = iter(pipeline.execute())
            for name, head, size, left in zip(names, replies, replies, replies, strict=True):
                # -2: it expired meanwhile
                if left != -2:
                    anchor = self._anchor(name)
                    states.append(Cached(*anchor, read_mark(head), size, max(left, 0) / 1000))
        return sorted(states, key=lambda cached: (cached.channel, cached.key))

    def clear(self, channel: str = "", key: str | None = None) -> int:
        """How many were removed."""
        return sum(self._client.unlink(*names) for names in self._batches(channel, key))

    def end_epoch(self) -> None:
        """Has every process load its states anew: no state of before is put or taken any more."""
        self._client.delete(self._keys.epoch)

    def expire(self, seconds: float, channel: str = "", key: str | None = None) -> int:
        """Lets them live for so many seconds from now; how many there were."""
        count = 0
        for names in self._batches(channel, key):
            pipeline = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.pexpire(name, _milliseconds(seconds))
            count += sum(pipeline.execute())
        return count

    def _batches(self, channel: str, key: str | None) -> Iterator[list[bytes]]:
        if key is not None:
            yield [self._keys.state(channel, key).encode()]
            return
        prefix = self._keys.state(channel, "") if channel else f"{self._keys.states}:"
        # SCAN may name a key twice
        names = sorted(set(self._client.scan_iter(match=f"{_literally(prefix)}*", count=BATCH)))
        for at in range(0, len(names), BATCH):
            yield names[at : at + BATCH]

    def _anchor(self, name: bytes) -> Anchor:
        rest = name.decode("utf-8", "replace").removeprefix(f"{self._keys.states}:")
        channel, _, key = rest.partition(":")
        return channel, key


def _literally(text: str) -> str:
    """A namespace may have what is a pattern to SCAN."""
    return "".join(f"\\{letter}" if letter in "\\*?[]^-" else letter for letter in text)


def server_url() -> str | None:
    """REDIS_URL, or the address of the server for development if it runs; starts nothing."""
    return settings.REDIS_URL or embedded.running_url()


def clear_after_migrate() -> None:
    """Removes every state, those that processes hold too: what a migration changed, no signal tells. Never raises."""
    try:
        if url := server_url():
            with CacheAdmin(url) as admin:
                admin.clear()
                admin.end_epoch()
    except Exception as error:
        logger.warning("The state cache was not cleared after migrating: %s", error)
