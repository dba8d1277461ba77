"""The garbage collector, held back while very many objects are made that all stay.

Python looks for garbage after every 700 new containers, and again and again among all that came before: that took two
thirds of a load of ten thousand rows.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Still collects: other threads go on meanwhile, and a load may wait long for its database.
THRESHOLD = 50_000

_lock = threading.Lock()
_users = 0
_before = (0, 0, 0)


@contextmanager
def few_collections() -> Iterator[None]:
    """For the whole process, until the last of those that asked for it has ended."""
    global _users, _before
    with _lock:
        if _users == 0:
            _before = gc.get_threshold()
            # 0: the project has turned it off
            if 0 < _before[0] < THRESHOLD:
                gc.set_threshold(THRESHOLD, *_before[1:])
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and gc.get_threshold()[0] == THRESHOLD:
                gc.set_threshold(*_before)
