"""A process that uses the embedded server: `python -m tests.embedded_user DIRECTORY ACTION GRACE`.

Prints one line with what came of it, then lives until its standard input ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

from django.conf import settings

from rxgraphql import embedded


def main(directory: str, action: str, grace: str) -> None:
    settings.BASE_DIR = Path(directory)
    embedded.GRACE = float(grace)
    url = embedded.ensure() if action == "serve" else embedded.running_url()
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
