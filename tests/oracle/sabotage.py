"""Takes one safeguard of the library away, in a child process of the oracle.

Each of these is what one would write who doesn't know why the safeguard is there. The conductor names one in
RX_ORACLE_SABOTAGE; the library itself has no such switch.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

LEASE_MS = 3000


def shorten_leases() -> None:
    """So that a lease can lapse in a run of a minute."""
    from rxgraphql import follower, hub_log

    changed: Any = {hub_log: {"LEASE_MS": LEASE_MS}, follower: {"LOOK_SECONDS": LEASE_MS / 3000}}
    for module, values in changed.items():
        for name, value in values.items():
            assert hasattr(module, name), name
            setattr(module, name, value)


def note_late() -> None:
    """Gives writers time between a server's look at the counter and its read."""
    from rxgraphql.follower import Follower

    follower = patched(Follower)
    note = follower.note

    async def late(self: Any, *arguments: Any, **named: Any) -> int:
        counter: int = await note(self, *arguments, **named)
        await asyncio.sleep(random.choice((0, 0, 0, 0.005, 0.03)))
        return counter

    follower.note = late


# ---------------------------------------------------------------------------------------------- writers


def ticket_first() -> None:
    from rxgraphql.log import WriterLog
    from rxgraphql.publish import publisher
    from tests.oracle.work import Work

    log, work = patched(WriterLog), patched(Work)
    begin, committed = log.begin, work.committed
    early: list[Any] = []

    @contextmanager
    def committed_late(self: Any) -> Iterator[None]:
        found = publisher()
        assert found is not None
        early[:] = [begin(found.log, sorted({*found.entries.types, *found.entries.links}))]
        with committed(self):
            yield

    def begun(self: Any, labels: Any) -> Any:
        return (early.pop() if early else None) or begin(self, labels)

    log.begin, work.committed = begun, committed_late


def read_first() -> None:
    from rxgraphql.log import WriterLog

    log = patched(WriterLog)
    append = log.append

    def append_anew(self: Any, ticket: Any, entry: Any) -> Any:
        return append(self, self.begin(sorted(ticket.watched)) or ticket, entry)

    log.append = append_anew


def publish_at_mark() -> None:
    from rxgraphql import capture
    from rxgraphql.changeset import ChangeSet

    module: Any = capture

    def mark(using: str, note: Callable[[ChangeSet], None]) -> None:
        changes = ChangeSet()
        note(changes)
        module.publish(using, changes)

    module.mark = mark


def no_repair() -> None:
    from tests.oracle.writing import Writer

    patched(Writer).heal = lambda self, name: None


# ---------------------------------------------------------------------------------------------- servers


def load_before_note() -> None:
    from rxgraphql import hub, snapshot

    async def load(self: Any, labels: Any, wanted: Any, held: Any) -> Any:
        loaded = await self.workers.run(snapshot.load, wanted, held)
        await asyncio.sleep(0.02)
        start = await self.follower.note(labels, draw=not held)
        return loaded, start, await self.follower.note(labels)

    patched(hub.Hub)._load = load


def no_gap_check() -> None:
    from rxgraphql.follower import Follower
    from rxgraphql.log import head

    cls = patched(Follower)
    take = cls._take

    def take_any(self: Any, frame: bytes) -> Any:
        sequence, epoch = head(frame)
        if epoch == self.epoch and sequence > self.sequence:
            self.sequence = sequence - 1
        return take(self, frame)

    async def fill(self: Any, last: int) -> None:
        self.sequence = max(self.sequence, last)

    cls._take, cls._fill = take_any, fill


def unconfirmed_subscription() -> None:
    """Goes on at once, and is heard a moment later."""
    from rxgraphql.hub_log import HubLog

    log = patched(HubLog)
    subscribe, frame = log.subscribe, log.frame
    tasks: dict[Any, asyncio.Task[None]] = {}

    async def later(self: Any) -> None:
        async def do() -> None:
            await asyncio.sleep(0.5)
            await subscribe(self)

        tasks[self] = asyncio.create_task(do())

    async def heard(self: Any) -> Any:
        await tasks[self]
        return await frame(self)

    log.subscribe, log.frame = later, heard
    no_gap_check()


def no_epoch_check() -> None:
    """All epochs look like the first."""
    from rxgraphql import follower
    from rxgraphql.hub_log import HubLog

    log, module = patched(HubLog), patched(follower)
    watch, head, read = log.watch, module.head, module.read
    first: list[str] = []
    last = [0]

    async def watched(self: Any, labels: Any, draw: bool = False) -> Any:
        position = await watch(self, labels, draw)
        first.append(position.epoch)
        last[0] = max(last[0], position.sequence)
        return replace(position, epoch=first[0], sequence=last[0])

    def head_of(frame: bytes) -> Any:
        return head(frame)[0], first[0]

    def entry_of(frame: bytes) -> Any:
        entry = read(frame)
        if entry is not None:
            entry.epoch = first[0]
        return entry

    log.watch, module.head, module.read = watched, head_of, entry_of


def highest_ticket_wins() -> None:
    from rxgraphql import follower, hub

    module, cls = patched(follower), patched(hub.Hub)
    read, load = module.read, cls._load

    def entry_of(frame: bytes) -> Any:
        entry = read(frame)
        if entry is not None:
            entry.end = entry.ticket
        return entry

    async def loaded_at_start(self: Any, *arguments: Any) -> Any:
        loaded, start, _ = await load(self, *arguments)
        return loaded, start, start

    module.read, cls._load = entry_of, loaded_at_start


def unknown_rows_from_any_entry() -> None:
    from rxgraphql.replica import Replica

    replica = patched(Replica)
    apply = replica.apply

    def apply_fresh(self: Any, entry: Any, fresh: bool) -> Any:
        self.loaded_end = 0
        return apply(self, entry, True)

    replica.apply = apply_fresh


def no_generations() -> None:
    from rxgraphql.follower import Follower

    follower = patched(Follower)
    take = follower._take_position

    def take_any(self: Any, position: Any, labels: Any) -> None:
        self.generations.clear()
        take(self, position, labels)

    follower._take_position = take_any


def no_promise() -> None:
    from rxgraphql.follower import Follower

    async def note(self: Any, labels: Any, draw: bool = False) -> int:
        position = await self.log.watch(labels, draw)
        self._take_position(position, labels)
        return int(position.counter)

    patched(Follower).note = note


def no_waiting() -> None:
    """Entries that come while something is loaded are taken for known."""
    from rxgraphql.live import LiveReplica

    live = patched(LiveReplica)
    feed = live.feed

    def feed_idle(self: Any, entry: Any, fresh: bool) -> None:
        if self._task is None:
            feed(self, entry, fresh)

    live.feed = feed_idle


def any_digest() -> None:
    """Who comes with a cursor is believed to have what this server has."""
    from rxgraphql.history import History

    patched(History).serial_of = lambda self, digest: self.serial


def cache_without_entries() -> None:
    """A state from the cache is taken for the newest."""
    from rxgraphql.live import LiveReplica

    live = patched(LiveReplica)
    restore = live.restore

    async def restore_only(self: Any, mark: Any, saved: Any, frames: Any) -> Any:
        return await restore(self, mark, saved, [])

    live.restore = restore_only


def one_holder() -> None:
    """A node goes when one of those who hold it lets go."""
    from rxgraphql.graph import Graph

    graph = patched(Graph)
    unhold = graph._unhold

    def let_go(self: Any, parent: Any, edge: Any, child: Any) -> None:
        unhold(self, parent, edge, child)
        child.held_by.clear()

    graph._unhold = let_go


def no_set_null() -> None:
    from rxgraphql.replica import Replica

    def delete(self: Any, node: Any) -> None:
        for edge, parents in list(node.held_by.items()):
            for parent in list(parents):
                self._unhold(parent, edge, node)
        self._drop(node)

    replica = patched(Replica)
    replica._ask_who_points_at, replica._delete = lambda self, node: None, delete


def deleted_stay_in_lists() -> None:
    from rxgraphql.replica import Replica

    def delete(self: Any, node: Any) -> None:
        self._ask_who_points_at(node)
        self._drop(node)

    patched(Replica)._delete = delete


class Patched:
    """A class or module, of which only what is there can be changed: a sabotage of an old name would do nothing."""

    def __init__(self, thing: Any) -> None:
        object.__setattr__(self, "thing", thing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.thing, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(self.thing, name):
            raise AttributeError(f"{self.thing!r} has no {name!r} any more.")
        setattr(self.thing, name, value)


def patched(thing: Any) -> Any:
    """Spelled out, so that each change of the library is seen to be meant."""
    return Patched(thing)


# ---------------------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Sabotage:
    """In which `process` what is done, and the runs in which it should be noticed: see Config."""

    process: str
    do: Callable[[], None]
    faults: tuple[str, ...] = ()
    transactions: int = 600
    cold: bool = False


SABOTAGES: dict[str, Sabotage] = {
    "ticket before the commit": Sabotage("writer", ticket_first),
    "ticket after the read": Sabotage("writer", read_first),
    "publish at mark time": Sabotage("writer", publish_at_mark),
    "killed writers, nothing repairs": Sabotage("writer", no_repair, ("writer-kill",)),
    "counter noted after the load": Sabotage("server", load_before_note),
    "gap check off": Sabotage("server", no_gap_check, ("redis-pubsub",)),
    "read before subscribed, gap check off": Sabotage(
        "server", unconfirmed_subscription, ("worker-kill",)
    ),
    "epoch check off": Sabotage("server", no_epoch_check, ("flushall",)),
    "highest ticket wins": Sabotage("server", highest_ticket_wins),
    "unknown rows from any entry": Sabotage("server", unknown_rows_from_any_entry),
    "generations off": Sabotage("server", no_generations, ("lapse",), 180),
    "promise not waited for": Sabotage("server", no_promise, (), 120, cold=True),
    "entries don't wait for loads": Sabotage("server", no_waiting),
    "any cursor continues": Sabotage("server", any_digest),
    "cached state without later entries": Sabotage(
        "server", cache_without_entries, ("worker-kill",)
    ),
    "one holder is all": Sabotage("server", one_holder),
    "SET_NULL not followed": Sabotage("server", no_set_null),
    "deleted rows stay in lists": Sabotage("server", deleted_stay_in_lists),
}


def apply(process: str) -> None:
    """Does what RX_ORACLE_SABOTAGE names, if it is to be done in this kind of process."""
    name = os.environ.get("RX_ORACLE_SABOTAGE")
    if name and SABOTAGES[name].process == process:
        SABOTAGES[name].do()
