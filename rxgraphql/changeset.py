"""What one transaction touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class ChangeSet:
    """What one transaction touched, all keys as text."""

    rows: dict[str, set[str]] = field(default_factory=dict)
    # link label -> (a, b)
    links: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    # (link label, whether the key is of side a, key): all links of that end
    link_ends: set[tuple[str, bool, str]] = field(default_factory=set)
    # links of which a row changed in a way that only the old row could tell
    links_unknown: set[str] = field(default_factory=set)
    # label -> rows that were deleted on the way, even if there is one under the same key in the end
    deleted: dict[str, set[str]] = field(default_factory=dict)
    # labels of which rows changed that nobody can name: what depends on them is loaded anew
    unknown: set[str] = field(default_factory=set)
    # whom recheck() names; of these nothing is read, and nothing is owed
    suspects: set[str] = field(default_factory=set)

    def row(self, label: str, pk: Any, deleted: bool = False) -> None:
        if hasattr(pk, "resolve_expression"):
            # the database made the key
            self.unknown.add(label)
            return
        self.rows.setdefault(label, set()).add(str(pk))
        if deleted:
            self.deleted.setdefault(label, set()).add(str(pk))

    def link(self, label: str, a: Any, b: Any) -> None:
        if hasattr(a, "resolve_expression") or hasattr(b, "resolve_expression"):
            self.links_unknown.add(label)
        elif a is not None and b is not None:
            # with an end that is null it links nothing
            self.links.setdefault(label, set()).add((str(a), str(b)))

    def labels(self) -> set[str]:
        return {
            *self.rows,
            *self.links,
            *(label for label, _, _ in self.link_ends),
            *self.links_unknown,
            *self.unknown,
        }

    def unnamed(self) -> ChangeSet:
        """The same without its keys."""
        return ChangeSet(unknown=self.labels())

    def __len__(self) -> int:
        keys = sum(map(len, self.rows.values())) + sum(map(len, self.links.values()))
        return keys + len(self.link_ends) + len(self.links_unknown) + len(self.unknown)

    def update(self, other: ChangeSet) -> None:
        for label, pks in other.rows.items():
            self.rows.setdefault(label, set()).update(pks)
        for label, pairs in other.links.items():
            self.links.setdefault(label, set()).update(pairs)
        for label, pks in other.deleted.items():
            self.deleted.setdefault(label, set()).update(pks)
        self.link_ends |= other.link_ends
        self.links_unknown |= other.links_unknown
        self.unknown |= other.unknown
        self.suspects |= other.suspects
