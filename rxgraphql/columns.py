"""A field compiled: from a column's raw values to what GraphQL sends, without a model instance.

`Column.convert()` takes the values of many rows at once. If all are of the one type that such a column gives, a
function that yields what DRF and `to_graphql()` would is mapped over them; anything else goes through DRF's own field,
value by value.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import NoneType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.duration import duration_iso_string, duration_string
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.settings import api_settings

from rxgraphql.fields import FieldType
from rxgraphql.sources import Source, is_drf, resolve, resolve_path
from rxgraphql.wire import INT32, to_graphql

if TYPE_CHECKING:
    Field = serializers.Field[Any, Any, Any, Any]

__all__ = ["Column", "Converted", "compile_field", "one_by_one"]

Function = Callable[[Any], Any]
# Made for each batch: time zone and settings are those of the moment. None: the value as it is.
Start = Callable[[], Function | None]
Converted = tuple[Sequence[Any], dict[int, Exception]]

_HELPERS: Final[tuple[tuple[type[Any], tuple[str, ...]], ...]] = (
    (serializers.DateTimeField, ("enforce_timezone", "default_timezone")),
    (serializers.DecimalField, ("quantize",)),
    (serializers.PrimaryKeyRelatedField, ("use_pk_only_optimization",)),
)


class Column:
    """`path` is the column's for `values_list()`; `represent` is DRF's own way for one raw value."""

    def __init__(
        self, path: str, type_: FieldType, represent: Function | None, fast: Mapping[type, Start]
    ) -> None:
        self.path = path
        self._nullable = type_.nullable
        self._fast = fast
        ready = to_graphql(type_)
        if represent is None:
            self._convert = ready
        else:
            as_drf = represent
            self._convert = lambda raw: ready(None if raw is None else as_drf(raw))

    def convert(self, raw: Sequence[Any], of_all: tuple[type[Exception], ...] = ()) -> Converted:
        kinds = set(map(type, raw))
        nulls = NoneType in kinds
        kinds.discard(NoneType)
        if not kinds and self._nullable:
            return raw, {}
        start = self._fast.get(kinds.pop()) if len(kinds) == 1 else None
        if start is not None and (self._nullable or not nulls):
            try:
                function = start()
                if function is None:
                    return raw, {}
                if nulls:
                    return [None if value is None else function(value) for value in raw], {}
                return list(map(function, raw)), {}
            except Exception:  # one by one tells which
                pass
        return one_by_one(self._convert, raw, of_all)


def one_by_one(
    function: Function, items: Sequence[Any], of_all: tuple[type[Exception], ...] = ()
) -> Converted:
    """The function's value for each item; where it raises, None and the exception under the item's index.

    Exceptions `of_all` end it: they may not be the item's own.
    """
    values: list[Any] = []
    errors: dict[int, Exception] = {}
    for index, item in enumerate(items):
        try:
            values.append(function(item))
        except of_all:
            raise
        except Exception as error:
            values.append(None)
            errors[index] = error
    return values, errors


def compile_field(field: Field, type_: FieldType, model: type[models.Model]) -> Column | None:
    """None if the field has to run as DRF's own on an instance."""
    if not is_drf(field, "to_representation", "get_attribute"):
        return None
    for cls, methods in _HELPERS:
        if isinstance(field, cls) and not is_drf(field, *methods):
            return None
    source = resolve(field, model)
    through = source.hops[:-1] if source.kind == "relation" else source.hops
    if any(hop.nullable for hop in through) and not _skips(field):
        return None
    represent: Function | None = field.to_representation
    if source.kind == "relation":
        if isinstance(field, serializers.SlugRelatedField):
            source = _slug_column(field, source)
            represent = None
        elif not isinstance(field, serializers.PrimaryKeyRelatedField):
            return None
    if isinstance(field, serializers.PrimaryKeyRelatedField):
        represent = field.pk_field.to_representation if field.pk_field is not None else None
    elif isinstance(field, serializers.RelatedField) and represent is not None:
        return None
    path = source.lookup
    if path is None:
        return None
    column = source.column
    if isinstance(column, models.FileField):
        if not isinstance(field, serializers.FileField):
            return None
        return Column(path, type_, _file(field, column), _file_url(field, column, type_))
    return Column(path, type_, represent, _fast(field, type_))


def _skips(field: Field) -> bool:
    """Is the field null where a relation on the way is?"""
    return field.default is empty and (bool(field.allow_null) or not field.required)


def _slug_column(field: serializers.SlugRelatedField[Any], source: Source) -> Source:
    name = field.slug_field or "pk"
    slug = resolve_path(source.model, name.split("__"), name)
    if slug.kind != "column" or any(hop.nullable for hop in slug.hops):
        return Source("row", source.model)
    return replace(slug, hops=(*source.hops, *slug.hops))


# ------------------------------------------------------------------------------- what DRF would give, faster


def _always(function: Function | None) -> Start:
    return lambda: function


def _decline(value: Any) -> Any:
    raise NotImplementedError


def _int32(value: int) -> int:
    if value in INT32:
        return value
    raise ValueError


def _finite(value: float) -> float:
    if math.isfinite(value):
        return value
    raise ValueError


_AS_IT_IS: Final = _always(None)
_AS_TEXT: Final = _always(str)
# Fields that give the raw value itself.
_RAW: Final[Mapping[str, Mapping[type, Start]]] = {
    "ID": {int: _AS_TEXT, str: _AS_IT_IS, UUID: _AS_TEXT},
    "Int": {int: _always(_int32)},
    "BigInt": {int: _AS_TEXT},
    "Float": {float: _always(_finite)},
    "Boolean": {bool: _AS_IT_IS},
    "String": {str: _AS_IT_IS},
    "UUID": {UUID: _AS_TEXT},
    "Date": {datetime.date: _always(datetime.date.isoformat)},
    "Time": {datetime.time: _always(datetime.time.isoformat)},
}
_NUMBERS: Final = {"ID": _AS_TEXT, "BigInt": _AS_TEXT, "Int": _always(_int32)}


def _fast(field: Any, type_: FieldType) -> Mapping[type, Start]:
    kind = type_.kind
    match field:
        case serializers.ReadOnlyField() | serializers.SlugRelatedField():
            return _RAW.get(kind, {})
        case serializers.PrimaryKeyRelatedField():
            return _RAW["ID"] if field.pk_field is None else {}
        case serializers.CharField():
            return {str: _AS_IT_IS}
        case serializers.IntegerField() if kind in _NUMBERS:
            return {int: _NUMBERS[kind]}
        case serializers.BooleanField() if kind == "Boolean":
            return {bool: _AS_IT_IS}
        case serializers.FloatField() if kind == "Float":
            return {float: _always(_finite)}
        case serializers.UUIDField() if field.uuid_format == "hex_verbose":
            return {UUID: _AS_TEXT}
        case serializers.DecimalField() if kind == "Decimal":
            return {decimal.Decimal: lambda: _decimal(field)}
        case serializers.DateTimeField() if kind == "DateTime":
            return {datetime.datetime: lambda: _datetime(field)}
        case serializers.DateField() if kind == "Date":
            return {datetime.date: lambda: _iso(field, "DATE_FORMAT", datetime.date.isoformat)}
        case serializers.TimeField() if kind == "Time":
            return {datetime.time: lambda: _iso(field, "TIME_FORMAT", datetime.time.isoformat)}
        case serializers.DurationField() if kind == "Duration":
            return {datetime.timedelta: lambda: _duration(field)}
        case serializers.MultipleChoiceField():
            return {}
        case serializers.ChoiceField():
            return _choice(field, type_)
    return {}


def _choice(field: serializers.ChoiceField, type_: FieldType) -> Mapping[type, Start]:
    kinds = set(map(type, field.choices))
    if type_.kind == "Enum" and kinds == {str}:
        return {str: _always({value: value for value in type_.choices}.__getitem__)}
    if type_.kind == "String" and kinds == {str}:
        return {str: _AS_IT_IS}
    if type_.kind == "Int" and kinds == {int}:
        return {int: _always(_int32)}
    return {}


def _format(field: Any, setting: str) -> str:
    """`iso-8601`, another format, or the empty text for objects (None)."""
    return (getattr(field, "format", getattr(api_settings, setting)) or "").lower()


def _iso(field: Any, setting: str, isoformat: Function) -> Function:
    return isoformat if _format(field, setting) == "iso-8601" else _decline


def _duration(field: Any) -> Function:
    form = _format(field, "DURATION_FORMAT")
    return {"iso-8601": duration_iso_string, "django": duration_string}.get(form, _decline)


def _datetime(field: serializers.DateTimeField) -> Function:
    if _format(field, "DATETIME_FORMAT") != "iso-8601":
        return _decline
    zone: datetime.tzinfo | None = timezone.get_current_timezone() if settings.USE_TZ else None
    if hasattr(field, "timezone"):
        zone = field.timezone
    if zone is None:
        return lambda value: value.isoformat() if value.tzinfo is None else _decline(value)
    utc = zone.utcoffset(None) == datetime.timedelta(0)

    def convert(value: datetime.datetime) -> str:
        if value.tzinfo is None:
            raise NotImplementedError
        if not (utc and value.tzinfo is datetime.UTC):
            value = value.astimezone(zone)
        text = value.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text

    return convert


def _decimal(field: serializers.DecimalField) -> Function:
    places, rounding, normalize = field.decimal_places, field.rounding, field.normalize_output
    if places is None:
        return lambda value: f"{_finite_decimal(value):f}" if not normalize else _decline(value)
    context = decimal.getcontext().copy()
    if field.max_digits is not None:
        context.prec = field.max_digits
    exponent = decimal.Decimal(".1") ** places

    def convert(value: decimal.Decimal) -> str:
        value = _finite_decimal(value).quantize(exponent, rounding=rounding, context=context)
        return f"{value.normalize() if normalize else value:f}"

    return convert


def _finite_decimal(value: decimal.Decimal) -> decimal.Decimal:
    if value.is_finite():
        return value
    raise ValueError


def _file(field: serializers.FileField, column: Any) -> Function:
    """The column holds a name; on an instance it would be a file."""

    def represent(value: Any) -> Any:
        return field.to_representation(
            column.attr_class(None, column, value) if isinstance(value, str) else value
        )

    return represent


def _file_url(field: serializers.FileField, column: Any, type_: FieldType) -> Mapping[type, Start]:
    if column.attr_class not in (models.fields.files.FieldFile, models.fields.files.ImageFieldFile):
        return {}

    def start() -> Function:
        by_url = getattr(field, "use_url", api_settings.UPLOADED_FILES_USE_URL)
        url = column.storage.url
        no_file: Function = (lambda name: None) if type_.nullable else _decline
        return lambda name: (url(name) if by_url else name) if name else no_file(name)

    return {str: start}
