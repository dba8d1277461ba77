"""What the commit hook calls: the process's publisher, made at first use, left behind by a fork, and asked at exit."""

from __future__ import annotations

import atexit
import logging
import multiprocessing.util
import os
import threading
import time

from rxgraphql import embedded
from rxgraphql.changeset import ChangeSet
from rxgraphql.channel import Built, registry
from rxgraphql.conf import settings
from rxgraphql.log import PROMISE_RELIED, WriterLog
from rxgraphql.publisher import Publisher

logger = logging.getLogger("rxgraphql.publish")

_publishers: dict[tuple[Built, str, str | None], Publisher] = {}
_embedded: tuple[float, str | None] = (0.0, None)
_lock = threading.Lock()


def _after_fork() -> None:
    """A child has neither its parent's connections nor its debts, nor the thread that pays them."""
    global _lock
    _lock = threading.Lock()
    _publishers.clear()


os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _before_exit() -> None:
    """A last attempt: what a process owes at its end is known to nobody else."""
    for found in list(_publishers.values()):
        # the server for development ends with the last who could listen, and nobody misses anything
        if not found.pay_at_exit() and settings.REDIS_URL:
            logger.error("The process ends, and the last changes are not published.")


def publisher() -> Publisher | None:
    """The process's publisher; None where no server can have a listener."""
    url = settings.REDIS_URL or _embedded_url()
    if url is None:
        return None
    built = registry.built
    key = (built, url, settings.RX_NAMESPACE)
    found = _publishers.get(key)
    if found is not None:
        return found
    with _lock:
        found = _publishers.get(key)
        if found is None:
            if not _publishers and multiprocessing.parent_process() is not None:
                # such a process ends without atexit
                multiprocessing.util.Finalize(None, _before_exit, exitpriority=0)
            found = _publishers[key] = Publisher(built, WriterLog(url))
        return found


def _embedded_url() -> str | None:
    """Like a promise that nobody watches: looked for after the commit, and relied on for less time than a hub
    waits when it has started a server.
    """
    global _embedded
    asked = time.monotonic()
    until, url = _embedded
    if asked >= until:
        url = embedded.running_url()
        _embedded = (asked + PROMISE_RELIED, url)
    return url


def publish(using: str, changes: ChangeSet) -> None:
    """What the commit hook calls. Never raises: a save must not fail for us."""
    try:
        found = publisher()
    except Exception:
        logger.exception("The log can't be reached.")
        return
    if found is not None:
        if changes.suspects:
            found.tell_suspects(changes.suspects)
        found.publish(using, changes)
