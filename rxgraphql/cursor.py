"""What a client hands back as `after` to resume: where the log stood, and what the client was shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

FORMAT: Final = "1"
# an epoch is a random text and a part of the server's replication id: see lua/epoch.lua
_PATTERN: Final = re.compile(r"1\.([\w-]{1,64})\.(\d{1,19})\.(\d{1,19})\.([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """`sequence` is the last entry that was applied. Rows that were loaded may be newer than that, and were read
    before the counter of tickets had passed `ahead`. `digest` is of all that was shown."""

    epoch: str
    sequence: int
    ahead: int
    digest: str

    def __str__(self) -> str:
        return f"{FORMAT}.{self.epoch}.{self.sequence}.{self.ahead}.{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """None for what is no cursor of ours."""
        found = _PATTERN.fullmatch(text)
        if found is None:
            return None
        epoch, sequence, ahead, digest = found.groups()
        return cls(epoch, int(sequence), int(ahead), digest)
