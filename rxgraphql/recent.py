"""What a process appended to the log in the last seconds.

An old master may have taken entries that are lost with it: hubs that had moved to the new one before them never hear of
them. A writer that meets another epoch than that of its entries publishes their keys again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from rxgraphql.changeset import ChangeSet

# How far apart writers and hubs may be in noticing a failover.
RECENT_SECONDS: Final = 10.0
MOST_RECENT = 10_000


class Recent:
    """The change sets by epoch; of more than MOST_RECENT keys only that there were more. Used by all threads."""

    def __init__(self) -> None:
        # epoch -> (when, database, changes, how many keys)
        self._appended: dict[str, deque[tuple[float, str, ChangeSet, int]]] = {}
        # epoch -> when there were last too many
        self._spilled: dict[str, float] = {}
        self._keys = 0
        self._lock = threading.Lock()

    def add(self, epoch: str, using: str, changes: ChangeSet) -> None:
        now, keys = time.monotonic(), len(changes)
        with self._lock:
            self._forget_old(now)
            self._keys += keys
            if self._keys > MOST_RECENT:
                self._spilled.update(dict.fromkeys([*self._appended, epoch], now))
                self._appended.clear()
                self._keys = 0
                return
            self._appended.setdefault(epoch, deque()).append((now, using, changes, keys))

    def take_others(self, epoch: str) -> tuple[list[tuple[str, ChangeSet]], bool]:
        """(database, changes) of what was appended in other epochs, and whether that was too much to remember.

        It is given once: who takes it publishes it.
        """
        if not self._spilled and self._appended.keys() <= {epoch}:
            return [], False
        with self._lock:
            self._forget_old(time.monotonic())
            others = [other for other in self._appended if other != epoch]
            taken = []
            for other in others:
                for _, using, changes, keys in self._appended.pop(other):
                    taken.append((using, changes))
                    self._keys -= keys
            spilled = [other for other in self._spilled if other != epoch]
            for other in spilled:
                del self._spilled[other]
            return taken, bool(spilled)

    def __bool__(self) -> bool:
        with self._lock:
            self._forget_old(time.monotonic())
            return bool(self._appended or self._spilled)

    def _forget_old(self, now: float) -> None:
        for epoch, appended in list(self._appended.items()):
            while appended and appended[0][0] <= now - RECENT_SECONDS:
                self._keys -= appended.popleft()[3]
            if not appended:
                del self._appended[epoch]
        for epoch, when in list(self._spilled.items()):
            if when <= now - RECENT_SECONDS:
                del self._spilled[epoch]
