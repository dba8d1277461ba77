"""Where one process stands in the log: every entry in its order, or word that some were missed.

frame from pub/sub -> the next sequence? -> taken
                      a gap, a lost connection -> the stream
                      what the stream has no more, a new epoch, a lease that lapsed -> reload
note(labels)       -> the counter of tickets, once no writer relies any more on a promise that nobody watches
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import Protocol

from rxgraphql.cursor import Cursor
from rxgraphql.errors import LogUnavailableError, unavailable
from rxgraphql.hub_log import HubLog
from rxgraphql.log import LEASE_MS, PROMISE_MS, Entry, Position, head, read

logger = logging.getLogger("rxgraphql.follower")

# Often enough for a lease to outlive several failures, and for a lost message to be missed soon
LOOK_SECONDS = 2.0
PROMISE_SECONDS = PROMISE_MS / 1000
# Entries that are read from the stream at a time
PAGE = 500
# Seconds without Redis after which subscribers are told
AWAY_SECONDS = 3.0
# Seconds to wait for entries that are on their way, before they are fetched
ARRIVAL_SECONDS = 1.0


class Listener(Protocol):
    """Who the log is followed for."""

    def labels(self) -> tuple[str, ...]:
        """What is watched."""

    def take(self, entry: Entry, fresh: bool) -> None:
        """The next entry. `fresh`: its ticket is above the end of every interval heard of before."""

    def reload(self, labels: set[str] | None) -> None:
        """Entries of these labels, or of any, may have been missed."""

    def away(self) -> None:
        """The log can't be followed for now."""

    def back(self) -> None:
        """It is followed again."""

    async def looked(self) -> None:
        """Called LOOK_SECONDS after it was done the last time."""


class Follower:
    """Follows one log on one event loop."""

    def __init__(self, listener: Listener) -> None:
        self.log: HubLog | None = None
        self.connected = False
        self.epoch = ""
        # the last entry that was taken
        self.sequence = 0
        # the highest end of any interval that an entry told
        self.highest = 0
        # number of the lease of each label
        self.generations: dict[str, int] = {}
        self._listener = listener
        self._tasks: list[asyncio.Task[None]] = []
        self._tail = 0
        # until when, by our own clock, promises of an epoch or generation that we did not see begin may hold
        self._promised_until = 0.0
        # who waits for entries that we have not taken yet
        self._awaited: list[tuple[Cursor, asyncio.Future[None]]] = []
        self._is_away = False

    @property
    def started(self) -> bool:
        return bool(self._tasks)

    async def start(self, url: str) -> None:
        """Raises LogUnavailableError; it can be tried again."""
        if self.log is None:
            self.log = HubLog(url)
        await self._connect()
        work = (self._listen(), self._look(), self._see_to())
        self._tasks = [asyncio.create_task(one) for one in work]

    def hang_up(self) -> list[asyncio.Task[None]]:
        """Takes nothing any more; gives what was under way and is being cancelled."""
        self.connected = False
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        return tasks

    async def close(self) -> None:
        if self.log is not None:
            await self.log.close()

    # ------------------------------------------------------------------------------------------ positions

    async def note(self, labels: tuple[str, ...], draw: bool = False) -> int:
        """The counter, once no writer can rely any more on a promise that nobody watches the labels.

        `draw` raises it first: what is read then is newer than what was read under any number noted before. Raises
        LogUnavailableError.
        """
        log = self.log
        if log is None:
            raise LogUnavailableError("The log is not followed yet.")
        loop = asyncio.get_running_loop()
        while True:
            position = await log.watch(labels, draw)
            self._take_position(position, labels)
            wait = max(position.promised, self._promised_until - loop.time())
            if wait <= 0:
                return position.counter
            await asyncio.sleep(wait + 0.002)

    async def reach(self, cursor: Cursor) -> None:
        """Returns when the entries that the cursor tells of have been taken, or if there are none such. Raises
        ChannelError."""
        if self._has(cursor):
            return
        assert self.log is not None
        try:
            position = await self.log.watch(())
        except LogUnavailableError as error:
            raise unavailable() from error
        self._take_position(position, ())
        if self._has(cursor):
            return
        if position.epoch != cursor.epoch or cursor.sequence > position.sequence:
            # of a history that has ended, or no position at all
            return
        for fetch in (False, True):
            if fetch:
                await self.log.hang_up()
            arrived = asyncio.get_running_loop().create_future()
            self._awaited.append((cursor, arrived))
            with suppress(TimeoutError):
                async with asyncio.timeout(ARRIVAL_SECONDS):
                    await arrived
                    return
        raise unavailable()

    def forget(self, labels: set[str]) -> None:
        """They are watched no more: their leases may lapse without anybody missing a commit."""
        for label in labels & self.generations.keys():
            del self.generations[label]

    async def outlive(self, labels: tuple[str, ...], seconds: float) -> None:
        """Has writers publish for so long after the last one who watched: who comes in that time finds it all in the
        log. Raises LogUnavailableError."""
        if self.log is not None and labels and seconds * 1000 > LEASE_MS:
            await self.log.watch(labels, lease=round(seconds * 1000))

    def promised(self) -> None:
        """Promises may hold of which no key tells: their time is waited out."""
        self._promised_until = asyncio.get_running_loop().time() + PROMISE_SECONDS

    def _has(self, cursor: Cursor) -> bool:
        return cursor.epoch == self.epoch and cursor.sequence <= self.sequence

    def _arrive(self) -> None:
        """Wakes those who waited for entries that are here now."""
        waiting, self._awaited = self._awaited, []
        for cursor, arrived in waiting:
            if arrived.done():
                continue
            if self._has(cursor):
                arrived.set_result(None)
            else:
                self._awaited.append((cursor, arrived))

    def _take_position(self, position: Position, labels: tuple[str, ...]) -> None:
        """A new epoch, or a lease that had lapsed, means that commits may have been skipped.

        The reload begins in the same step: no state of before may be taken for one of the new generation.
        """
        if position.epoch != self.epoch:
            self.promised()
            if self.epoch:
                self._begin_epoch(position)
        lapsed = set()
        for label in labels:
            known = self.generations.get(label)
            found = position.generations[label]
            self.generations[label] = found
            if known is not None and known != found:
                lapsed.add(label)
        if lapsed:
            self.promised()
            self._listener.reload(lapsed)

    def _begin_epoch(self, position: Position) -> None:
        self.epoch, self.sequence, self._tail = position.epoch, position.sequence, 0
        self.highest = position.counter
        self.generations.clear()
        self._listener.reload(None)
        self._arrive()

    def _stand_at(self, position: Position) -> None:
        """The entry after that is the next."""
        self.epoch, self.sequence, self._tail = position.epoch, position.sequence, 0
        self.highest = max(self.highest, position.counter)
        self._arrive()

    # ------------------------------------------------------------------------------------------ entries

    async def _connect(self) -> None:
        """Subscribes, confirmed, then sees where the log stands: nothing from there on is missed.

        What came meanwhile is in the stream. Leases that lapsed, and a new epoch, load the replicas anew.
        """
        assert self.log is not None
        await self.log.subscribe()
        labels = self._listener.labels()
        position = await self.log.watch(labels)
        if not self.epoch:
            self._stand_at(position)
        else:
            self._take_position(position, labels)
            if position.epoch == self.epoch:
                await self._fill(position.sequence)
        self._tail = 0
        self.connected = True

    async def _listen(self) -> None:
        assert self.log is not None
        while True:
            try:
                frame = await self.log.frame()
                if frame is None:
                    logger.warning("The subscription was confirmed again: entries may be missing.")
                    await self._connect()
                elif not self._take(frame):
                    sequence, _ = head(frame)
                    await self._fill(sequence - 1)
                    self._take(frame)
            except LogUnavailableError as error:
                logger.warning("%s Connecting again.", error)
                await self._connect_again()
            except Exception:
                logger.exception("An entry could not be taken; everything is loaded anew.")
                self._listener.reload(None)

    async def _connect_again(self) -> None:
        self.connected = False
        loop = asyncio.get_running_loop()
        since, pause = loop.time(), 0.05
        while True:
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 2, 5.0)
            try:
                await self._connect()
                break
            except LogUnavailableError as error:
                if not self._is_away and loop.time() - since > AWAY_SECONDS:
                    logger.error("Redis is away: %s", error)
                    self._is_away = True
                    self._listener.away()
            except Exception:
                # it counts as taken, and what it says is in the database
                logger.exception("An entry could not be taken; everything is loaded anew.")
                self._listener.reload(None)
        if self._is_away:
            self._is_away = False
            self._listener.back()

    async def _fill(self, last: int) -> None:
        """Takes the entries up to that sequence from the stream; what it has no more is lost to us, and all are
        loaded anew. Raises LogUnavailableError."""
        assert self.log is not None
        while self.sequence < last:
            next_ = self.sequence + 1
            frames = await self.log.range(next_, last, PAGE)
            for frame in frames:
                if head(frame) != (self.sequence + 1, self.epoch):
                    break
                self._take(frame)
            if self.sequence < next_:
                logger.warning("Entries %d to %d are gone; all are loaded anew.", next_, last)
                self.sequence = last
                self._listener.reload(None)
        self._arrive()

    def _take(self, frame: bytes) -> bool:
        """False if entries are missing before it."""
        sequence, epoch = head(frame)
        if epoch != self.epoch:
            # entries of an epoch that we have not seen begin
            self.promised()
            self.epoch, self.sequence = epoch, sequence
            self.highest = 0
            self.generations.clear()
            self._listener.reload(None)
        elif sequence <= self.sequence:
            return True
        elif sequence != self.sequence + 1:
            return False
        self.sequence = sequence
        entry = read(frame)
        if entry is None:
            # of another version: never guessed at
            self._listener.reload(None)
        else:
            fresh = entry.ticket > self.highest
            self.highest = max(self.highest, entry.end)
            self._listener.take(entry, fresh)
        if self._awaited:
            self._arrive()
        return True

    # ------------------------------------------------------------------------------------------ now and then

    async def _look(self) -> None:
        """Keeps the leases, and looks at the log's end: a lost message after which nothing came is found here."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self.connected:
                continue
            try:
                await self._look_at_the_end()
            except LogUnavailableError as error:
                logger.warning("The leases could not be renewed: %s", error)
                assert self.log is not None
                await self.log.hang_up()
            except Exception:
                logger.exception("The leases could not be renewed.")

    async def _see_to(self) -> None:
        """What takes as long as it takes: not in the way of the leases."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.connected:
                try:
                    await self._listener.looked()
                except Exception:
                    logger.exception("What is done now and then failed.")

    async def _look_at_the_end(self) -> None:
        assert self.log is not None
        labels = self._listener.labels()
        tail, self._tail = self._tail, 0
        # entries may come while the answer is on its way
        epoch, before = self.epoch, self.sequence
        position = await self.log.watch(labels)
        self._take_position(position, labels)
        if not position.epoch == self.epoch == epoch:
            # what was noted before is of another history
            return
        if tail > self.sequence:
            # perhaps the connection is half open: nothing that is sent arrives any more
            logger.warning("The log's end did not arrive. Connecting again.")
            await self.log.hang_up()
        elif position.sequence < before:
            logger.warning("The log's end went back; everything is loaded anew.")
            self._stand_at(position)
            self._listener.reload(None)
        self._tail = position.sequence
