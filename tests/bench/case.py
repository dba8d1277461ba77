"""One comparison: two ways to the same result, run alternately."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

# Gives its own measure, in the case's unit; or None, and the call is timed in seconds.
Run = Callable[[], float | None]


@dataclass(frozen=True)
class Case:
    """`a` is ours, `b` what it is compared to; a ratio below 1 says that ours takes less.

    `unit` is what `a` and `b` return, seconds if they return None; `rounds` counts the pairs after one that isn't
    measured; `environment` is entered around all of them; `every_database`: runs on PostgreSQL too.
    """

    name: str
    a: Run
    b: Run
    unit: str = "s"
    rounds: int = 7
    environment: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)
    every_database: bool = False


@dataclass(frozen=True)
class Result:
    name: str
    unit: str
    a: list[float]
    b: list[float]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: what slows the machine slows both halves of a round."""
        return statistics.median(a / b for a, b in zip(self.a, self.b, strict=True))


def measure(run: Run) -> float:
    start = time.perf_counter()
    own = run()
    return time.perf_counter() - start if own is None else own


def compare(case: Case) -> Result:
    result = Result(case.name, case.unit, [], [])
    with case.environment():
        measure(case.a)
        measure(case.b)
        for turn in range(case.rounds):
            # Neither is always the one that finds the caches as the other left them.
            if turn % 2:
                b = measure(case.b)
                a = measure(case.a)
            else:
                a = measure(case.a)
                b = measure(case.b)
            result.a.append(a)
            result.b.append(b)
    return result
