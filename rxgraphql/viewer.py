"""Who watches: the user behind a connection, as its credentials said at the last look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models import Model

from rxgraphql.errors import ErrorCode, RefusedError

__all__ = ["Viewer"]


class Viewer:
    """One connection's user, who may have been logged out or let go since.

    `ask` gives the user as the credentials say now, from the database, or raises RefusedError.
    """

    def __init__(self, user: Any, ask: Callable[[], Any] | None = None) -> None:
        self.user = user
        self._ask = ask or partial(same_user, user)
        self._looked_at = time.monotonic()
        self._lock = threading.Lock()

    @classmethod
    def of(cls, user: Any) -> Viewer:
        """The viewer, or one for a user whose credentials nobody knows."""
        return user if isinstance(user, cls) else cls(user)

    def look(self, since: float) -> Any:
        """The user, asked for again unless that was after `since`, of time.monotonic(). Blocks. Raises RefusedError."""
        if self.is_older(since):
            began = time.monotonic()
            user = self._ask()
            with self._lock:
                # another thread may have begun later, and be done
                if began >= self._looked_at:
                    self.user, self._looked_at = user, began
        return self.user

    def is_older(self, since: float) -> bool:
        """Whether `look()` would ask."""
        return self._looked_at < since


def same_user(user: Any) -> Any:
    """The user as the database has it now. Raises RefusedError if it is gone or not active any more. Whoever never was
    in a database stays the same.
    """
    if not isinstance(user, Model) or user._state.adding:
        return user
    # __class__: of what a lazy object stands for
    found: Any = user.__class__._base_manager.using(user._state.db).filter(pk=user.pk).first()
    if found is None or not getattr(found, "is_active", True):
        raise RefusedError(401, ErrorCode.UNAUTHENTICATED, "This user may not log in any more.")
    return found
