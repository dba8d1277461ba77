"""The close codes of the WebSocket: one table for the code, the tests and docs/protocol.md.

The numbers are those of the graphql-transport-ws protocol, and of RFC 6455 where the protocol has none. What matters is
what clients make of them: `graphql-ws` gives up on 4400, 4401, 4406, 4409, 4429, 4500 and on most of 1xxx, and connects
again after 1012, 1013, 4403 and 4408.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CloseCode"]


class CloseCode(IntEnum):
    """Why the server closes a socket: the `reason` beside the code, and whether a client should `retry`."""

    reason: str
    retry: bool

    def __new__(cls, code: int, reason: str, retry: bool) -> CloseCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        member.retry = retry
        return member

    POLICY_VIOLATION = 1008, "Pages of this origin may not connect: see RX_ALLOWED_ORIGINS", False
    MESSAGE_TOO_BIG = 1009, "Message too big", False
    SERVICE_RESTART = 1012, "Service restart", True
    TRY_AGAIN_LATER = 1013, "Try again later", True
    BAD_REQUEST = 4400, "Bad request", False
    UNAUTHORIZED = 4401, "Unauthorized", False
    # An expired token closes with this one: the client asks for a new token and connects again.
    FORBIDDEN = 4403, "Forbidden", True
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406, "Subprotocol not acceptable", False
    CONNECTION_INIT_TIMEOUT = 4408, "Connection initialisation timeout", True
    SUBSCRIBER_ALREADY_EXISTS = 4409, "Subscriber already exists", False
    TOO_MANY_INITIALISATION_REQUESTS = 4429, "Too many initialisation requests", False
    INTERNAL_SERVER_ERROR = 4500, "Internal server error", False
