"""Who may open a channel, and may still have it open: finds the anchor's row and asks the channel. Every way to the
state goes through here.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
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
    try:
        answer: Any = await _call(workers, channel.has_permission, user, instance)
    except Exception as error:
        answer = error
    if (refusal := _judged(channel, user, answer)) is not None:
        raise refusal
    return str(instance.pk)


async def authorized_again(
    channel: StateChannel, pk: str, since: Mapping[Viewer, float], workers: Workers
) -> AsyncIterator[tuple[Viewer, ChannelError | RefusedError | None]]:
    """Each viewer with the reason why it may not see the row any more, or None; of nobody if the row is gone.

    `since`, of time.monotonic(), says how old an answer of the viewer's credentials may be. Raises ChannelError when
    it can't be told for now.
    """
    try:
        instance, is_gone = await workers.run(_row, channel, pk)
    except Exception as error:
        raise _failed(channel.get_queryset, error, DATABASE_FAILED) from error
    if is_gone:
        return
    # by user: the same one may watch from several places
    known: dict[Any, ChannelError | None] = {}
    viewers = list(since)
    for start in range(0, len(viewers), AT_ONCE):
        chunk = viewers[start : start + AT_ONCE]
        try:
            users = await workers.run(_users, {viewer: since[viewer] for viewer in chunk})
        except Exception as error:
            raise _failed(channel.has_permission, error, DATABASE_FAILED) from error
        new = {
            _identity(user): user
            for user in users.values()
            if not isinstance(user, RefusedError) and _identity(user) not in known
        }
        if instance is None:
            known |= {key: _refused(channel, user) for key, user in new.items()}
        else:
            answers = await _answers(channel, list(new.values()), instance, workers)
            for (key, user), answer in zip(new.items(), answers, strict=True):
                known[key] = _judged(channel, user, answer)
        for viewer, user in users.items():
            yield viewer, user if isinstance(user, RefusedError) else known[_identity(user)]


def _row(channel: StateChannel, pk: str) -> tuple[Any, bool]:
    """The row as the channel's query set has it, and whether there is none at all."""
    queryset = channel.get_queryset()
    found = queryset.filter(pk=pk).first()
    if found is not None:
        return found, False
    return None, not queryset.model._base_manager.using(queryset.db).filter(pk=pk).exists()


def _users(since: Mapping[Viewer, float]) -> dict[Viewer, Any]:
    """By viewer, the user, or the RefusedError of its credentials."""
    users: dict[Viewer, Any] = {}
    for viewer, when in since.items():
        try:
            users[viewer] = viewer.look(when)
        except RefusedError as refused:
            users[viewer] = refused
    return users


def _identity(user: Any) -> Any:
    if not getattr(user, "is_authenticated", False):
        return None
    pk = getattr(user, "pk", None)
    return id(user) if pk is None else (user.__class__, pk)


async def _answers(
    channel: StateChannel, users: Sequence[Any], instance: Any, workers: Workers
) -> list[Any]:
    """What has_permission() says of each user, or raises."""
    ask = channel.has_permission
    if not inspect.iscoroutinefunction(ask):
        given = await workers.run(_ask_all, ask, users, instance)
    else:
        given = [_call(workers, ask, user, instance) for user in users]
    answers = []
    for answer in given:
        try:
            answers.append(await answer if inspect.isawaitable(answer) else answer)
        except Exception as error:
            answers.append(error)
    return answers


def _ask_all(ask: Any, users: Sequence[Any], instance: Any) -> list[Any]:
    answers: list[Any] = []
    for user in users:
        try:
            answers.append(ask(user, instance))
        except Exception as error:
            answers.append(error)
    return answers


def _judged(channel: StateChannel, user: Any, answer: Any) -> ChannelError | None:
    """Why the user may not see it, if so. Raises ChannelError when the database failed."""
    if answer is True:
        return None
    if isinstance(answer, DatabaseError):
        raise _failed(channel.has_permission, answer, DATABASE_FAILED) from answer
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
