"""What a channel adds to the schema: its event's type, and a field of Query and of Subscription."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from enum import Enum
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Final

import strawberry
from django.apps import apps
from strawberry.schema_directive import Location
from strawberry.types.field import StrawberryField
from strawberry.types.unset import UNSET

from rxgraphql.channel import Argument, StateChannel
from rxgraphql.execution import public_error, viewer
from rxgraphql.projection import EventData, Projection
from rxgraphql.scalars import annotation
from rxgraphql.types import description_of, picked, type_of

if TYPE_CHECKING:
    from graphql import GraphQLResolveInfo


EVENT_FIELDS: Final = ("kind", "cursor", "removed", "lists", "state")


@strawberry.enum(description="How to take an event.")
class ChannelEventKind(Enum):
    SNAPSHOT = strawberry.enum_value(
        "SNAPSHOT", description="A new copy: replace what you hold with it."
    )
    CHANGE = strawberry.enum_value("CHANGE", description="Fold it into what you hold.")


def _picked(type_: Any, description: str | None = None) -> Any:
    return strawberry.field(resolver=picked, graphql_type=type_, description=description)


@strawberry.type(
    description=(
        "What moved inside one list. Take `removed` out, then insert `inserted` at `index` if absent. "
        "Applying it twice changes nothing."
    )
)
class ListChange:
    node: strawberry.ID = _picked(
        strawberry.ID, 'The key of the node that has the list: "ChatRoom:1".'
    )
    field: str = _picked(str, "The name of the list in the node's type.")
    index: int = _picked(int)
    removed: list[strawberry.ID] = _picked(list[strawberry.ID], 'Keys: "Message:5".')
    inserted: list[strawberry.ID] = _picked(list[strawberry.ID], 'Keys: "Message:5".')


@strawberry.interface(description="What every channel's event has.")
class ChannelEvent:
    kind: ChannelEventKind = _picked(ChannelEventKind)
    cursor: str = _picked(str, "Hand it back as `after` to resume.")
    removed: list[strawberry.ID] = _picked(
        list[strawberry.ID],
        'Keys ("Message:5") of what left this tree, deleted or only moved away.',
    )
    lists: list[ListChange] = _picked(list[ListChange], "What moved inside lists.")


@strawberry.schema_directive(
    name="rxgraphql",
    locations=[Location.FIELD_DEFINITION],
    description="The label of the Django app whose channel it is.",
)
class ChannelOrigin:
    app: str


def _origin(channel: type[StateChannel]) -> list[object]:
    """What names the frontend's generated module, in the SDL only; nothing for a channel outside of all apps."""
    config = apps.get_containing_app_config(channel.__module__)
    return [] if config is None else [ChannelOrigin(app=config.label)]


def event_type(channel: type[StateChannel]) -> type:
    """`ChatRoomEvent`: one list per node type, and the nested tree."""
    namespace: dict[str, Any] = {
        "__module__": channel.__module__,
        "__qualname__": f"{channel.__qualname__}.<graphql event {id(channel):x}>",
        "__annotations__": {},
    }
    for node_type in channel.tree.node_types:
        namespace[node_type.list_name] = _picked(list[type_of(node_type)])  # type: ignore[misc]
    namespace["state"] = _picked(
        type_of(channel.tree.root) | None,
        "The whole nested tree; null in events that change nothing that you selected of it.",
    )
    cls = type(channel.event_name, (ChannelEvent,), namespace)
    made: Any = strawberry.type(
        cls,
        name=channel.event_name,
        description=(
            "A list for each type of node: all of them in a snapshot, afterwards those beneath which something changed "
            "that you selected."
        ),
    )
    made.__strawberry_definition__.is_type_of = lambda value, info: isinstance(value, EventData)
    return cls


class ChannelFields:
    """The two root fields of one channel, and how they get their data from the hub.

    `compile_event` and `compile_state` are the schema's: (channel, info) -> projection.
    """

    def __init__(
        self,
        channel: type[StateChannel],
        event: type,
        compile_event: Callable[[type[StateChannel], GraphQLResolveInfo[Any]], Projection],
        compile_state: Callable[[type[StateChannel], GraphQLResolveInfo[Any]], Projection],
    ) -> None:
        self.channel = channel
        self._compile_event = compile_event
        self._compile_state = compile_state
        text = description_of(channel)
        arguments = [_parameter(argument) for argument in channel.arguments]
        self.query: StrawberryField = strawberry.field(
            resolver=_with_arguments(self._read, arguments),
            graphql_type=type_of(channel.tree.root) | None,
            description=text,
        )
        after = Parameter("after", Parameter.KEYWORD_ONLY, default=UNSET, annotation=str | None)
        self.subscription: StrawberryField = strawberry.subscription(
            resolver=_with_arguments(self._subscribe, [*arguments, after]),
            graphql_type=event,
            description=text,
            directives=_origin(channel),
        )

    async def _read(self, info: GraphQLResolveInfo[Any], arguments: dict[str, Any]) -> Any:
        from rxgraphql.hub import get_hub

        projection = self._compile_state(self.channel, info)
        asking = await viewer(info.context)
        payload = await get_hub().read(self.channel, arguments, projection, asking)
        return payload.field

    async def _subscribe(
        self, info: GraphQLResolveInfo[Any], arguments: dict[str, Any]
    ) -> AsyncIterator[Any]:
        from rxgraphql.hub import get_hub

        after = arguments.pop("after", None) or None
        projection = self._compile_event(self.channel, info)
        asking = await viewer(info.context)
        subscriber = await get_hub().subscribe(
            self.channel, arguments, projection, projection.signature, asking, after
        )
        return _events(subscriber)


async def _events(subscriber: Any) -> AsyncIterator[Any]:
    try:
        async for payload in subscriber:
            yield payload.field
    except Exception as error:
        raise public_error(error) from error
    finally:
        await subscriber.aclose()


def _parameter(argument: Argument) -> Parameter:
    type_ = argument.annotation if argument.field_type is None else annotation(argument.field_type)
    return Parameter(
        argument.name, Parameter.KEYWORD_ONLY, default=argument.default, annotation=type_
    )


def _with_arguments(
    resolve: Callable[[GraphQLResolveInfo[Any], dict[str, Any]], Any], parameters: list[Parameter]
) -> Callable[..., Any]:
    """A resolver whose signature, from which Strawberry makes the arguments, is the channel's."""

    async def resolver(info: strawberry.Info, **arguments: Any) -> Any:
        try:
            return await resolve(info._raw_info, arguments)
        except Exception as error:
            raise public_error(error) from error

    info = Parameter("info", Parameter.POSITIONAL_OR_KEYWORD, annotation=strawberry.Info)
    resolver.__signature__ = Signature([info, *parameters])  # type: ignore[attr-defined]
    resolver.__annotations__ = {
        parameter.name: parameter.annotation for parameter in (info, *parameters)
    }
    return resolver


def roots(
    fields: list[ChannelFields],
) -> tuple[dict[str, StrawberryField], dict[str, StrawberryField]]:
    """The channels' fields of Query and of Subscription, by Python name."""
    return (
        {made.channel.field_name: made.query for made in fields},
        {made.channel.field_name: made.subscription for made in fields},
    )


def extended(name: str, own: type | None, fields: dict[str, StrawberryField]) -> type | None:
    """The user's root type with the channels' fields in it; a new one if there is none."""
    if not fields:
        return own
    namespace: dict[str, Any] = {"__annotations__": {}, **fields}
    if own is None:
        cls = type(name, (), namespace)
        return strawberry.type(cls, name=name)
    definition = getattr(own, "__strawberry_definition__")  # noqa: B009
    namespace["__module__"] = own.__module__
    namespace["__qualname__"] = f"{own.__qualname__}.<with channels>"
    return strawberry.type(
        type(own.__name__, (own,), namespace),
        name=definition.name,
        description=definition.description,
        directives=definition.directives,
        extend=definition.extend,
    )
