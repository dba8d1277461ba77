"""What a process has committed and not published yet."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rxgraphql.changeset import ChangeSet

logger = logging.getLogger("rxgraphql.publish")

# Keys that one process remembers while Redis is away.
MOST_OWED = 10_000
# Seconds between two epochs that one process ends: all that listen reload at each.
EPOCH_SECONDS = 5.0


class Owed:
    """The changes by database, and whether there are others that nobody can name any more. Used by all threads."""

    def __init__(self) -> None:
        # a new epoch makes all reload
        self.lost = False
        self._changes: dict[str, ChangeSet] = {}
        self._next_epoch = 0.0
        # threads that publish what was owed
        self._in_hand = 0
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Whether anything is owed, if only in the hands of a thread that is about to publish it."""
        return bool(self._changes) or self.lost or self._in_hand > 0

    def __contains__(self, using: str) -> bool:
        return using in self._changes

    def databases(self) -> list[str]:
        return list(self._changes)

    @contextmanager
    def in_hand(self) -> Iterator[None]:
        """While a thread has what it took, and may owe it again."""
        with self._lock:
            self._in_hand += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_hand -= 1

    def take(self, using: str, changes: ChangeSet) -> ChangeSet:
        """The changes with what is owed of this database, which is owed no longer."""
        with self._lock:
            owed = self._changes.pop(using, None)
        if owed is None:
            return changes
        owed.update(changes)
        return owed

    def add(self, using: str, changes: ChangeSet) -> bool:
        """Owes the changes; whether that is news to whoever pays."""
        with self._lock:
            first = not self._changes
            if self._remember(using, changes):
                return first
            self._changes[using] = ChangeSet()
            known, self.lost = self.lost, True
        if not known:
            message = "More than %d keys are owed: every replica will reload instead."
            logger.error(message, MOST_OWED)
        return True

    def lose(self) -> None:
        """There are changes that nobody can name."""
        self.lost = True

    def take_lost(self, at_once: bool = False) -> bool:
        """Whether to end the epoch now, which is said to one. Not for each change that is lost: a fault may come
        with every save.
        """
        with self._lock:
            now = time.monotonic()
            if not self.lost or (now < self._next_epoch and not at_once):
                return False
            # before it is done: another thread may lose something meanwhile
            self.lost = False
            self._next_epoch = now + EPOCH_SECONDS
            return True

    def give_lost_back(self) -> None:
        """The epoch could not be ended: whoever asks next is to do it."""
        self.lost = True
        self._next_epoch = 0.0

    def _remember(self, using: str, changes: ChangeSet) -> bool:
        owed = self._changes.get(using)
        if owed is None and len(changes) <= MOST_OWED:
            # most often what `take()` gave a moment ago: not to be copied at each save
            self._changes[using] = changes
            return True
        if owed is not None and len(owed) + len(changes) <= MOST_OWED:
            owed.update(changes)
            return True
        return False
