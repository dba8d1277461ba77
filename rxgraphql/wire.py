"""DRF's representation of a value -> what GraphQL puts on the wire.

The values of rows are JSON-ready: what leaves here is encoded as it stands. Everything is checked, since a method of a
serializer may return anything, and one value that can't be encoded would take its whole event along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Final
from uuid import UUID

from django.utils.dateparse import parse_duration
from django.utils.functional import Promise
from rest_framework.fields import DurationField
from rest_framework.utils.encoders import JSONEncoder

__all__ = ["INT32", "FieldType", "to_graphql"]

Ready = Callable[[Any], Any]

INT32: Final = range(-(2**31), 2**31)
_INT64: Final = range(-(2**63), 2**64)
_ENCODER: Final = JSONEncoder()


@dataclass(frozen=True, slots=True)
class FieldType:
    """The GraphQL type of one field: `kind` is a scalar's name, `Enum` or `List`; `nullable` speaks of output."""

    kind: str
    nullable: bool = False
    item: FieldType | None = None
    choices: tuple[str, ...] = ()
    enum_name: str = ""

    def __str__(self) -> str:
        name = f"[{self.item}]" if self.kind == "List" else self.enum_name or self.kind
        return name if self.nullable else f"{name}!"


def to_graphql(field_type: FieldType) -> Ready:
    """A function from DRF's representation to a JSON-ready value of the type; it raises ValueError at a mismatch."""
    convert = _converter(field_type)
    if field_type.nullable:
        return lambda value: None if value is None else convert(value)

    def never_null(value: Any) -> Any:
        if value is None:
            raise ValueError(f"null where the type is {field_type}")
        return convert(value)

    return never_null


def _converter(field_type: FieldType) -> Ready:
    if field_type.kind == "List":
        return _list(field_type)
    if field_type.kind == "Enum":
        return _enum(field_type)
    return _SCALARS[field_type.kind]


def _mismatch(value: Any, kind: str) -> ValueError:
    text = repr(value)
    return ValueError(f"{text if len(text) <= 80 else text[:77] + '...'} is not a valid {kind}")


def _text(value: str) -> str:
    """Exactly a `str` (a subclass, such as SafeString, may print itself in its own way) that UTF-8 can hold."""
    value = str.__str__(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _mismatch(value, "text: it holds half of a surrogate pair") from None
    return value


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _id(value: Any) -> str:
    value = _plain(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool | float | list | tuple | set | Mapping):
        raise _mismatch(value, "ID")
    return _text(str(value))


def _integer(value: Any, kind: str) -> int:
    value = _plain(value)
    try:
        number = int(value)
        if isinstance(value, float | Decimal) and number != value:
            raise _mismatch(value, kind)
    except (TypeError, ValueError, OverflowError, InvalidOperation):
        raise _mismatch(value, kind) from None
    return number


def _int(value: Any) -> int:
    number = value if type(value) is int else _integer(value, "Int")
    if number not in INT32:
        raise ValueError(
            f"{number} is beyond the 32 bits of Int; serialize it with BigIntegerField"
        )
    return number


def _bigint(value: Any) -> str:
    return str(_integer(value, "BigInt"))


def _float(value: Any) -> float:
    value = _plain(value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _mismatch(value, "Float") from None
    if not math.isfinite(number):
        raise _mismatch(value, "Float")
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise _mismatch(value, "Boolean")


def _string(value: Any) -> str:
    if type(value) is str and value.isascii():
        return value
    value = _plain(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, int | float | Decimal | UUID | Promise):
        return _text(str(value))
    raise _mismatch(value, "String")


def _uuid(value: Any) -> str:
    if isinstance(value, UUID):
        return str(value)
    try:
        UUID(value)
    except (AttributeError, TypeError, ValueError):
        raise _mismatch(value, "UUID") from None
    return _text(value)


def _decimal(value: Any) -> str:
    value = _plain(value)
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise _mismatch(value, "Decimal") from None
    if isinstance(value, bool) or not number.is_finite():
        raise _mismatch(value, "Decimal")
    return _text(value) if isinstance(value, str) else f"{number:f}"


def _date(value: Any) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    return _iso(value, date.fromisoformat, "Date")


def _datetime(value: Any) -> str:
    if isinstance(value, datetime):
        text = value.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text
    return _iso(value, datetime.fromisoformat, "DateTime")


def _time(value: Any) -> str:
    return value.isoformat() if isinstance(value, time) else _iso(value, time.fromisoformat, "Time")


def _iso(value: Any, parse: Callable[[str], object], kind: str) -> str:
    try:
        parse(value)
    except (TypeError, ValueError):
        raise _mismatch(value, kind) from None
    return _text(value)


def _duration(value: Any) -> str:
    if isinstance(value, timedelta):
        value = DurationField().to_representation(value)
        if isinstance(value, timedelta):  # DURATION_FORMAT is None
            return DurationField(format="django").to_representation(value)
        return str(value)
    try:
        parsed = parse_duration(value)
    except (TypeError, ValueError, OverflowError):
        parsed = None
    if parsed is None:
        raise _mismatch(value, "Duration")
    return _text(value)


def _json(value: Any) -> Any:
    """As DRF's JSON renderer would write it, but refusing what JSON or 64 bits can't hold."""
    kind = type(value)
    if kind is str:
        return _text(value)
    if value is None or kind is bool:
        return value
    if isinstance(value, Enum):
        return _json(value.value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        if value not in _INT64:
            raise _mismatch(value, "JSON: it is beyond 64 bits")
        return int(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        return {_key(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, set | frozenset):
        return [_json(item) for item in sorted(value, key=repr)]
    try:
        return _json(_ENCODER.default(value))
    except (TypeError, UnicodeDecodeError):
        raise _mismatch(value, "JSON") from None


def _key(key: Any) -> str:
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if isinstance(key, str | int | float | Promise | Enum | UUID):
        return _string(key)
    raise _mismatch(key, "key of JSON")


def _enum(field_type: FieldType) -> Ready:
    values = {value: value for value in field_type.choices}

    def convert(value: Any) -> str:
        plain = _plain(value)
        try:
            return values[plain]
        except (KeyError, TypeError):
            raise _mismatch(plain, field_type.enum_name or "choice") from None

    return convert


def _list(field_type: FieldType) -> Ready:
    assert field_type.item is not None
    item_type = field_type.item
    item = to_graphql(item_type)
    rank = {value: index for index, value in enumerate(item_type.choices)}

    def convert(value: Any) -> list[Any]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise _mismatch(value, f"list of {item_type}")
        ready = [item(one) for one in value]
        if isinstance(value, set | frozenset):  # hashes differ between processes, replicas must not
            ready.sort(key=lambda one: (rank.get(one, len(rank)) if rank else 0, repr(one)))
        return ready

    return convert


_SCALARS: Final[dict[str, Ready]] = {
    "ID": _id,
    "Int": _int,
    "BigInt": _bigint,
    "Float": _float,
    "Boolean": _boolean,
    "String": _string,
    "UUID": _uuid,
    "Decimal": _decimal,
    "Date": _date,
    "DateTime": _datetime,
    "Time": _time,
    "Duration": _duration,
    "JSON": _json,
}
