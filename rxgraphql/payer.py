"""The thread of a writing process that publishes what is owed, and looks whether what was published still stands.

Made when there is something to do, ended when there is nothing; it never keeps the process from exiting.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from contextlib import suppress
from typing import Final, Protocol

from django.db import connections

logger = logging.getLogger("rxgraphql.publish")

# Seconds between attempts to pay, each times 0.5 to 1.5: many processes wait for the same server.
PAUSES: Final = (0.25, 0.5, 1.0, 2.0)
# Seconds between looks at the epoch while there are recent entries.
LOOK_SECONDS: Final = 2.0


class Debtor(Protocol):
    """For whom a thread pays: see Publisher."""

    def owes(self) -> bool: ...
    def has_work(self) -> bool: ...
    def pay(self) -> bool: ...


class Payer:
    """One thread at most for a publisher."""

    def __init__(self, debtor: Debtor) -> None:
        self._debtor = debtor
        self._thread: threading.Thread | None = None
        self._sooner = threading.Event()
        self._ended = False
        self._lock = threading.Lock()

    def wake(self, sooner: bool = False) -> None:
        """There is something to do: at the next look, or `sooner` when something is owed."""
        if sooner:
            self._sooner.set()
        with self._lock:
            if self._thread is None and not self._ended:
                thread = threading.Thread(target=self._run, name="payer-rxgraphql", daemon=True)
                # where no thread can be started, the commits pay
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def end(self, seconds: float | None = None) -> None:
        """Ends the thread and waits for it, so long at most. What is owed stays owed."""
        with self._lock:
            self._ended = True
            thread = self._thread
        self._sooner.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)

    def _run(self) -> None:
        failures = 0
        while self._has_work():
            self._wait(failures)
            if self._ended:
                continue
            try:
                paid = self._debtor.pay()
            except Exception:
                logger.exception("What is owed could not be published; it is tried again.")
                paid = False
            finally:
                # a connection of its own, which nobody else would close
                connections.close_all()
            failures = 0 if paid else failures + 1

    def _has_work(self) -> bool:
        with self._lock:
            # under the lock: who brings work meanwhile finds this thread, or none
            if not self._ended and self._debtor.has_work():
                return True
            self._thread = None
            return False

    def _wait(self, failures: int) -> None:
        began = time.monotonic()
        while True:
            # first, so that what is told from here on ends the wait
            self._sooner.clear()
            if self._ended:
                return
            pause = LOOK_SECONDS
            if failures or self._debtor.owes():
                pause = PAUSES[min(failures, len(PAUSES) - 1)]
            left = began + pause * (0.5 + random.random()) - time.monotonic()
            if not self._sooner.wait(max(left, 0.0)):
                return
