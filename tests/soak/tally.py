"""What clients did and were told, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from typing import Any

from tests.soak.client import codes


class Tally:
    """The counts of a run, and what it was told beside what is `expected`: codes of errors."""

    def __init__(self, expected: Set[str]) -> None:
        self.counts: Counter[str] = Counter()
        self.broken: list[str] = []
        self._expected = expected

    def told(self, message: dict[str, Any], who: str) -> bool:
        """Whether it is an event."""
        if message["type"] == "error" or message.get("payload", {}).get("errors"):
            self.counts["errors"] += 1
            if unexpected := set(codes(message)) - self._expected:
                self.broken.append(f"{who} was told {sorted(unexpected)}: {message}"[:300])
            return False
        is_event: bool = message["type"] == "next"
        self.counts["events"] += is_event
        return is_event
