"""One run: servers, writers, clients and faults, then what the checker makes of it."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import random
import re
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from typing import Any

from tests.oracle import faults
from tests.oracle.checker import (
    Committed,
    Journal,
    Position,
    Violation,
    check,
    check_links_are_known,
)
from tests.oracle.client import Client, Slot
from tests.oracle.state import difference
from tests.services import ROOT, Postgres, Uvicorn, Valkey, _end_with_parent

# Seconds until the first clients must have their snapshots
PATIENCE = 20.0
# What is logged as an error for good reason while something is broken: these beginnings, with any of these faults
EXPECTED_ERRORS = {
    r"rxgraphql\.(live|hub): .* could not be (loaded|brought up to date|looked at again)": {
        *("postgres", "redis-normal", "redis-restart", "redis-pause", "freeze", "lapse"),
    },
    r"rxgraphql\.live: A part of .* could not be loaded": {"postgres"},
    r"rxgraphql\.live: .* could not be compared with the database": {"postgres"},
    r"rxgraphql\.follower: (The leases could not be renewed|Redis is away)": {
        *("redis-restart", "redis-pause", "freeze", "lapse"),
    },
    r"rxgraphql\.publish: The changed rows could not be read": {"postgres"},
    r"rxgraphql\.authorize: ": {"postgres"},
}
# Codes with which a subscription may end while something is broken
EXPECTED_CODES = {
    "UNAVAILABLE": {
        *("redis-normal", "redis-pubsub", "redis-restart", "redis-pause", "flushall"),
        *("freeze", "lapse"),
    },
    "DATABASE_ERROR": {"postgres"},
}
_runs = itertools.count(1)


@dataclass(frozen=True)
class Config:
    """What a run is made of."""

    seed: int = 1
    transactions: int = 400
    faults: tuple[str, ...] = ()
    writers: int = 4
    servers: int = 2
    # for each of the two boards
    clients: int = 5
    sabotage: str = ""
    # whether triggers note what is written, and the servers drain what they noted
    outbox: bool = False
    # whether the writers begin while nobody watches yet
    cold: bool = False
    # seconds between two faults
    pace: float = 2.0
    # seconds that all may take to come to the same state once the writing is over
    settle: float = 20.0
    # whether a run fails in which something did not happen
    exercised: bool = True


@dataclass
class Result:
    config: Config
    violations: list[Violation]
    counts: Counter[str]
    seconds: float
    journal: Journal
    clients: list[Client]
    # of each transaction
    steps: dict[str, str]
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not (self.violations or self.failures)


class Site:
    """PostgreSQL and Valkey, for several runs."""

    def __init__(self, postgres: Postgres, valkey: Valkey) -> None:
        self.postgres = postgres
        self.valkey = valkey
        self.url = f"postgres://postgres@/postgres?host={postgres.directory}"
        self.conninfo = f"host={postgres.directory} user=postgres dbname=postgres"


class Conductor:
    """Everything of one run."""

    def __init__(self, site: Site, config: Config) -> None:
        self.site = site
        self.config = config
        self.valkey = site.valkey
        self.rng = random.Random(f"{config.seed} faults")
        self.namespace = f"oracle{os.getpid()}-{next(_runs)}"
        self.slots = [Slot(f"server-{i}") for i in range(config.servers)]
        self.clients: list[Client] = []
        self.counts: Counter[str] = Counter()
        self.published: dict[str, list[Position]] = {}
        self.plan = faults.plan(list(config.faults), self.rng, max(1, config.transactions // 60))
        self.steps: dict[str, str] = {}
        self.failures: list[str] = []
        self.writer_errors: list[str] = []
        # set when all writers write
        self.warm = asyncio.Event()
        self.begun: set[str] = set()
        self._processes: list[Process] = []
        self._began = time.monotonic()

    def clock(self) -> float:
        return time.monotonic() - self._began

    def env(self, name: str, **more: str) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "tests.oracle.settings",
            "DATABASE_URL": self.site.url,
            "REDIS_URL": self.valkey.url,
            "RX_NAMESPACE": self.namespace,
            "RX_ORACLE_NAME": f"oracle-{name}",
            "RX_ORACLE_SABOTAGE": self.config.sabotage,
            **more,
        }

    # ------------------------------------------------------------------------------------------ processes

    def start_server(self, slot: Slot) -> None:
        slot.server = Uvicorn(
            "tests.oracle.asgi:application", env=self.env(slot.name), access_log=False
        )

    async def write(self, name: str, count: int, kill_at: int) -> None:
        """One writer to its end; a killed one has a successor, which knows what was not published."""
        unpublished: list[str] = []
        generation = 0
        while True:
            # as long as the plan of faults
            seconds = len(self.plan) * (self.config.pace + 1)
            share = self.config.transactions // self.config.writers
            pause = max(0.0, seconds / share - 0.07)
            more = {"RX_ORACLE_PAUSE": str(pause), "RX_ORACLE_OUTBOX": str(int(self.config.outbox))}
            if kill_at:
                more["RX_ORACLE_KILL_AT"] = str(kill_at)
            who = name if not generation else f"{name}r{generation}"
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.oracle.writer", who, str(self.config.seed)),
                *(str(count), *unpublished),
                env={**os.environ, **self.env(name, **more)},
                cwd=ROOT,
                stdout=PIPE,
                stderr=PIPE,
                preexec_fn=_end_with_parent,
                start_new_session=True,
            )
            self._processes.append(process)
            unpublished = []
            errors = asyncio.create_task(self._keep_errors(process))
            made = 0
            assert process.stdout is not None
            async for line in process.stdout:
                kind, *words = line.decode().split()
                made += kind == "T"
                self._take(kind, words)
                if kind == "K":
                    unpublished = words
            await errors
            code = await process.wait()
            if code == 0:
                return
            if not unpublished:
                self.failures.append(f"writer {who} ended with {code}")
                return
            self.counts["fault: writer-kill"] += 1
            generation, kill_at, count = generation + 1, 0, max(count - made, 1)

    async def _keep_errors(self, process: Process) -> None:
        assert process.stderr is not None
        self.writer_errors.append((await process.stderr.read()).decode(errors="replace"))

    def _take(self, kind: str, words: list[str]) -> None:
        match kind:
            case "T":
                self.begun.add(words[0].partition("-")[0])
                if len(self.begun) >= self.config.writers:
                    self.warm.set()
                self.counts["transactions"] += 1
                self.counts[f"transactions {words[1]}"] += 1
                self.steps[words[0]] = " ".join(words[2:])
                for step in words[2:]:
                    self.counts[f"step {step}"] += 1
            case "P":
                self.published.setdefault(words[0], []).append((words[1], int(words[2])))
                self.counts["published"] += 1
            case "H":
                self.counts["healed"] += 1
            case "O":
                self.failures.append(f"a writer could not publish {' '.join(words)}")

    async def inject(self) -> None:
        """The plan of faults, spread over the time of the writing."""
        for name in self.plan:
            await asyncio.sleep(self.config.pace * self.rng.uniform(0.5, 1.5))
            self.counts[f"fault: {name}"] += 1
            await faults.FAULTS[name](self, self.rng)

    # ------------------------------------------------------------------------------------------ the run

    async def run(self, boards: list[int]) -> Result:
        await asyncio.gather(*(asyncio.to_thread(self.start_server, slot) for slot in self.slots))
        self._began = time.monotonic()
        self.clients = [
            Client(f"client-{board}-{i}", board, self.slots, self.config.seed, self.clock)
            for board in boards
            for i in range(self.config.clients)
        ]
        reading = [asyncio.create_task(self._read(client)) for client in self.clients]
        try:
            if not self.config.cold:
                await self._begun(reading)
            await self._written()
            seconds = self.clock()
            await self._settled(boards, reading)
        finally:
            for client in self.clients:
                client.finished = True
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
            await self._stop()
        return await self._judge(seconds)

    async def _read(self, client: Client) -> None:
        if self.config.cold:
            await self.warm.wait()
        await client.run()

    async def _begun(self, reading: list[asyncio.Task[None]]) -> None:
        """The first clients have their snapshots: from now on it is watched."""
        async with asyncio.timeout(PATIENCE):
            while not all(client.history for client in self.clients if client.steady):
                self._raise_of(reading)
                await asyncio.sleep(0.02)

    def _raise_of(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            if task.done():
                task.result()

    async def _written(self) -> None:
        injecting = asyncio.create_task(self.inject())
        share = self.config.transactions // self.config.writers
        kill = "writer-kill" in self.config.faults
        try:
            await asyncio.gather(
                *(
                    self.write(f"w{i}", share, share // (i + 2) if kill and i % 2 == 0 else 0)
                    for i in range(self.config.writers)
                )
            )
            # What is broken is mended: the rest of the plan has no use any more
            await injecting
        finally:
            injecting.cancel()

    async def _settled(self, boards: list[int], reading: list[asyncio.Task[None]]) -> None:
        wanted = {board: await asyncio.to_thread(serialized, board) for board in boards}
        for client in self.clients:
            client.settling = True
        began = self.clock()
        pending = list(self.clients)
        while pending and self.clock() - began < self.config.settle:
            self._raise_of(reading)
            await asyncio.sleep(0.05)
            pending = [c for c in pending if c.held() != wanted[c.board]]
        self.counts["settled after ms"] = int((self.clock() - began) * 1000)
        for client in pending:
            held = client.held()
            text = (
                "something is missing" if held is None else difference(held, wanted[client.board])
            )
            self.failures.append(f"{client.name} never came to the serializer's state: {text}")

    async def _stop(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

        def stop(slot: Slot) -> None:
            if slot.server is not None:
                slot.server.stop()

        await asyncio.gather(*(asyncio.to_thread(stop, slot) for slot in self.slots))

    async def _judge(self, seconds: float) -> Result:
        journal = Journal(
            replace(one, published=tuple(self.published.get(one.name, ())))
            for one in await asyncio.to_thread(committed)
        )
        violations: list[Violation] = []
        for client in self.clients:
            violations += check(client.name, client.root, journal, client.history)
            self.counts.update(client.counts)
            self.counts["events"] += len(client.history)
            self._judge_errors(client)
        violations += check_links_are_known(journal, [c.history for c in self.clients])
        for slot in self.slots:
            self.failures += unexpected(slot.name, slot.log, set(self.config.faults))
        for text in self.writer_errors:
            self.failures += unexpected("writer", text, set(self.config.faults))
        if self.config.exercised:
            self._judge_counts()
        return Result(
            self.config,
            violations,
            self.counts,
            seconds,
            journal,
            self.clients,
            self.steps,
            self.failures,
        )

    def _judge_errors(self, client: Client) -> None:
        unknown: dict[str, list[float]] = {}
        for at, text in client.errors:
            self.counts["errors told to clients"] += 1
            codes = re.findall(r'"code": "(\w+)"', text)
            known = codes and all(
                EXPECTED_CODES.get(code, set()) & set(self.config.faults) for code in codes
            )
            if not known or "Traceback" in text:
                unknown.setdefault(text[:300], []).append(at)
        for text, times in unknown.items():
            when = f"{len(times)} times, first at {times[0]:.2f}"
            self.failures.append(f"{client.name} was told {when}: {text}")

    def _judge_counts(self) -> None:
        """A run in which nothing happened shows nothing."""
        wanted = ["transactions committed", "transactions rolled-back", "published", "changes"]
        wanted += ["snapshots", "resumes", "drops"]
        wanted += [f"fault: {name}" for name in self.config.faults]
        self.failures += [f"nothing was exercised: {n}" for n in wanted if not self.counts[n]]


def unexpected(name: str, log: str, broken: set[str]) -> list[str]:
    """Errors in a process's log that none of the faults explains, with what stands below them."""
    records = re.split(r"^(?=(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)[: ])", log, flags=re.MULTILINE)
    found = []
    for record in records:
        is_error = record.startswith(("ERROR", "CRITICAL")) or "Traceback" in record
        expected = any(
            causes & broken and re.match(rf"ERROR {pattern}", record)
            for pattern, causes in EXPECTED_ERRORS.items()
        )
        if is_error and not expected:
            lines = record.strip().splitlines()
            found.append(f"log of {name}: " + " | ".join([lines[0], *lines[-3:]])[:600])
    return found[:5]


# ---------------------------------------------------------------------------------------------- the database


def serialized(board: int) -> dict[str, Any]:
    """What DRF makes of the board now, as the event's names and types have it."""
    from tests.folding import expected
    from tests.oracle.channels import BoardChannel

    return expected(BoardChannel, board)


def committed() -> list[Committed]:
    """All transactions' records, in the order in which they came to the database."""
    from tests.oracle.models import Transaction

    return [
        Committed(
            one.name,
            one.record["rows"],
            tuple(one.record["deleted"]),
            tuple(one.record["raw_deleted"]),
            tuple(tuple(link) for link in one.record["links"]),
        )
        for one in Transaction.objects.order_by("pk")
    ]


def prepare(outbox: bool) -> list[int]:
    """Empties the database and makes the world anew, with or without triggers; gives the boards' keys."""
    from django.core.management import call_command

    from tests.oracle.work import seed_world

    call_command("flush", interactive=False, verbosity=0)
    with redirect_stdout(io.StringIO()):
        call_command("rxtriggers", "install" if outbox else "remove")
    return seed_world("seed")
