"""Who may open a channel: finds the anchor's row and asks the channel. Every way to the state goes through here."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.db import (
    DatabaseError,
    DataError,
    InterfaceError,
    OperationalError,
    close_old_connections,
)
from django.http import Http404

from rxgraphql.errors import ChannelError, ErrorCode, not_found

if TYPE_CHECKING:
    from rxgraphql.channel import StateChannel
    from rxgraphql.workers import Workers

logger = logging.getLogger("rxgraphql.authorize")

# What a client is told; what went wrong is in the log
DATABASE_FAILED = (ErrorCode.DATABASE_ERROR, "The database could not answer. Try again shortly.")
LOOKUP_FAILED = (ErrorCode.INTERNAL, "The channel could not be opened.")
PERMISSION_FAILED = (
    ErrorCode.PERMISSION_ERROR,
    "It could not be told whether you may see this.",
)


async def authorize(
    channel: StateChannel, arguments: dict[str, Any], user: Any, workers: Workers
) -> str:
    """The primary key of the instance that the user may see. Raises ChannelError, with the same text for none and
    forbidden."""
    try:
        instance = await _call(workers, channel.get_object, **arguments)
    except (ObjectDoesNotExist, Http404, PermissionDenied):
        raise _refused(channel, user) from None
    except (ValueError, TypeError, ValidationError, OverflowError, DataError) as error:
        names = ", ".join(arguments)
        # in a lookup of the project's own it may be its mistake
        logger.log(
            logging.WARNING if "get_object" in vars(type(channel)) else logging.INFO,
            "%s was asked with bad arguments: %s",
            type(channel).__qualname__,
            error,
        )
        raise ChannelError(
            ErrorCode.BAD_USER_INPUT, f"The value of {names} is not one that can be looked up."
        ) from error
    except DatabaseError as error:
        raise _failed(channel.get_object, error, DATABASE_FAILED) from error
    except Exception as error:
        raise _failed(channel.get_object, error, LOOKUP_FAILED) from error
    if instance is None:
        raise _refused(channel, user)
    try:
        allowed = await _call(workers, channel.has_permission, user, instance)
    except (PermissionDenied, ObjectDoesNotExist, Http404):
        allowed = False
    except DatabaseError as error:
        raise _failed(channel.has_permission, error, DATABASE_FAILED) from error
    except Exception as error:
        raise _failed(channel.has_permission, error, PERMISSION_FAILED) from error
    if allowed is not True:
        raise _refused(channel, user)
    return str(instance.pk)


async def _call(workers: Workers, function: Any, *args: Any, **kwargs: Any) -> Any:
    if inspect.iscoroutinefunction(function):
        try:
            return await function(*args, **kwargs)
        except (OperationalError, InterfaceError):
            # Its queries run in the thread of sync_to_async, whose dead connection nobody else on a socket closes
            await sync_to_async(close_old_connections)()
            return await function(*args, **kwargs)
    result = await workers.run(lambda: function(*args, **kwargs))
    return await result if inspect.isawaitable(result) else result


def _failed(function: Any, error: Exception, told: tuple[ErrorCode, str]) -> ChannelError:
    logger.error("%s() failed.", function.__qualname__, exc_info=error)
    return ChannelError(*told)


def _refused(channel: StateChannel, user: Any) -> ChannelError:
    if not getattr(user, "is_authenticated", False):
        return ChannelError(
            ErrorCode.UNAUTHENTICATED, f"Log in to open {channel.graphql_name}, if you may see it."
        )
    return not_found(channel.graphql_name)
