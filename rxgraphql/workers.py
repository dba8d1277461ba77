"""The threads in which a hub asks the database, each with a connection of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections

T = TypeVar("T")

THREADS = 4


class Workers:
    """Runs blocking functions off the event loop. Connections stay open between calls: opening one costs more than
    a query."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="rxgraphql")
        self._opened: dict[int, Any] = {}
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """The function's result; it is called once more if the connection turns out to be dead."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._call, function, arguments)

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
        except BaseException:
            self._roll_back()
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
    def _roll_back() -> None:
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None and not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()

    async def stop(self) -> None:
        """Closes the threads and their connections."""
        await asyncio.get_running_loop().run_in_executor(None, self._shut)

    def _shut(self) -> None:
        self._pool.shutdown()
        for connection in self._opened.values():
            connection.close()
        self._opened.clear()
