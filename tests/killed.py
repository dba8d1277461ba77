"""Processes that kill themselves at the worst moment.

python -m tests.killed writer     between its commit and its publish
python -m tests.killed drain      between its append to the log and the deletion from the outbox
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def end(*args: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def writer() -> None:
    from rxgraphql import capture
    from tests.shelves.models import Shelf

    capture.publish = end  # type: ignore[assignment, attr-defined]
    Shelf(id="a", name="last words").save()


def drain() -> None:
    from rxgraphql import outbox

    outbox.Outbox._delete = end  # type: ignore[assignment, method-assign]
    outbox.drain("default")


if __name__ == "__main__":
    django.setup()
    {"writer": writer, "drain": drain}[sys.argv[1]]()
