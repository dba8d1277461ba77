"""A worker restarts, and all clients of one large room are back within a second.

At most one load from the database, no error, and all are served soon; with their cursors and without, with the state
in the cache and without.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import orjson
import redis
from asgiref.sync import sync_to_async

from rxgraphql.cache import CacheAdmin
from tests.chat.channels import RoomChannel
from tests.folding import Folded
from tests.services import Postgres, Valkey
from tests.soak import world
from tests.soak.client import LOST, PATIENCE, Socket, codes
from tests.soak.options import chosen
from tests.soak.report import Report, percentile
from tests.soak.site import Room, Site, Slot

# Seconds in which a last write must have reached everyone
MARKER_SECONDS = 30.0
# Rooms that get one
MOST_MARKED = 50


@dataclass(frozen=True)
class Way:
    """How they come back: with cursors or as new pages; what is in the cache; to one room or each to its own."""

    name: str
    cursors: bool
    cache: bool
    own_rooms: bool = False


WAYS = (
    Way("cursors", cursors=True, cache=True),
    Way("cursors, no cache", cursors=True, cache=False),
    Way("pages", cursors=False, cache=True),
    Way("pages, no cache", cursors=False, cache=False),
    Way("own rooms", cursors=False, cache=False, own_rooms=True),
    Way("own rooms, cursors", cursors=True, cache=True, own_rooms=True),
)


@dataclass(frozen=True)
class Options:
    seed: int = 1
    clients: int = 1000
    rows: int = 1000
    # seconds in which all reconnect
    within: float = 1.0
    # messages that are edited while the worker is away
    edits: int = 20
    ways: tuple[Way, ...] = WAYS


SHORT = Options(ways=(WAYS[0], WAYS[3]), clients=60, rows=200, within=0.3, edits=5)


class Client:
    """Keeps the frames as they came: a thousand clients that parse would be the slowest part."""

    def __init__(self, number: int, room: Room, folds: bool) -> None:
        self.number = number
        self.room = room
        self.cursor: str | None = None
        self.folded = Folded(RoomChannel) if folds else None
        self.socket: Socket | None = None
        self.errors: list[str] = []
        self.seconds = 0.0
        self.was_snapshot = False
        self.marked = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def come(self, slot: Slot, delay: float, began: float) -> None:
        """Returns with the first event. Errors are noted."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(began + delay - loop.time())
        came = loop.time()
        assert slot.server is not None
        try:
            async with asyncio.timeout(4 * PATIENCE):
                self.socket = await Socket.open(slot.server)
                await self.socket.subscribe(self.room.name, self.cursor)
                frame = await self.socket.connection.recv()
        except LOST as error:
            self.errors.append(f"client {self.number}: {error!r}")
            return
        self.seconds = loop.time() - came
        self._take(frame)
        self._reading = asyncio.create_task(self._read(self.socket))

    async def _read(self, socket: Socket) -> None:
        try:
            while True:
                self._take(await socket.connection.recv())
        except LOST:
            pass

    def _take(self, frame: str | bytes) -> None:
        text = frame if isinstance(frame, str) else frame.decode()
        if '"the mark"' in text:
            self.marked.set()
        if self.folded is None and '"type":"next"' in text[:60] and '"errors"' not in text:
            self._take_cursor(text)
            return
        message = orjson.loads(text)
        if message["type"] != "next" or message["payload"].get("errors"):
            self.errors.append(f"client {self.number} was told {codes(message)}")
            return
        if self.folded is not None:
            self.folded.fold(message["payload"]["data"])
        self._take_cursor(text)

    def _take_cursor(self, text: str) -> None:
        # kind and cursor are the first fields of the event
        head = text[:400]
        self.was_snapshot = '"kind":"SNAPSHOT"' in head
        self.cursor = head.partition('"cursor":"')[2].partition('"')[0]

    async def leave(self) -> None:
        self.marked.clear()
        if self.socket is not None:
            self.socket.abort()
        if self._reading is not None:
            await self._reading
        self.socket = self._reading = None


async def run(postgres: Postgres, valkey: Valkey, short: bool, given: dict[str, Any]) -> Report:
    options = chosen(SHORT if short else Options(), given)
    (room,) = await sync_to_async(world.prepare)(1, options.rows)
    own = [way for way in options.ways if way.own_rooms]
    rooms = await sync_to_async(world.make_rooms)(options.clients if own else 0, 5)
    site = Site(postgres, valkey, linger=1.0, cache_ttl=60)
    report = Report(
        "herd", ("how", "loads", "parts", "snapshots", *TIMES, "peak MB", "connections", "errors")
    )
    report.figures |= {"clients": options.clients, "rows": options.rows}
    # every so many of them fold what comes
    herd = [Client(i, room, i % 50 == 0) for i in range(options.clients)]
    crowd = [Client(i, own_room, i < MOST_MARKED) for i, own_room in enumerate(rooms)]
    try:
        await site.serve(1)
        (slot,) = site.slots
        began = asyncio.get_running_loop().time()
        # as on an ordinary day: they come one after the other
        await asyncio.gather(*(client.come(slot, client.number / 200, began) for client in herd))
        for way in options.ways:
            await _restart(site, slot, crowd if way.own_rooms else herd, way, options, report)
        report.broken += slot.errors()
        return report
    finally:
        await asyncio.gather(*(client.leave() for client in herd + crowd))
        site.stop()


TIMES = ("p50 s", "p99 s", "all s", "mark s")


async def _restart(
    site: Site, slot: Slot, clients: list[Client], way: Way, options: Options, report: Report
) -> None:
    loop = asyncio.get_running_loop()
    rooms = list(dict.fromkeys(client.room for client in clients))
    marked = rooms[:MOST_MARKED]
    await slot.kill()
    for client in clients:
        await client.leave()
        if not way.cursors:
            client.cursor = None
    for room in marked:
        await sync_to_async(world.edit)(
            room, options.edits // len(marked) or 1, f"edited before {way.name}"
        )
    if not way.cache:
        await sync_to_async(_clear)(site)
    await slot.start()
    rng = random.Random(options.seed)
    began = loop.time()
    await asyncio.gather(
        *(client.come(slot, rng.uniform(0, options.within), began) for client in clients)
    )
    total = loop.time() - began
    snapshots = sum(client.was_snapshot for client in clients)
    counts = await slot.counts()
    marking = loop.time()
    await sync_to_async(world.mark)(marked, "the mark")
    watching = [client for client in clients if client.room in marked]
    try:
        async with asyncio.timeout(MARKER_SECONDS):
            await asyncio.gather(*(client.marked.wait() for client in watching))
    except TimeoutError:
        silent = sum(not client.marked.is_set() for client in watching)
        report.broken.append(f"{way.name}: {silent} clients are silent")
    mark_seconds = loop.time() - marking
    await sync_to_async(world.mark)(marked, "no mark")
    right = {room: await sync_to_async(world.state)(room) for room in marked}
    await _until_right(way, watching, right, report)
    errors = [error for client in clients for error in client.errors]
    report.broken += [f"{way.name}: {error}" for error in errors]
    for client in clients:
        client.errors.clear()
    seconds = [client.seconds for client in clients]
    figures = {
        "loads": counts["loads"],
        "parts": counts["loads of parts"],
        "snapshots": snapshots,
        "p50 s": percentile(seconds, 50),
        "p99 s": percentile(seconds, 99),
        "all s": total,
        "mark s": mark_seconds,
        "peak MB": counts["most memory"] // 1024,
        "connections": counts["connections"],
        "errors": len(errors),
    }
    report.rows.append((way.name, *figures.values()))
    report.figures[way.name] = figures
    if counts["loads"] > len(rooms):
        report.broken.append(f"{way.name}: the state was loaded {counts['loads']} times")


async def _until_right(
    way: Way, clients: list[Client], right: dict[Room, dict[str, Any]], report: Report
) -> None:
    folding = [client for client in clients if client.folded is not None]
    until = asyncio.get_running_loop().time() + MARKER_SECONDS
    while wrong := [client for client in folding if not _is_right(client, right[client.room])]:
        if asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(0.05)
    report.broken += [f"{way.name}: client {c.number} does not have the state" for c in wrong]


def _is_right(client: Client, right: dict[str, Any]) -> bool:
    assert client.folded is not None
    root = RoomChannel.tree.root
    try:
        return client.folded.tree(root, f"{root.name}:{client.room.pk}") == right
    except KeyError:
        return False


def _clear(site: Site) -> None:
    with CacheAdmin(site.valkey.url) as admin:
        admin.clear()
    # and what a killed process left
    with redis.Redis.from_url(site.valkey.url) as client:
        client.delete(*(client.keys(f"rx:{{{site.namespace}}}:state-lease:*") or ["none"]))
