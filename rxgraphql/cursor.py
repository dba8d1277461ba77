"""What a client hands back as `after` to resume: where the log stood, and what the client was shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

from rxgraphql.digest import secret

FORMAT: Final = "1"
# an epoch is a random text and a part of the server's replication id: see lua/epoch.lua
_PATTERN: Final = re.compile(
    r"(1\.([\w-]{1,64})\.(\d{1,19})\.(\d{1,19})\.([0-9a-f]{32}))\.([0-9a-f]{16})"
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """`sequence` is the last entry that was applied. Rows that were loaded may be newer than that, and were read
    before the counter of tickets had passed `ahead`. `digest` is of all that was shown."""

    epoch: str
    sequence: int
    ahead: int
    digest: str

    def __str__(self) -> str:
        text = f"{FORMAT}.{self.epoch}.{self.sequence}.{self.ahead}.{self.digest}"
        return f"{text}.{_signature(text)}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """None for what is no cursor of ours: a made-up one could have a state compared with the database each time."""
        found = _PATTERN.fullmatch(text)
        if found is None:
            return None
        signed, epoch, sequence, ahead, digest, signature = found.groups()
        if not compare_digest(signature, _signature(signed)):
            return None
        return cls(epoch, int(sequence), int(ahead), digest)


def _signature(text: str) -> str:
    return blake2b(text.encode(), digest_size=8, key=secret()).hexdigest()
