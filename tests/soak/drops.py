"""Pages whose sockets are dropped again and again, under a Redis that restarts and workers that are killed.

At the end each has the right state, and none is silent: a last write reaches all of them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async

from tests.chat.channels import RoomChannel
from tests.folding import Folded
from tests.services import Postgres, Uvicorn, Valkey
from tests.soak import world
from tests.soak.client import LOST, PATIENCE, Socket, codes
from tests.soak.options import chosen
from tests.soak.report import Report, percentile
from tests.soak.site import Room, Site, Slot

# Seconds in which the last write must have reached everyone
MARKER_SECONDS = 15.0
# Why a page subscribes again
CAUSES = ("drop", "redis", "kill")
# Codes of errors that a page may be told, and tries again
EXPECTED = {"UNAVAILABLE": {"redis"}}


@dataclass(frozen=True)
class Options:
    seed: int = 1
    clients: int = 100
    rooms: int = 5
    workers: int = 2
    writers: int = 2
    # seconds between two transactions of a writer
    pause: float = 0.1
    drops: int = 10
    redis: int = 3
    kills: int = 3
    # how long a drop lasts, seconds
    outage: float = 2.0
    # seconds between two faults
    pace: float = 5.0


SHORT = Options(clients=24, rooms=3, writers=1, drops=2, redis=1, kills=1, outage=0.3, pace=0.4)


@dataclass(frozen=True)
class Resume:
    """`seconds` from the first attempt to reconnect until the first event."""

    cause: str
    snapshot: bool
    # whether another process had served the page before
    elsewhere: bool
    seconds: float
    attempts: int


class Page:
    """One viewer of one room, who comes back whatever happens."""

    def __init__(self, name: str, room: Room, fleet: Fleet) -> None:
        self.name = name
        self.room = room
        self.fleet = fleet
        self.rng = random.Random(f"{fleet.options.seed} {name}")
        self.folded = Folded(RoomChannel)
        self.cursor: str | None = None
        self.slot: Slot | None = None
        # who served it last
        self.server: Uvicorn | None = None
        self.socket: Socket | None = None
        # why the socket was lost
        self.cause = "unknown"
        self.resumes: list[Resume] = []
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.started = asyncio.Event()
        self._since = 0.0
        self._attempts = 0

    async def run(self) -> None:
        while True:
            await self.fleet.network.wait()
            await asyncio.sleep(self.rng.uniform(0, 0.5))
            # as a load balancer does: to a worker that is up
            up = [slot for slot in self.fleet.site.slots if slot.server is not None]
            if not up:
                continue
            if not self._since:
                self._since = asyncio.get_running_loop().time()
            self._attempts += 1
            try:
                await self._visit(self.rng.choice(up))
            except LOST as error:
                self.counts[type(error).__name__] += 1
            finally:
                if self.socket is not None:
                    self.socket.abort()
                self.slot = self.socket = None

    async def _visit(self, slot: Slot) -> None:
        server = slot.server
        assert server is not None
        self.slot = slot
        self.socket = await Socket.open(server)
        await self.socket.subscribe(self.room.name, self.cursor)
        async with asyncio.timeout(PATIENCE):
            message = await self.socket.receive()
        while True:
            if message["type"] == "next":
                self._take(message)
            elif not self._is_expected(message):
                self.faults.append(f"was told {message}")
                return
            else:
                self.counts["refused"] += 1
                return
            message = await self.socket.receive()

    def _take(self, message: dict[str, Any]) -> None:
        payload = message["payload"]
        if payload.get("errors"):
            if not self._is_expected(message):
                self.faults.append(f"was told {payload['errors']}")
            self.counts["interruptions"] += 1
        if payload.get("data") is None or payload["data"]["room"] is None:
            return
        event = payload["data"]["room"]
        is_snapshot = event["kind"] == "SNAPSHOT"
        if self._since:
            seconds = asyncio.get_running_loop().time() - self._since
            if self.cursor is not None:
                elsewhere = self.slot is None or self.slot.server is not self.server
                self.resumes.append(
                    Resume(self.cause, is_snapshot, elsewhere, seconds, self._attempts)
                )
            self.server = None if self.slot is None else self.slot.server
            self._since, self._attempts, self.cause = 0.0, 0, "unknown"
            self.started.set()
        elif is_snapshot:
            self.counts["snapshots in between"] += 1
        self.counts["events"] += 1
        try:
            self.folded.fold(payload["data"])
        except KeyError as error:
            self.faults.append(f"an event takes out {error}, which it does not hold")
        self.cursor = event["cursor"]

    def _is_expected(self, message: dict[str, Any]) -> bool:
        return all(EXPECTED.get(code, set()) & self.fleet.broken for code in codes(message))

    @property
    def is_lost(self) -> bool:
        """Whether it waits for an event on a new socket."""
        return self.socket is None or bool(self._since)

    def topic(self) -> Any:
        return self.folded.nodes.get(f"Room:{self.room.pk}", {}).get("topic")

    def lose(self, cause: str) -> None:
        self.cause = cause
        if self.socket is not None:
            self.socket.abort()


class Fleet:
    """All pages, and the faults that they meet."""

    def __init__(self, site: Site, options: Options, rooms: list[Room]) -> None:
        self.site = site
        self.options = options
        self.rng = random.Random(options.seed)
        # clear while nobody can reach anything
        self.network = asyncio.Event()
        self.network.set()
        # faults that may still explain an error
        self.broken: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.pages = [
            Page(f"page-{i}", rooms[i % len(rooms)], self) for i in range(options.clients)
        ]

    async def faults(self) -> None:
        options = self.options
        plan: list[Callable[[], Any]] = [
            *[self.drop] * options.drops,
            *[self.restart_redis] * options.redis,
            *[self.kill] * options.kills,
        ]
        self.rng.shuffle(plan)
        for fault in plan:
            self.counts[fault.__name__] += 1
            await fault()
            await self._until_served()
            await asyncio.sleep(options.pace)

    async def _until_served(self) -> None:
        """Everyone has had an event since its socket was lost; who has not after a while is found silent at the end."""
        until = asyncio.get_running_loop().time() + PATIENCE
        while any(page.is_lost for page in self.pages):
            if asyncio.get_running_loop().time() > until:
                return
            await asyncio.sleep(0.02)

    async def drop(self) -> None:
        self.network.clear()
        for page in self.pages:
            page.lose("drop")
        await asyncio.sleep(self.options.outage)
        self.network.set()

    async def restart_redis(self) -> None:
        """Half of the pages lose their sockets with it, and reconnect while it is away; the others keep theirs."""
        self.broken.add("redis")
        await asyncio.to_thread(self.site.valkey.kill)
        for page in self.rng.sample(self.pages, len(self.pages) // 2):
            page.lose("redis")
        await asyncio.sleep(self.options.outage / 2)
        # not from another thread: it would be ended with that one
        self.site.valkey.start()
        # workers are connected again after their longest pause
        asyncio.get_running_loop().call_later(5.0, self.broken.discard, "redis")

    async def kill(self) -> None:
        slot = self.rng.choice(self.site.slots)
        for page in self.pages:
            if page.slot is slot:
                page.cause = "kill"
        await slot.kill()
        await slot.start()


async def run(postgres: Postgres, valkey: Valkey, short: bool, given: dict[str, Any]) -> Report:
    options = chosen(SHORT if short else Options(), given)
    rooms = await sync_to_async(world.prepare)(options.rooms, 15)
    site = Site(postgres, valkey)
    tasks: list[asyncio.Task[None]] = []
    try:
        await site.serve(options.workers)
        fleet = Fleet(site, options, rooms)
        tasks = [asyncio.create_task(page.run()) for page in fleet.pages]
        async with asyncio.timeout(2 * PATIENCE):
            await asyncio.gather(*(page.started.wait() for page in fleet.pages))
        for seed in range(options.writers):
            await site.write("rooms", options.seed * 100 + seed, options.pause)
        await fleet.faults()
        transactions = await site.stop_writing()
        report = _report(fleet, transactions)
        await _finish(fleet, rooms, tasks, report)
        return report
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        site.stop()


async def _finish(
    fleet: Fleet, rooms: list[Room], tasks: list[asyncio.Task[None]], report: Report
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await sync_to_async(world.mark)(rooms, "the last")
    while silent := [page for page in fleet.pages if page.topic() != "the last"]:
        if loop.time() - began > MARKER_SECONDS:
            break
        await asyncio.sleep(0.02)
    report.figures["last write reached all after"] = round(loop.time() - began, 3)
    report.figures["silent"] = len(silent)
    report.broken += [f"{page.name} is silent; {dict(page.counts)}" for page in silent]
    right = {room.pk: await sync_to_async(world.state)(room) for room in rooms}
    wrong = [page for page in fleet.pages if not _is_right(page, right[page.room.pk])]
    report.figures["wrong"] = len(wrong)
    report.broken += [f"{page.name} does not have the state" for page in wrong]
    report.broken += [f"{page.name} {fault}" for page in fleet.pages for fault in page.faults]
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception() is not None:
            report.broken.append(f"a page ended: {task.exception()!r}")
    # a lost Redis is told as a warning
    report.broken += [text for slot in fleet.site.slots for text in slot.errors() if _is_news(text)]


def _is_news(text: str) -> bool:
    return "Redis is away" not in text


def _is_right(page: Page, expected: dict[str, Any]) -> bool:
    root = RoomChannel.tree.root
    key = f"{root.name}:{page.room.pk}"
    try:
        return bool(page.folded.tree(root, key) == expected) and set(
            page.folded.nodes
        ) == page.folded.reachable(root, key)
    except KeyError:
        return False


TIMES = ("p50 s", "p99 s", "most s")


def _report(fleet: Fleet, transactions: int) -> Report:
    report = Report(
        "drops",
        ("cause", "times", "resumes", "no snapshot", "%", "% elsewhere", *TIMES, "attempts"),
    )
    resumes = [one for page in fleet.pages for one in page.resumes]
    times = {"drop": "drop", "redis": "restart_redis", "kill": "kill"}
    by_cause: dict[str, dict[str, Any]] = {}
    for cause in (*CAUSES, "unknown"):
        those = [one for one in resumes if one.cause == cause]
        if not those and cause == "unknown":
            continue
        without = sum(not one.snapshot for one in those)
        elsewhere = [one for one in those if one.elsewhere]
        without_elsewhere = sum(not one.snapshot for one in elsewhere)
        seconds = [one.seconds for one in those]
        p50, p99 = percentile(seconds, 50), percentile(seconds, 99)
        most = max(seconds, default=None)
        report.rows.append(
            (
                *(cause, fleet.counts[times.get(cause, "")], len(those), without),
                f"{100 * without / max(1, len(those)):.1f}",
                f"{100 * without_elsewhere / max(1, len(elsewhere)):.1f}",
                *(p50, p99, most, max((one.attempts for one in those), default=0)),
            )
        )
        by_cause[cause] = {"resumes": len(those), "without a snapshot": without}
        by_cause[cause] |= {"elsewhere": len(elsewhere)}
        by_cause[cause] |= {"elsewhere without a snapshot": without_elsewhere}
        by_cause[cause] |= {"p50": p50, "p99": p99, "most": most}
    counts: Counter[str] = sum((page.counts for page in fleet.pages), Counter())
    report.figures |= {
        "clients": len(fleet.pages),
        "transactions": transactions,
        "resumes": by_cause,
        **dict(sorted(counts.items())),
    }
    report.broken += [f"nobody resumed after a {c}" for c in CAUSES if not by_cause[c]["resumes"]]
    if not by_cause["drop"]["without a snapshot"]:
        report.broken.append("nobody resumed without a snapshot after a drop")
    return report
