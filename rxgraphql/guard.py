"""Whether the subscribers of one replica may still see it.

suspect()  something happened that may change the answer: nobody is told anything until it is known
inspect()  from time to time, for what nobody told us of: meanwhile all goes on
           -> credentials, then has_permission(), once for each user -> released, or refused
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from rxgraphql.authorize import authorized_again
from rxgraphql.conf import settings
from rxgraphql.errors import ChannelError, ErrorCode
from rxgraphql.workers import workers

if TYPE_CHECKING:
    from rxgraphql.audience import Subscriber
    from rxgraphql.live import LiveReplica
    from rxgraphql.viewer import Viewer

logger = logging.getLogger("rxgraphql.guard")

# Seconds that events may wait for the answers. Where asking all takes longer, they go on meanwhile,
HOLD_MOST: Final = 0.05
# and there is more time between two rounds: so many times what the last one took.
ROUND_SHARE: Final = 5
# Seconds before all are asked again after the database didn't answer, the first time and at most.
RETRY_FIRST, RETRY_MOST = 0.1, 5.0


class Guard:
    """One round at a time; who becomes suspect meanwhile is asked in the next."""

    def __init__(self, live: LiveReplica) -> None:
        # by time.monotonic(), when somebody's answer was last in doubt
        self.suspected_at = float("-inf")
        self._live = live
        # who is to be asked, and how old an answer of their credentials may be
        self._todo: dict[Subscriber, float] = {}
        self._told: set[Subscriber] = set()
        self._task: asyncio.Task[None] | None = None
        self._took = 0.0
        self._rested_at = float("-inf")

    def suspect(self, users: Collection[str] | None = None) -> None:
        """All subscribers, or those of the users with these primary keys, may be without permission now."""
        now = self.suspected_at = time.monotonic()
        for subscriber in self._live.subscribers:
            if subscriber.viewer is None:
                continue
            if users is None or str(getattr(subscriber.viewer.user, "pk", None)) in users:
                self._suspect(subscriber, now)

    def admit(self, subscriber: Subscriber, since: float) -> None:
        """Takes a new subscriber, who was given permission after `since`."""
        if self.suspected_at >= since:
            self._suspect(subscriber, time.monotonic())

    def inspect(self) -> None:
        """Has everyone asked, soon."""
        since = time.monotonic() - settings.RX_RECHECK / 2
        for subscriber in self._live.subscribers:
            if subscriber.viewer is not None:
                self._todo.setdefault(subscriber, since)
        self._start()

    def stop(self) -> None:
        self._todo.clear()
        if self._task is not None:
            self._task.cancel()

    def _suspect(self, subscriber: Subscriber, now: float) -> None:
        self._todo[subscriber] = now
        if self._took <= HOLD_MOST:
            subscriber.hold()
        self._start()

    def _start(self) -> None:
        if self._todo and self._task is None and not self._live.ended:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        pause = RETRY_FIRST
        try:
            while self._todo:
                if not any(subscriber.is_held for subscriber in self._todo):
                    await asyncio.sleep(self._rested_at + ROUND_SHARE * self._took - _now())
                todo, self._todo = self._todo, {}
                began = _now()
                try:
                    await self._round(todo)
                except Exception as error:
                    self._failed(todo, error)
                    await asyncio.sleep(pause * (0.5 + random.random()))
                    pause = min(pause * 2, RETRY_MOST)
                    continue
                pause = RETRY_FIRST
                self._rested_at = _now()
                self._took = self._rested_at - began
        finally:
            self._task = None

    async def _round(self, todo: dict[Subscriber, float]) -> None:
        viewers: dict[Viewer, list[Subscriber]] = {}
        for subscriber in todo:
            if subscriber.is_there and subscriber.viewer is not None:
                viewers.setdefault(subscriber.viewer, []).append(subscriber)
        replica = self._live.replica
        since = {viewer: max(todo[one] for one in found) for viewer, found in viewers.items()}
        async for viewer, refusal in authorized_again(replica.channel, replica.pk, since, workers):
            for subscriber in viewers.pop(viewer):
                if refusal is not None:
                    logger.info("%s is closed to a subscriber: %s", replica.root_key, refusal)
                    subscriber.refuse(refusal)
                else:
                    self._release(subscriber)
        # the row is gone: the replica hears of it, and tells
        for left in viewers.values():
            for subscriber in left:
                self._release(subscriber)

    def _release(self, subscriber: Subscriber) -> None:
        if subscriber in self._todo:
            # suspect again since it was asked
            return
        subscriber.release()
        if subscriber in self._told:
            self._told.discard(subscriber)
            subscriber.go_on()

    def _failed(self, todo: dict[Subscriber, float], error: Exception) -> None:
        """Whoever waits for the answer is told that it has to, and is asked again."""
        if not isinstance(error, ChannelError):
            logger.error("Who may see %s?", self._live.replica.root_key, exc_info=error)
            error = ChannelError(ErrorCode.INTERNAL, "It can't be told who may see this.")
        self._todo = {**todo, **self._todo}
        self._told = {subscriber for subscriber in self._told if subscriber.is_there}
        for subscriber in todo:
            if subscriber.is_held and subscriber not in self._told:
                self._told.add(subscriber)
                subscriber.interrupt(subscriber.audience.projection.interruption(error))


def _now() -> float:
    return time.monotonic()
