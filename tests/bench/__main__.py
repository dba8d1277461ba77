from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import django
from django.conf import settings
from django.db import connection
from django.test.utils import setup_databases, setup_test_environment, teardown_databases

import tests.bench
from tests.bench.case import Case, Result, compare
from tests.services import ROOT, Postgres, Valkey

REPORT = ROOT / "build" / "bench.json"


@contextmanager
def services() -> Iterator[None]:
    """The servers and databases of one run, as the tests have them."""
    settings.RUN_DIR.mkdir(mode=0o700)
    valkey = Valkey(settings.VALKEY_DIR)
    postgres = Postgres(settings.POSTGRES_DIR)
    databases: list[Any] = []
    try:
        valkey.start()
        if settings.START_POSTGRES:
            postgres.start()
        setup_test_environment(debug=False)
        databases = setup_databases(verbosity=0, interactive=False)
        yield
    finally:
        teardown_databases(databases, verbosity=0)
        postgres.stop()
        valkey.stop()
        shutil.rmtree(settings.RUN_DIR)


def cases(names: list[str]) -> Iterator[Case]:
    """Of all modules of this package, the cases whose names have one of `names` in them."""
    for found in pkgutil.iter_modules(tests.bench.__path__):
        module = (
            importlib.import_module(f"tests.bench.{found.name}") if found.name[0] != "_" else None
        )
        for case in getattr(module, "cases", tuple)():
            chosen = not names or any(name in case.name for name in names)
            if chosen and (case.every_database or connection.vendor == "sqlite"):
                yield case


def number(value: float) -> str:
    return f"{value:.4g}"


def show(result: Result) -> None:
    a, b = (number(statistics.median(values)) for values in (result.a, result.b))
    spread = sorted(a / b for a, b in zip(result.a, result.b, strict=True))
    print(
        f"{result.name:<58} {a:>10} {b:>10} {result.unit:<6} {result.ratio:>7.3f}"
        f"   {spread[0]:.3f} .. {spread[-1]:.3f}",
        flush=True,
    )


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=tests.bench.__doc__)
    parser.add_argument("names", nargs="*", help="only cases with one of these in their names")
    names = parser.parse_args().names
    django.setup()
    report: dict[str, Any] = {}
    with suppress(FileNotFoundError):
        report = json.loads(REPORT.read_text())
    if connection.vendor == "sqlite":
        print(
            f"{'case':<58} {'ours':>10} {'other':>10} {'unit':<6} {'ratio':>7}   lowest .. highest"
        )
    with services():
        for case in cases(names):
            result = compare(case)
            show(result)
            report[result.name] = {
                "unit": result.unit,
                "ours": result.a,
                "other": result.b,
                "ratio": result.ratio,
            }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    if "RX_TEST_DATABASE" not in os.environ and "DATABASE_URL" not in os.environ:
        # The same on PostgreSQL, with files of its own: a process has one set of databases.
        environment = {**os.environ, "RX_TEST_DATABASE": "postgres"}
        del environment["RX_TEST_DIR"]
        subprocess.run(
            [sys.executable, "-m", "tests.bench", *names], env=environment, check=True, cwd=ROOT
        )


if __name__ == "__main__":
    main()
