"""The scalars of generated types.

Rows hold text that is ready for JSON (DRF's own), users' resolvers hold Python objects: as outputs the scalars take
both. As inputs they parse to Python objects.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NewType

import strawberry
from django.utils.dateparse import parse_duration
from django.utils.duration import duration_string
from strawberry.exceptions import StrawberryInputCoercionError
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.types import base_scalars
from strawberry.types.scalar import ScalarDefinition, ScalarWrapper

if TYPE_CHECKING:
    from rxgraphql.fields import FieldType

BigInt = NewType("BigInt", int)
Duration = NewType("Duration", datetime.timedelta)

PYTHON_TYPES: Final[dict[str, Any]] = {
    "ID": strawberry.ID,
    "Int": int,
    "BigInt": BigInt,
    "Float": float,
    "Boolean": bool,
    "String": str,
    "UUID": uuid.UUID,
    "Decimal": decimal.Decimal,
    "Date": datetime.date,
    "DateTime": datetime.datetime,
    "Time": datetime.time,
    "Duration": Duration,
    "JSON": JSON,
}


def annotation(field_type: FieldType, enum: type | None = None) -> Any:
    """The Python annotation from which Strawberry makes the GraphQL type; `enum` is the class of an Enum's choices."""
    if field_type.kind == "List":
        assert field_type.item is not None
        found: Any = list[annotation(field_type.item, enum)]  # type: ignore[misc]
    elif field_type.kind == "Enum":
        found = enum
    else:
        found = PYTHON_TYPES[field_type.kind]
    return found | None if field_type.nullable else found


def _text_or(serialize: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, str) else serialize(value)


def _parse_big_int(value: object) -> int:
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str):
            return int(value)
    except ValueError:
        pass
    raise StrawberryInputCoercionError(f"BigInt cannot represent {value!r}: write a whole number.")


def _parse_duration(value: object) -> datetime.timedelta:
    try:
        parsed = parse_duration(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        parsed = None
    if parsed is None:
        raise StrawberryInputCoercionError(
            f'Duration cannot represent {value!r}: write it like "1 02:30:00" or "P1DT2H30M".'
        )
    return parsed


SCALARS: Final[dict[object, ScalarDefinition]] = {
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number of any size, as text: JavaScript's numbers round above 2^53.",
        serialize=str,
        parse_value=_parse_big_int,
    ),
    Duration: strawberry.scalar(
        name="Duration",
        description='A length of time: "1 02:30:00.5" is a day, two and a half hours and half a second.',
        serialize=_text_or(duration_string),
        parse_value=_parse_duration,
    ),
    **{
        definition.origin: replace(definition, serialize=_text_or(definition.serialize))
        for definition in (
            base_scalars.DateDefinition,
            base_scalars.DateTimeDefinition,
            base_scalars.TimeDefinition,
            base_scalars.DecimalDefinition,
            base_scalars.UUIDDefinition,
        )
        if definition.serialize is not None
    },
}


def accept_text(scalar: Any) -> Any:
    """A user's own scalar in place of one of ours: it has to let a row's text through as it is."""
    definition = scalar._scalar_definition if isinstance(scalar, ScalarWrapper) else scalar
    if not isinstance(definition, ScalarDefinition) or definition.serialize is None:
        return scalar
    return replace(definition, serialize=_text_or(definition.serialize))


def with_scalars(config: StrawberryConfig) -> StrawberryConfig:
    """The user's configuration and our scalars, those of the user first."""
    theirs: Mapping[object, Any] = config.scalar_map
    both = SCALARS | {
        key: accept_text(value) if key in SCALARS else value for key, value in theirs.items()
    }
    merged = copy(config)
    merged.scalar_map = both
    return merged
