"""A process that writes.

    python -m tests.oracle.writer NAME SEED TRANSACTIONS [HEAL...]

Each transaction is random; the seed decides which, as far as other writers let it. It says a line for each:

    T name committed|rolled-back step...
    P name epoch sequence      its change is in the log, there
    O name...                  at its end this was still owed
    K name...                  it is about to be killed between the commit and its publish; these were not published
    H name                     what was committed under the name is published by touching it

HEAL is the name of each transaction that its killed predecessor committed and did not publish.
"""

from __future__ import annotations

import os
import sys

import django


def main(name: str, seed: str, count: str, *unpublished: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.oracle.settings")
    django.setup()
    # needs the apps to be ready
    from tests.oracle.writing import run

    run(name, int(seed), int(count), list(unpublished))


if __name__ == "__main__":
    main(*sys.argv[1:])
