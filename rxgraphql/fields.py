"""DRF field -> GraphQL type, and which other rows the field shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.db import models
from rest_framework import serializers
from rest_framework.compat import postgres_fields
from rest_framework.relations import HyperlinkedRelatedField, ManyRelatedField, RelatedField
from rest_framework.settings import api_settings

from rxgraphql.errors import UnsupportedError
from rxgraphql.hints import UNKNOWN, as_nullable, choices_type, hint_type, return_hint
from rxgraphql.sources import Source, is_drf, resolve, resolve_path
from rxgraphql.wire import INT32, FieldType, to_graphql

if TYPE_CHECKING:
    Field = serializers.Field[Any, Any, Any, Any]

__all__ = [
    "FieldType",
    "field_type",
    "is_output",
    "points_at",
    "shown_relations",
    "to_graphql",
]

# SQLite has 64 bits for every integer and Django says so in the bounds, which would make every Int a BigInt there.
_SQLITE_BOUNDS: Final = (-(2**63), 2**63 - 1)
_JSON_ITEM: Final = FieldType("JSON", nullable=True)
# In this order: subclasses first.
_COLUMNS: Final[tuple[tuple[type[models.Field[Any, Any]], str], ...]] = (
    (models.BooleanField, "Boolean"),
    (models.BigIntegerField, "BigInt"),
    (models.IntegerField, "Int"),
    (models.FloatField, "Float"),
    (models.DecimalField, "Decimal"),
    (models.UUIDField, "UUID"),
    (models.DateTimeField, "DateTime"),
    (models.DateField, "Date"),
    (models.TimeField, "Time"),
    (models.DurationField, "Duration"),
    (models.JSONField, "JSON"),
    (models.CharField, "String"),
    (models.TextField, "String"),
    (models.FilePathField, "String"),
    (models.GenericIPAddressField, "String"),
)
_FIELDS: Final[tuple[tuple[type[Any], str], ...]] = (
    (serializers.FilePathField, "String"),
    (serializers.BooleanField, "Boolean"),
    (serializers.BigIntegerField, "BigInt"),
    (serializers.FloatField, "Float"),
    (serializers.FileField, "String"),
    (serializers.DictField, "JSON"),
    (serializers.JSONField, "JSON"),
    (serializers.CharField, "String"),
)
# A date in a format of the project's own is text, not a Date that clients could parse.
_FORMATTED: Final[tuple[tuple[type[Any], str, str], ...]] = (
    (serializers.DateTimeField, "DateTime", "DATETIME_FORMAT"),
    (serializers.DateField, "Date", "DATE_FORMAT"),
    (serializers.TimeField, "Time", "TIME_FORMAT"),
)


def is_output(field: Field) -> bool:
    """Does the field show in output? (`HiddenField` is write-only too.)"""
    return not field.write_only


def field_type(field: Field, model: type[models.Model], type_name: str) -> FieldType:
    """The type of a flat field bound to a serializer of the model; raises UnsupportedError.

    `nullable` is of the output: `allow_null`, a nullable column or relation on the way, or code that doesn't say.
    """
    return _Typing(field, model, type_name).type()


def shown_relations(field: Field, model: type[models.Model]) -> tuple[tuple[str, ...], ...]:
    """The paths of relations (attribute names) whose other rows the field shows."""
    source = resolve(field, model)
    path = source.path
    relation: Any = field.child_relation if isinstance(field, ManyRelatedField) else field
    if isinstance(relation, serializers.SlugRelatedField) and source.kind == "relation":
        path += _slug(relation, source).path
    elif source.kind == "relation" and len(path) == 1 and _shows_key_only(field, source):
        return ()
    elif source.kind == "column" and path and isinstance(source.column, models.ForeignKey):
        path += (source.column.name,)  # a key that the database may set to null
    return (path,) if path else ()


def points_at(field: Field, model: type[models.Model]) -> str | None:
    """The foreign key of the row itself whose value the field shows: a deletion of the target may set it to null."""
    source = resolve(field, model)
    if source.kind == "relation" and len(source.hops) == 1 and _shows_key_only(field, source):
        return source.hops[0].name
    if source.kind == "column" and not source.hops and isinstance(source.column, models.ForeignKey):
        return str(source.column.name)
    return None


def _shows_key_only(field: Field, source: Source) -> bool:
    return (
        isinstance(field, serializers.PrimaryKeyRelatedField)
        and is_drf(field, "to_representation", "get_attribute", "use_pk_only_optimization")
        and source.hops[-1].forward
    )


def _slug(field: serializers.SlugRelatedField[Any], source: Source) -> Source:
    name = field.slug_field or "pk"
    return resolve_path(source.model, name.split("__"), name)


def column_type(column: Any) -> FieldType | None:
    """The type of what a model's column holds; None if there is none."""
    if isinstance(column, models.GeneratedField):
        column = column.output_field
    nullable = bool(column.null)
    if column.primary_key:
        return FieldType("ID", nullable)
    if isinstance(column, models.ForeignKey):
        target = column_type(column.target_field)
        return target and as_nullable(target, nullable)
    for cls, kind in _COLUMNS:
        if isinstance(column, cls):
            return FieldType(kind, nullable)
    if postgres_fields is not None:
        if isinstance(column, postgres_fields.HStoreField):
            return FieldType("JSON", nullable)
        if isinstance(column, postgres_fields.ArrayField):
            item = column_type(column.base_field)
            return item and FieldType("List", nullable, item)
    return None


class _Typing:
    def __init__(self, field: Field, model: type[models.Model], type_name: str) -> None:
        self.field = field
        self.model = model
        name = field.field_name or ""
        self.enum_name = type_name + "".join(
            part[:1].upper() + part[1:] for part in name.split("_")
        )
        self.where = f"{type(field.parent).__name__}.{name}"

    def type(self) -> FieldType:
        if isinstance(self._relation(), HyperlinkedRelatedField):
            raise UnsupportedError(
                f"{self.where} is a hyperlink, which needs the request of one viewer.",
                "Use a PrimaryKeyRelatedField (`id` is there anyway) or a SerializerMethodField that returns the path.",
            )
        source = resolve(self.field, self.model)
        found = self._own_type(self.field)
        if found is None:
            found = self._type(source)
        return as_nullable(found, found.nullable or bool(self.field.allow_null) or source.nullable)

    def _relation(self) -> Any:
        field = self.field
        return field.child_relation if isinstance(field, ManyRelatedField) else field

    def _own_type(self, field: Field) -> FieldType | None:
        """What an overridden `to_representation` is annotated with."""
        if isinstance(field, ManyRelatedField):
            if not is_drf(field, "to_representation"):
                return self._hinted(type(field).to_representation)
            item = self._own_type(field.child_relation)
            return item and FieldType("List", item=item)
        if is_drf(field, "to_representation"):
            return None
        return self._hinted(type(field).to_representation)

    def _hinted(self, function: Any) -> FieldType | None:
        hint = return_hint(function)
        name = f"{function.__qualname__}()"
        return None if hint is UNKNOWN else hint_type(hint, self.enum_name, name)

    def _type(self, source: Source) -> FieldType:
        field = self.field
        if isinstance(field, serializers.SerializerMethodField):
            return self._method(field)
        if isinstance(field, serializers.ModelField):
            return self._model_field(field)
        if source.kind == "row":
            raise UnsupportedError(
                f"{self.where} takes the whole instance (source='*').",
                f"Add a return annotation to {type(field).__name__}.to_representation, or use a SerializerMethodField.",
            )
        if isinstance(field, ManyRelatedField):
            return self._many(field, source)
        if isinstance(field, RelatedField):
            return self._related(field, source)
        if source.kind == "relation":
            if source.hops[-1].many or not isinstance(field, serializers.CharField):
                raise UnsupportedError(
                    f"{self.where} is a {type(field).__name__} over the relation {field.source!r}.",
                    "Use a nested serializer, or a PrimaryKeyRelatedField, SlugRelatedField or StringRelatedField.",
                )
            return FieldType("String")
        if isinstance(field, serializers.ReadOnlyField):
            return self._read_only(source)
        column = None if source.inside else source.column
        if source.is_key and isinstance(
            field, serializers.IntegerField | serializers.CharField | serializers.UUIDField
        ):
            return FieldType("ID")
        return self._plain(field, column)

    def _method(self, field: serializers.SerializerMethodField) -> FieldType:
        name = field.method_name or ""
        method = getattr(field.parent, name, None)
        where = f"{type(field.parent).__name__}.{name}()"
        if method is None:
            raise UnsupportedError(f"{where} doesn't exist.", "Write the method.")
        hint = return_hint(method)
        if hint is UNKNOWN:
            raise UnsupportedError(
                f"{where} doesn't say what it returns.",
                f"Add a return annotation: `def {name}(self, instance) -> str:`.",
            )
        return hint_type(hint, self.enum_name, where)

    def _model_field(self, field: serializers.ModelField) -> FieldType:
        column = field.model_field
        found = column_type(column)
        # The others are turned to text by `value_to_string()`.
        if found is None or found.kind == "List":
            found = FieldType("String")
        return as_nullable(found, bool(column.null))

    def _read_only(self, source: Source) -> FieldType:
        if source.kind == "computed" and not source.inside:
            where = f"{source.model.__name__}.{source.attribute}"
            if source.hint is UNKNOWN:
                raise UnsupportedError(
                    f"{where} doesn't say what it returns.",
                    f"Annotate what {source.attribute} returns, or declare {self.where} with a typed serializer field.",
                )
            return hint_type(source.hint, self.enum_name, where)
        if source.inside and isinstance(source.column, models.JSONField):
            return FieldType("JSON")
        found = None if source.inside else column_type(source.column)
        if found is None:
            raise UnsupportedError(
                f"{self.where} (ReadOnlyField) has no GraphQL type.",
                "Declare it with a serializer field that has one (CharField, FileField, ...).",
            )
        return found

    def _related(self, field: RelatedField[Any, Any, Any], source: Source) -> FieldType:
        if source.kind == "relation" and source.hops[-1].many:
            raise UnsupportedError(f"{self.where} is a relation to many rows.", "Write many=True.")
        if source.kind == "computed" or (source.kind == "column" and not source.is_key):
            raise UnsupportedError(
                f"{self.where} is a relation field, but {field.source!r} is not a relation of the model.",
                "Name a relation as the source: the rows behind code can't be watched.",
            )
        return self._one(field, source)

    def _many(self, field: ManyRelatedField, source: Source) -> FieldType:
        if source.kind != "relation" or not source.hops[-1].many:
            raise UnsupportedError(
                f"{self.where} has many=True, but {field.source!r} is not a relation to many rows.",
                "Name a many-to-many field or a reverse foreign key as the source.",
            )
        return FieldType("List", item=self._one(field.child_relation, source))

    def _one(self, field: Any, source: Source) -> FieldType:
        if isinstance(field, serializers.PrimaryKeyRelatedField):
            last = source.hops[-1] if source.hops else None
            if last is not None and last.forward and not last.relation.target_field.primary_key:
                target = last.relation.target_field.name
                raise UnsupportedError(
                    f"{self.where}: the foreign key {last.name!r} holds {target!r}, not a primary key (to_field).",
                    f"Use SlugRelatedField(slug_field={target!r}).",
                )
            return FieldType("ID")
        if isinstance(field, serializers.StringRelatedField):
            return FieldType("String")
        if isinstance(field, serializers.SlugRelatedField) and source.kind == "relation":
            slug = _slug(field, source)
            found = column_type(slug.column) if slug.kind == "column" else None
            if slug.kind == "computed" and slug.hint is not UNKNOWN:
                found = hint_type(
                    slug.hint, self.enum_name, f"{slug.model.__name__}.{slug.attribute}"
                )
            if found is None or slug.inside:
                raise UnsupportedError(
                    f"{self.where}: slug_field={field.slug_field!r} has no GraphQL type.",
                    "Name a column of the related model, or a property with a return annotation.",
                )
            return as_nullable(found, found.nullable or slug.nullable)
        raise _untyped(self.where, field)

    def _plain(self, field: Any, column: Any) -> FieldType:
        """The type of a field that shows a value, not a row."""
        if isinstance(field, serializers.MultipleChoiceField):
            return FieldType("List", item=choices_type(list(field.choices), self.enum_name))
        for cls, kind in _FIELDS:
            if isinstance(field, cls):
                no_file = cls is serializers.FileField and (column is None or column.blank)
                return FieldType(kind, nullable=no_file)
        if isinstance(field, serializers.ChoiceField):
            return self._choice(field, column)
        if isinstance(field, serializers.IntegerField):
            return FieldType("BigInt" if _is_big(field, column) else "Int")
        if isinstance(field, serializers.DecimalField):
            return FieldType("String" if field.localize else "Decimal")
        if isinstance(field, serializers.UUIDField):
            return FieldType("String" if field.uuid_format == "int" else "UUID")
        if isinstance(field, serializers.DurationField):
            return FieldType("Duration")
        for cls, kind, setting in _FORMATTED:
            if isinstance(field, cls):
                pattern = getattr(field, "format", getattr(api_settings, setting))
                iso = pattern is None or pattern.lower() == "iso-8601"
                return FieldType(kind if iso else "String")
        if isinstance(field, serializers.ListField):
            return FieldType("List", item=self._item(field.child))
        raise _untyped(self.where, field)

    def _choice(self, field: serializers.ChoiceField, column: Any) -> FieldType:
        found = choices_type(list(field.choices), self.enum_name)
        # A read-only field doesn't know that its column may be blank.
        blank = field.allow_blank or bool(column is not None and column.blank)
        if blank and found.kind == "Enum":
            return FieldType("String")
        return found

    def _item(self, child: Any) -> FieldType:
        own = self._own_type(child)
        if own is not None:
            return as_nullable(own, own.nullable or child.allow_null)
        if isinstance(child, serializers.BaseSerializer | RelatedField | ManyRelatedField):
            raise UnsupportedError(
                f"{self.where} is a list of {type(child).__name__}.",
                "Use a nested serializer with many=True over a relation.",
            )
        if (
            isinstance(child, serializers.ReadOnlyField)
            or type(child).__name__ == "_UnvalidatedField"
        ):
            return _JSON_ITEM
        found = self._plain(child, None)
        return as_nullable(found, found.nullable or child.allow_null)


def _is_big(field: serializers.IntegerField, column: Any) -> bool:
    if isinstance(column, models.BigIntegerField):
        return True
    database_bounds = _SQLITE_BOUNDS if isinstance(column, models.IntegerField) else ()
    bounds: tuple[Any, ...] = (field.min_value, field.max_value)
    for bound in bounds:
        if bound is None or bound in database_bounds:
            continue
        if not INT32.start <= bound < INT32.stop:
            return True
    return False


def _untyped(where: str, field: Any) -> UnsupportedError:
    name = type(field).__name__
    return UnsupportedError(
        f"{where} is a {name}, whose GraphQL type is unknown.",
        f"Add a return annotation to {name}.to_representation.",
    )
