"""The servers of a run: PostgreSQL, Valkey, serving processes and writers, and what each of them holds."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import sys
import time
import urllib.request
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings as django_settings

from tests.services import ROOT, Postgres, Uvicorn, Valkey, _end_with_parent

# Seconds for all that ends to have ended: leases last for 15
QUIET_SECONDS = 40.0
_runs = itertools.count(1)


@dataclass(frozen=True)
class Room:
    name: str
    pk: int


class Slot:
    """A serving process, or the place where one is started again."""

    def __init__(self, name: str, env: dict[str, str]) -> None:
        self.name = name
        self.server: Uvicorn | None = None
        self._env = env
        self._logs: list[str] = []

    async def start(self) -> Uvicorn:
        server = await asyncio.to_thread(
            Uvicorn, "tests.soak.asgi:application", env=self._env, access_log=False, backlog=2048
        )
        self.server = server
        return server

    async def kill(self) -> None:
        """As a crash would: at once."""
        server, self.server = self.server, None
        if server is not None:
            await asyncio.to_thread(server.kill)
            self._logs.append(server.log)

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self._logs.append(self.server.log)
            self.server = None

    async def counts(self) -> dict[str, Any]:
        assert self.server is not None
        return await asyncio.to_thread(_fetch, f"{self.server.url}/soak/counts")

    def errors(self) -> list[str]:
        """What was logged as an error, one line each."""
        log = "".join([*self._logs, self.server.log if self.server is not None else ""])
        pattern = r"^(?=(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)[: ])"
        records = re.split(pattern, log, flags=re.MULTILINE)
        found = [one.strip().splitlines() for one in records if one.startswith("ERROR")]
        found += [one.strip().splitlines() for one in records if _is_unformatted(one)]
        return [f"log of {self.name}: {lines[0]} | {lines[-1]}" for lines in found]


def _is_unformatted(record: str) -> bool:
    return "Traceback" in record and not record.startswith("ERROR")


def _fetch(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


class Writer:
    """A process that writes until it is told to stop. `said` gets the words of each line."""

    def __init__(self, process: Process, said: Callable[[list[str]], None]) -> None:
        self.process = process
        self.transactions = 0
        self._said = said
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            words = line.decode().split()
            if words[0] == "=":
                self.transactions = int(words[1])
            else:
                self._said(words)

    async def stop(self) -> None:
        """Returns when it has ended, and so has published what it owed."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self._reading
        code = await self.process.wait()
        if code:
            raise RuntimeError(f"A writer ended with {code}.")


class Site:
    """All of one run. PostgreSQL and Valkey may be used by the next run too."""

    def __init__(self, postgres: Postgres, valkey: Valkey, **settings: Any) -> None:
        self.valkey = valkey
        self.namespace = f"soak{os.getpid()}-{next(_runs)}"
        # what this process writes is of the run too
        django_settings.RX_NAMESPACE = self.namespace
        self.slots: list[Slot] = []
        self.writers: list[Writer] = []
        self.env = {
            "DJANGO_SETTINGS_MODULE": "tests.soak.settings",
            "DATABASE_URL": database_url(postgres),
            "REDIS_URL": valkey.url,
            "RX_NAMESPACE": self.namespace,
            **{
                f"RX_SOAK_{name.upper()}": str(value)
                for name, value in settings.items()
                if value is not None
            },
        }

    async def serve(self, count: int) -> None:
        self.slots = [Slot(f"worker-{i}", self.env) for i in range(count)]
        await asyncio.gather(*(slot.start() for slot in self.slots))

    async def write(
        self,
        kind: str,
        seed: int,
        pause: float,
        said: Callable[[list[str]], None] = lambda words: None,
    ) -> Writer:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.soak.writer", kind, str(seed), str(pause)),
            env={**os.environ, **self.env},
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
            preexec_fn=_end_with_parent,
        )
        writer = Writer(process, said)
        self.writers.append(writer)
        return writer

    async def stop_writing(self) -> int:
        """How many transactions there were."""
        writers, self.writers = self.writers, []
        for writer in writers:
            await writer.stop()
        return sum(writer.transactions for writer in writers)

    def stop(self) -> None:
        for writer in self.writers:
            if writer.process.returncode is None:
                writer.process.kill()
        for slot in self.slots:
            slot.stop()

    # ------------------------------------------------------------------------------------------ Redis

    def keys(self) -> dict[str, int]:
        """How many there are of each kind, in the run's namespace."""
        with redis.Redis.from_url(self.valkey.url) as client:
            prefix = f"rx:{{{self.namespace}}}:"
            names = client.scan_iter(match=f"{prefix}*", count=1000)
            found = Counter(str(n.decode()).removeprefix(prefix).split(":")[0] for n in names)
        return dict(sorted(found.items()))

    def connections(self) -> int:
        """How many the server has, ours left out."""
        with redis.Redis.from_url(self.valkey.url) as client:
            return len(client.client_list()) - 1

    # ------------------------------------------------------------------------------------------ rest

    async def quiet(self, slot: Slot, *, keys: bool = True) -> dict[str, Any]:
        """What the worker holds once nobody subscribes any more and no state is cached, with `keys` once the leases
        have lapsed too. What doesn't end is in the counts."""
        until = time.monotonic() + QUIET_SECONDS
        while True:
            found = await slot.counts()
            found["keys"] = await asyncio.to_thread(self.keys)
            connections = await asyncio.to_thread(self.connections)
            found["other connections"] = connections - found.get("connections", 0)
            left_out = STANDING if keys else (*STANDING, *EXPIRING)
            found["keys"] = {k: n for k, n in found["keys"].items() if k not in left_out}
            held = {"state", "state-lease", *EXPIRING} & found["keys"].keys()
            # what is known of a cached state is forgotten at the hub's next look
            known = found["instances"].get("rxgraphql.warm.Kept")
            rests = not (found["replicas"] or known or held)
            # a task for each socket ends a moment after it
            rests = rests and all(name.startswith(RESTING_TASKS) for name in found["tasks"])
            if rests or time.monotonic() > until:
                return found
            await asyncio.sleep(0.25)


# Keys that go when a lease or a promise has lapsed
EXPIRING = ("watch", "promise")
# The log's own, one of each
STANDING = ("epoch", "counter", "sequence", "log")
# The server's own, the hub's follower, and that which counts
RESTING_TASKS = ("Server.", "LifespanOn.", "Follower.", "RequestResponseCycle.")


def database_url(postgres: Postgres) -> str:
    return f"postgres://postgres@/postgres?host={postgres.directory}"
