"""Rows of a node type: what its flat fields show, equal in every byte to DRF's own output."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import OperationalError, connections, transaction
from django.db.models import F, Prefetch, QuerySet
from django.utils import timezone, translation
from rest_framework import serializers
from rest_framework.fields import SkipField
from rest_framework.relations import ManyRelatedField, PKOnlyObject

from rxgraphql.columns import Column, Converted, compile_field, one_by_one
from rxgraphql.errors import SharedContextError
from rxgraphql.sources import Hop, is_drf, resolve, resolve_path
from rxgraphql.wire import to_graphql

if TYPE_CHECKING:
    from rxgraphql.tree import NodeField, NodeType

__all__ = ["Row", "RowReader", "SharedContext", "project_locale"]

logger = logging.getLogger("rxgraphql")

# How many parts a batch is read again in after a query failed in it: 10,000 rows are down to one after two failures.
_PARTS: Final = 100
# The property from which DRF's own `to_representation()` takes the fields.
_READABLE: Final = "_readable_fields"


class Row(msgspec.Struct, frozen=True, array_like=True):
    """`values` stand in the order of the node type's fields, ready for JSON; None: the serializer raised `error`.

    `hidden` are the columns from which relations are derived; `visible`: the relation's manager lets the row through.
    """

    values: tuple[Any, ...] | None
    hidden: tuple[Any, ...]
    visible: bool
    error: str | None = None


@contextmanager
def project_locale() -> Iterator[None]:
    """Time zone and language of the project, whatever the current thread's request has set."""
    with (
        timezone.override(timezone.get_default_timezone()),
        translation.override(settings.LANGUAGE_CODE),
    ):
        yield


class SharedContext(Mapping[str, Any]):
    """The context of serializers whose output all viewers share: empty, and it refuses to tell of one viewer."""

    _OF_ONE_VIEWER: Final = frozenset({"request", "user"})

    def _refuse(self, key: str) -> NoReturn:
        raise SharedContextError(
            f"The serializer read context[{key!r}], but its output is shared by all viewers. Remove what depends on "
            "the viewer; a channel with data per viewer needs Meta.per_viewer, which is not available yet."
        )

    def __getitem__(self, key: str) -> Any:
        if key in self._OF_ONE_VIEWER:
            self._refuse(key)
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        if key in self._OF_ONE_VIEWER and not _only_completes_a_url():
            self._refuse(key)
        return default

    def __contains__(self, key: object) -> bool:
        if key in self._OF_ONE_VIEWER:
            self._refuse(str(key))
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        raise SharedContextError(
            f"The serializer wrote context[{key!r}], but its context lives as long as the process. Keep the value in a "
            "local variable."
        )

    def __copy__(self) -> SharedContext:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedContext:
        return self


def _only_completes_a_url() -> bool:
    """DRF's FileField asks for the request to make its URL absolute; without one it is relative, the same for all."""
    return sys._getframe(2).f_code is serializers.FileField.to_representation.__code__


class RowReader:
    """Reads rows of one node type.

    One `values_list()` query where all fields are compiled. Where one is not, instances are fetched with what their
    fields follow (no query per row), and that field runs as DRF's own.
    """

    def __init__(self, node_type: NodeType) -> None:
        self.node_type = node_type
        self._whole = _whole_serializer(node_type)
        self._fields = tuple(
            _FieldReader(field, node_type, self._whole) for field in node_type.fields
        )
        on_instances = [field for field in self._fields if field.column is None]
        self.on_instances = bool(on_instances) or self._whole is not None
        self._select: set[str] = set()
        self._prefetch: dict[str, Hop] = {}
        for field in on_instances:
            self._follow(field.hops)

    def read(
        self, queryset: QuerySet[Any], extra: tuple[str, ...] = ()
    ) -> list[tuple[str, Row, tuple[Any, ...]]]:
        """(key, row, values of the `extra` columns or annotations) of each row, in the queryset's order."""
        with project_locale():
            return self._read(queryset, extra)

    def value(self, instance: Any, name: str) -> Any:
        """One field of one instance, as `read()` would give it. Raises what the field raises."""
        field = next(field for field in self._fields if field.name == name)
        with project_locale():
            if self._whole is not None:
                instance = self._whole.to_representation(instance)
            return field.read(instance)

    def _read(
        self, queryset: QuerySet[Any], extra: tuple[str, ...]
    ) -> list[tuple[str, Row, tuple[Any, ...]]]:
        node_type = self.node_type
        pk = node_type.model._meta.pk.attname
        visible = (node_type.visible_annotation,) if node_type.visible_annotation else ()
        compiled = (field.column.path for field in self._fields if field.column is not None)
        paths = list(dict.fromkeys((pk, *compiled, *node_type.hidden, *visible, *extra)))
        instances: Sequence[Any] = ()
        if self.on_instances:
            instances, columns = self._instances(queryset, paths)
            count = len(instances)
        else:
            plain = queryset.select_related(None).prefetch_related(None)
            rows = list(plain.values_list(*paths))
            columns = dict(zip(paths, zip(*rows, strict=True), strict=True)) if rows else {}
            count = len(rows)
        if not count:
            return []
        keys = list(map(str, columns[pk]))
        values, errors = self._values(instances, columns, keys)
        hidden = [
            list(map(primitive, columns[path]))
            for path, primitive in zip(node_type.hidden, node_type.primitives, strict=True)
        ]
        shown = list(map(bool, columns[visible[0]])) if visible else [True] * count
        made = map(Row, _rows(values, count), _rows(hidden, count), shown)
        out = list(zip(keys, made, _rows([columns[path] for path in extra], count), strict=True))
        for index, error in errors.items():
            key, row, more = out[index]
            out[index] = (key, Row(None, row.hidden, row.visible, error), more)
        return out

    def _values(
        self, instances: Sequence[Any], columns: Mapping[str, Sequence[Any]], keys: list[str]
    ) -> tuple[list[Sequence[Any]], dict[int, str]]:
        (_, failed), *fields = self._converted(instances, columns, len(keys))
        errors: dict[int, str] = {}
        self._note("to_representation()", failed, keys, errors)
        for field, (_, failed) in zip(self._fields, fields, strict=True):
            self._note(field.name, failed, keys, errors)
        return [values for values, _ in fields], errors

    def _converted(
        self, instances: Sequence[Any], columns: Mapping[str, Sequence[Any]], count: int
    ) -> list[Converted]:
        """As `_convert()`, where a row whose query fails spoils neither the others nor the transaction."""
        if count == 1:
            return self._convert_row(instances, columns)
        try:
            with self._savepoint():
                return self._convert(instances, columns, (DatabaseError,))
        except DatabaseError as error:
            _raise_if_lost(error)
        step = max(1, count // _PARTS)
        found: list[Converted] = [([], {}) for _ in range(1 + len(self._fields))]
        for start in range(0, count, step):
            part = slice(start, min(start + step, count))
            again = self._converted(
                instances[part],
                {path: column[part] for path, column in columns.items()},
                part.stop - start,
            )
            found = [
                ([*values, *more], failed | {start + index: e for index, e in errors.items()})
                for (values, failed), (more, errors) in zip(found, again, strict=True)
            ]
        return found

    def _convert_row(
        self, instances: Sequence[Any], columns: Mapping[str, Sequence[Any]]
    ) -> list[Converted]:
        found: list[Converted] = []
        try:
            with self._savepoint():
                found = self._convert(instances, columns, ())
        except DatabaseError as error:
            # also where the code made nothing of its failed query: then only the savepoint's end tells
            _raise_if_lost(error)
            if not found:
                raise
        for _, failed in found:
            if isinstance(failed.get(0), DatabaseError):
                _raise_if_lost(failed[0])
                break
        return found

    def _convert(
        self,
        instances: Sequence[Any],
        columns: Mapping[str, Sequence[Any]],
        of_all: tuple[type[Exception], ...],
    ) -> list[Converted]:
        """What the serializer's own `to_representation()` gives, if it has one, and then each field's values."""
        whole: Converted = (instances, {})
        if self._whole is not None:
            whole = one_by_one(self._whole.to_representation, instances, of_all)
        fields = [
            field.column.convert(columns[field.column.path], of_all)
            if field.column is not None
            else one_by_one(field.read, whole[0], of_all)
            for field in self._fields
        ]
        return [whole, *fields]

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        """In each open transaction: on PostgreSQL a failed query spoils all that follow, back to the last savepoint.

        Where no code of the project's own runs, none is worth its time.
        """
        with ExitStack() as savepoints:
            for connection in connections.all(initialized_only=True) if self.on_instances else ():
                if connection.in_atomic_block:
                    savepoints.enter_context(transaction.atomic(using=connection.alias))
            yield

    def _note(
        self, name: str, failed: dict[int, Exception], keys: list[str], errors: dict[int, str]
    ) -> None:
        new = {index: error for index, error in failed.items() if index not in errors}
        if not new:
            return
        where = f"{self.node_type.name}.{name}"
        for index, error in new.items():
            errors[index] = f"{where}: {type(error).__name__}: {error}"[:500]
        index, error = next(iter(new.items()))
        logger.error(
            "%s could not be serialized for %d row(s), the first %s: %s",
            where,
            len(new),
            self.node_type.key(keys[index]),
            error,
            exc_info=error,
        )

    def _instances(
        self, queryset: QuerySet[Any], paths: list[str]
    ) -> tuple[list[Any], dict[str, Sequence[Any]]]:
        own = {field.attname for field in self.node_type.model._meta.concrete_fields}
        names = {
            path: path if path in own or path in queryset.query.annotations else f"_rx_column_{i}"
            for i, path in enumerate(paths)
        }
        queryset = queryset.annotate(
            **{name: F(path) for path, name in names.items() if name != path}
        )
        if self._select:
            queryset = queryset.select_related(*sorted(self._select))
        for path, hop in self._prefetch.items():
            queryset = queryset.prefetch_related(_prefetch(path, hop, queryset.db))
        instances = list(queryset)
        return instances, {
            path: [getattr(instance, name) for instance in instances]
            for path, name in names.items()
        }

    def _follow(self, hops: Sequence[Hop]) -> None:
        """Has the relations fetched together with the rows: by a join up to the first one that a join doesn't serve."""
        joined = 0
        while joined < len(hops) and not hops[joined].many and hops[joined].joinable:
            joined += 1
        if joined:
            self._select.add("__".join(hop.name for hop in hops[:joined]))
        for end in range(joined + 1, len(hops) + 1):
            self._prefetch["__".join(hop.accessor for hop in hops[:end])] = hops[end - 1]


class _FieldReader:
    """How one field gets its values: from a column, from an instance, or from its serializer's whole representation."""

    def __init__(
        self, field: NodeField, node_type: NodeType, whole: serializers.Serializer[Any] | None
    ) -> None:
        self.name = field.name
        self.column: Column | None = None
        self.hops: tuple[Hop, ...] = ()
        self._field: Any = field.field
        self._ready = to_graphql(field.type)
        self._whole = whole is not None
        if whole is None:
            self.column = compile_field(field.field, field.type, node_type.model)
        if self.column is None:
            self.hops = _hops(field.field, node_type)
        self._ordered = isinstance(self._field, serializers.MultipleChoiceField)

    def read(self, instance: Any) -> Any:
        if self._whole:
            return self._ready(instance.get(self.name) if instance is not None else None)
        return self._ready(self._representation(instance))

    def _representation(self, instance: Any) -> Any:
        """As `Serializer.to_representation()` does it for each of its fields."""
        field = self._field
        try:
            attribute = field.get_attribute(instance)
        except SkipField:
            return None
        if (attribute.pk if isinstance(attribute, PKOnlyObject) else attribute) is None:
            return None
        if self._ordered and isinstance(attribute, set | frozenset):
            # Hashes differ between processes, rows must not.
            order = {str(choice): index for index, choice in enumerate(field.choices)}
            attribute = sorted(
                attribute, key=lambda item: (order.get(str(item), len(order)), str(item))
            )
        return field.to_representation(attribute)


def _raise_if_lost(error: Exception) -> None:
    """Tells a lost connection, with which the whole read has failed, from a failed query. Not before the rollback."""
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not connection.is_usable():
            raise OperationalError("The database went away while rows were serialized.") from error


def _hops(field: Any, node_type: NodeType) -> tuple[Hop, ...]:
    """The relations that the field follows on an instance."""
    source = resolve(field, node_type.model)
    relation = field.child_relation if isinstance(field, ManyRelatedField) else field
    if isinstance(relation, serializers.SlugRelatedField) and source.kind == "relation":
        name = relation.slug_field or "pk"
        return (*source.hops, *resolve_path(source.model, name.split("__"), name).hops)
    if (
        source.kind == "relation"
        and source.hops[-1].forward
        and isinstance(field, serializers.PrimaryKeyRelatedField)
        and field.use_pk_only_optimization()
    ):
        return source.hops[:-1]
    return source.hops


def _prefetch(path: str, hop: Hop, using: str) -> str | Prefetch[Any]:
    if not hop.many:
        return path
    rows = hop.model._default_manager.using(using).all()
    # Without an order the database may answer differently each time, and the list would seem to change.
    return Prefetch(path, rows if rows.ordered else rows.order_by("pk"))


def _rows(columns: list[Any], count: int) -> Any:
    return zip(*columns, strict=True) if columns else [()] * count


def _whole_serializer(node_type: NodeType) -> serializers.Serializer[Any] | None:
    """A serializer with a `to_representation()` of its own, without its nested fields; None if DRF's runs."""
    serializer: Any = node_type.serializer
    if serializer is None:
        return None
    drfs_fields = getattr(serializers.Serializer, _READABLE)
    if (
        is_drf(serializer, "to_representation")
        and getattr(type(serializer), _READABLE) is drfs_fields
    ):
        return None
    flat: serializers.Serializer[Any] = copy.copy(serializer)
    flat.__dict__["fields"] = {
        name: field
        for name, field in serializer.fields.items()
        if not isinstance(field, serializers.BaseSerializer)
    }
    return flat
