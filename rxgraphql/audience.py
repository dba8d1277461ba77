"""Who shares one execution: the subscribers of equal documents of equal viewers at one replica."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from typing import TYPE_CHECKING, Final

from rxgraphql.conf import settings
from rxgraphql.errors import ChannelError, ErrorCode, RefusedError

if TYPE_CHECKING:
    from rxgraphql.change import Change
    from rxgraphql.live import LiveReplica
    from rxgraphql.projection import Payload, Projection
    from rxgraphql.viewer import Viewer

# Ways from former states that are kept for the next who comes with the same, until something changes
MOST_WAYS: Final = 16

# What keeps events away from a subscriber: the log can't be reached, or nobody knows whether it may have them
LOG: Final = "log"
PERMISSION: Final = "permission"

logger = logging.getLogger("rxgraphql.audience")


class Audience:
    """Projects and encodes each event once for all of its subscribers."""

    def __init__(self, live: LiveReplica, key: Hashable, projection: Projection) -> None:
        self.live = live
        self.key = key
        self.projection = projection
        self.subscribers: dict[Subscriber, None] = {}
        self._snapshot: Payload | None = None
        # by the serial of the state that the subscriber had
        self._ways: dict[int, Payload | None] = {}

    def tell(self, change: Change) -> None:
        """Hands the change to everyone who has the state before it."""
        self._forget()
        listeners = [subscriber for subscriber in self.subscribers if subscriber.is_current]
        if not listeners:
            return
        try:
            payload = self.projection.change(change, self.live.replica, self.live.cursor)
        except Exception:
            logger.exception("A change of %s can't be projected.", self.live.replica.root_key)
            self.end(ChannelError(ErrorCode.INTERNAL, "The change can't be shown."))
            return
        if payload is not None:
            serial = self.live.history.serial
            for subscriber in listeners:
                subscriber.push(payload, serial)

    def restart(self) -> None:
        """The state was loaded anew: everyone gets a snapshot."""
        self._forget()
        for subscriber in self.subscribers:
            subscriber.want_snapshot()

    def interrupt(self, error: ChannelError) -> None:
        """Tells that nothing comes for now. Everyone keeps what it has, and hears when it goes on."""
        payload = self.projection.interruption(error)
        for subscriber in self.subscribers:
            subscriber.interrupt(payload)

    def go_on(self) -> None:
        for subscriber in self.subscribers:
            subscriber.go_on()

    def end(self, error: ChannelError | None) -> None:
        for subscriber in list(self.subscribers):
            subscriber.end(error)

    def snapshot(self) -> Payload:
        """The state as it is now, projected once for all who ask between two events."""
        if self._snapshot is None:
            self._snapshot = self.projection.snapshot(self.live.replica, self.live.cursor)
        return self._snapshot

    def since(self, serial: int) -> Payload | None:
        """The way from that state to the one now, in one event; None where only a snapshot leads there."""
        if serial not in self._ways:
            while len(self._ways) >= MOST_WAYS:
                del self._ways[next(iter(self._ways))]
            change = self.live.history.since(serial)
            self._ways[serial] = (
                None
                if change is None
                else self.projection.change(
                    change, self.live.replica, self.live.cursor, resumed=True
                )
            )
        return self._ways[serial]

    def _forget(self) -> None:
        self._snapshot = None
        self._ways.clear()


class Subscriber:
    """One reader of an audience: an async iterator of payloads, a snapshot first, or what happened `since` a state
    of the replica's history.

    At most RX_MAX_PENDING events wait for a slow reader; then they are dropped for one that has the newest of each
    node. If it takes none for RX_SLOW_TIMEOUT seconds after that, `on_slow` is called and the iteration ends. It
    ends when the anchor is gone too, and raises ChannelError when the channel can't go on.
    """

    def __init__(
        self,
        audience: Audience,
        on_slow: Callable[[], None] | None = None,
        viewer: Viewer | None = None,
    ) -> None:
        self.audience = audience
        self.on_slow = on_slow
        # who is asked for permission again; None: nobody has to
        self.viewer = viewer
        # nothing is given out until it is known whether the viewer may still see it; since when, by the loop's clock
        self.held_at: float | None = None
        self._pending: deque[tuple[Payload, int]] = deque()
        self._most = settings.RX_MAX_PENDING
        # the state that the reader has; None: a snapshot must come first
        self._serial: int | None = None
        # the events since then were not kept
        self._behind = False
        self._behind_since = 0.0
        # the reader waits for us
        self._waits = False
        # what keeps events away, by its cause, and what is to be told of it
        self._troubles: dict[str, Payload] = {}
        self._interruption: Payload | None = None
        self._interrupted = False
        self._ended = False
        self._error: ChannelError | RefusedError | None = None
        self._wake = asyncio.Event()
        self._wake.set()
        audience.subscribers[self] = None

    @property
    def is_current(self) -> bool:
        """Whether the next event continues what the reader has or is about to take."""
        if self._behind_since:
            self._look_at_the_clock()
        return self._serial is not None and not self._behind

    def resume(self, serial: int) -> None:
        """The reader has the state of that serial: it needs no snapshot."""
        self._serial = serial
        self._behind = True

    def push(self, payload: Payload, serial: int) -> None:
        if self._ended:
            return
        if len(self._pending) >= self._most:
            self._pending.clear()
            self._behind = True
            self._behind_since = asyncio.get_running_loop().time()
            return
        self._pending.append((payload, serial))
        self._wake.set()

    def want_snapshot(self) -> None:
        self._pending.clear()
        if self._serial is not None:
            self._behind_since = asyncio.get_running_loop().time()
        self._serial = None
        self._behind = False
        self._wake.set()

    def interrupt(self, payload: Payload, cause: str = LOG) -> None:
        self._troubles[cause] = self._interruption = payload
        self._wake.set()

    def go_on(self, cause: str = LOG) -> None:
        """What was interrupted goes on. Who was told hears of it, even if nothing happened."""
        self._troubles.pop(cause, None)
        if self._troubles:
            if self._interruption is not None:
                self._interruption = next(reversed(self._troubles.values()))
            return
        self._interruption = None
        if self._interrupted:
            self._interrupted = False
            self._behind = self._behind or self._serial is not None
            self._wake.set()

    def is_interrupted(self, cause: str) -> bool:
        return cause in self._troubles

    def hold(self) -> None:
        if self.held_at is None:
            self.held_at = asyncio.get_running_loop().time()

    def release(self) -> None:
        if self.held_at is not None:
            self.held_at = None
            self._wake.set()

    @property
    def is_held(self) -> bool:
        return self.held_at is not None

    def refuse(self, error: ChannelError | RefusedError) -> None:
        """The viewer may not see it any more, nor what waits."""
        self._pending.clear()
        self.end(error)

    def end(self, error: ChannelError | RefusedError | None) -> None:
        self._ended = True
        self._error = error
        if self.is_held:
            self._pending.clear()
        self._wake.set()

    @property
    def is_there(self) -> bool:
        return not self._ended

    def __aiter__(self) -> AsyncIterator[Payload]:
        return self

    async def __anext__(self) -> Payload:
        while True:
            if self._interruption is not None and not self._ended:
                payload, self._interruption = self._interruption, None
                self._interrupted = True
                return payload
            if self.is_held and not self._ended:
                await self._sleep()
                continue
            if (self._serial is None or self._behind) and not self._ended:
                self._waits = True
                try:
                    await self.audience.live.settled(patient=True, unless=self._is_told)
                finally:
                    self._waits = False
                if self._interruption is not None or self.is_held:
                    continue
                if not self._ended:
                    return self._caught_up()
            if self._pending:
                payload, self._serial = self._pending.popleft()
                return payload
            if self._ended:
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                raise StopAsyncIteration
            await self._sleep()

    async def _sleep(self) -> None:
        self._waits = True
        try:
            self._wake.clear()
            await self._wake.wait()
        finally:
            self._waits = False

    def _caught_up(self) -> Payload:
        """The one event after which the reader has the state as it is now."""
        payload = None if self._serial is None else self.audience.since(self._serial)
        self._serial = self.audience.live.history.serial
        self._behind = False
        self._behind_since = 0.0
        self._pending.clear()
        return payload or self.audience.snapshot()

    def _is_told(self) -> bool:
        return self._interruption is not None

    def _look_at_the_clock(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._waits:
            self._behind_since = now
        if now - self._behind_since < settings.RX_SLOW_TIMEOUT:
            return
        if not self._ended:
            logger.warning("A reader of %s is too slow.", self.audience.live.replica.root_key)
            self.end(ChannelError(ErrorCode.LIMIT_EXCEEDED, "You read too slowly."))
            if self.on_slow is not None:
                self.on_slow()

    async def aclose(self) -> None:
        self.end(None)
        self.audience.live.leave(self)
