"""Whether the subscribers of one replica may still see it.

suspect()  something happened that may change the answer: until it is known nothing is given out
inspect()  from time to time, for what nobody told us of: meanwhile all goes on
           -> credentials, then has_permission(), once for each user -> released, or refused
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from rxgraphql.audience import PERMISSION, Subscriber
from rxgraphql.authorize import authorized_again, is_unknown
from rxgraphql.conf import settings
from rxgraphql.errors import ChannelError, ErrorCode, RefusedError
from rxgraphql.workers import workers

if TYPE_CHECKING:
    from rxgraphql.live import LiveReplica
    from rxgraphql.viewer import Viewer

logger = logging.getLogger("rxgraphql.guard")

# Seconds that events wait for an answer at most. A channel that takes longer to answer must not keep them for ever.
HOLD_MOST: Final = 0.5
# Seconds between two rounds for which no events wait, and at least so many times what the last one took.
ROUND_PAUSE: Final = 0.5
ROUND_SHARE: Final = 5
# Rounds in a second, though events wait: asking may itself be a reason to ask again.
MOST_ROUNDS: Final = 10
# Seconds before all are asked again after the database didn't answer, the first time and at most.
RETRY_FIRST, RETRY_MOST = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """`since`, of time.monotonic(): how old an answer of the credentials may be. `holds`: nothing is given out."""

    since: float
    holds: bool


class Guard:
    """One round at a time; who becomes suspect meanwhile is asked in the next."""

    def __init__(self, live: LiveReplica) -> None:
        # by time.monotonic(), when somebody's answer was last in doubt
        self.suspected_at = float("-inf")
        self._live = live
        # who is to be asked, and who is being asked
        self._todo: dict[Subscriber, Doubt] = {}
        self._asking: dict[Subscriber, Doubt] = {}
        # who waited for HOLD_MOST in vain: they are not held again before there is an answer
        self._overdue: WeakSet[Subscriber] = WeakSet()
        self._task: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._hurry = asyncio.Event()
        self._took = 0.0
        self._rested_at = float("-inf")
        # when the last rounds began
        self._rounds: deque[float] = deque(maxlen=MOST_ROUNDS)

    def suspect(self, users: Collection[str] | None = None) -> None:
        """All subscribers, or those of the users with these primary keys, may be without permission now."""
        self.suspected_at = time.monotonic()
        for subscriber in self._live.subscribers:
            if subscriber.viewer is None:
                continue
            if users is None or str(getattr(subscriber.viewer.user, "pk", None)) in users:
                self._suspect(subscriber)

    def admit(self, subscriber: Subscriber, since: float) -> None:
        """Takes a new subscriber, who was given permission after `since`."""
        if self.suspected_at >= since:
            self._suspect(subscriber)

    def inspect(self) -> None:
        """Has everyone asked, soon."""
        doubt = Doubt(time.monotonic() - settings.RX_RECHECK / 2, holds=False)
        for subscriber in self._live.subscribers:
            if subscriber.viewer is not None:
                self._todo.setdefault(subscriber, doubt)
        self._start()

    def stop(self) -> None:
        self._todo.clear()
        if self._task is not None:
            self._task.cancel()
        if self._patience is not None:
            self._patience.cancel()

    # ------------------------------------------------------------------------------------------ holding

    def _suspect(self, subscriber: Subscriber) -> None:
        self._todo[subscriber] = Doubt(time.monotonic(), holds=True)
        if subscriber not in self._overdue:
            subscriber.hold()
            self._hurry.set()
            self._be_patient(HOLD_MOST)
        self._start()

    def _be_patient(self, seconds: float) -> None:
        if self._patience is None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(seconds, self._lose_patience)

    def _lose_patience(self) -> None:
        """Lets those go on who have waited long enough. What is theirs no more they lose when the answer comes."""
        self._patience = None
        now = asyncio.get_running_loop().time()
        left = HOLD_MOST
        waiting = False
        for subscriber in {**self._asking, **self._todo}:
            # while the database doesn't answer nothing is given out at all
            if subscriber.held_at is None or subscriber.is_interrupted(PERMISSION):
                continue
            waits = now - subscriber.held_at
            if waits >= HOLD_MOST:
                self._overdue.add(subscriber)
                subscriber.release()
            else:
                waiting, left = True, min(left, HOLD_MOST - waits)
        if waiting:
            self._be_patient(left)

    # ------------------------------------------------------------------------------------------ asking

    def _start(self) -> None:
        if self._todo and self._task is None and not self._live.ended:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        retry = RETRY_FIRST
        try:
            while self._todo:
                pause = max(ROUND_PAUSE, ROUND_SHARE * self._took)
                await self._rest(self._rested_at + pause - time.monotonic())
                began = await self._turn()
                self._asking, self._todo = self._todo, {}
                unanswered = await self._round(self._asking)
                self._asking = {}
                self._rested_at = time.monotonic()
                self._took = self._rested_at - began
                if not unanswered:
                    retry = RETRY_FIRST
                    continue
                self._todo = {**unanswered, **self._todo}
                await self._rest(retry * (0.5 + random.random()))
                retry = min(retry * 2, RETRY_MOST)
        finally:
            self._asking = {}
            self._task = None

    async def _rest(self, seconds: float) -> None:
        """Not while somebody waits for an answer that the database can give."""
        self._hurry.clear()
        if any(one.is_held and not one.is_interrupted(PERMISSION) for one in self._todo):
            return
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._hurry.wait()

    async def _turn(self) -> float:
        """The time, when another round may begin."""
        if len(self._rounds) == MOST_ROUNDS:
            await asyncio.sleep(self._rounds[0] + 1 - time.monotonic())
        began = time.monotonic()
        self._rounds.append(began)
        return began

    async def _round(self, asked: dict[Subscriber, Doubt]) -> dict[Subscriber, Doubt]:
        """Asks for all of them; gives those who are to be asked for again."""
        viewers: dict[Viewer, list[Subscriber]] = {}
        for subscriber in asked:
            if subscriber.is_there and subscriber.viewer is not None:
                viewers.setdefault(subscriber.viewer, []).append(subscriber)
        replica = self._live.replica
        since = {viewer: max(asked[one].since for one in them) for viewer, them in viewers.items()}
        unanswered: dict[Subscriber, Doubt] = {}
        try:
            async for viewer, verdict in authorized_again(
                replica.channel, replica.pk, since, workers
            ):
                for subscriber in viewers.pop(viewer):
                    if is_unknown(verdict):
                        unanswered[subscriber] = asked[subscriber]
                    self._judge(subscriber, asked[subscriber], verdict)
        except Exception as error:
            if not isinstance(error, ChannelError):
                logger.exception("It can't be told who may see %s.", replica.root_key)
                error = ChannelError(ErrorCode.INTERNAL, "It can't be told who may see this.")
            for subscriber in (one for them in viewers.values() for one in them):
                unanswered[subscriber] = asked[subscriber]
                self._keep_waiting(subscriber, asked[subscriber], error)
            return unanswered
        if viewers:
            # The row is gone. The replica looks, and ends, or has them asked for again; what is held stays held
            self._live.refresh()
        return unanswered

    def _judge(
        self, subscriber: Subscriber, doubt: Doubt, verdict: ChannelError | RefusedError | None
    ) -> None:
        if verdict is None:
            if subscriber not in self._todo:
                self._overdue.discard(subscriber)
                subscriber.release()
                subscriber.go_on(PERMISSION)
        elif isinstance(verdict, ChannelError) and is_unknown(verdict):
            self._keep_waiting(subscriber, doubt, verdict)
        else:
            logger.info("%s is closed to a subscriber: %s", self._live.replica.root_key, verdict)
            subscriber.refuse(verdict)

    def _keep_waiting(self, subscriber: Subscriber, doubt: Doubt, error: ChannelError) -> None:
        """No answer is no permission: who was suspect gets nothing, and is told why."""
        if doubt.holds:
            subscriber.hold()
            if not subscriber.is_interrupted(PERMISSION):
                payload = subscriber.audience.projection.interruption(error)
                subscriber.interrupt(payload, PERMISSION)
