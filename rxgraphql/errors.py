"""Every error of rxgraphql.

RxError
 ├── ConfigurationError     the project is set up wrong; says all faults at once, each with its fix
 ├── UnsupportedError       a serializer, model or field that can't be streamed (becomes a Fault)
 ├── SharedContextError     a shared serializer asked for one viewer's request or user
 ├── ChannelError           what a client is told: a code and a message
 ├── RefusedError           nobody may ask with these credentials
 └── LogUnavailableError    the Redis server does not answer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "ChannelError",
    "ConfigurationError",
    "ErrorCode",
    "Fault",
    "LogUnavailableError",
    "RefusedError",
    "RxError",
    "SharedContextError",
    "UnsupportedError",
]


class RxError(Exception):
    """The base of all errors that rxgraphql raises."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the project, found before it serves.

    `location` is a dotted name (`chat.channels.ChatRoomChannel`), `message` says what is wrong, `fix` what to
    write instead,
    `id` is the system check's (`rxgraphql.E001`).
    """

    location: str
    message: str
    fix: str
    id: str = "rxgraphql.E001"

    def __str__(self) -> str:
        return f"{self.location}: {self.message} {self.fix}"


class ConfigurationError(RxError):
    """The project can't be served as it is written. `faults` has every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"- {fault}" for fault in self.faults))


class UnsupportedError(RxError):
    """Something in a serializer or model that can't be streamed; `fix` says what would work."""

    def __init__(self, message: str, fix: str) -> None:
        self.message = message
        self.fix = fix
        super().__init__(f"{message} {fix}")


class SharedContextError(RxError):
    """A serializer whose output is shared by all viewers read `request` or `user` from its context."""


class ErrorCode(StrEnum):
    """`extensions.code` of the errors that clients see."""

    BAD_USER_INPUT = "BAD_USER_INPUT"
    DATABASE_ERROR = "DATABASE_ERROR"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    INTERNAL = "INTERNAL"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    PERMISSION_ERROR = "PERMISSION_ERROR"
    STALE_NODE = "STALE_NODE"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    UNAVAILABLE = "UNAVAILABLE"


class ChannelError(RxError):
    """What a client is told when a channel can't be opened or goes on no longer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


def not_found(name: str) -> ChannelError:
    """The same for an instance that is unknown and for one that is forbidden."""
    return ChannelError(ErrorCode.NOT_FOUND, f"{name} was not found, or you may not see it.")


def unavailable() -> ChannelError:
    return ChannelError(
        ErrorCode.UNAVAILABLE, "Live updates are not available right now. Try again shortly."
    )


def database_failed() -> ChannelError:
    return ChannelError(
        ErrorCode.DATABASE_ERROR, "The database could not answer. Try again shortly."
    )


def not_serialized() -> ChannelError:
    return ChannelError(ErrorCode.INTERNAL, "The state can't be shown: its serializer failed.")


class RefusedError(RxError):
    """The request isn't answered: `status` is HTTP's, `code` and the message are what the client sees."""

    def __init__(self, status: int, code: ErrorCode, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message)


class LogUnavailableError(RxError):
    """The Redis server can't be reached or does not answer in time."""
