"""The state cache at work: a process that has no state of an anchor continues from the one that another process has.

cold: blob -> is it of this epoch, of unbroken leases, and are all entries after it there? -> restore -> apply them
      no   -> one process loads and puts what it has, the others wait for that
warm: the blob lives for as long as anyone holds the anchor, and is put anew when the log has moved on
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db import DatabaseError

from rxgraphql.blob import Captured, capture, pack, unpack
from rxgraphql.cache import Anchor, StateCache
from rxgraphql.errors import LogUnavailableError, RxError
from rxgraphql.workers import end, workers

if TYPE_CHECKING:
    from rxgraphql.blob import Mark
    from rxgraphql.follower import Follower
    from rxgraphql.live import LiveReplica

logger = logging.getLogger("rxgraphql.warm")

# Entries that a blob may lie behind: to apply more takes longer than to load
MOST_REPLAYED: Final = 2_000
# Entries after which a blob is put anew
MOST_BEHIND: Final = MOST_REPLAYED // 2
# Seconds that a process which stops gives itself to put what it holds
STOP_SECONDS: Final = 3.0


@dataclass(slots=True)
class Kept:
    """A blob that we put or took: where it stands, and by the loop's clock until when it surely lives."""

    sequence: int
    serial: int
    until: float


class Warmth:
    """What one hub takes from the state cache and gives to it."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._cache: StateCache | None = None
        self._kept: dict[Anchor, Kept] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------------------------------ cold

    async def restore(self, live: LiveReplica) -> bool:
        """Whether the replica has its state from the cache now. If not, it is to load. Raises LogUnavailableError."""
        cache = self._open()
        if cache is None or not live.cache_ttl:
            return False
        # entries from here on wait at the replica
        sequence = self._follower.sequence
        await self._follower.note(live.labels)
        for last in (False, True):
            blob = await cache.get(live.anchor)
            if blob is not None and await self._could_continue(live, blob, sequence):
                return True
            token = await cache.lease(live.anchor)
            if token is not None:
                self._later(self._share(live, token))
                return False
            if not last:
                await cache.wait(live.anchor)
        return False

    async def _could_continue(self, live: LiveReplica, blob: bytes, sequence: int) -> bool:
        """False whatever is wrong with the blob: it is a cache only."""
        try:
            return await self._continue(live, blob, sequence)
        except (LogUnavailableError, asyncio.CancelledError):
            raise
        except DatabaseError as error:
            # what had to be read beside it could not be; the whole may be
            logger.warning("%s could not be continued: %s", live.replica.root_key, error)
            return False
        except Exception:
            name = live.replica.root_key
            logger.warning("What the cache has of %s can't be used.", name, exc_info=True)
            return False

    async def _continue(self, live: LiveReplica, blob: bytes, sequence: int) -> bool:
        found = await workers.run(unpack, blob, live.replica)
        if found is None:
            return False
        mark, saved = found
        if mark.epoch != self._follower.epoch or mark.generation != self._generation(live):
            # commits may have been skipped since
            return False
        frames = await self._frames(mark, sequence)
        if frames is None or not await live.restore(mark, saved, frames):
            return False
        if not frames:
            self._note_kept(live, mark.sequence, live.history.serial)
        return True

    async def _frames(self, mark: Mark, sequence: int) -> list[bytes] | None:
        """The entries after the blob up to the sequence; None if some are gone, or they are too many."""
        assert self._follower.log is not None
        missing = max(0, sequence - mark.sequence)
        if missing > MOST_REPLAYED:
            return None
        if not missing:
            return []
        frames = await self._follower.log.range(mark.sequence + 1, sequence, missing)
        return frames if len(frames) == missing else None

    async def _share(self, live: LiveReplica, token: str) -> None:
        """Puts what is being loaded, for those who wait for it."""
        assert self._cache is not None
        try:
            await live.settled()
            await self._put(live)
        except RxError:
            # those who wait will see for themselves
            pass
        finally:
            await self._cache.release(live.anchor, token)

    # ------------------------------------------------------------------------------------------ warm

    async def keep(self, lives: Collection[LiveReplica]) -> None:
        """Called now and then: has the blobs live on, and puts those anew that are gone or far behind."""
        cache = self._open()
        if cache is None:
            return
        now = asyncio.get_running_loop().time()
        held = {live.anchor: live for live in lives if live.cache_ttl and not live.ended}
        for anchor in self._kept.keys() - held.keys():
            del self._kept[anchor]
        due = {
            anchor: live.cache_ttl
            for anchor, live in held.items()
            if anchor in self._kept and now > self._kept[anchor].until - live.cache_ttl / 2
        }
        for anchor in [anchor for anchor in due if self._has_changed(held[anchor])]:
            # its TTL is half over: better put what there is now than let the old one live on
            del due[anchor], self._kept[anchor]
        for anchor in await cache.keep(due):
            self._kept.pop(anchor, None)
        for anchor, ttl in due.items():
            if anchor in self._kept:
                self._kept[anchor].until = now + ttl
        for live in held.values():
            if self._is_behind(live):
                await self._quietly(self._put(live))

    async def _keep_one(self, live: LiveReplica) -> None:
        assert self._cache is not None
        await self._cache.keep({live.anchor: live.cache_ttl})

    def leave(self, live: LiveReplica) -> None:
        """The replica is let go: whoever comes next continues from what it was."""
        if live.cache_ttl and self._open() is not None:
            self._later(self._put(live) if self._has_changed(live) else self._keep_one(live))
            self._later(self._follower.outlive(live.labels, live.cache_ttl))

    async def stop(self, lives: Collection[LiveReplica]) -> None:
        """Puts what is held, so that the processes that take over need not load it."""
        tasks = [*self._tasks]
        if self._open() is not None and self._follower.connected:
            work: list[Coroutine[Any, Any, None]] = [
                self._put(live) for live in lives if live.cache_ttl and self._has_changed(live)
            ]
            by_ttl: dict[float, set[str]] = {}
            for live in lives:
                by_ttl.setdefault(live.cache_ttl, set()).update(live.labels)
            work += [
                self._follower.outlive(tuple(sorted(labels)), ttl) for ttl, labels in by_ttl.items()
            ]
            tasks += [asyncio.create_task(self._quietly(one)) for one in work]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            await end(late)

    def _is_behind(self, live: LiveReplica) -> bool:
        kept = self._kept.get(live.anchor)
        return kept is None or self._follower.sequence - kept.sequence >= MOST_BEHIND

    def _has_changed(self, live: LiveReplica) -> bool:
        kept = self._kept.get(live.anchor)
        return kept is None or kept.serial != live.history.serial or self._is_behind(live)

    def _put(self, live: LiveReplica) -> Coroutine[Any, Any, None]:
        """Captures the state at once: what the coroutine then puts is the state of now."""
        captured = capture(live.replica) if live.is_still else None
        # nothing is under way, so all that the follower has taken is applied
        sequence, serial = self._follower.sequence, live.history.serial
        if captured is None or live.epoch != self._follower.epoch:
            return _nothing()
        generation, highest = self._generation(live), self._follower.highest
        return self._put_captured(
            live, captured, captured.mark(live.epoch, generation, sequence, highest), serial
        )

    async def _put_captured(
        self, live: LiveReplica, captured: Captured, mark: Mark, serial: int
    ) -> None:
        assert self._cache is not None
        blob = await workers.run(pack, captured, mark)
        if blob is not None:
            await self._cache.put(live.anchor, blob, live.cache_ttl)
            self._note_kept(live, mark.sequence, serial)

    def _note_kept(self, live: LiveReplica, sequence: int, serial: int) -> None:
        until = asyncio.get_running_loop().time() + live.cache_ttl
        self._kept[live.anchor] = Kept(sequence, serial, until)

    def _generation(self, live: LiveReplica) -> int:
        """Changes with each label's: a new one is drawn from the counter, above all there were."""
        return max((self._follower.generations.get(label, 0) for label in live.labels), default=0)

    def _open(self) -> StateCache | None:
        log = self._follower.log
        if self._cache is None and log is not None:
            self._cache = StateCache(log.client, log.keys)
        return self._cache

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except LogUnavailableError as error:
            logger.debug("The state cache was not reached: %s", error)
        except Exception:
            logger.exception("A state could not be kept in the cache.")


async def _nothing() -> None:
    """There is nothing that could be put."""
