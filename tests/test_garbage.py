from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from rxgraphql.garbage import THRESHOLD, few_collections


@pytest.fixture(autouse=True)
def threshold() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_restored() -> None:
    """The process's own thresholds come back with the last user, also after a failure."""
    gc.set_threshold(700, 12, 13)

    def fail() -> None:
        with few_collections():
            assert gc.get_threshold() == (THRESHOLD, 12, 13)
        assert gc.get_threshold() == (THRESHOLD, 12, 13)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), few_collections():
        fail()
    assert gc.get_threshold() == (700, 12, 13)


@pytest.mark.parametrize("own", [0, THRESHOLD, THRESHOLD * 2])
def test_left_alone(own: int) -> None:
    """A project that collects less, or not at all, keeps its own threshold."""
    gc.set_threshold(own, 10, 10)
    with few_collections():
        assert gc.get_threshold() == (own, 10, 10)
    assert gc.get_threshold() == (own, 10, 10)


def test_changed_meanwhile() -> None:
    """What the project sets meanwhile stays."""
    with few_collections():
        gc.set_threshold(1_000, 10, 10)
    assert gc.get_threshold() == (1_000, 10, 10)
