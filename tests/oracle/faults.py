"""What goes wrong in a run: each fault is done, lasts a while, and is over when its function returns."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from signal import SIGCONT, SIGSTOP
from typing import TYPE_CHECKING, Any

import psycopg
import redis

from tests.oracle.client import Slot
from tests.oracle.sabotage import LEASE_MS

if TYPE_CHECKING:
    from tests.oracle.conductor import Conductor

Fault = Callable[["Conductor", random.Random], Awaitable[None]]


def command(url: str, *words: str) -> None:
    with suppress(redis.RedisError, OSError), redis.Redis.from_url(url, socket_timeout=2) as client:
        client.execute_command(*words)


async def redis_normal(conductor: Conductor, rng: random.Random) -> None:
    """The connections that ask are killed, of writers and servers."""
    await asyncio.to_thread(command, conductor.valkey.url, "CLIENT", "KILL", "TYPE", "normal")


async def redis_pubsub(conductor: Conductor, rng: random.Random) -> None:
    """The connections that listen are killed."""
    await asyncio.to_thread(command, conductor.valkey.url, "CLIENT", "KILL", "TYPE", "pubsub")


async def flushall(conductor: Conductor, rng: random.Random) -> None:
    """Redis is emptied."""
    await asyncio.to_thread(command, conductor.valkey.url, "FLUSHALL")


async def redis_restart(conductor: Conductor, rng: random.Random) -> None:
    """Redis is killed, is away for a moment, and comes back empty."""
    await asyncio.to_thread(conductor.valkey.kill)
    await asyncio.sleep(rng.choice((0.0, 0.5, 1.5)))
    await asyncio.to_thread(conductor.valkey.start)


async def redis_pause(conductor: Conductor, rng: random.Random) -> None:
    """Redis keeps its connections and answers nothing."""
    conductor.valkey.pause()
    await asyncio.sleep(rng.choice((0.3, 1.0, 2.5)))
    conductor.valkey.resume()


async def postgres(conductor: Conductor, rng: random.Random) -> None:
    """Half of PostgreSQL's connections are killed, of writers and servers."""

    def terminate() -> None:
        with psycopg.connect(conductor.site.conninfo, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name LIKE %s AND pid <> pg_backend_pid() ORDER BY pid",
                ("oracle-%",),
            ).fetchall()
            for (pid,) in rows:
                if rng.random() < 0.5:
                    connection.execute("SELECT pg_terminate_backend(%s)", (pid,))

    await asyncio.to_thread(terminate)


async def freeze(conductor: Conductor, rng: random.Random) -> None:
    """A server stands still for a moment."""
    slot = rng.choice(conductor.slots)
    await stand_still([slot], rng.choice((0.5, 1.0, 2.0)))


async def lapse(conductor: Conductor, rng: random.Random) -> None:
    """All servers stand still until their leases have lapsed."""
    await stand_still(conductor.slots, LEASE_MS / 1000 + rng.choice((0.3, 1.5)))


async def stand_still(slots: list[Slot], seconds: float) -> None:
    servers = [slot.server for slot in slots if slot.server is not None]
    for server in servers:
        server.signal(SIGSTOP)
    await asyncio.sleep(seconds)
    for server in servers:
        server.signal(SIGCONT)


async def worker_kill(conductor: Conductor, rng: random.Random) -> None:
    """A server is killed, and started again."""
    slot = rng.choice(conductor.slots)
    server, slot.server = slot.server, None
    if server is not None:
        await asyncio.to_thread(server.kill)
        slot.logs.append(server.log)
    await asyncio.to_thread(conductor.start_server, slot)


async def writer_kill(conductor: Conductor, rng: random.Random) -> None:
    """Nothing to do now: the writers are told at their start at which transaction they are killed."""


FAULTS: dict[str, Fault] = {
    "redis-normal": redis_normal,
    "redis-pubsub": redis_pubsub,
    "redis-pause": redis_pause,
    "redis-restart": redis_restart,
    "flushall": flushall,
    "postgres": postgres,
    "freeze": freeze,
    "lapse": lapse,
    "worker-kill": worker_kill,
    "writer-kill": writer_kill,
}


def chosen(text: str) -> list[str]:
    """The faults of `all`, `none` or a list with commas. Raises ValueError for one that isn't known."""
    if text in ("all", "none", ""):
        return list(FAULTS) if text == "all" else []
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in FAULTS]:
        raise ValueError(f"No such fault: {', '.join(unknown)}. There are {', '.join(FAULTS)}.")
    return names


def plan(names: list[str], rng: random.Random, most: int) -> list[str]:
    """Each of the faults, in a random order, again and again, up to `most` or once."""
    timed: list[Any] = [name for name in names if name != "writer-kill"]
    found: list[str] = []
    while timed and (not found or len(found) + len(timed) <= most):
        found += rng.sample(timed, len(timed))
    return found
