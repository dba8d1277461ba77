"""The one object of a serving process that owns the Redis connection, the replicas and, through them, the audiences.

subscribe(channel, arguments) -> authorize -> replica (one load per anchor) -> audience -> payloads
frame from pub/sub -> next sequence? -> every replica; a gap, a late confirmation or a new epoch reloads them all
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Container, Hashable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from rxgraphql import embedded
from rxgraphql.audience import Subscriber
from rxgraphql.authorize import authorize
from rxgraphql.channel import registry
from rxgraphql.conf import settings
from rxgraphql.errors import (
    LogUnavailableError,
    database_failed,
    not_found,
    not_serialized,
    unavailable,
)
from rxgraphql.hub_log import HubLog
from rxgraphql.live import LiveReplica
from rxgraphql.log import LEASE_MS, PROMISE_MS, Position, head, read
from rxgraphql.replica import Replica
from rxgraphql.snapshot import Loaded, Wanted, load
from rxgraphql.workers import workers

if TYPE_CHECKING:
    from rxgraphql.channel import StateChannel
    from rxgraphql.projection import Payload, Projection

logger = logging.getLogger("rxgraphql.hub")

RENEW_SECONDS = LEASE_MS / 1000 / 3
PROMISE_SECONDS = PROMISE_MS / 1000

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

    # ------------------------------------------------------------------------------------------ for the schema

    async def subscribe(
        self,
        channel: type[StateChannel],
        arguments: dict[str, Any],
        projection: Projection,
        audience_key: Hashable,
        user: Any,
    ) -> Subscriber:
        """Joins the audience of what the arguments name. Raises ChannelError."""
        if self.stopped:
            raise unavailable()
        instance = channel()
        pk = await authorize(instance, arguments, user, self.workers)
        await self._ensure_started()
        live = self._live(instance, pk)
        # joined before it is settled: a replica that nobody watches is let go
        subscriber = live.join(audience_key, projection)
        try:
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

    # ------------------------------------------------------------------------------------------ replicas

    def _live(self, channel: StateChannel, pk: str) -> LiveReplica:
        key = (type(channel), pk)
        if (handle := self._lingering.pop(key, None)) is not None:
            handle.cancel()
        live = self.replicas.get(key)
        if live is None or live.ended:
            labels = channel.tree.labels

            async def load_now(wanted: Wanted, held: Container[str]) -> tuple[Loaded, int, int]:
                return await self._load(labels, wanted, held)

            live = LiveReplica(channel, pk, load_now, self._cursor, self._unwatched)
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
            watched = {
                label for other in self.replicas.values() for label in other.replica.tree.labels
            }
            for label in self._generations.keys() - watched:
                del self._generations[label]

    def _cursor(self) -> str:
        return f"{registry.built.layout}.{self._epoch}.{self._sequence}"

    async def _load(
        self, labels: tuple[str, ...], wanted: Wanted, held: Container[str]
    ) -> tuple[Loaded, int, int]:
        """note -> read -> note. The interval says what is known of how new the rows are."""
        start = await self._note(labels)
        loaded = await self.workers.run(load, wanted, held)
        end = await self._note(labels)
        return loaded, start, end

    async def _note(self, labels: tuple[str, ...]) -> int:
        """The counter, once no writer can rely any more on a promise that nobody watches the labels."""
        log = self._log
        if log is None:
            raise LogUnavailableError("The hub is not connected.")
        loop = asyncio.get_running_loop()
        while True:
            position = await log.watch(labels)
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
                        asyncio.create_task(self._renew()),
                    ]
                else:
                    raise LogUnavailableError("The connection is being made again.")
            except LogUnavailableError as error:
                logger.warning("A subscriber was refused: %s", error)
                self._refused_at = asyncio.get_running_loop().time()
                raise unavailable() from error

    async def _connect(self) -> None:
        """Subscribes, confirmed, then notes where the log stands: what is loaded after that misses nothing."""
        assert self._log is not None
        await self._log.subscribe()
        await self._stand_at_end()
        self._connected = True

    async def _stand_at_end(self) -> None:
        """Notes where the log stands: the entry after that is the next."""
        assert self._log is not None
        position = await self._log.watch(())
        if self._epoch != position.epoch:
            if self._epoch:
                self._promise_by_clock()
            self._highest = 0
            self._generations.clear()
        self._epoch, self._sequence, self._tail = position.epoch, position.sequence, 0
        self._highest = max(self._highest, position.counter)

    async def _listen(self) -> None:
        assert self._log is not None
        while True:
            try:
                frame = await self._log.frame()
                if frame is None:
                    await self._catch_up("a late confirmation")
                else:
                    self._take(frame)
            except LogUnavailableError as error:
                logger.warning("%s Connecting again.", error)
                await self._connect_again()
            except Exception:
                logger.exception("An entry could not be taken; everything is loaded anew.")
                self._reload(None)

    async def _connect_again(self) -> None:
        self._connected = False
        pause = 0.05
        while True:
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 2, 5.0)
            try:
                await self._connect()
            except LogUnavailableError:
                continue
            self._reload(None)
            return

    async def _catch_up(self, reason: str) -> None:
        logger.warning("Entries may have been missed (%s); everything is loaded anew.", reason)
        await self._stand_at_end()
        self._reload(None)

    def _take(self, frame: bytes) -> None:
        sequence, epoch = head(frame)
        if epoch != self._epoch:
            # entries of an epoch that we have not seen begin
            self._promise_by_clock()
            self._epoch, self._sequence = epoch, sequence
            self._highest = 0
            self._generations.clear()
            self._reload(None)
        elif sequence <= self._sequence:
            return
        elif sequence != self._sequence + 1:
            logger.warning("Entries %d to %d are missing.", self._sequence + 1, sequence - 1)
            self._sequence = sequence
            self._reload(None)
        self._sequence = sequence
        entry = read(frame)
        if entry is None or entry.layout != registry.built.layout:
            # written by another version: never guessed at
            self._reload(None)
            return
        fresh = entry.ticket > self._highest
        self._highest = max(self._highest, entry.end)
        for live in list(self.replicas.values()):
            live.feed(entry, fresh)

    async def _renew(self) -> None:
        """Keeps the leases, and looks at the log's end: a lost message after which nothing came is found here."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if not self._connected or self._log is None:
                continue
            labels = tuple(
                sorted(
                    {label for live in self.replicas.values() for label in live.replica.tree.labels}
                )
            )
            tail, self._tail = self._tail, 0
            try:
                position = await self._log.watch(labels)
                self._take_position(position, labels)
                if position.epoch == self._epoch:
                    if tail > self._sequence:
                        # perhaps the connection is half open: nothing that is sent arrives any more
                        logger.warning("The log's end did not arrive. Connecting again.")
                        await self._log.hang_up()
                    self._tail = position.sequence
            except LogUnavailableError as error:
                logger.warning("The leases could not be renewed: %s", error)
            except Exception:
                logger.exception("The leases could not be renewed.")


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def get_hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None or hub.stopped:
        hub = _hubs[loop] = Hub()
    return hub
