"""The options of a run: those of its kind, and what the command line says of them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Options = TypeVar("Options", bound=DataclassInstance)


def chosen(base: Options, given: dict[str, Any]) -> Options:
    """`base` with what is given, of which the options of other kinds are passed over."""
    known = {field.name for field in fields(base)}
    return replace(base, **{name: value for name, value in given.items() if name in known})
