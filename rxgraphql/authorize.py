"""Who may open a channel, and may still have it open: finds the anchor's row and asks the channel. Every way to the
state goes through here.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
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
from django.db.models import Model
from django.http import Http404

from rxgraphql.errors import ChannelError, ErrorCode, RefusedError, not_found

if TYPE_CHECKING:
    from rxgraphql.channel import StateChannel
    from rxgraphql.viewer import Viewer
    from rxgraphql.workers import Workers

logger = logging.getLogger("rxgraphql.authorize")

# Viewers for whom a thread asks before others get their turn
AT_ONCE = 100

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
    answer = await _outcome(_call(workers, channel.has_permission, user, instance))
    if (refusal := _judged(channel, user, answer)) is not None:
        raise refusal
    return str(instance.pk)


def is_unknown(verdict: ChannelError | RefusedError | None) -> bool:
    """Whether it says neither yes nor no: the database didn't answer."""
    return verdict is not None and verdict.code is ErrorCode.DATABASE_ERROR


async def authorized_again(
    channel: StateChannel, pk: str, since: Mapping[Viewer, float], workers: Workers
) -> AsyncIterator[tuple[Viewer, ChannelError | RefusedError | None]]:
    """Each viewer with the reason why it may not see the row any more, or None; of nobody if the row is gone.

    `since`, of time.monotonic(), says how old an answer of the viewer's credentials may be. A reason that
    `is_unknown()` is none. Raises ChannelError when it can't be told of anybody for now.
    """
    try:
        instance, is_gone = await workers.run(_row, channel, pk)
    except DatabaseError as error:
        raise _failed(channel.get_queryset, error, DATABASE_FAILED) from error
    except Exception as error:
        raise _failed(channel.get_queryset, error, LOOKUP_FAILED) from error
    if is_gone:
        return
    # by user: the same one may watch from several places
    known: dict[Any, ChannelError | None] = {}
    viewers = list(since)
    for start in range(0, len(viewers), AT_ONCE):
        users, verdicts = await _users(viewers[start : start + AT_ONCE], since, channel, workers)
        new = {key: user for key, user in map(_named, users.values()) if key not in known}
        if instance is None:
            known |= {key: _refused(channel, user) for key, user in new.items()}
        else:
            answers = await _answers(channel, list(new.values()), instance, workers)
            for (key, user), answer in zip(new.items(), answers, strict=True):
                known[key] = _judged(channel, user, answer)
        for viewer, user in users.items():
            yield viewer, known[_named(user)[0]]
        for viewer, verdict in verdicts.items():
            yield viewer, verdict


def _row(channel: StateChannel, pk: str) -> tuple[Any, bool]:
    """The row as the channel's query set has it, and whether there is none at all."""
    queryset = channel.get_queryset()
    found = queryset.filter(pk=pk).first()
    if found is not None:
        return found, False
    return None, not queryset.model._base_manager.using(queryset.db).filter(pk=pk).exists()


async def _users(
    viewers: Sequence[Viewer],
    since: Mapping[Viewer, float],
    channel: StateChannel,
    workers: Workers,
) -> tuple[dict[Viewer, Any], dict[Viewer, ChannelError | RefusedError]]:
    """The users as they are now, and the reasons why some are nobody any more."""
    users: dict[Viewer, Any] = {}
    verdicts: dict[Viewer, ChannelError | RefusedError] = {}
    looks = [partial(viewer.look, since[viewer]) for viewer in viewers]
    for viewer, found in zip(viewers, await _call_all(looks, workers), strict=True):
        if isinstance(found, RefusedError):
            verdicts[viewer] = found
        elif isinstance(found, DatabaseError):
            verdicts[viewer] = _failed(viewer.look, found, DATABASE_FAILED)
        elif isinstance(found, Exception):
            verdicts[viewer] = _failed(viewer.look, found, PERMISSION_FAILED)
        else:
            users[viewer] = found
    return users, verdicts


def _named(user: Any) -> tuple[Any, Any]:
    """The user behind a key that equal users share. Who isn't Django's is equal to nobody."""
    from django.contrib.auth.models import AnonymousUser  # needs the apps to be ready

    if isinstance(user, AnonymousUser):
        return None, user
    if isinstance(user, Model) and not user._state.adding:
        return (user.__class__, user.pk), user
    return id(user), user


async def _answers(
    channel: StateChannel, users: Sequence[Any], instance: Any, workers: Workers
) -> list[Any]:
    """What has_permission() says of each user, or raises."""
    ask = channel.has_permission
    given: Sequence[Any]
    if inspect.iscoroutinefunction(ask):
        given = [_call(workers, ask, user, instance) for user in users]
    else:
        given = await _call_all([partial(ask, user, instance) for user in users], workers)
    return [await _outcome(answer) if inspect.isawaitable(answer) else answer for answer in given]


async def _call_all(functions: Sequence[Callable[[], Any]], workers: Workers) -> list[Any]:
    """What each gives or raises, all in one thread."""
    try:
        return await workers.run(_call_each, functions)
    except (OperationalError, InterfaceError):
        # of one of them, and not for a dead connection, after which the worker would have begun again
        return [await _outcome(workers.run(function)) for function in functions]


def _call_each(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    outcomes: list[Any] = []
    for function in functions:
        try:
            outcomes.append(function())
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            outcomes.append(error)
    return outcomes


async def _outcome(awaitable: Awaitable[Any]) -> Any:
    """What it gives or raises."""
    try:
        return await awaitable
    except Exception as error:
        return error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # of a task of its own
        return RuntimeError(f"It was cancelled: {error!r}")


def _judged(channel: StateChannel, user: Any, answer: Any) -> ChannelError | None:
    """Why the user may not see it, if so, or why that is unknown."""
    if answer is True:
        return None
    if isinstance(answer, DatabaseError):
        return _failed(channel.has_permission, answer, DATABASE_FAILED)
    denied = (PermissionDenied, ObjectDoesNotExist, Http404)
    if isinstance(answer, Exception) and not isinstance(answer, denied):
        return _failed(channel.has_permission, answer, PERMISSION_FAILED)
    return _refused(channel, user)


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
