"""The kill matrix: a run for each safeguard, without it."""

from __future__ import annotations

from tests.oracle.conductor import Site


def kill_matrix(site: Site, seed: int) -> int:
    raise NotImplementedError
