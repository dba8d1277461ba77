"""What a worker held before and after, side by side: what must be the same, and what may be left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# What must be the same, to the last one
SAME = (
    *("subscribers", "audiences", "replicas", "tasks", "instances", "busy connections"),
    *("other connections", "keys"),
)
# Sockets and files that may come and go: of whoever asks for the counts, of threads that ask the database
MOST_DESCRIPTORS = 3
# Objects that may be left of each subscription, on average. A leak of one object in twenty shows; what remains are
# caches that fill up (documents, compiled statements) and connections that a pool keeps, SOME_OBJECTS whatever the
# count.
MOST_OBJECTS = 0.05
SOME_OBJECTS = 500


def left(
    before: dict[str, Any], after: dict[str, Any], count: int, names: Sequence[str] = SAME
) -> list[str]:
    """In words, what is left of `count` subscriptions and should not be."""
    found = differences(before, after, names)
    if after["other descriptors"] > before["other descriptors"] + MOST_DESCRIPTORS:
        found += differences(before, after, ["other descriptors"])
    objects = after["objects"] - before["objects"]
    if objects > SOME_OBJECTS + MOST_OBJECTS * count:
        found.append(f"{objects} objects are left of {count} subscriptions")
    return found


def differences(before: dict[str, Any], after: dict[str, Any], names: Sequence[str]) -> list[str]:
    """In words, for counts that must be the same; of instances there may be fewer: some are made when needed."""
    found = []
    for name in names:
        old, new = before[name], after[name]
        if isinstance(old, dict):
            fewer = name == "instances"
            kinds = [
                kind
                for kind in old.keys() | new.keys()
                if (more := new.get(kind, 0) - old.get(kind, 0)) > 0 or (more and not fewer)
            ]
            found += [
                f"{name}, {kind}: {old.get(kind, 0)} before, {new.get(kind, 0)} after"
                for kind in sorted(kinds)
            ]
        elif old != new:
            found.append(f"{name}: {old} before, {new} after")
    return found
