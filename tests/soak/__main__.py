"""`python -m tests.soak drops|subscriptions|churn|herd|all`: see docs/testing.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services import Postgres, Valkey

NAMES = ("drops", "subscriptions", "churn", "herd")


@contextmanager
def servers() -> Iterator[tuple[Postgres, Valkey]]:
    """PostgreSQL and Valkey, and Django on them."""
    directory = Path(tempfile.mkdtemp(prefix="rx-soak-"))
    postgres, valkey = Postgres(directory / "postgres"), Valkey(directory / "valkey")
    try:
        postgres.start()
        valkey.start()
        from tests.soak.site import database_url

        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tests.soak.settings",
            "DATABASE_URL": database_url(postgres),
            "OTHER_DATABASE_URL": f"sqlite:///{directory}/other.sqlite3",
            "REDIS_URL": valkey.url,
            "RX_NAMESPACE": "soak",
        }
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", run_syncdb=True, verbosity=0)
        yield postgres, valkey
    finally:
        valkey.stop()
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("names", nargs="+", choices=(*NAMES, "all"))
    parser.add_argument("--short", action="store_true", help="a few seconds each, as in the suite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, help="of drops, churn and herd")
    parser.add_argument("--count", type=int, help="of subscriptions")
    parser.add_argument("--rows", type=int, help="of the herd's room")
    parser.add_argument("--seconds", type=float, help="of churn")
    options = parser.parse_args()
    given = {
        name: value
        for name, value in vars(options).items()
        if name not in ("names", "short") and value is not None
    }
    # ended in order, as by Ctrl-C: with its servers
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    passed = True
    with servers() as (postgres, valkey):
        # need Django to be set up
        from tests.soak import churn, drops, herd, subscriptions

        modules: dict[str, Any] = {
            "drops": drops,
            "subscriptions": subscriptions,
            "churn": churn,
            "herd": herd,
        }
        for name in NAMES if "all" in options.names else options.names:
            began = time.monotonic()
            report = asyncio.run(modules[name].run(postgres, valkey, options.short, given))
            report.seconds = time.monotonic() - began
            print(report.table(), report.line(), sep="\n", flush=True)
            passed = passed and not report.broken
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
