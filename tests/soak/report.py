"""What a run came to: one table and one line of JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_SHOWN = 20


@dataclass
class Report:
    name: str
    # the table: a head, and rows as long as that
    head: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    # for the line of JSON
    figures: dict[str, Any] = field(default_factory=dict)
    # promises that were not kept
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def table(self) -> str:
        cells = [self.head, *(tuple(_cell(value) for value in row) for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.head))]
        lines = [
            "  ".join(
                text.rjust(width) if i else text.ljust(width)
                for i, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        lines += [f"BROKEN: {text}" for text in self.broken[:MOST_SHOWN]]
        if len(self.broken) > MOST_SHOWN:
            lines.append(f"BROKEN: and {len(self.broken) - MOST_SHOWN} more")
        verdict = "FAILED" if self.broken else "passed"
        return "\n".join([*lines, f"{self.name}: {verdict} in {self.seconds:.0f} s"])

    def line(self) -> str:
        summary = {"name": self.name, "passed": not self.broken, "seconds": round(self.seconds, 1)}
        return json.dumps({**summary, **self.figures, "broken": self.broken[:MOST_SHOWN]})


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def percentile(values: Sequence[float], percent: int) -> float | None:
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Of the line that fits best, in values per time."""
    return statistics.linear_regression(times, values).slope
