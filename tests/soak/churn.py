"""An hour of ordinary life in a few minutes: rooms come and go, and so do their viewers.

A replica lingers and a state is cached for a fraction of a second instead of 10 and 60, so that each lives and dies as
often as in an hour. What a process holds is the same afterwards, and its memory does not grow.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async

from tests.chat.channels import RoomChannel
from tests.folding import Folded
from tests.services import Postgres, Valkey
from tests.soak import world
from tests.soak.client import LOST, PATIENCE, Socket
from tests.soak.held import SAME, left
from tests.soak.options import chosen
from tests.soak.report import Report, slope
from tests.soak.site import Room, Site, Slot
from tests.soak.tally import Tally

# What memory may grow by over the last half, by the line that fits it best, in percent: within that, what is held goes
# up and down with the rooms that are watched. A thousand bytes kept of each visit or transaction would be more.
MOST_GROWTH = 3.0
# A room may be deleted while one asks for it
EXPECTED = {"NOT_FOUND", "UNAUTHENTICATED"}
# Other workers' connections come and go too
STAYS = [name for name in SAME if name != "other connections"]


@dataclass(frozen=True)
class Options:
    seed: int = 1
    seconds: float = 180.0
    warm_up: float = 30.0
    clients: int = 40
    rooms: int = 30
    workers: int = 2
    writers: int = 2
    pause: float = 0.06
    linger: float = 0.2
    cache_ttl: float = 1.0
    log_length: int = 300
    # seconds between two counts of what is held
    count_every: float = 2.0
    # seconds between two looks of the follower; None: as it is
    look: float | None = None


SHORT = Options(
    seconds=2.5,
    warm_up=1.0,
    clients=12,
    rooms=6,
    workers=1,
    writers=1,
    count_every=0.4,
    pause=0.03,
    look=0.2,
)


class Life:
    """All viewers, and the rooms that they can choose from."""

    def __init__(self, site: Site, rooms: list[Room], options: Options) -> None:
        self.site = site
        self.rooms = {room.name: room for room in rooms}
        self.options = options
        self.tally = Tally(EXPECTED)
        self.ends = asyncio.Event()

    def said(self, words: list[str]) -> None:
        """By a writer."""
        sign, name, pk = words
        if sign == "+":
            self.tally.counts["rooms made"] += 1
            self.rooms[name] = Room(name, int(pk))
        else:
            self.tally.counts["rooms deleted"] += 1
            self.rooms.pop(name, None)

    async def lead(self, number: int) -> None:
        """One viewer, from visit to visit."""
        rng = random.Random(f"{self.options.seed} {number}")
        cursors: dict[str, str] = {}
        while not self.ends.is_set():
            slot = rng.choice(self.site.slots)
            assert slot.server is not None
            try:
                socket = await Socket.open(slot.server)
                try:
                    await self._visit(socket, rng, cursors)
                finally:
                    if rng.random() < 0.5:
                        socket.abort()
                    await socket.close()
            except LOST as error:
                self.tally.broken.append(f"a viewer lost its connection: {error!r}")
            except KeyError as error:
                self.tally.broken.append(
                    f"an event takes out {error}, which its viewer does not hold"
                )
            await asyncio.sleep(rng.uniform(0, 0.3))

    async def _visit(self, socket: Socket, rng: random.Random, cursors: dict[str, str]) -> None:
        """One to three rooms, one after the other."""
        for turn in range(rng.randint(1, 3)):
            name = rng.choice(list(self.rooms))
            operation = str(turn)
            await socket.subscribe(name, None, operation)
            self.tally.counts["visits"] += 1
            folded = Folded(RoomChannel)
            until = time.monotonic() + rng.expovariate(1 / 1.5)
            is_first = True
            while is_first or time.monotonic() < until:
                try:
                    async with asyncio.timeout(PATIENCE if is_first else 0.2):
                        message = await socket.receive()
                except TimeoutError:
                    if is_first:
                        self.tally.broken.append(f"{name}: no answer")
                        return
                    if self.ends.is_set():
                        break
                    continue
                if message["id"] != operation:
                    # of the room before
                    continue
                is_first = False
                if message["type"] == "complete":
                    self.tally.counts["ended with their rooms"] += 1
                    break
                if not self.tally.told(message, name):
                    break
                folded.fold(message["payload"]["data"])
            await socket.complete(operation)
            if self.ends.is_set():
                return


async def run(postgres: Postgres, valkey: Valkey, short: bool, given: dict[str, Any]) -> Report:
    options = chosen(SHORT if short else Options(), given)
    rooms = await sync_to_async(world.prepare)(options.rooms, 10)
    site = Site(
        postgres,
        valkey,
        linger=options.linger,
        cache_ttl=options.cache_ttl,
        log_length=options.log_length,
        look=options.look,
    )
    report = Report("churn", ("worker", *COLUMNS))
    try:
        await site.serve(options.workers)
        life = Life(site, rooms, options)
        before, _ = await _live(life, options.warm_up, 0)
        after, looks = await _live(life, options.seconds, 1)
        for slot, old, new, line in zip(site.slots, before, after, looks, strict=True):
            _judge(report, slot, old, new, line)
            found = left(old, new, life.tally.counts["visits"], STAYS)
            report.broken += [f"{slot.name}: {text}" for text in found]
        report.broken += [
            *life.tally.broken,
            *(text for slot in site.slots for text in slot.errors()),
        ]
        report.figures |= dict(sorted(life.tally.counts.items()))
        # a run in which nothing happened shows nothing
        if not life.tally.counts["rooms deleted"]:
            report.broken.append("no room was deleted")
        if not (short or life.tally.counts["ended with their rooms"]):
            report.broken.append("no room was deleted under its viewers")
        return report
    finally:
        site.stop()


Looks = list[tuple[float, dict[str, Any]]]


async def _live(life: Life, seconds: float, phase: int) -> tuple[list[dict[str, Any]], list[Looks]]:
    """What each worker holds when it is over, and what it held meanwhile."""
    site, options = life.site, life.options
    life.ends.clear()
    for number in range(options.writers):
        seed = options.seed * 1000 + phase * 100 + number
        await site.write("lives", seed, options.pause, life.said)
    viewers = [asyncio.create_task(life.lead(i)) for i in range(options.clients)]
    looks: list[Looks] = [[] for _ in site.slots]
    began = time.monotonic()
    while (at := time.monotonic() - began) < seconds:
        await asyncio.sleep(options.count_every)
        for slot, line in zip(site.slots, looks, strict=True):
            line.append((at, await slot.counts()))
    life.ends.set()
    await asyncio.gather(*viewers)
    life.tally.counts["transactions"] += await site.stop_writing()
    return [await site.quiet(slot, keys=True) for slot in site.slots], looks


QUIET = ("MB before", "MB after", "objects before", "objects after")
COLUMNS = ("most replicas", "most tasks", "loads", *QUIET, "memory %", "objects %")


def _judge(
    report: Report, slot: Slot, before: dict[str, Any], after: dict[str, Any], looks: Looks
) -> None:
    half = looks[len(looks) // 2 :]
    times = [at for at, _ in half]
    growths = {}
    for name in ("memory", "objects"):
        values = [counts[name] for _, counts in half]
        growth = slope(times, values) * (times[-1] - times[0]) / values[0] * 100
        growths[name] = round(growth, 3)
        # a few looks are no line
        if len(half) >= 20 and growth > MOST_GROWTH:
            report.broken.append(f"{slot.name}: {name} grew by {growth:.1f}% in the last half")
    report.rows.append(
        (
            slot.name,
            max(counts["replicas"] for _, counts in looks),
            max(sum(counts["tasks"].values()) for _, counts in looks),
            after["loads"] - before["loads"],
            before["memory"] / 1024,
            after["memory"] / 1024,
            before["objects"],
            after["objects"],
            *growths.values(),
        )
    )
    report.figures[slot.name] = dict(zip(COLUMNS, report.rows[-1][1:], strict=True))
