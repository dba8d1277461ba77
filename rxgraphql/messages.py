"""Messages as they go over the wire, HTTP and WebSocket alike: JSON in and out, and errors as clients see them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.core.serializers.json import DjangoJSONEncoder
from graphql import GraphQLError, GraphQLFormattedError, GraphQLSyntaxError

from rxgraphql.errors import ChannelError, ErrorCode

__all__ = ["InvalidMessageError", "check", "decode", "encode", "error", "formatted"]


class InvalidMessageError(Exception):
    """A message that the graphql-transport-ws protocol does not know."""


def decode(text: str | bytes) -> Any:
    """The JSON value; raises json.JSONDecodeError.

    Stricter than Python's own, which takes NaN, half surrogates and any depth.
    """
    return orjson.loads(text)


def encode(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # A scalar of the project's own, or an integer beyond 64 bits.
        return json.dumps(value, cls=DjangoJSONEncoder, separators=(",", ":")).encode()


def error(code: ErrorCode, message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": str(code)})


def formatted(errors: Sequence[GraphQLError]) -> list[GraphQLFormattedError]:
    """The errors as GraphQL prescribes, each with a code in its extensions."""
    return [_formatted(item) for item in errors]


def _formatted(item: GraphQLError) -> GraphQLFormattedError:
    result = item.formatted
    extensions = result.get("extensions") or {}
    if "code" not in extensions:
        result["extensions"] = {**extensions, "code": str(_code(item))}
    return result


def _code(item: GraphQLError) -> ErrorCode:
    if isinstance(item.original_error, ChannelError):
        return item.original_error.code
    if isinstance(item, GraphQLSyntaxError):
        return ErrorCode.GRAPHQL_PARSE_FAILED
    # An error that has a path came from a resolver.
    return ErrorCode.INTERNAL if item.path else ErrorCode.BAD_USER_INPUT


def check(message: Any) -> dict[str, Any]:
    """A message of the client that has the protocol's shape. Raises InvalidMessageError, which says what is wrong."""
    if not isinstance(message, dict):
        raise InvalidMessageError("A message must be a JSON object")
    kind = message.get("type")
    match kind:
        case "connection_init" | "ping" | "pong":
            if not isinstance(message.get("payload"), Mapping | None):
                raise InvalidMessageError(f"The payload of {kind} must be an object")
        case "subscribe":
            _check_id(message)
            _check_operation(message.get("payload"))
        case "complete":
            _check_id(message)
        case str():
            # not repeated in the reason, which must fit in a frame of 125 bytes
            raise InvalidMessageError("Unknown message type")
        case _:
            raise InvalidMessageError("A message must have a type")
    return message


def _check_id(message: dict[str, Any]) -> None:
    if not isinstance(message.get("id"), str) or not message["id"]:
        raise InvalidMessageError(f"The id of {message['type']} must be a text")


def _check_operation(payload: Any) -> None:
    if not isinstance(payload, dict):
        raise InvalidMessageError("The payload of subscribe must be an object")
    if not isinstance(payload.get("query"), str):
        raise InvalidMessageError("The query of subscribe must be a text")
    if not isinstance(payload.get("operationName"), str | None):
        raise InvalidMessageError("The operationName of subscribe must be a text")
