"""Ratios of this code to what one would write without it: `python -m tests.bench [NAME ...]`.

A module of this package is a set of cases: it has `cases() -> Iterable[Case]`.
"""
