"""`python -m tests.oracle [--seed 1] [--transactions 400] [--faults all]`: see docs/testing.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.services import Postgres, Valkey


@contextmanager
def site() -> Iterator[object]:
    """The servers of a run, and Django on them."""
    directory = Path(tempfile.mkdtemp(prefix="rx-oracle-"))
    postgres, valkey = Postgres(directory / "postgres"), Valkey(directory / "valkey")
    try:
        postgres.start()
        valkey.start()
        from tests.oracle.conductor import Site

        found = Site(postgres, valkey)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tests.oracle.settings",
            "DATABASE_URL": found.url,
            "REDIS_URL": valkey.url,
            "RX_NAMESPACE": "oracle",
        }
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", run_syncdb=True, verbosity=0)
        yield found
    finally:
        valkey.stop()
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--transactions", type=int, default=400)
    parser.add_argument("--faults", default="all", help="all, none, or names with commas")
    parser.add_argument("--outbox", default="", help="yes or no; without it, if the seed is even")
    parser.add_argument("--shrink", type=float, default=120.0, help="seconds to look for less")
    parser.add_argument("--sabotage", default="", help="take this safeguard away")
    parser.add_argument("--kill", action="store_true", help="take each safeguard away in turn")
    parser.add_argument("--only", default="", help="those with this in their names")
    options = parser.parse_args()
    # ended in order, as by Ctrl-C: with its servers
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    from tests.oracle import faults

    try:
        chosen = tuple(faults.chosen(options.faults))
    except ValueError as error:
        parser.error(str(error))
    with site() as found:
        from tests.oracle import report
        from tests.oracle.conductor import Config, Site

        assert isinstance(found, Site)
        if options.kill:
            from tests.oracle.kill import kill_matrix

            return kill_matrix(found, options.seed, options.only)
        outbox = options.outbox == "yes" if options.outbox else options.seed % 2 == 0
        config = Config(
            options.seed, options.transactions, chosen, outbox=outbox, cold=options.seed % 3 == 0
        )
        config = replace(config, sabotage=options.sabotage)
        result = report.run(found, config)
        print(report.table(result))
        if not result.passed:
            print(report.history(result))
            if options.shrink:
                smaller = report.shrink(found, result, options.shrink)
                print(report.history(smaller))
        print(json.dumps(report.summary(result)))
        return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
