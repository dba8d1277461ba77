"""Who shares one execution: the subscribers of equal documents of equal viewers at one replica."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Hashable
from typing import TYPE_CHECKING

from rxgraphql.conf import settings
from rxgraphql.errors import ChannelError, ErrorCode

if TYPE_CHECKING:
    from rxgraphql.change import Change
    from rxgraphql.errors import ChannelError
    from rxgraphql.live import LiveReplica
    from rxgraphql.projection import Payload, Projection

logger = logging.getLogger("rxgraphql.audience")


class Audience:
    """Projects and encodes each event once for all of its subscribers."""

    def __init__(self, live: LiveReplica, key: Hashable, projection: Projection) -> None:
        self.live = live
        self.key = key
        self.projection = projection
        self.subscribers: dict[Subscriber, None] = {}
        self._snapshot: Payload | None = None

    def tell(self, change: Change, cursor: str) -> None:
        """Hands the change to everyone whose snapshot is taken."""
        self._snapshot = None
        listeners = [subscriber for subscriber in self.subscribers if not subscriber.wants_snapshot]
        if listeners:
            try:
                payload = self.projection.change(change, self.live.replica, cursor)
            except Exception:
                logger.exception("A change of %s can't be projected.", self.live.replica.root_key)
                self.end(ChannelError(ErrorCode.INTERNAL, "The change can't be shown."))
                return
            if payload is not None:
                for subscriber in listeners:
                    subscriber.push(payload)

    def restart(self) -> None:
        """The state was loaded anew: everyone gets a snapshot."""
        self._snapshot = None
        for subscriber in self.subscribers:
            subscriber.want_snapshot()

    def end(self, error: ChannelError | None) -> None:
        for subscriber in list(self.subscribers):
            subscriber.end(error)

    def snapshot(self) -> Payload:
        """The state as it is now, projected once for all who ask between two events."""
        if self._snapshot is None:
            self._snapshot = self.projection.snapshot(self.live.replica, self.live.cursor)
        return self._snapshot


class Subscriber:
    """One reader of an audience: an async iterator of payloads, a snapshot first.

    At most RX_MAX_PENDING events wait for a slow reader; then they are dropped and it gets a snapshot, which has
    all of them. The iteration ends when the anchor is gone, and raises ChannelError when the channel can't go on.
    """

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.wants_snapshot = True
        self._pending: deque[Payload] = deque()
        self._most = settings.RX_MAX_PENDING
        self._ended = False
        self._error: ChannelError | None = None
        self._wake = asyncio.Event()
        self._wake.set()
        audience.subscribers[self] = None

    def push(self, payload: Payload) -> None:
        if len(self._pending) >= self._most:
            self.want_snapshot()
            return
        self._pending.append(payload)
        self._wake.set()

    def want_snapshot(self) -> None:
        self._pending.clear()
        self.wants_snapshot = True
        self._wake.set()

    def end(self, error: ChannelError | None) -> None:
        self._ended = True
        self._error = error
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[Payload]:
        return self

    async def __anext__(self) -> Payload:
        while True:
            if self.wants_snapshot and not self._ended:
                await self.audience.live.settled(patient=True)
                if not self._ended:
                    self.wants_snapshot = False
                    return self.audience.snapshot()
            if self._pending:
                return self._pending.popleft()
            if self._ended:
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()

    async def aclose(self) -> None:
        self.end(None)
        self.audience.live.leave(self)
