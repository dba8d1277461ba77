"""Takes one safeguard of the library away, in a child process of the oracle."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

LEASE_MS = 3000


def shorten_leases() -> None:
    """So that a lease can lapse in a run of a minute."""
    from rxgraphql import hub, hub_log

    changed: Any = {hub_log: {"LEASE_MS": LEASE_MS}, hub: {"LOOK_SECONDS": LEASE_MS / 3000}}
    for module, values in changed.items():
        for name, value in values.items():
            assert hasattr(module, name), name
            setattr(module, name, value)


SABOTAGES: dict[str, dict[str, Callable[[], None]]] = {}


def apply(process: str) -> None:
    """Does what RX_ORACLE_SABOTAGE names, if it is to be done in this kind of process."""
    name = os.environ.get("RX_ORACLE_SABOTAGE")
    if name:
        SABOTAGES[name].get(process, lambda: None)()
