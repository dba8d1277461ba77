"""Many thousand subscriptions opened and dropped, in every way in which one can end: what the process holds is the
same afterwards.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async

from tests.services import Postgres, Valkey
from tests.soak import world
from tests.soak.client import DOCUMENT, LOST, NESTED, PATIENCE, Socket
from tests.soak.held import left
from tests.soak.options import chosen
from tests.soak.report import Report
from tests.soak.site import Room, Site, Slot
from tests.soak.tally import Tally

# Bytes that may be left of each subscription. The smallest thing that could be kept, a task or a subscriber with its
# events, takes about 500. What the allocator can't give back, whatever the count, is within MOST_WASTE.
MOST_BYTES = 200
MOST_WASTE = 2 * 1024**2
EXPECTED = {"NOT_FOUND", "UNAUTHENTICATED", "BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"}


@dataclass(frozen=True)
class Options:
    seed: int = 1
    count: int = 20_000
    # in how many rounds, after those that warm up
    rounds: int = 5
    warm_up: int = 4_000
    rooms: int = 40
    per_socket: int = 50
    sockets: int = 8
    linger: float = 0.3
    cache_ttl: float = 2.0
    pause: float = 0.2
    # seconds between two looks of the follower; None: as it is
    look: float | None = None


SHORT = Options(
    look=0.2,
    cache_ttl=0.5,
    count=800,
    rounds=1,
    warm_up=800,
    rooms=10,
    sockets=4,
    per_socket=25,
)


class Opener:
    """Opens sockets with subscriptions and ends them in some way."""

    def __init__(self, slot: Slot, rooms: list[Room], options: Options) -> None:
        self.slot = slot
        self.rooms = rooms
        self.options = options
        self.rng = random.Random(options.seed)
        self.tally = Tally(EXPECTED)
        # the last cursor of each room that was seen
        self.cursors: dict[str, str] = {}

    async def round(self, count: int) -> None:
        left = [self.options.per_socket] * (count // self.options.per_socket)

        async def work() -> None:
            while left:
                await self.socket(left.pop())

        await asyncio.gather(*(work() for _ in range(self.options.sockets)))

    async def socket(self, count: int) -> None:
        assert self.slot.server is not None
        ending = self.rng.choice(ENDINGS)
        self.tally.counts[f"sockets: {ending.__name__.replace('_', ' ')}"] += 1
        socket = await Socket.open(self.slot.server)
        try:
            for i in range(count):
                await self._subscribe(socket, str(i))
            await ending(self, socket, count)
        except LOST as error:
            self.tally.broken.append(f"{ending.__name__}: {error!r}")
        finally:
            socket.abort()

    async def _subscribe(self, socket: Socket, operation: str) -> None:
        self.tally.counts["subscriptions"] += 1
        name = self.rng.choice(self.rooms).name
        if self.rng.random() < 0.1:
            self.tally.counts["to unknown rooms"] += 1
            name = f"no {name}"
        query = DOCUMENT
        match self.rng.random():
            case dice if dice < 0.02:
                query = "subscription { room(name: 1) { nothing } }"
            case dice if dice < 0.3:
                query = NESTED
        after = None
        if query is DOCUMENT and self.rng.random() < 0.4:
            after = self.rng.choice([self.cursors.get(name), "no cursor"])
            self.tally.counts["with a cursor"] += after is not None
        await socket.subscribe(name, after, operation, query)

    async def answers(self, socket: Socket, count: int) -> None:
        """Returns when each subscription had its first answer."""
        waiting = {str(i) for i in range(count)}
        async with asyncio.timeout(PATIENCE):
            while waiting:
                message = await socket.receive()
                waiting.discard(message["id"])
                if self.tally.told(message, f"subscription {message['id']}"):
                    self._note_cursor(message["payload"]["data"]["room"])

    def _note_cursor(self, event: dict[str, Any]) -> None:
        if "cursor" in event:
            for room in event["rooms"]:
                self.cursors[room["name"]] = event["cursor"]

    # ------------------------------------------------------------------------------------------ endings

    async def complete_each(self, socket: Socket, count: int) -> None:
        await self.answers(socket, count)
        for i in range(count):
            await socket.complete(str(i))
        await socket.close()

    async def complete_during_the_loads(self, socket: Socket, count: int) -> None:
        for i in range(count):
            await socket.complete(str(i))
        await socket.close()

    async def complete_and_subscribe_again(self, socket: Socket, count: int) -> None:
        """The same ids, before the first are known to have ended."""
        for i in range(count):
            await socket.complete(str(i))
            if self.rng.random() < 0.5:
                await self._subscribe(socket, f"again {i}")
        await asyncio.sleep(self.rng.uniform(0, 0.2))

    async def drop_after_the_first_events(self, socket: Socket, count: int) -> None:
        await self.answers(socket, count)

    async def drop_during_the_loads(self, socket: Socket, count: int) -> None:
        await asyncio.sleep(self.rng.uniform(0, 0.05))

    async def drop_at_once(self, socket: Socket, count: int) -> None:
        pass

    async def close(self, socket: Socket, count: int) -> None:
        await socket.close()

    async def stay_a_while(self, socket: Socket, count: int) -> None:
        """Long enough for events of the writer."""
        await self.answers(socket, count)
        await asyncio.sleep(self.rng.uniform(0.2, 1.0))


ENDINGS: list[Callable[[Opener, Socket, int], Awaitable[None]]] = [
    Opener.complete_each,
    Opener.complete_during_the_loads,
    Opener.complete_and_subscribe_again,
    Opener.drop_after_the_first_events,
    Opener.drop_during_the_loads,
    Opener.drop_at_once,
    Opener.close,
    Opener.stay_a_while,
]


async def run(postgres: Postgres, valkey: Valkey, short: bool, given: dict[str, Any]) -> Report:
    options = chosen(SHORT if short else Options(), given)
    rooms = await sync_to_async(world.prepare)(options.rooms, 10)
    site = Site(
        postgres, valkey, linger=options.linger, cache_ttl=options.cache_ttl, look=options.look
    )
    report = Report("subscriptions", ("after", *COLUMNS))
    try:
        await site.serve(1)
        (slot,) = site.slots
        opener = Opener(slot, rooms, options)

        async def opened(count: int, keys: bool) -> dict[str, Any]:
            """A round under a writer, and what is held after it."""
            await site.write("rooms", options.seed, options.pause)
            await opener.round(count)
            await site.stop_writing()
            return await site.quiet(slot, keys=keys)

        before = after = await opened(options.warm_up, True)
        begin = opener.tally.counts["subscriptions"]
        report.rows.append(_row("the warm-up", before))
        for i in range(options.rounds):
            is_last = i == options.rounds - 1
            count = options.count // options.rounds
            after = await opened(count, is_last)
            report.rows.append(_row(f"{opener.tally.counts['subscriptions'] - begin} more", after))
        count = opener.tally.counts["subscriptions"] - begin
        _judge(report, before, after, count)
        report.broken += [*opener.tally.broken, *slot.errors()]
        report.figures |= {name: after[name] for name in COLUMNS}
        report.figures |= dict(sorted(opener.tally.counts.items()))
        return report
    finally:
        site.stop()


COLUMNS = ("replicas", "audiences", "tasks", "objects", "memory", "most memory", "loads", "keys")


def _row(name: str, counts: dict[str, Any]) -> tuple[Any, ...]:
    sums = {**counts, "tasks": sum(counts["tasks"].values()), "keys": sum(counts["keys"].values())}
    return (name, *(sums[column] for column in COLUMNS))


def _judge(report: Report, before: dict[str, Any], after: dict[str, Any], count: int) -> None:
    report.broken += left(before, after, count)
    objects = (after["objects"] - before["objects"]) / count
    memory = (after["memory"] - before["memory"]) * 1024 / count
    report.figures |= {
        "measured": count,
        "objects left of each": round(objects, 4),
        "bytes left of each": round(memory, 1),
    }
    if memory > MOST_BYTES + MOST_WASTE / count:
        report.broken.append(f"{memory:.0f} bytes are left of each subscription")
