"""The one object of a serving process that owns the Redis connection, the replicas and, through them, the audiences.

subscribe(channel, arguments) -> authorize -> replica (one load per anchor) -> audience -> payloads
follower: the next entry      -> every replica
          some were missed    -> those that depend on them are loaded anew
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Hashable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from django.db import DatabaseError

from rxgraphql import embedded
from rxgraphql.audience import Subscriber
from rxgraphql.authorize import authorize
from rxgraphql.conf import settings
from rxgraphql.cursor import Cursor
from rxgraphql.errors import (
    LogUnavailableError,
    database_failed,
    not_found,
    not_serialized,
    unavailable,
)
from rxgraphql.follower import Follower
from rxgraphql.live import LiveReplica
from rxgraphql.log import Entry
from rxgraphql.outbox import Drains
from rxgraphql.rechecks import Rechecked, suspects
from rxgraphql.replica import Replica
from rxgraphql.snapshot import Loaded, Wanted, load
from rxgraphql.viewer import Viewer
from rxgraphql.warm import Warmth
from rxgraphql.workers import end, workers

if TYPE_CHECKING:
    from rxgraphql.channel import StateChannel
    from rxgraphql.projection import Payload, Projection

logger = logging.getLogger("rxgraphql.hub")

ReplicaKey = tuple[type["StateChannel"], str]
Turns = WeakKeyDictionary[LiveReplica, float]


class Hub:
    """Everything that one event loop serves. Starts with the first subscriber."""

    def __init__(self) -> None:
        self.replicas: dict[ReplicaKey, LiveReplica] = {}
        self.workers = workers
        self.follower = Follower(self)
        self._warmth = Warmth(self.follower)
        # every serving process drains, whether or not anyone subscribes to it
        self.outbox = Drains()
        self._starting = asyncio.Lock()
        # when, by our own clock, Redis could last not be reached for a first subscriber
        self._refused_at = 0.0
        self._rechecked = Rechecked()
        self.stopped = False
        self._lingering: dict[ReplicaKey, asyncio.TimerHandle] = {}
        # by the loop's clock, when each replica is compared with the database next, and its subscribers are asked who
        # they are
        self._compare_at: Turns = WeakKeyDictionary()
        self._inspect_at: Turns = WeakKeyDictionary()

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
        """Joins the audience of what the arguments name. Raises ChannelError, and so does the subscriber when the user
        may not see it any more, or RefusedError when it is nobody any more.

        `user` is a user, or a Viewer. `after` is a cursor: the reader has that state, and gets what happened since,
        or a snapshot.
        """
        if self.stopped:
            raise unavailable()
        instance, viewer = channel(), Viewer.of(user)
        asked = time.monotonic()
        pk = await authorize(instance, arguments, await self._user(viewer), self.workers)
        await self._ensure_started()
        cursor = Cursor.parse(after) if after else None
        live = self._live(instance, pk, expects_cursors=cursor is not None)
        # joined before it is settled: a replica that nobody watches is let go
        subscriber = live.join(audience_key, projection, on_slow, viewer)
        live.guard.admit(subscriber, asked)
        try:
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
        pk = await authorize(instance, arguments, await self._user(Viewer.of(user)), self.workers)
        live = self.replicas.get((channel, pk))
        if live is not None and self.is_connected():
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

    async def _user(self, viewer: Viewer) -> Any:
        """The viewer's user, asked for again if somebody said that it may be another now."""
        since = self._rechecked.at(viewer.user)
        if not viewer.is_older(since):
            return viewer.user
        try:
            return await self.workers.run(viewer.look, since)
        except DatabaseError as error:
            logger.exception("It can't be told whether a user may still log in.")
            raise database_failed() from error

    async def stop(self) -> None:
        """Ends every subscription with UNAVAILABLE, and all that the hub started."""
        self.stopped = True
        async with self._starting:
            # who was about to start it has done so, and who comes now doesn't
            pass
        for handle in self._lingering.values():
            handle.cancel()
        await self._warmth.stop([live for live in self.replicas.values() if not live.ended])
        # what is under way would leave its connection to a log that is closed
        loads = [live.stop(unavailable()) for live in list(self.replicas.values())]
        self.replicas.clear()
        await end((*self.follower.hang_up(), *filter(None, loads)))
        await self.follower.close()
        await asyncio.to_thread(self.outbox.stop)
        await self.workers.stop()

    def is_connected(self) -> bool:
        return self.follower.connected

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
        begun = live.begun
        await self.follower.reach(cursor)
        await live.settled()
        if cursor.epoch == live.epoch and cursor.sequence <= self.follower.sequence:
            await live.reached(cursor.sequence)
        serial = live.history.serial_of(cursor.digest)
        if serial is None and not self._is_newer(live, cursor, begun):
            await live.fresh()
            serial = live.history.serial_of(cursor.digest)
        if serial is not None:
            subscriber.resume(serial)

    def _is_newer(self, live: LiveReplica, cursor: Cursor, begun: int) -> bool:
        """Whether all of the state was read after all that the reader has seen."""
        if live.done > begun:
            return True
        if live.is_to_compare:
            # an entry of another layout may have told the reader what is still to be looked up here
            return False
        if live.epoch != self.follower.epoch:
            # read before a history that the reader may know already, and about to be read again
            return False
        if cursor.epoch == live.epoch:
            return cursor.ahead < live.read_at
        # Of another history, whose numbers say nothing. Processes leave it within moments of each other, so that one
        # comparison is enough.
        return not live.is_first_of(cursor.epoch)

    # ------------------------------------------------------------------------------------------ replicas

    def _live(self, channel: StateChannel, pk: str, expects_cursors: bool) -> LiveReplica:
        key = (type(channel), pk)
        if (handle := self._lingering.pop(key, None)) is not None:
            handle.cancel()
        live = self.replicas.get(key)
        if live is None or live.ended:
            labels = channel.tree.labels

            async def load_now(wanted: Wanted, held: Collection[str]) -> tuple[Loaded, int, int]:
                return await self._load(labels, wanted, held)

            live = LiveReplica(
                channel, pk, load_now, self._stand, self._unwatched, self._warmth.restore
            )
            live.expects_cursors = expects_cursors
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
            self._warmth.leave(live)
            live.stop(None)
            # a lease that nobody renews any more may lapse without anybody missing a commit
            self.follower.forget(set(live.replica.tree.labels) - set(self.labels()))

    def _stand(self) -> tuple[str, int]:
        return self.follower.epoch, self.follower.sequence

    def labels(self) -> tuple[str, ...]:
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
        start = await self.follower.note(labels, draw=not held)
        loaded = await self.workers.run(load, wanted, held)
        end = await self.follower.note(labels)
        return loaded, start, end

    async def _ensure_started(self) -> None:
        if self.is_connected():
            return
        asked = asyncio.get_running_loop().time()
        async with self._starting:
            if self.is_connected():
                return
            if self.stopped:
                raise unavailable()
            if self._refused_at > asked:
                # Who waited for the one that tried need not wait for as long again
                raise unavailable()
            try:
                if self.follower.started:
                    raise LogUnavailableError("The connection is being made again.")
                await self.follower.start(settings.REDIS_URL or await self._embedded_url())
                # what was said before was not for us
                self._rechecked.add(None)
                self.outbox.start()
            except LogUnavailableError as error:
                logger.warning("A subscriber was refused: %s", error)
                self._refused_at = asyncio.get_running_loop().time()
                raise unavailable() from error

    async def _embedded_url(self) -> str:
        url = await self.workers.run(embedded.ensure)
        # writers that found no server a moment ago rely on that as on a promise
        self.follower.promised()
        return url

    # ------------------------------------------------------------------------------------------ for the follower

    def take(self, entry: Entry, fresh: bool) -> None:
        if entry.unknown:
            self._take_unknown(entry.unknown)
        for live in list(self.replicas.values()):
            live.feed(entry, fresh)

    def _take_unknown(self, labels: list[str]) -> None:
        users = suspects(labels)
        if users is None or users:
            self._rechecked.add(users)
            for live in self.replicas.values():
                live.guard.suspect(users)
        self.reload(set(labels))

    def reload(self, labels: set[str] | None) -> None:
        if labels is None:
            # some entries were missed
            self._rechecked.add(None)
        for live in list(self.replicas.values()):
            if labels is None or labels & set(live.replica.tree.labels):
                live.reload()

    def away(self) -> None:
        for live in list(self.replicas.values()):
            live.interrupt(unavailable())

    def back(self) -> None:
        for live in list(self.replicas.values()):
            live.go_on()

    async def looked(self) -> None:
        """Keeps the state cache warm. And what no entry ever told is found here: it has replicas compared with the
        database, and asks who may still see them, in turn."""
        try:
            await self._warmth.keep(self.replicas.values())
        except Exception:
            logger.exception("The state cache could not be kept warm.")
        for live in self._due(self._compare_at, settings.RX_RECONCILE):
            live.refresh()
        for live in self._due(self._inspect_at, settings.RX_RECHECK):
            live.guard.inspect()

    def _due(self, turns: Turns, seconds: float) -> list[LiveReplica]:
        """The replicas whose turn it is now; each again after so many seconds, more or less. 0: never."""
        if not seconds:
            return []
        now, due = asyncio.get_running_loop().time(), []
        for live in self.replicas.values():
            pause = seconds * (0.75 + random.random() / 2)
            if now >= turns.setdefault(live, now + pause):
                turns[live] = now + pause
                due.append(live)
        return due


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def get_hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None or hub.stopped:
        hub = _hubs[loop] = Hub()
    return hub
