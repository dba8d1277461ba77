"""`recheck()`: ask again who may see what, for whatever changed it that is no row of the channel's own.

It is an entry of the log without rows, which every serving process takes: it names no model but who is meant.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import models, router, transaction
from django.db.utils import DEFAULT_DB_ALIAS

from rxgraphql.channel import registry
from rxgraphql.errors import LogUnavailableError
from rxgraphql.log import Entry, Ticket
from rxgraphql.publish import publisher

logger = logging.getLogger("rxgraphql.rechecks")

# No label of a model: those have a dot
PREFIX: Final = "recheck:"
EVERYONE: Final = f"{PREFIX}*"


def recheck(*users: models.Model) -> None:
    """Has `has_permission()` asked again at once for all subscriptions of these users, or of everyone, and whether
    they may still log in.

    For what decides over permissions and is neither the anchor's row nor one of its many-to-many links: groups, a
    table of roles, a deactivated account. Where nobody calls it, that is found within RX_RECHECK seconds. In a
    transaction it is told with the commit. Raises TypeError for what isn't a user, and ValueError for a user without a
    primary key; where Redis can't be reached it is logged, and left to RX_RECHECK.
    """
    labels = [EVERYONE]
    using = DEFAULT_DB_ALIAS
    if users:
        labels = [f"{PREFIX}{_key(user)}" for user in users]
        using = router.db_for_write(users[0].__class__, instance=users[0])
    transaction.on_commit(partial(_tell, labels), using=using)


async def arecheck(*users: models.Model) -> None:
    """`recheck()` for async code."""
    await sync_to_async(recheck)(*users)


def suspects(labels: Iterable[str]) -> set[str] | None:
    """The primary keys of those whom the labels of an entry name; None is everyone."""
    named = {label.removeprefix(PREFIX) for label in labels if label.startswith(PREFIX)}
    return None if "*" in named else named


def _key(user: Any) -> str:
    if not isinstance(user, models.Model):
        hint = " Write them one by one: recheck(*users)." if isinstance(user, Iterable) else ""
        raise TypeError(f"recheck() takes users, not {user!r:.100}.{hint}")
    if user.pk is None:
        raise ValueError(f"recheck() can't tell who {user!r} is: it has no primary key.")
    return str(user.pk)


def _tell(labels: list[str]) -> None:
    try:
        found = publisher()
        if found is not None:
            ticket = Ticket(found.log.look(), 0, frozenset())
            found.log.append(
                ticket, Entry(registry.built.layout, {}, unknown=labels, labels=labels)
            )
    except LogUnavailableError as error:
        logger.warning("Permissions are asked for again later, within RX_RECHECK: %s", error)
