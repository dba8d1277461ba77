"""What a run came to: a table, a line of JSON, the history of what failed, and a smaller run that fails too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.oracle.checker import Violation, last_events
from tests.oracle.conductor import Conductor, Config, Result, Site, prepare

MOST_SHOWN = 4


def run(site: Site, config: Config) -> Result:
    boards = prepare(config.outbox)
    return asyncio.run(Conductor(site, config).run(boards))


def summary(result: Result) -> dict[str, Any]:
    config = result.config
    return {
        "passed": result.passed,
        "seed": config.seed,
        "asked": config.transactions,
        "faults": list(config.faults),
        "outbox": config.outbox,
        "cold": config.cold,
        "seconds": round(result.seconds, 1),
        **{name: count for name, count in sorted(result.counts.items()) if "step" not in name},
        "violations": [str(one) for one in result.violations[:10]],
        "failures": result.failures[:10],
    }


def table(result: Result) -> str:
    """Counts, one a line; the steps of the transactions in a row."""
    counts = result.counts
    names = [name for name in sorted(counts) if not name.startswith("step ")]
    width = max(map(len, names))
    lines = [f"{name:{width}}  {counts[name]:>7}" for name in names]
    steps = sorted(name.removeprefix("step ") for name in counts if name.startswith("step "))
    lines.append("steps: " + ", ".join(f"{name} {counts[f'step {name}']}" for name in steps))
    config = result.config
    verdict = "passed" if result.passed else "FAILED"
    lines.append(
        f"seed {config.seed}, {config.transactions} transactions, faults "
        f"{','.join(config.faults) or 'none'}, outbox {'installed' if config.outbox else 'not installed'}: "
        f"{verdict} in {result.seconds:.1f} s"
    )
    return "\n".join(lines)


def history(result: Result) -> str:
    """For each kind of violation the first: what the client was told of the row, and who wrote it."""
    lines = [f"FAILED: {failure}" for failure in result.failures]
    first: dict[str, Violation] = {}
    for violation in result.violations:
        first.setdefault(violation.rule, violation)
    lines.append(f"{len(result.violations)} violations")
    for violation in list(first.values())[:MOST_SHOWN]:
        lines += ["", str(violation), *_told(result, violation), *_written(result, violation)]
    return "\n".join(lines)


def _told(result: Result, violation: Violation) -> Iterator[str]:
    for client in result.clients:
        if client.name == violation.client:
            yield " what it was told"
            yield from last_events(violation.key, client.history, violation.index)


def _written(result: Result, violation: Violation) -> Iterator[str]:
    yield " what was written"
    for one in result.journal.concerning(violation.key)[-16:]:
        entries = [f"entry {epoch}.{sequence}" for epoch, sequence in one.published]
        place = " and ".join(entries) or "not published"
        said = [str(one.rows.get(violation.key, ""))]
        said += ["deleted"] if violation.key in (*one.deleted, *one.raw_deleted) else []
        said += [str(link) for link in one.links if violation.key in (link[0], link[2])]
        steps = result.steps.get(one.name, "seed")
        yield f"  {one.name} ({steps}), {place}: {' '.join(filter(None, said))}"


def shrink(site: Site, result: Result, seconds: float) -> Result:
    """The smallest run found in the time that fails too: fewer faults, fewer writers, fewer transactions.

    A run is not repeatable step by step: what doesn't fail again may still be needed.
    """
    deadline = time.monotonic() + seconds
    smallest = result
    tried: set[Config] = set()
    while True:
        # what didn't happen in a smaller run is no failure of it
        for config in smaller(replace(smallest.config, exercised=False)):
            if time.monotonic() > deadline:
                return smallest
            if config in tried:
                continue
            tried.add(config)
            found = run(site, config)
            print(f"shrink: {config}: {'passes' if found.passed else 'fails'}", flush=True)
            if not found.passed:
                smallest = found
                break
        else:
            return smallest


def smaller(config: Config) -> Iterator[Config]:
    if config.faults:
        yield replace(config, faults=())
    if len(config.faults) > 1:
        for fault in config.faults:
            yield replace(config, faults=(fault,))
    if config.transactions >= 40:
        yield replace(config, transactions=config.transactions // 2)
    if config.cold:
        yield replace(config, cold=False)
    if config.writers > 2:
        yield replace(config, writers=2)
    if config.clients > 1:
        yield replace(config, clients=1)
