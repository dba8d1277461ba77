"""What the user subclasses, and the registry that finds and compiles all of them."""

from __future__ import annotations

import inspect
import threading
import typing
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import FieldDoesNotExist
from django.db import models, router
from django.utils.module_loading import autodiscover_modules
from rest_framework import serializers

from rxgraphql import fields as field_types
from rxgraphql.blob import layout_of
from rxgraphql.builder import TreeBuilder
from rxgraphql.conf import cache_ttl_problem, settings
from rxgraphql.errors import Fault, UnsupportedError
from rxgraphql.tree import NodeType, StateTree, snake

if TYPE_CHECKING:
    from rxgraphql.fields import FieldType

# Arguments that every channel field has; a channel's own may not be called so.
RESERVED_ARGUMENTS = frozenset({"after"})


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a channel's GraphQL field: of `lookup_field` it has a field_type, of get_object() an
    annotation."""

    name: str
    annotation: Any = None
    field_type: FieldType | None = None
    default: Any = inspect.Parameter.empty


class StateChannel:
    """A live view of one row and all that its serializer nests.

        class ChatRoomChannel(StateChannel):
            class Meta:
                anchor = ChatRoomSerializer()

            lookup_field = "name"

            def has_permission(self, user, chat_room):
                return chat_room.members.filter(pk=user.pk).exists()

    `lookup_field` names the field that the GraphQL argument looks up; it must be unique. Override `get_object()` with
    annotated keyword parameters for anything else: they become the arguments. `Meta.graphql_name` sets the name,
    `Meta.cache_ttl` the seconds that a state is kept in Redis.
    """

    lookup_field: ClassVar[str] = "pk"

    # filled in by the registry
    tree: ClassVar[StateTree]
    graphql_name: ClassVar[str]
    field_name: ClassVar[str]
    event_name: ClassVar[str]
    arguments: ClassVar[tuple[Argument, ...]]

    @property
    def cache_ttl(self) -> float:
        """Seconds that a state stays in Redis after the last process that held it: `Meta.cache_ttl`, else RX_CACHE_TTL.
        0: it isn't put there."""
        meta = getattr(self, "Meta", None)
        return getattr(meta, "cache_ttl", settings.RX_CACHE_TTL) or 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("abstract", False):
            registry.add(cls)

    def get_object(self, **arguments: Any) -> Any:
        """The anchor's row; raises the model's DoesNotExist (or Http404) when there is none. May be `async`."""
        (value,) = arguments.values()
        return self.get_queryset().get(**{self.lookup_field: value})

    def get_queryset(self) -> models.QuerySet[Any]:
        """Where `get_object()` looks: the default manager, in the database that writers write to."""
        model = self.tree.root.model
        return model._default_manager.using(router.db_for_write(model)).all()

    def has_permission(self, user: Any, instance: Any) -> bool | Awaitable[bool]:
        """Whether the user may see the state of the instance: True, and nothing else, opens it. May be `async`."""
        raise NotImplementedError


class Registry:
    """All channels of the process, compiled together at first use and again when one is added."""

    def __init__(self) -> None:
        self._classes: dict[str, type[StateChannel]] = {}
        self._lock = threading.RLock()
        self._discovered = False
        # added after every app's `channels` was imported: other processes may not know them
        self.late: set[str] = set()
        self._discovering = False

    def add(self, channel: type[StateChannel]) -> None:
        if self._discovered and not self._discovering:
            self.late.add(f"{channel.__module__}.{channel.__qualname__}")
        self._classes[f"{channel.__module__}.{channel.__qualname__}"] = channel
        self.__dict__.pop("built", None)

    def remove(self, channel: type[StateChannel]) -> None:
        """For tests that define channels of their own."""
        name = f"{channel.__module__}.{channel.__qualname__}"
        self._classes.pop(name, None)
        self.late.discard(name)
        self.__dict__.pop("built", None)

    def discover(self) -> None:
        """Imports the `channels` module of every installed app."""
        if not self._discovered:
            self._discovered = self._discovering = True
            try:
                autodiscover_modules("channels")
            finally:
                self._discovering = False

    @cached_property
    def built(self) -> Built:
        self.discover()
        with self._lock:
            # sorted: every process compiles the same, in whatever order it imports
            return Built(sorted(self._classes.items()), frozenset(self.late))

    def channels(self) -> tuple[type[StateChannel], ...]:
        """The channels without a fault, in order of their field names."""
        return self.built.channels

    def faults(self) -> list[Fault]:
        return list(self.built.faults)

    def node_types(self) -> dict[str, NodeType]:
        return self.built.builder.node_types

    def node_type(self, serializer_class: type[serializers.ModelSerializer[Any]]) -> NodeType:
        """The node type of a serializer class, compiled now if no channel uses it. Raises UnsupportedError."""
        builder = self.built.builder
        if serializer_class not in builder.by_serializer:
            with self._lock:
                noted = len(builder.faults)
                known = dict(builder.by_serializer), dict(builder.node_types)
                builder.node_type(serializer_class(), serializer_class.__qualname__, ())
                if faults := builder.faults[noted:]:
                    del builder.faults[noted:]
                    builder.by_serializer, builder.node_types = known
                    raise UnsupportedError(
                        f"{serializer_class.__name__} can't be made a GraphQL type: {faults[0].message}",
                        faults[0].fix,
                    )
        return builder.by_serializer[serializer_class]


class Built:
    """One compilation of all channels."""

    def __init__(
        self,
        classes: list[tuple[str, type[StateChannel]]],
        late: frozenset[str] = frozenset(),
    ) -> None:
        self.builder = TreeBuilder()
        self.faults: list[Fault] = []
        found: dict[str, type[StateChannel]] = {}
        for location, channel in classes:
            faults = list(self._compile(channel, location))
            if location in late:
                faults.append(
                    Fault(
                        location,
                        "The channel is defined where not every process finds it, and writers would be silent.",
                        "Define it in the `channels` module of an installed app, or import it there.",
                    )
                )
            if not faults and channel.field_name in found:
                other = found[channel.field_name]
                faults.append(
                    Fault(
                        location,
                        f"{other.__module__}.{other.__qualname__} has the GraphQL name {channel.graphql_name} too.",
                        "Set Meta.graphql_name.",
                    )
                )
            if not faults:
                found[channel.field_name] = channel
            self.faults += faults
        self.channels = tuple(found[name] for name in sorted(found))
        self.layout = self.builder.layout()
        self.builder.sealed = True
        for channel in self.channels:
            # Now, while the files are those that were imported
            layout_of(channel.tree)

    def _compile(self, channel: type[StateChannel], location: str) -> list[Fault]:
        faults: list[Fault] = []
        meta = getattr(channel, "Meta", None)
        name = getattr(meta, "graphql_name", None) or channel.__name__.removesuffix("Channel")
        channel.graphql_name = name
        channel.field_name = snake(name)
        channel.event_name = f"{name}Event"
        if channel.has_permission is StateChannel.has_permission:
            faults.append(
                Fault(
                    location,
                    "has_permission() is missing: no channel is open by omission.",
                    "Define has_permission(self, user, instance) and return True for those who may look.",
                )
            )
        elif not _takes(channel.has_permission, "self", "user", "instance"):
            faults.append(
                Fault(
                    location,
                    "has_permission() can't be called with a user and an instance.",
                    "Write has_permission(self, user, instance).",
                )
            )
        if getattr(meta, "per_viewer", False):
            faults.append(Fault(location, "Meta.per_viewer is not available yet.", "Remove it."))
        if problem := cache_ttl_problem(getattr(meta, "cache_ttl", None)):
            fix = "Give the seconds, 0 for no cache, or remove it: then RX_CACHE_TTL holds."
            faults.append(Fault(location, f"Meta.cache_ttl {problem}", fix))
        anchor = getattr(meta, "anchor", None)
        if isinstance(anchor, type):
            faults.append(
                Fault(
                    location,
                    "Meta.anchor is a class.",
                    f"Make an instance: anchor = {anchor.__name__}().",
                )
            )
            return faults
        if not isinstance(anchor, serializers.BaseSerializer):
            faults.append(
                Fault(location, "Meta.anchor is missing.", "Set anchor = YourSerializer().")
            )
            return faults
        noted = len(self.builder.faults)
        tree = self.builder.tree(anchor, location)
        faults += self.builder.faults[noted:]
        if tree is None:
            return faults
        channel.tree = tree
        try:
            channel.arguments = _arguments(channel, tree)
        except UnsupportedError as error:
            faults.append(Fault(location, error.message, error.fix))
        return faults


def _takes(function: Any, *arguments: str) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    return True


def _arguments(channel: type[StateChannel], tree: StateTree) -> tuple[Argument, ...]:
    if channel.get_object is not StateChannel.get_object:
        return _annotated_arguments(channel)
    lookup, model = channel.lookup_field, tree.root.model
    if lookup == "pk":
        return (Argument("id", field_type=field_types.FieldType("ID", nullable=False)),)
    try:
        field: Any = model._meta.get_field(lookup)
    except FieldDoesNotExist:
        raise UnsupportedError(
            f"lookup_field {lookup!r} is not a field of {model.__name__}.",
            "Name a unique field of the model, or override get_object().",
        ) from None
    if field.is_relation:
        raise UnsupportedError(
            f"lookup_field {lookup!r} of {model.__name__} is a relation.",
            "Name a plain column, or override get_object().",
        )
    if not (field.unique or _sole_unique(model, lookup)):
        raise UnsupportedError(
            f"lookup_field {lookup!r} of {model.__name__} is not unique.",
            "Make the field unique, or override get_object() and say which row is meant.",
        )
    if field.primary_key:
        return (Argument(field.name, field_type=field_types.FieldType("ID", nullable=False)),)
    mapping: serializers.ModelSerializer[Any] = serializers.ModelSerializer()
    cls, kwargs = mapping.build_standard_field(lookup, field)
    serializer_field = cls(**{key: value for key, value in kwargs.items() if key != "validators"})
    serializer_field.bind(lookup, _Bound(model))
    found = field_types.field_type(serializer_field, model, tree.root.name)
    kind = "String" if found.kind == "Enum" else found.kind
    return (Argument(lookup, field_type=field_types.FieldType(kind, nullable=False)),)


class _Bound(serializers.Serializer[Any]):
    """A parent for a lone field."""

    def __init__(self, model: type[models.Model]) -> None:
        super().__init__()
        self.model = model


def _sole_unique(model: type[models.Model], name: str) -> bool:
    return any(
        isinstance(constraint, models.UniqueConstraint)
        and tuple(constraint.fields) == (name,)
        and constraint.condition is None
        for constraint in model._meta.constraints
    )


def _annotated_arguments(channel: type[StateChannel]) -> tuple[Argument, ...]:
    try:
        hints = typing.get_type_hints(channel.get_object)
    except NameError as error:
        raise UnsupportedError(
            f"An annotation of get_object() can't be evaluated: {error}.",
            "Import what it names outside of `if TYPE_CHECKING`.",
        ) from None
    arguments = []
    for name, parameter in list(inspect.signature(channel.get_object).parameters.items())[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UnsupportedError(
                f"get_object() takes {parameter}, from which no GraphQL argument can be made.",
                "Name each parameter, annotate it, and let it be passed by its name.",
            )
        if name not in hints:
            raise UnsupportedError(
                f"The parameter {name!r} of get_object() has no annotation.",
                f"Annotate it, for example `{name}: str`.",
            )
        if name in RESERVED_ARGUMENTS:
            raise UnsupportedError(
                f"The parameter {name!r} of get_object() is the name of the cursor's argument.",
                "Call it something else.",
            )
        arguments.append(Argument(name, annotation=hints[name], default=parameter.default))
    return tuple(arguments)


registry = Registry()
