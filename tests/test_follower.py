"""Every entry in its order, whatever happens to the connection, or word that some were missed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from asgiref.sync import sync_to_async

from rxgraphql.follower import Follower
from rxgraphql.log import Entry, WriterLog
from rxgraphql.workers import end

PATIENCE = 10.0
LABEL = "chat.Message"


class Ears:
    """Notes what it is told; fails at the entries that it is to fail at."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.reloads: list[set[str] | None] = []
        self.failing = 0
        self.heard = asyncio.Event()

    def labels(self) -> tuple[str, ...]:
        return (LABEL,)

    def take(self, entry: Entry, fresh: bool) -> None:
        self.heard.set()
        if self.failing:
            self.failing -= 1
            raise RuntimeError("on purpose")
        self.taken.append(entry.sequence)

    def reload(self, labels: set[str] | None) -> None:
        self.reloads.append(labels)

    def away(self) -> None:
        pass

    def back(self) -> None:
        pass

    async def looked(self) -> None:
        pass

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not there():
                self.heard.clear()
                await self.heard.wait()


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
async def follower(redis_url: str, ears: Ears) -> AsyncIterator[Follower]:
    follower = Follower(ears)
    await follower.start(redis_url)
    yield follower
    await end(follower.hang_up())
    await follower.close()


def append(log: WriterLog) -> None:
    ticket = log.begin([LABEL])
    assert ticket is not None
    assert log.append(ticket, Entry("layout", {}))


async def test_looks_at_the_end_under_writes(
    follower: Follower, ears: Ears, redis_url: str
) -> None:
    """The end did not go back because entries came while the answer was on its way.

    The look asks; the server answers with sequence s; s + 1 is appended, and taken before the answer is.
    """
    stop = threading.Event()

    def write() -> None:
        log = WriterLog(redis_url)
        while not stop.wait(0.002):
            append(log)
        log.close()

    await follower.note((LABEL,))
    writing = asyncio.create_task(asyncio.to_thread(write))
    try:
        for _ in range(600):
            await follower._look_at_the_end()
    finally:
        stop.set()
        await writing
    assert ears.reloads == []
    assert ears.taken == sorted(ears.taken)
    assert len(ears.taken) > 20


async def test_entry_that_fails_while_connecting_again(
    follower: Follower, ears: Ears, redis_url: str
) -> None:
    """The connection is lost; an entry that is caught up with can't be taken. The log is followed nevertheless."""
    log = WriterLog(redis_url)
    assert follower.log is not None
    await follower.note((LABEL,))
    await follower.log.hang_up()
    ears.failing = 1
    await sync_to_async(append)(log)
    await ears.until(lambda: not ears.failing)
    await sync_to_async(append)(log)
    await ears.until(lambda: ears.taken == [2])
    assert ears.reloads == [None]
    assert follower.connected
    log.close()
