"""Who works for a hub: threads that ask the database, each with a connection of its own; and how its tasks end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections

T = TypeVar("T")

THREADS = 4


class Workers:
    """Runs blocking functions off the event loop. Connections stay open between calls: opening one costs more than
    a query."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._opened: dict[int, Any] = {}
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """The function's result; it is called once more if the connection turns out to be dead."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="rxgraphql")
            future = self._pool.submit(self._call, function, arguments)
        return await asyncio.wrap_future(future)

    def _call(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        before = {
            id(c): c for c in connections.all(initialized_only=True) if c.connection is not None
        }
        try:
            return function(*arguments)
        except (OperationalError, InterfaceError):
            dead = [c for c in before.values() if not c.is_usable()]
            self._close_all()
            if not dead:
                raise
            return function(*arguments)
        except StopIteration as error:
            # a future can't have it, and whoever awaits would wait for ever
            raise RuntimeError("StopIteration was raised where no iterator is.") from error
        except BaseException:
            self._close_unusable()
            raise
        finally:
            with self._lock:
                for connection in connections.all(initialized_only=True):
                    if id(connection) not in self._opened:
                        connection.inc_thread_sharing()
                        self._opened[id(connection)] = connection

    @staticmethod
    def _close_all() -> None:
        for connection in connections.all(initialized_only=True):
            connection.close()

    @staticmethod
    def _close_unusable() -> None:
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None and not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()

    async def stop(self) -> None:
        """Ends the threads and closes their connections; the next `run()` begins anew."""
        await asyncio.get_running_loop().run_in_executor(None, self._shut)

    def _shut(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        with self._lock:
            opened, self._opened = self._opened, {}
        for connection in opened.values():
            connection.close()


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels the tasks until they have ended.

    Once may not be enough: asyncio.wait_for() of Python 3.11, in which redis-py waits, swallows a cancel that comes in
    the same moment as its answer.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)


# One for the process, whichever event loop asks: under WSGI each request has a loop of its own
workers = Workers()
