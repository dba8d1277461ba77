from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rxgraphql.channel import registry
from tests.bench import snapshot
from tests.bench.case import Case, compare
from tests.changes import World


def test_alternates() -> None:
    """Each goes first as often as second, after one pair that isn't measured."""
    calls: list[str] = []
    compare(Case("order", lambda: calls.append("a"), lambda: calls.append("b"), rounds=2))
    assert "".join(calls) == "ab" + "ab" + "ba"


def test_ratio() -> None:
    """The ratio is the median of the rounds' own, in whatever the two count."""
    a = iter([0.0, 1.0, 2.0, 30.0])
    b = iter([0.0, 2.0, 2.0, 2.0])
    result = compare(Case("bytes", lambda: next(a), lambda: next(b), unit="bytes", rounds=3))
    assert result.ratio == 1.0


def test_environment() -> None:
    """What a case needs is there around all rounds, and gone after a failure."""
    seen: list[str] = []

    @contextmanager
    def environment() -> Iterator[None]:
        seen.append("enter")
        try:
            yield
        finally:
            seen.append("exit")

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compare(Case("failing", fail, fail, environment=environment))
    assert seen == ["enter", "exit"]


@pytest.mark.django_db(transaction=True)
def test_channel_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case may bring a channel, in whatever process the others are known already; it is gone afterwards."""
    world = World()
    monkeypatch.setattr(snapshot, "filled", lambda: world.room.pk)
    before = registry.channels()
    cold = snapshot.Cold(snapshot.plain_channel)
    with cold.ready():
        cold.whole()
    assert registry.channels() == before
