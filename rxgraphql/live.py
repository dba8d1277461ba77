"""A replica that is kept current: entries in, loads on the way, changes out to its audiences.

    feed(entry) -> apply -> loads until nothing is missing -> finish -> Change -> history, every audience
    reload()    -> the whole state loaded in its place -> a snapshot for everyone
    refresh()   -> the whole state loaded and compared -> Change, like any other

One thing at a time: while a load is under way the entries that come wait.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from rxgraphql.audience import Audience, Subscriber
from rxgraphql.change import Change
from rxgraphql.channel import registry
from rxgraphql.cursor import Cursor
from rxgraphql.errors import (
    ChannelError,
    LogUnavailableError,
    database_failed,
    not_found,
    not_serialized,
    unavailable,
)
from rxgraphql.guard import Guard
from rxgraphql.history import History
from rxgraphql.log import Entry, read
from rxgraphql.replica import Replica
from rxgraphql.snapshot import Loaded, Wanted

if TYPE_CHECKING:
    from rxgraphql.blob import Mark, Saved
    from rxgraphql.channel import StateChannel
    from rxgraphql.projection import Projection
    from rxgraphql.viewer import Viewer

logger = logging.getLogger("rxgraphql.live")

# Seconds before a row whose serializer raised is read again, the first time and at most
RETRY_FIRST, RETRY_MOST = 1.0, 60.0
# Seconds between two loads of the whole state, the first time and at most
RELOAD_FIRST, RELOAD_MOST = 0.1, 5.0
# Loads of a part of the state that may fail before the whole is loaded instead
MOST_ATTEMPTS = 4
# Seconds between two comparisons with the database that nobody waits for
REFRESH_PAUSE = 0.5
# and at least so many times as long as the last one took
REFRESH_SHARE = 5
# Entries that wait for a load; when there are more, the state is loaded whole instead
MOST_WAITING = 10_000

# (wishes, keys held) -> what was found, and the interval (start, end] of the counter in which it was read
Load = Callable[[Wanted, Collection[str]], Awaitable[tuple[Loaded, int, int]]]
# () -> (epoch, sequence) of the last entry that the hub has taken
Stand = Callable[[], tuple[str, int]]
# Whether the replica, which calls restore(), has its state from another process; if not, it loads
Warm = Callable[["LiveReplica"], Awaitable[bool]]


class LiveReplica:
    """One anchor's replica, its waiting entries and its audiences. Lives on the event loop's thread."""

    def __init__(
        self,
        channel: StateChannel,
        pk: str,
        load: Load,
        stand: Stand,
        on_end: Callable[[LiveReplica], None],
        warm: Warm,
    ) -> None:
        self.replica = Replica(channel, pk)
        self.audiences: dict[Hashable, Audience] = {}
        self._layout = registry.built.layout
        self.history = History(self.replica, f"{self._layout} {channel.field_name} {pk}")
        self.guard = Guard(self)
        # an entry tells of the anchor's row, whether or not anything is different
        self._anchor_written = False
        self.ended = False
        # where the state stands: the last entry that was applied, and its epoch
        self.epoch = ""
        self.sequence = 0
        # the ticket drawn before the whole state was last read from the database
        self.read_at = 0
        # epochs besides ours of which someone came with a cursor
        self._foreign: list[str] = []
        # someone waits who wants to resume: our states from the first on have digests
        self.expects_cursors = False
        self._load_now = load
        self._stand = stand
        self._on_end = on_end
        self._warm = warm
        self._waiting: deque[tuple[Entry, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._servable = False
        # how many wait for entries to be applied
        self._awaited = 0
        # set when there is a state to serve, a failure to tell, or an end; then another one takes its place
        self._news = asyncio.Event()
        self._reloading = False
        self._reload_again = False
        self._retry: asyncio.TimerHandle | None = None
        self._retry_after = RETRY_FIRST
        self._loaded_once = False
        self._failure: ChannelError | None = None
        # loads of the whole state: how many began, and the last of them that is done
        self.begun = self.done = 0
        self._refresh_asked = False
        self._refresh_error: ChannelError | None = None
        self._refreshed_at = 0.0
        self._refresh_pause = 0.0
        self._refresh_took = 0.0
        self._refresh_timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------ readers

    async def settled(
        self, patient: bool = False, unless: Callable[[], bool] = lambda: False
    ) -> None:
        """Returns when the state is one that may be served, or `unless` holds. Raises ChannelError when there is none.

        Who has a state already is `patient`: a load that failed is tried again for as long as it takes.
        """
        while not unless():
            if self._failure is not None and (self.ended or not patient):
                raise self._failure
            if self._servable or self.ended:
                return
            await self._news.wait()

    async def fresh(self) -> None:
        """Returns when all of the state has been compared with the database since the call. Raises ChannelError."""
        number = self.begun + 1
        self._refresh_asked = True
        self._drain()
        while self.done < number and not self.ended:
            if self._refresh_error is not None and self.begun >= number:
                raise self._refresh_error
            if self._failure is not None:
                raise self._failure
            await self._news.wait()
        await self.settled()

    async def reached(self, sequence: int) -> None:
        """Returns when the entries up to that one, which the hub has taken, are applied or were read from the
        database; then the state may be served. Raises ChannelError."""
        self._awaited += 1
        try:
            while self.sequence < sequence and not self.ended:
                if self._failure is not None:
                    raise self._failure
                await self._news.wait()
        finally:
            self._awaited -= 1
        await self.settled()

    def join(
        self,
        key: Hashable,
        projection: Projection,
        on_slow: Callable[[], None] | None = None,
        viewer: Viewer | None = None,
    ) -> Subscriber:
        audience = self.audiences.get(key)
        if audience is None:
            audience = self.audiences[key] = Audience(self, key, projection)
        return Subscriber(audience, on_slow, viewer)

    def leave(self, subscriber: Subscriber) -> None:
        audience = subscriber.audience
        audience.subscribers.pop(subscriber, None)
        if not audience.subscribers and self.audiences.get(audience.key) is audience:
            del self.audiences[audience.key]
            if not self.audiences:
                self._on_end(self)

    @property
    def subscribers(self) -> Iterator[Subscriber]:
        for audience in list(self.audiences.values()):
            yield from list(audience.subscribers)

    @property
    def is_watched(self) -> bool:
        return bool(self.audiences)

    @property
    def is_still(self) -> bool:
        """Whether all that was fed is applied, and nothing is being loaded or about to be."""
        still = self._task is None and self._servable
        return still and not self._waiting and not self.is_to_compare

    @property
    def is_to_compare(self) -> bool:
        """Whether the state is about to be compared with the database."""
        return self._refresh_asked or self._refresh_timer is not None

    def is_first_of(self, epoch: str) -> bool:
        """Whether nobody has come with a cursor of that epoch lately; the last four epochs are remembered."""
        if epoch in self._foreign:
            return False
        self._foreign = [*self._foreign[-3:], epoch]
        return True

    @property
    def labels(self) -> tuple[str, ...]:
        return self.replica.tree.labels

    @property
    def anchor(self) -> tuple[str, str]:
        return self.replica.channel.field_name, self.replica.pk

    @property
    def cache_ttl(self) -> float:
        return self.replica.channel.cache_ttl

    async def restore(self, mark: Mark, saved: Saved, frames: list[bytes]) -> bool:
        """Takes the state that another process had, and the entries after it. False: it must be loaded after all."""
        self._stop_if_cancelled()
        self.replica.restore(saved)
        self.history.restart()
        if self.expects_cursors:
            self.history.digest()
        self.epoch, self.sequence, highest = mark.epoch, mark.sequence, mark.highest
        for frame in frames:
            entry = read(frame)
            if entry is None or entry.layout != self._layout:
                return False
            if (entry.epoch, entry.sequence) != (self.epoch, self.sequence + 1):
                return False
            fresh, highest = entry.ticket > highest, max(highest, entry.end)
            self.sequence = entry.sequence
            if self.replica.concerns(entry):
                wanted = self.replica.apply(entry, fresh)
                while wanted:
                    loaded, start, end = await self._load(wanted, self.replica.nodes)
                    wanted = self.replica.absorb(loaded, start, end)
                change = self.replica.finish()
                if self.replica.must_reload:
                    return False
                if change:
                    self.history.record(change)
        if self.replica.root is None:
            return False
        self._loaded_once = True
        self.guard.suspect()
        self._schedule_retry()
        return True

    def cursor(self) -> str:
        """Of the state as it is now."""
        ahead = self.replica.loaded_end
        return str(Cursor(self.epoch, self.sequence, ahead, self.history.digest()))

    # ------------------------------------------------------------------------------------------ entries

    def feed(self, entry: Entry, fresh: bool) -> None:
        """Takes the next entry of the log; called in the log's order."""
        if self.ended:
            return
        if len(self._waiting) >= MOST_WAITING:
            self.reload()
            return
        self._waiting.append((entry, fresh))
        if self._task is None:
            self._drain()

    def reload(self) -> None:
        """The state is loaded anew from the database, and every subscriber gets a snapshot."""
        if self.ended:
            return
        self._waiting.clear()
        if self._reloading and self._failure is None:
            # Not from the start: where reasons come faster than loads, nobody would ever get a state
            self._reload_again = True
            return
        if self._task is not None:
            self._task.cancel()
        self._start(self._reload)

    def refresh(self) -> None:
        """The state is compared with the database, soon; every subscriber gets the difference, if there is one."""
        if self.ended or self._refresh_asked or self._refresh_timer is not None:
            return
        loop = asyncio.get_running_loop()
        # where it takes long there is more time in between: it must not be all that the database does
        pause = max(REFRESH_PAUSE, REFRESH_SHARE * self._refresh_took)
        wait = self._refreshed_at + pause * (0.75 + random.random() / 2) - loop.time()
        if wait > 0:
            self._refresh_timer = loop.call_later(wait, self._refresh_now)
        else:
            self._refresh_now()

    def _refresh_now(self) -> None:
        self._refresh_timer = None
        if self.ended:
            return
        self._refresh_asked = True
        self._drain()

    def interrupt(self, error: ChannelError) -> None:
        """Tells all subscribers that nothing comes for now."""
        for audience in list(self.audiences.values()):
            audience.interrupt(error)
        # also those who wait for a state
        self._tell_news()

    def go_on(self) -> None:
        for audience in list(self.audiences.values()):
            audience.go_on()

    def stop(self, error: ChannelError | None) -> asyncio.Task[None] | None:
        """Ends it for all subscribers; gives what was under way and is being cancelled."""
        self.ended = True
        self.guard.stop()
        self._failure = error or self._failure
        if self._task is not None:
            self._task.cancel()
        for timer in (self._retry, self._refresh_timer):
            if timer is not None:
                timer.cancel()
        for audience in list(self.audiences.values()):
            audience.end(error)
        self._tell_news()
        return self._task

    async def _load(self, wanted: Wanted, held: Collection[str]) -> tuple[Loaded, int, int]:
        """Reads what is wanted, for the task that is under way.

        A task that was cancelled may not notice: Python 3.11's asyncio.wait_for(), in which redis-py waits, swallows
        that when its answer comes in the same moment. It must not touch the state that another one sees to now.
        """
        try:
            return await self._load_now(wanted, held)
        finally:
            self._stop_if_cancelled()

    def _stop_if_cancelled(self) -> None:
        if self._task is not asyncio.current_task():
            raise asyncio.CancelledError

    def _tell_news(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _drain(self) -> None:
        while self._task is None and not self.ended:
            if self._refresh_asked:
                self._start(self._refresh)
                return
            if not self._waiting:
                if self._awaited:
                    self._tell_news()
                return
            entry, fresh = self._waiting.popleft()
            if entry.sequence <= self.sequence:
                # the state was read or taken over after it
                continue
            self.sequence = entry.sequence
            if entry.layout != self._layout:
                # Its rows are laid out in another way, and say only that something happened to these labels
                if not entry.labels or not set(entry.labels).isdisjoint(self.labels):
                    self.refresh()
                continue
            if not self.replica.concerns(entry):
                continue
            self._anchor_written |= self.replica.is_anchor_in(entry)
            wanted = self.replica.apply(entry, fresh)
            if wanted:
                self._start(partial(self._settle, wanted))
            else:
                self._tell()

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                try:
                    await work()
                finally:
                    if self._task is task:
                        self._rest()
                # First those who wait for a state: where each entry needs a load, they would never get one
                await asyncio.sleep(0)
                if self._task is None:
                    self._drain()
            except Exception:
                # nobody else hears of it, and the subscribers would miss a change
                logger.exception("%s is loaded anew, after an error.", self.replica.root_key)
                self.reload()

        task = asyncio.create_task(run())
        self._task = task
        self._servable = False

    def _rest(self) -> None:
        """Nothing is under way: the state may be served."""
        self._task = None
        self._servable = True
        self._tell_news()

    async def _settle(self, wanted: Wanted) -> None:
        """Loads until nothing that the event leads to is missing, then tells it whole."""
        try:
            while wanted:
                loaded, start, end = await self._load_patiently(wanted)
                wanted = self.replica.absorb(loaded, start, end)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("%s could not be brought up to date.", self.replica.root_key)
            await self._reload()
            return
        self._rest()
        self._tell()

    async def _load_patiently(self, wanted: Wanted) -> tuple[Loaded, int, int]:
        """Whatever fails for a while must not cost every subscriber a snapshot; whoever comes meanwhile is told."""
        pause, attempts = RELOAD_FIRST, 0
        while True:
            try:
                found = await self._load(wanted, self.replica.nodes)
            except LogUnavailableError:
                self._failure = unavailable()
            except Exception:
                attempts += 1
                if attempts == MOST_ATTEMPTS:
                    raise
                logger.exception("A part of %s could not be loaded.", self.replica.root_key)
                self._failure = database_failed()
            else:
                self._failure = None
                return found
            self._tell_news()
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 2, RELOAD_MOST)

    def _tell(self) -> None:
        change: Change = self.replica.finish()
        if self.replica.must_reload:
            self.reload()
            return
        self._suspect_after(change)
        if change:
            self.history.record(change)
            for audience in list(self.audiences.values()):
                audience.tell(change)
        if self.replica.root is None:
            self._gone()
            return
        self._schedule_retry()

    def _suspect_after(self, change: Change) -> None:
        """Of the anchor's own row, and of its many-to-many links, permissions are made most often."""
        root = self.replica.root
        written, self._anchor_written = self._anchor_written, False
        if root is not None and (written or change.edges.get(root, 0) & root.type.links):
            self.guard.suspect()

    def _gone(self) -> None:
        self.stop(None)
        self._failure = not_found(self.replica.channel.graphql_name)
        self._on_end(self)

    async def _refresh(self) -> None:
        self._refresh_asked = False
        self._refresh_error = None
        self.begun += 1
        number = self.begun
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            loaded, start, end = await self._load(self.replica.wish(), frozenset())
        except LogUnavailableError:
            self._refresh_error = unavailable()
        except Exception:
            logger.exception("%s could not be compared with the database.", self.replica.root_key)
            self._refresh_error = database_failed()
        self._refreshed_at = loop.time()
        self._refresh_took = self._refreshed_at - began
        if self._refresh_error is not None:
            # what asked for it may have been told by nothing else
            self._refresh_pause = min(max(self._refresh_pause * 2, REFRESH_PAUSE), RELOAD_MOST)
            self._refresh_timer = self._refresh_timer or loop.call_later(
                self._refresh_pause * (0.5 + random.random()), self._refresh_now
            )
            return
        self._refresh_pause = 0.0
        wanted = self.replica.compare(loaded, start, end)
        self.read_at, self.done = start, number
        # whatever happened to the anchor was told by nothing
        self._anchor_written = True
        await self._settle(wanted)

    async def _reload(self) -> None:
        self._reloading = True
        try:
            pause = RELOAD_FIRST
            while await self._loaded_anew():
                # Meanwhile, whoever asks gets what there is: the state as it was a moment ago, or the failure
                self._servable = self._failure is None
                self._tell_news()
                await asyncio.sleep(pause * (0.5 + random.random()))
                self._servable = False
                pause = min(pause * 2, RELOAD_MOST)
        finally:
            self._reloading = False

    async def _loaded_anew(self) -> bool:
        """Loads once; whether it has to be done again."""
        self._reload_again = False
        self._failure = None
        self.begun += 1
        number = self.begun
        try:
            if not self._loaded_once and await self._warm(self):
                return self._reload_again
            stand = self._stand()
            loaded, start, end = await self._load(self.replica.wish(), frozenset())
            self.epoch, self.sequence = stand
            self._replaced(loaded, start, end)
            self.read_at, self.done = start, number
        except LogUnavailableError:
            # the hub reloads everything when it is connected again
            self._failure = unavailable()
        except Exception:
            logger.exception("%s could not be loaded.", self.replica.root_key)
            self._failure = database_failed()
        if self._failure is not None and not self._loaded_once:
            self.ended = True
        return not self.ended and (self._failure is not None or self._reload_again)

    def _replaced(self, loaded: Loaded, start: int, end: int) -> None:
        found = self.replica.replace(loaded, start, end)
        self.history.restart()
        self._loaded_once = True
        self._anchor_written = False
        if found:
            # whatever happened to the anchor since they were asked was told by nothing
            self.guard.suspect()
            for audience in self.audiences.values():
                audience.restart()
            self._schedule_retry()
            return
        if self.replica.root_key in self.replica.broken:
            self._failure = not_serialized()
            self.ended = True
            for audience in list(self.audiences.values()):
                audience.end(self._failure)
            self._on_end(self)
            return
        self._gone()

    # ------------------------------------------------------------------------------------------ rows that failed

    def _schedule_retry(self) -> None:
        if not (self.replica.stale or self.replica.broken):
            self._retry_after = RETRY_FIRST
            return
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._retry_after, self._try_again)
            self._retry_after = min(self._retry_after * 2, RETRY_MOST)

    def _try_again(self) -> None:
        self._retry = None
        if self.ended:
            return
        if self._task is not None:
            self._schedule_retry()
        elif self.replica.broken:
            self._start(self._look_at_broken)
        elif wanted := self.replica.retry():
            self._start(partial(self._settle, wanted))

    async def _look_at_broken(self) -> None:
        """Reloads only once a broken row can be shown: nobody needs the same snapshot again and again."""
        wanted = Wanted()
        types = {node_type.name: node_type for node_type in self.replica.tree.all_types}
        for key in self.replica.broken:
            name, _, pk = key.partition(":")
            wanted.row(types[name], pk)
        try:
            loaded, _, _ = await self._load(wanted, self.replica.nodes)
        except Exception:
            logger.exception("%s could not be looked at again.", self.replica.root_key)
            self._rest()
            self._schedule_retry()
            return
        self._rest()
        still = {
            key
            for key, (_, _, row) in loaded.rows.items()
            if row is not None and row.values is None
        }
        if still & self.replica.broken.keys():
            self._schedule_retry()
        else:
            self.reload()
