"""The one object of a serving process that owns the Redis connection, the replicas and, through them, the audiences.

subscribe(channel, arguments) -> authorize -> replica (one load per anchor) -> audience -> payloads
frame from pub/sub -> the next sequence? -> every replica
                      a gap -> the stream; what the stream has no more, or a new epoch -> all are loaded anew
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Hashable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from rxgraphql import embedded
from rxgraphql.audience import Subscriber
from rxgraphql.authorize import authorize
from rxgraphql.channel import registry
from rxgraphql.conf import settings
from rxgraphql.cursor import Cursor
from rxgraphql.errors import (
    LogUnavailableError,
    database_failed,
    not_found,
    not_serialized,
    unavailable,
)
from rxgraphql.hub_log import HubLog
from rxgraphql.live import LiveReplica
from rxgraphql.log import PROMISE_MS, Position, head, read
from rxgraphql.replica import Replica
from rxgraphql.snapshot import Loaded, Wanted, load
from rxgraphql.workers import workers

if TYPE_CHECKING:
    from rxgraphql.channel import StateChannel
    from rxgraphql.projection import Payload, Projection

logger = logging.getLogger("rxgraphql.hub")

# Often enough for a lease to outlive two failures, and for a lost message to be missed soon
LOOK_SECONDS = 2.0
PROMISE_SECONDS = PROMISE_MS / 1000
# Entries that are read from the stream at a time
PAGE = 500
# Seconds without Redis after which subscribers are told
AWAY_SECONDS = 3.0
# Seconds for which a subscriber who resumes waits for entries that are on their way, before they are fetched
ARRIVAL_SECONDS = 1.0

ReplicaKey = tuple[type["StateChannel"], str]


class Hub:
    """Everything that one event loop serves. Starts with the first subscriber."""

    def __init__(self) -> None:
        self.replicas: dict[ReplicaKey, LiveReplica] = {}
        self.workers = workers
        self._log: HubLog | None = None
        self._starting = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._connected = False
        # when, by our own clock, Redis could last not be reached for a first subscriber
        self._refused_at = 0.0
        self.stopped = False
        self._epoch = ""
        self._sequence = 0
        # the highest end of any interval that an entry told
        self._highest = 0
        self._tail = 0
        self._generations: dict[str, int] = {}
        # until when, by our own clock, promises of an epoch or generation that we did not see begin may hold
        self._promised_until = 0.0
        self._lingering: dict[ReplicaKey, asyncio.TimerHandle] = {}
        # subscribers who resume and are ahead of us
        self._awaited: list[tuple[Cursor, asyncio.Future[None]]] = []
        self._interrupted = False
        # by the loop's clock, when each replica is compared with the database next
        self._compare_at: WeakKeyDictionary[LiveReplica, float] = WeakKeyDictionary()

    # ------------------------------------------------------------------------------------------ for the schema

    async def subscribe(
        self,
        channel: type[StateChannel],
        arguments: dict[str, Any],
        projection: Projection,
        audience_key: Hashable,
        user: Any,
        after: str | None = None,
        on_slow: Callable[[], None] | None = None,
    ) -> Subscriber:
        """Joins the audience of what the arguments name. Raises ChannelError.

        `after` is a cursor: the reader has that state, and gets what happened since, or a snapshot.
        """
        if self.stopped:
            raise unavailable()
        instance = channel()
        pk = await authorize(instance, arguments, user, self.workers)
        await self._ensure_started()
        live = self._live(instance, pk)
        # joined before it is settled: a replica that nobody watches is let go
        subscriber = live.join(audience_key, projection, on_slow)
        try:
            cursor = Cursor.parse(after) if after else None
            if cursor is not None:
                await self._resume(live, subscriber, cursor)
            else:
                await live.settled()
        except BaseException:
            await subscriber.aclose()
            raise
        return subscriber

    async def read(
        self,
        channel: type[StateChannel],
        arguments: dict[str, Any],
        projection: Projection,
        user: Any,
    ) -> Payload:
        """The state once: from the replica where there is one, else loaded. Raises ChannelError."""
        instance = channel()
        pk = await authorize(instance, arguments, user, self.workers)
        live = self.replicas.get((channel, pk))
        if live is not None and self._connected:
            await live.settled()
            return projection.state(live.replica)
        replica = Replica(instance, pk)
        try:
            loaded = await self.workers.run(load, replica.wish())
        except Exception as error:
            logger.exception("%s could not be loaded.", replica.root_key)
            raise database_failed() from error
        if not replica.replace(loaded, 0, 0):
            broken = replica.root_key in replica.broken
            raise not_serialized() if broken else not_found(instance.graphql_name)
        return projection.state(replica)

    async def stop(self) -> None:
        """Ends every subscription with UNAVAILABLE, and all that the hub started."""
        self.stopped = True
        self._connected = False
        for handle in self._lingering.values():
            handle.cancel()
        # what is under way would leave its connection to a log that is closed
        loads = [live.stop(unavailable()) for live in list(self.replicas.values())]
        self.replicas.clear()
        for task in self._tasks:
            task.cancel()
        for task in (*self._tasks, *filter(None, loads)):
            with suppress(asyncio.CancelledError, Exception):
                await task
        if self._log is not None:
            await self._log.close()
        await self.workers.stop()

    def is_connected(self) -> bool:
        return self._connected

    @property
    def subscriber_count(self) -> int:
        return sum(
            len(audience.subscribers)
            for live in self.replicas.values()
            for audience in live.audiences.values()
        )

    # ------------------------------------------------------------------------------------------ resuming

    async def _resume(self, live: LiveReplica, subscriber: Subscriber, cursor: Cursor) -> None:
        """Finds the reader's state in the replica's history.

        Where there is none a snapshot follows, and it must not be older than what the reader has seen. So this
        process first takes all entries that the other one had. And what that one had loaded ahead of the log is seen
        by whoever reads after it: all is compared with the database, unless it was read later anyway.
        """
        await self._reach(cursor)
        await live.settled()
        serial = live.serial_of(cursor.digest)
        if serial is None and cursor.epoch == self._epoch and cursor.ahead >= live.read_at:
            await live.fresh()
            serial = live.serial_of(cursor.digest)
        if serial is not None:
            subscriber.resume(serial)

    async def _reach(self, cursor: Cursor) -> None:
        """Returns when this process has taken the entries that the cursor tells of."""
        if self._has(cursor):
            return
        assert self._log is not None
        try:
            position = await self._log.watch(())
        except LogUnavailableError as error:
            raise unavailable() from error
        self._take_position(position, ())
        if position.epoch != cursor.epoch or cursor.sequence > position.sequence:
            # of a history that has ended, or no position at all
            return
        for fetch in (False, True):
            if fetch:
                await self._log.hang_up()
            arrived = asyncio.get_running_loop().create_future()
            self._awaited.append((cursor, arrived))
            with suppress(TimeoutError):
                async with asyncio.timeout(ARRIVAL_SECONDS):
                    await arrived
                    return
        raise unavailable()

    def _has(self, cursor: Cursor) -> bool:
        return cursor.epoch == self._epoch and cursor.sequence <= self._sequence

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

    # ------------------------------------------------------------------------------------------ replicas

    def _live(self, channel: StateChannel, pk: str) -> LiveReplica:
        key = (type(channel), pk)
        if (handle := self._lingering.pop(key, None)) is not None:
            handle.cancel()
        live = self.replicas.get(key)
        if live is None or live.ended:
            labels = channel.tree.labels

            async def load_now(wanted: Wanted, held: Collection[str]) -> tuple[Loaded, int, int]:
                return await self._load(labels, wanted, held)

            live = LiveReplica(channel, pk, load_now, self._stand, self._unwatched)
            self.replicas[key] = live
            live.reload()
        return live

    def _unwatched(self, live: LiveReplica) -> None:
        """Nobody watches the replica, or it has ended: let it go, after a while in which someone may come back."""
        key = (type(live.replica.channel), live.replica.pk)
        if self.replicas.get(key) is not live or self.stopped:
            return
        if live.ended:
            self._let_go(key, live)
        elif key not in self._lingering:
            self._lingering[key] = asyncio.get_running_loop().call_later(
                settings.RX_LINGER, self._let_go, key, live
            )

    def _let_go(self, key: ReplicaKey, live: LiveReplica) -> None:
        self._lingering.pop(key, None)
        if not live.is_watched and self.replicas.get(key) is live:
            del self.replicas[key]
            live.stop(None)
            # a lease that nobody renews any more may lapse without anybody missing a commit
            for label in self._generations.keys() - set(self._labels()):
                del self._generations[label]

    def _stand(self) -> tuple[str, int]:
        return self._epoch, self._sequence

    def _labels(self) -> tuple[str, ...]:
        """What the replicas depend on."""
        return tuple(
            sorted({label for live in self.replicas.values() for label in live.replica.tree.labels})
        )

    async def _load(
        self, labels: tuple[str, ...], wanted: Wanted, held: Collection[str]
    ) -> tuple[Loaded, int, int]:
        """note -> read -> note. The interval says what is known of how new the rows are.

        Where nothing is held all is read, under a ticket of its own: later than whoever noted a lower one.
        """
        start = await self._note(labels, draw=not held)
        loaded = await self.workers.run(load, wanted, held)
        end = await self._note(labels)
        return loaded, start, end

    async def _note(self, labels: tuple[str, ...], draw: bool = False) -> int:
        """The counter, once no writer can rely any more on a promise that nobody watches the labels."""
        log = self._log
        if log is None:
            raise LogUnavailableError("The hub is not connected.")
        loop = asyncio.get_running_loop()
        while True:
            position = await log.watch(labels, draw)
            self._take_position(position, labels)
            wait = max(position.promised, self._promised_until - loop.time())
            if wait <= 0:
                return position.counter
            await asyncio.sleep(wait + 0.002)

    def _take_position(self, position: Position, labels: tuple[str, ...]) -> None:
        """A new epoch, or a lease that had lapsed, means that commits may have been skipped."""
        loop = asyncio.get_running_loop()
        if position.epoch != self._epoch:
            self._promise_by_clock()
            if self._epoch:
                loop.call_soon(self._begin_epoch, position)
        for label in labels:
            known = self._generations.get(label)
            found = position.generations[label]
            self._generations[label] = found
            if known is not None and known != found:
                self._promise_by_clock()
                loop.call_soon(self._reload, {label})

    def _promise_by_clock(self) -> None:
        """Promises may hold of which no key tells: their time is waited out."""
        self._promised_until = asyncio.get_running_loop().time() + PROMISE_SECONDS

    def _begin_epoch(self, position: Position) -> None:
        if position.epoch == self._epoch:
            return
        self._epoch, self._sequence, self._tail = position.epoch, position.sequence, 0
        self._highest = position.counter
        self._generations.clear()
        self._reload(None)

    def _reload(self, labels: set[str] | None) -> None:
        for live in list(self.replicas.values()):
            if labels is None or labels & set(live.replica.tree.labels):
                live.reload()

    # ------------------------------------------------------------------------------------------ the log

    async def _ensure_started(self) -> None:
        if self.is_connected():
            return
        asked = asyncio.get_running_loop().time()
        async with self._starting:
            if self.is_connected():
                return
            if self._refused_at > asked:
                # Who waited for the one that tried need not wait for as long again
                raise unavailable()
            try:
                if self._log is None:
                    url = settings.REDIS_URL
                    if not url:
                        url = await self.workers.run(embedded.ensure)
                        # writers that found no server a moment ago rely on that as on a promise
                        self._promise_by_clock()
                    self._log = HubLog(url)
                if not self._tasks:
                    await self._connect()
                    self._tasks = [
                        asyncio.create_task(self._listen()),
                        asyncio.create_task(self._look()),
                    ]
                else:
                    raise LogUnavailableError("The connection is being made again.")
            except LogUnavailableError as error:
                logger.warning("A subscriber was refused: %s", error)
                self._refused_at = asyncio.get_running_loop().time()
                raise unavailable() from error

    async def _connect(self) -> None:
        """Subscribes, confirmed, then sees where the log stands: nothing from there on is missed.

        What came meanwhile is in the stream. Leases that lapsed, and a new epoch, load the replicas anew.
        """
        assert self._log is not None
        await self._log.subscribe()
        labels = self._labels()
        position = await self._log.watch(labels)
        if not self._epoch:
            self._stand_at(position)
        else:
            self._take_position(position, labels)
            if position.epoch == self._epoch:
                await self._fill(position.sequence)
        self._tail = 0
        self._connected = True

    def _stand_at(self, position: Position) -> None:
        """The entry after that is the next."""
        self._epoch, self._sequence, self._tail = position.epoch, position.sequence, 0
        self._highest = max(self._highest, position.counter)
        self._arrive()

    async def _listen(self) -> None:
        assert self._log is not None
        while True:
            try:
                frame = await self._log.frame()
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
                self._reload(None)

    async def _connect_again(self) -> None:
        self._connected = False
        loop = asyncio.get_running_loop()
        away, pause = loop.time(), 0.05
        while True:
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 2, 5.0)
            try:
                await self._connect()
                break
            except LogUnavailableError as error:
                if not self._interrupted and loop.time() - away > AWAY_SECONDS:
                    logger.error("Redis is away: %s", error)
                    self._interrupted = True
                    for live in list(self.replicas.values()):
                        live.interrupt(unavailable())
        if self._interrupted:
            self._interrupted = False
            for live in list(self.replicas.values()):
                live.go_on()

    async def _fill(self, last: int) -> None:
        """Takes the entries up to that sequence from the stream; what it has no more is lost to us, and all are
        loaded anew. Raises LogUnavailableError."""
        assert self._log is not None
        while self._sequence < last:
            next_ = self._sequence + 1
            frames = await self._log.range(next_, last, PAGE)
            for frame in frames:
                if head(frame) != (self._sequence + 1, self._epoch):
                    break
                self._take(frame)
            if self._sequence < next_:
                logger.warning("Entries %d to %d are gone; all are loaded anew.", next_, last)
                self._sequence = last
                self._reload(None)
        self._arrive()

    def _take(self, frame: bytes) -> bool:
        """False if entries are missing before it."""
        sequence, epoch = head(frame)
        if epoch != self._epoch:
            # entries of an epoch that we have not seen begin
            self._promise_by_clock()
            self._epoch, self._sequence = epoch, sequence
            self._highest = 0
            self._generations.clear()
            self._reload(None)
        elif sequence <= self._sequence:
            return True
        elif sequence != self._sequence + 1:
            return False
        self._sequence = sequence
        entry = read(frame)
        if entry is None:
            # of another version: never guessed at
            self._reload(None)
        else:
            fresh = entry.ticket > self._highest
            self._highest = max(self._highest, entry.end)
            for live in list(self.replicas.values()):
                if entry.layout == registry.built.layout:
                    live.feed(entry, fresh)
                else:
                    # its rows are laid out in another way, and say only that something happened
                    live.refresh()
        if self._awaited:
            self._arrive()
        return True

    async def _look(self) -> None:
        """Keeps the leases, and looks at the log's end: a lost message after which nothing came is found here."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._connected or self._log is None:
                continue
            labels = self._labels()
            tail, self._tail = self._tail, 0
            try:
                position = await self._log.watch(labels)
                self._take_position(position, labels)
                if position.epoch == self._epoch:
                    if tail > self._sequence:
                        # perhaps the connection is half open: nothing that is sent arrives any more
                        logger.warning("The log's end did not arrive. Connecting again.")
                        await self._log.hang_up()
                    elif position.sequence < self._sequence:
                        logger.warning("The log's end went back; everything is loaded anew.")
                        self._stand_at(position)
                        self._reload(None)
                    self._tail = position.sequence
            except LogUnavailableError as error:
                logger.warning("The leases could not be renewed: %s", error)
                await self._log.hang_up()
            except Exception:
                logger.exception("The leases could not be renewed.")
            self._compare()

    def _compare(self) -> None:
        """Has replicas compared with the database whose turn it is: what no entry ever told is found here."""
        if not settings.RX_RECONCILE:
            return
        now = asyncio.get_running_loop().time()
        for live in self.replicas.values():
            pause = settings.RX_RECONCILE * (0.75 + random.random() / 2)
            if now >= self._compare_at.setdefault(live, now + pause):
                self._compare_at[live] = now + pause
                live.refresh()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def get_hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None or hub.stopped:
        hub = _hubs[loop] = Hub()
    return hub
