"""What a serving process holds, counted inside of it."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import rxgraphql.hub
from rxgraphql.hub import get_hub
from rxgraphql.snapshot import Loaded, Wanted, load

# Made anew for each look at the database's outbox, whether or not there is one
FLEETING = "rxgraphql.outbox.Outbox"
# (whole states, parts of them) that were read from the database
_loads: Counter[str] = Counter()


def count_loads() -> None:
    def counted(wanted: Wanted, held: Collection[str] = frozenset()) -> Loaded:
        _loads["parts" if held else "whole"] += 1
        return load(wanted, held)

    vars(rxgraphql.hub)["load"] = counted


def counts() -> dict[str, Any]:
    """Garbage is collected and free memory given back first, so that what is counted is held."""
    gc.collect()
    _give_back()
    interval = sys.getswitchinterval()
    # Whoever holds all objects holds tuples that other threads are making, which fails there: bpo-15108
    sys.setswitchinterval(60)
    time.sleep(0)
    try:
        return _counts()
    finally:
        sys.setswitchinterval(interval)


def _counts() -> dict[str, Any]:
    own = get_hub()
    lives = list(own.replicas.values())
    tasks = Counter(_name(task) for task in asyncio.all_tasks())
    log = own.follower.log
    objects = gc.get_objects()
    connections = {"connections": 0} if log is None else _connections(log.client)
    return {
        "subscribers": own.subscriber_count,
        "audiences": sum(len(live.audiences) for live in lives),
        "replicas": len(lives),
        "tasks": dict(tasks),
        # of ours only: how many there are of each class
        "instances": dict(Counter(_class(one) for one in objects if _is_ours(one))),
        "objects": len(objects),
        **connections,
        "other descriptors": len(list(Path("/proc/self/fd").iterdir()))
        - connections["connections"],
        "timers": len(getattr(asyncio.get_running_loop(), "_scheduled", ())),
        "loads": _loads["whole"],
        "loads of parts": _loads["parts"],
        "memory": _status("VmRSS"),
        "most memory": _status("VmHWM"),
    }


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "?")


def _class(one: object) -> str:
    return f"{type(one).__module__}.{type(one).__qualname__}"


def _is_ours(one: object) -> bool:
    # some classes have a property of that name
    module: Any = type(one).__module__
    ours = isinstance(module, str) and module.startswith("rxgraphql.")
    return bool(ours and _class(one) != FLEETING)


def _connections(client: Any) -> dict[str, int]:
    """A pool keeps as many as were once needed at one time."""
    pool = client.connection_pool
    busy = len(pool._in_use_connections)
    return {"busy connections": busy, "connections": busy + len(pool._available_connections)}


def _status(name: str) -> int:
    """Kilobytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def _give_back() -> None:
    """The C library keeps what was freed, in pieces: how much of it depends on chance."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
