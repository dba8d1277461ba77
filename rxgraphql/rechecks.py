"""`recheck()`: ask again who may see what, for whatever changed it that is no row of the channel's own.

It is an entry of the log without rows, which every serving process takes: it names no model but who is meant.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections, models

from rxgraphql import capture
from rxgraphql.changeset import ChangeSet

# No label of a model: those have a dot
PREFIX: Final = "recheck:"
EVERYONE: Final = f"{PREFIX}*"
# Users that are named; of more it is everyone
MOST_USERS: Final = 10_000


def recheck(*users: models.Model) -> None:
    """Has `has_permission()` asked again at once for all subscriptions of these users, or of everyone, and whether
    they may still log in.

    For what decides over permissions and is neither the anchor's row nor one of its many-to-many links: groups, a
    table of roles, a deactivated account. Where nobody calls it, that is found within RX_RECHECK seconds. In a
    transaction, of whichever database, it is told with the commit. Raises TypeError for what isn't a user, and
    ValueError for a user without a primary key; where Redis can't be reached it is logged, and left to RX_RECHECK.
    """
    labels = {f"{PREFIX}{_key(user)}" for user in users} or {EVERYONE}
    if len(labels) > MOST_USERS:
        labels = {EVERYONE}

    def note(changes: ChangeSet) -> None:
        changes.suspects |= labels

    opened = [found for found in connections.all(initialized_only=True) if found.connection]
    in_transaction = [c.alias for c in opened if c.in_atomic_block or not c.get_autocommit()]
    for using in in_transaction or [DEFAULT_DB_ALIAS]:
        capture.mark(using, note)


async def arecheck(*users: models.Model) -> None:
    """`recheck()` for async code."""
    await sync_to_async(recheck)(*users)


def _key(user: Any) -> str:
    if not isinstance(user, models.Model) or not hasattr(user, "is_authenticated"):
        hint = ""
        if isinstance(user, Iterable) and not isinstance(user, str | bytes):
            hint = " Write them one by one: recheck(*users)."
        raise TypeError(f"recheck() takes users, not {user!r:.100}.{hint}")
    if user.pk is None:
        raise ValueError(f"recheck() can't tell who {user!r} is: it has no primary key.")
    return str(user.pk)


def suspects(labels: Iterable[str]) -> set[str] | None:
    """The primary keys of those whom the labels of an entry name; None is everyone."""
    named = {label.removeprefix(PREFIX) for label in labels if label.startswith(PREFIX)}
    return None if "*" in named else named


class Rechecked:
    """When a process last heard that users may not be who they were. For those who watch nothing yet."""

    def __init__(self) -> None:
        self._everyone = float("-inf")
        self._users: dict[str, float] = {}

    def add(self, users: Iterable[str] | None) -> None:
        """These, or everyone."""
        now = time.monotonic()
        if users is not None:
            self._users.update(dict.fromkeys(users, now))
        if users is None or len(self._users) > MOST_USERS:
            self._everyone = now
            self._users.clear()

    def at(self, user: Any) -> float:
        """By time.monotonic(); what is known of the user must not be older."""
        return max(self._everyone, self._users.get(str(getattr(user, "pk", None)), self._everyone))
