"""How generated fields meet graphql-core: who asks, which errors clients see, what is reset from event to event."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.utils.functional import LazyObject, empty
from graphql import GraphQLError
from graphql.execution import Executor
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from rxgraphql.auth import viewer_of
from rxgraphql.errors import ChannelError, ErrorCode, RefusedError
from rxgraphql.projection import EventData
from rxgraphql.viewer import Viewer

logger = logging.getLogger(__name__)

OUR_CODES = frozenset(code.value for code in ErrorCode)


async def viewer(context: Any) -> Viewer:
    """The viewer behind a resolver's context, loaded: Django's and Channels' lazy users query at the first look."""
    found = viewer_of(context)
    if isinstance(found.user, LazyObject) and found.user._wrapped is empty:
        await sync_to_async(bool)(found.user)
    return found


def public_error(error: Exception) -> GraphQLError:
    """What a client may know of an exception in a generated field. What wasn't meant for it is logged."""
    if isinstance(error, GraphQLError):
        return error
    if isinstance(error, ChannelError | RefusedError):
        return GraphQLError(error.message, extensions={"code": error.code.value})
    logger.error("A generated field failed.", exc_info=error)
    return GraphQLError("Internal error.", extensions={"code": ErrorCode.INTERNAL.value})


def with_code(errors: Iterable[GraphQLError], code: ErrorCode) -> list[GraphQLError]:
    """The errors, each with the code in its extensions unless it has one."""
    coded = list(errors)
    for error in coded:
        error.extensions = {"code": code.value, **(error.extensions or {})}
    return coded


def code_of(error: GraphQLError) -> str | None:
    code = (error.extensions or {}).get("code")
    return code if isinstance(code, str) else None


class ChannelExecutor(StrawberryGraphQLCoreExecutionContext):
    """The executor of our schemas; a user's own execution context class is mixed with it."""

    @classmethod
    def build(cls, *args: Any, **kwargs: Any) -> list[GraphQLError] | Executor[Any]:
        built = super().build(*args, **kwargs)
        return with_code(built, ErrorCode.BAD_USER_INPUT) if isinstance(built, list) else built

    def build_per_event_executor(self, payload: Any) -> Executor[Any]:
        # graphql-core 3.3.1 and 3.3.2 keep 4 KB per event here until the subscription ends: the keys are ids of objects
        # that each event makes anew.
        executor = super().build_per_event_executor(payload)
        executor._relevant_sub_fields = {}
        return executor

    def complete_object_value(
        self,
        return_type: Any,
        field_details_list: Any,
        info: Any,
        path: Any,
        result: Any,
        position_context: Any,
    ) -> Any:
        if isinstance(result, EventData) and result.errors:
            self.collected_errors.errors.extend(
                GraphQLError(error["message"], extensions=error["extensions"])
                for error in result.errors
            )
        return super().complete_object_value(
            return_type, field_details_list, info, path, result, position_context
        )


def executor_class(own: type[Executor[Any]] | None) -> type[Executor[Any]]:
    """ChannelExecutor, over the user's own execution context class if there is one."""
    if own is None or issubclass(own, ChannelExecutor):
        return own or ChannelExecutor
    return type(own.__name__, (ChannelExecutor, own), {"__module__": own.__module__})
