"""The kill matrix: each safeguard is taken away in turn, and the oracle has to go red.

With the safeguards in place the same runs must be green, or red says nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.oracle import report
from tests.oracle.conductor import Config, Result, Site
from tests.oracle.sabotage import SABOTAGES, Sabotage

ATTEMPTS = 4


def kill_matrix(site: Site, seed: int, only: str = "") -> int:
    """Prints a table; 1 if a safeguard was not missed, or a run with all of them failed."""
    chosen = {name: one for name, one in SABOTAGES.items() if only in name}
    rows = []
    healthy = True
    for config in {config_of(seed, one): None for one in chosen.values()}:
        result = report.run(site, config)
        with_ = ", ".join((*config.faults, *(["a cold start"] if config.cold else [])))
        rows.append(row(result, f"nothing, with {with_ or 'no faults'}"))
        healthy &= result.passed
        print(rows[-1], flush=True)
    for name, one in chosen.items():
        result, tried = attempts(site, replace(config_of(seed, one), sabotage=name))
        rows.append(row(result, name, tried))
        healthy &= not result.passed
        print(rows[-1], flush=True)
    print("", *rows, "each was missed" if healthy else "NOT ALL WERE MISSED", sep="\n")
    return 0 if healthy else 1


def config_of(seed: int, one: Sabotage) -> Config:
    config = Config(seed, one.transactions, one.faults, cold=one.cold)
    return replace(config, settle=8.0, exercised=False)


def attempts(site: Site, config: Config) -> tuple[Result, int]:
    """Runs with one seed after the other until one fails; the transactions of all."""
    tried = 0
    for attempt in range(ATTEMPTS):
        result = report.run(site, replace(config, seed=config.seed + attempt))
        tried += result.counts["transactions"]
        if not result.passed:
            break
    return result, tried


def row(result: Result, name: str, tried: int = 0) -> str:
    red: Counter[str] = Counter(violation.rule for violation in result.violations)
    for failure in result.failures:
        red["convergence" if "serializer's state" in failure else "an error"] += 1
    what = ", ".join(f"{rule} {count}" for rule, count in red.most_common())
    tried = tried or result.counts["transactions"]
    return f"{name:40}  {what or 'green':45}  {tried:5} transactions, seed {result.config.seed}"
