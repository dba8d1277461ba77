"""The schema: Strawberry's, with the fields of all channels in it.

`prepare()` is the short way of a subscription: from the text of a document to the projection that the hub shares,
without graphql-core executing anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

from django.utils.module_loading import import_string
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    OperationDefinitionNode,
    lexicographic_sort_schema,
)
from graphql.execution.values import get_argument_values
from strawberry.exceptions import DuplicatedTypeName, ScalarAlreadyRegisteredError
from strawberry.printer import print_schema
from strawberry.schema import Schema as StrawberrySchema
from strawberry.schema.config import StrawberryConfig
from strawberry.types.arguments import convert_arguments
from strawberry.types.execution import ExecutionContext, ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType
from strawberry.utils.operation import get_operation_type

from rxgraphql.channel import StateChannel, registry
from rxgraphql.conf import settings
from rxgraphql.document import DEFAULT_RULES, Documents
from rxgraphql.errors import ConfigurationError, ErrorCode, Fault
from rxgraphql.events import ChannelFields, event_type, extended, roots
from rxgraphql.execution import OUR_CODES, code_of, executor_class, with_code
from rxgraphql.names import generated_type_names, name_faults
from rxgraphql.projection import Projection, compile_projection, compile_state
from rxgraphql.scalars import SCALARS, accept_text, with_scalars
from rxgraphql.selection import Document, Names, named_object

if TYPE_CHECKING:
    from collections.abc import Hashable

    from graphql.execution.collect_fields import FieldDetails
    from strawberry.extensions.runner import SchemaExtensionsRunner

MAX_PROJECTIONS = 1000


@dataclass(frozen=True, slots=True)
class Operation:
    """What a document asks for. Without a channel it runs the ordinary way, through Strawberry."""

    kind: OperationType
    channel: type[StateChannel] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    projection: Projection | None = None
    # equal for documents whose payloads are equal, however they are written
    audience_key: Hashable = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class PreparedError:
    """Why a document isn't run; each error has a code in its extensions."""

    errors: list[GraphQLError]


class Schema(StrawberrySchema):
    """Takes all that `strawberry.Schema` takes; the channels' fields come into the Query and Subscription given, or
    into new ones. Raises ConfigurationError with every fault of every channel.

    `channels`: those to serve instead of all.
    """

    def __init__(
        self,
        query: type | None = None,
        mutation: type | None = None,
        subscription: type | None = None,
        *,
        channels: Sequence[type[StateChannel]] | None = None,
        config: StrawberryConfig | None = None,
        scalar_overrides: dict[object, Any] | None = None,
        execution_context_class: Any = None,
        **options: Any,
    ) -> None:
        registry.discover()
        served = registry.channels() if channels is None else tuple(channels)
        config = with_scalars(config or StrawberryConfig())
        faults = registry.faults()
        if not faults:
            faults = name_faults(served, (query, subscription), config)
        if not served and query is None:
            faults.append(_NOTHING)
        if faults:
            raise ConfigurationError(faults)
        self._events = {channel: event_type(channel) for channel in served}
        self._fields = [
            ChannelFields(channel, event, self._event_projection, self._state_projection)
            for channel, event in self._events.items()
        ]
        query_fields, subscription_fields = roots(self._fields)
        overrides = {
            key: accept_text(value) if key in SCALARS else value
            for key, value in (scalar_overrides or {}).items()
        }
        try:
            super().__init__(
                query=cast(type, extended("Query", query, query_fields)),
                mutation=mutation,
                subscription=extended("Subscription", subscription, subscription_fields),
                config=config,
                scalar_overrides=overrides,
                execution_context_class=executor_class(execution_context_class),
                **options,
            )
        except (DuplicatedTypeName, ScalarAlreadyRegisteredError) as error:
            raise _clash(error, served) from error
        # What a user's own code may do to an operation, the short way would leave out.
        self._short_way = not (self.extensions or self.directives or execution_context_class)
        self._documents = Documents(self._schema)
        self._names = Names(self._graphql_name)
        self._by_field = self._channel_fields()
        self._projections: OrderedDict[Any, Projection] = OrderedDict()
        self._lock = RLock()

    # ------------------------------------------------------------------------------------------ the short way

    def prepare(
        self,
        query: str,
        variables: dict[str, Any] | None = None,
        operation_name: str | None = None,
    ) -> Operation | PreparedError:
        """Reads a document: a channel's subscription comes with its projection, all else runs the ordinary way."""
        loaded = self._documents.load(query)
        if loaded.document is None or loaded.errors:
            return self._refused(loaded.errors)
        if (error := _unclear_operation(loaded.document, operation_name)) is not None:
            return self._refused([error])
        kind = get_operation_type(loaded.document, operation_name)
        if kind is not OperationType.SUBSCRIPTION or not self._short_way:
            return Operation(kind)
        executor = self.execution_context_class.build(
            self._schema,
            loaded.document,
            raw_variable_values=variables,
            operation_name=operation_name,
        )
        if isinstance(executor, list):
            return self._refused(executor)
        document = Document.of_executor(executor)
        root = self._schema.subscription_type
        assert root is not None
        for name, details in document.root_fields(root).items():
            made = self._by_field.get(details[0].node.name.value)
            if made is not None:
                return self._channel_operation(document, root, made, name, details)
        return Operation(kind)

    def _channel_operation(
        self,
        document: Document,
        root: GraphQLObjectType,
        made: ChannelFields,
        response_key: str,
        details: list[FieldDetails],
    ) -> Operation | PreparedError:
        node = details[0].node
        graphql_field = root.fields[node.name.value]
        try:
            arguments = convert_arguments(
                get_argument_values(graphql_field, node, document.variables),
                made.subscription.arguments,
                scalar_registry=self.schema_converter.scalar_registry,
                config=self.config,
            )
        except GraphQLError as error:
            return self._refused(with_code([error], ErrorCode.BAD_USER_INPUT))
        after = arguments.pop("after", None) or None
        projection = self._projection(made.channel, document, details)
        return Operation(
            OperationType.SUBSCRIPTION,
            made.channel,
            arguments,
            projection,
            projection.signature,
            after,
        )

    def _refused(self, errors: list[GraphQLError]) -> PreparedError:
        self._process_errors(errors)
        return PreparedError(errors)

    # ------------------------------------------------------------------------------------------ projections

    def _event_projection(
        self, channel: type[StateChannel], info: GraphQLResolveInfo[Any]
    ) -> Projection:
        return self._projection(channel, *Document.of_info(info))

    def _projection(
        self, channel: type[StateChannel], document: Document, details: list[FieldDetails]
    ) -> Projection:
        name = cast(Any, self._events[channel]).__strawberry_definition__.name
        event = named_object(self._schema.type_map[name])
        projection = compile_projection(
            document, self._names, channel, event, details, self._python_names(event.name)
        )
        return self._shared(channel, projection)

    def _state_projection(
        self, channel: type[StateChannel], info: GraphQLResolveInfo[Any]
    ) -> Projection:
        document, details = Document.of_info(info)
        return self._shared(channel, compile_state(document, self._names, channel, details))

    def _shared(self, channel: type[StateChannel], projection: Projection) -> Projection:
        """The projection that equal documents have already, so that they share its payloads too."""
        key = (channel.tree, projection.signature)
        with self._lock:
            shared = self._projections.setdefault(key, projection)
            self._projections.move_to_end(key)
            if len(self._projections) > MAX_PROJECTIONS:
                self._projections.popitem(last=False)
        return shared

    def _definition(self, type_name: str) -> Any:
        return self.schema_converter.type_map[type_name].definition

    def _python_names(self, type_name: str) -> dict[str, str]:
        return {
            self.config.name_converter.get_graphql_name(found): found.python_name
            for found in self._definition(type_name).fields
        }

    def _graphql_name(self, type_name: str, python_name: str) -> str:
        found = self._definition(type_name).get_field(python_name)
        return self.config.name_converter.get_graphql_name(found)

    def _channel_fields(self) -> dict[str, ChannelFields]:
        """The subscription's fields by GraphQL name."""
        convert: Callable[[Any], str] = self.config.name_converter.get_graphql_name
        return {convert(made.subscription): made for made in self._fields}

    # ------------------------------------------------------------------------------------------ Strawberry's way

    async def _prepare_operation_async(
        self, context: ExecutionContext, extensions_runner: SchemaExtensionsRunner
    ) -> PreExecutionError | None:
        if errors := self._load(context):
            return PreExecutionError(data=None, errors=errors)
        result = await super()._prepare_operation_async(context, extensions_runner)
        _name_errors(result)
        return result

    def _prepare_operation_sync(
        self, context: ExecutionContext, extensions_runner: SchemaExtensionsRunner
    ) -> ExecutionResult | None:
        if errors := self._load(context):
            self._process_errors(errors, context)
            return ExecutionResult(data=None, errors=errors)
        result = super()._prepare_operation_sync(context, extensions_runner)
        _name_errors(result)
        return result

    def _load(self, context: ExecutionContext) -> list[GraphQLError]:
        """Takes the parsed document and its validation from the cache; gives the errors that end it here."""
        if not context.query or context.graphql_document is not None:
            return []
        loaded = self._documents.load(context.query)
        if loaded.document is None:
            context.pre_execution_errors = loaded.errors
            return loaded.errors
        name = context._provided_operation_name
        error = _unclear_operation(loaded.document, name)
        # of an unknown name Strawberry itself tells, with status 400 over HTTP
        if error is not None and name is None and not loaded.errors:
            return [error]
        context.graphql_document = loaded.document
        if tuple(context.validation_rules) == DEFAULT_RULES:
            # not None: validated
            context.pre_execution_errors = loaded.errors
        return []

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Logs what went wrong here. A client's mistake isn't logged, and what we masked is already."""
        unexpected = [error for error in errors if code_of(error) not in OUR_CODES]
        super().process_errors(unexpected, execution_context)


def _unclear_operation(document: DocumentNode, name: str | None) -> GraphQLError | None:
    """Strawberry would run the first of several operations, where GraphQL asks for a name."""
    operations = [
        node for node in document.definitions if isinstance(node, OperationDefinitionNode)
    ]
    if name is None and len(operations) == 1:
        return None
    if name is None:
        message = "The document has several operations: name the one to run (operationName)."
    elif any(operation.name and operation.name.value == name for operation in operations):
        return None
    else:
        message = f"The document has no operation named {name!r}."
    return GraphQLError(message, extensions={"code": ErrorCode.BAD_USER_INPUT.value})


def _name_errors(result: ExecutionResult | None) -> None:
    if result is not None and result.errors:
        with_code(result.errors, ErrorCode.GRAPHQL_VALIDATION_FAILED)


_NOTHING = Fault(
    "rxgraphql.Schema",
    "There is no channel and no query, so the schema would be empty.",
    "Write a StateChannel in the channels.py of an installed app, or pass query=.",
)


def _clash(
    error: DuplicatedTypeName | ScalarAlreadyRegisteredError,
    channels: Sequence[type[StateChannel]],
) -> Exception:
    """A type of the user's with the name of a generated one is a fault with a fix; a clash of their own is theirs."""
    for name, where in generated_type_names(channels).items():
        if f"{name} is defined multiple times" in str(error):
            return ConfigurationError(
                [
                    Fault(
                        where,
                        f"The schema has another GraphQL type {name}.",
                        "Set Meta.graphql_name, or rename the other type.",
                    )
                ]
            )
    return error


# ---------------------------------------------------------------------------------------------- the project's schema

_schema: Schema | None = None
_schema_lock = RLock()


def get_schema() -> Schema:
    """The project's schema: what RX_SCHEMA names, or one of all channels. Raises ConfigurationError."""
    global _schema
    with _schema_lock:
        if _schema is None:
            _schema = _named(settings.RX_SCHEMA) if settings.RX_SCHEMA else Schema()
        return _schema


def reset_schema() -> None:
    """Forgets the project's schema, for tests that change settings or channels."""
    global _schema
    _schema = None


def _named(path: str) -> Schema:
    try:
        found = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            [
                Fault(
                    "RX_SCHEMA",
                    f"{path!r} can't be imported: {error}.",
                    "Name a module's variable.",
                )
            ]
        ) from error
    if not isinstance(found, Schema):
        raise ConfigurationError(
            [
                Fault(
                    "RX_SCHEMA",
                    f"{path!r} is a {type(found).__name__}.",
                    "Write `schema = rxgraphql.Schema(query=..., mutation=..., subscription=...)`.",
                )
            ]
        )
    return found


def print_sdl(schema: Schema) -> str:
    """The schema in GraphQL's own language, sorted, so that equal schemas give equal bytes. Arguments stay in the order
    in which they were written: it is that of the generated channels' constructors."""
    ordered = copy(schema)
    ordered._schema = lexicographic_sort_schema(schema._schema)
    for name, found in ordered._schema.type_map.items():
        if isinstance(found, GraphQLObjectType):
            written = cast(GraphQLObjectType, schema._schema.type_map[name]).fields
            for field_name, made in found.fields.items():
                made.args = {argument: made.args[argument] for argument in written[field_name].args}
    return print_schema(ordered).strip() + "\n"
