"""A process that writes, one transaction and then a pause, until its input ends.

    python -m tests.soak.writer rooms|lives SEED PAUSE

`rooms` changes what is in the rooms that there are; `lives` also makes rooms and deletes them, and says so:

    + name pk      a room was made
    - name pk      it is about to be deleted
    = count        transactions, at the end
"""

from __future__ import annotations

import os
import select
import sys

import django


def main(kind: str, seed: str, pause: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.soak.settings")
    django.setup()
    # needs the apps to be ready
    from tests.soak.world import Writing

    writing = Writing(int(seed), lives=kind == "lives")
    count = 0
    while not select.select([sys.stdin], [], [], float(pause))[0]:
        writing.step()
        count += 1
    print("=", count, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
