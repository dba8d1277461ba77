"""graphql-transport-ws: the one WebSocket protocol that is spoken here (docs/protocol.md).

Strawberry's handler runs ordinary operations. A channel's subscription takes a shorter way: the hub hands over payloads
that are encoded already, for all of an audience once, and a frame is the operation's id around one of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any, Final, cast

from channels.auth import get_user
from channels.db import aclose_old_connections, database_sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import Error as DatabaseError
from graphql import GraphQLError
from strawberry.channels import GraphQLWSConsumer
from strawberry.http.async_base_view import AsyncWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
    Operation,
)
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.unset import UNSET, UnsetType

from rxgraphql import auth, messages, origins
from rxgraphql.asgi import SEND
from rxgraphql.codes import CloseCode
from rxgraphql.conf import settings
from rxgraphql.errors import ChannelError, ErrorCode, RefusedError
from rxgraphql.execution import public_error
from rxgraphql.hub import get_hub
from rxgraphql.schema import PreparedError, Schema
from rxgraphql.viewer import Viewer
from rxgraphql.workers import workers

__all__ = ["Consumer", "Handler"]

logger = logging.getLogger("rxgraphql.protocol")

Message = dict[str, Any]
# A close frame has room for 123 bytes of reason.
REASON_LIMIT: Final = 123
# Seconds that a client gets to take the close frame after it has taken nothing else
ABANDON_SECONDS: Final = 5.0


class ClosedError(Exception):
    """The socket must be closed with a code of ours."""

    def __init__(self, code: CloseCode, reason: str = "") -> None:
        self.code = code
        self.reason = reason or code.reason
        super().__init__(self.reason)


class ForeignOriginError(Exception):
    """The page's origin may not connect."""


class Adapter(AsyncWebSocketAdapter):
    """The frames of one socket, taken from the server as they are wanted: a client that floods has to wait."""

    def __init__(self, view: Consumer, request: Consumer, response: Consumer) -> None:
        super().__init__(view)
        self.consumer = response
        self.closed = False

    async def iter_json(
        self, *, ignore_parsing_errors: bool = False
    ) -> AsyncGenerator[object, None]:
        while not self.closed:
            event = await self.consumer.base_receive()
            if event["type"] == "websocket.disconnect":
                return
            yield self._decoded(event.get("text"))

    def _decoded(self, text: str | None) -> Any:
        if text is None:
            raise ClosedError(CloseCode.BAD_REQUEST, "A message must be text, not binary")
        # uvicorn refuses such a message by itself, other servers may have no limit
        limit = settings.RX_MAX_MESSAGE_SIZE
        if len(text) * 4 > limit and len(text.encode()) > limit:
            raise ClosedError(CloseCode.MESSAGE_TOO_BIG)
        try:
            return messages.decode(text)
        except ValueError:
            raise ClosedError(CloseCode.BAD_REQUEST, "A message must be JSON") from None

    async def send_json(self, message: Mapping[str, object]) -> None:
        await self.send_text(messages.encode(message).decode())

    async def send_text(self, text: str) -> None:
        """Waits while the client doesn't read. Raises WebSocketDisconnected when nobody will."""
        if self.closed:
            raise WebSocketDisconnected
        try:
            await self.consumer.base_send({"type": "websocket.send", "text": text})
        except OSError:
            self.closed = True
            raise WebSocketDisconnected from None

    async def abandon(self, code: CloseCode, reason: str) -> None:
        """Closes the socket of a client that doesn't read, and breaks it if the close frame isn't taken either."""
        try:
            async with asyncio.timeout(ABANDON_SECONDS):
                await self.close(code, reason)
        except TimeoutError:
            # uvicorn's own object: it would wait for the client to read, for as long as that one lives
            server = getattr(self.consumer.base_send, "__self__", None)
            transport = getattr(server, "transport", None)
            if transport is not None:
                transport.abort()

    async def close(self, code: int, reason: str = "") -> None:
        if self.closed:
            return
        self.closed = True
        reason = reason.encode()[:REASON_LIMIT].decode(errors="ignore")
        message = {"type": "websocket.close", "code": int(code), "reason": reason}
        with suppress(OSError):
            await self.consumer.base_send(message)


class Subscribed(Operation[Any, Any]):
    """One operation of a socket, from `subscribe` to `complete`."""

    handler: Handler

    async def send_operation_message(self, message: Any) -> None:
        if self.completed:
            return
        if message["type"] in ("complete", "error"):
            self.completed = True
            # before the message goes, since the client may use the id again as soon as it sees it
            self.handler.forget(self)
        await self.handler.send_message(message)

    async def send_initial_errors(self, errors: list[GraphQLError]) -> None:
        await self.send_operation_message(
            {"id": self.id, "type": "error", "payload": messages.formatted(errors)}
        )

    async def send_next(self, execution_result: ExecutionResult) -> None:
        payload: dict[str, Any] = {"data": execution_result.data}
        if execution_result.errors:
            payload["errors"] = messages.formatted(execution_result.errors)
        if execution_result.extensions:
            payload["extensions"] = execution_result.extensions
        await self.send_operation_message({"id": self.id, "type": "next", "payload": payload})


class Handler(BaseGraphQLTransportWSHandler[Any, Any]):
    """The protocol's state of one socket. Whatever happens, the socket gets an answer or a close code."""

    websocket: Adapter
    view: Consumer
    # Off, every operation runs through Strawberry alone: tests compare both ways.
    fast: bool = True
    _closing: asyncio.Task[None] | None = None
    _inspection: asyncio.TimerHandle | None = None
    # nobody is at the other end any more
    _over = False

    async def handle(self) -> None:
        self.on_request_accepted()
        try:
            async for message in self.websocket.iter_json():
                await self.handle_message(messages.check(message))
        except WebSocketDisconnected:
            pass
        except ClosedError as closed:
            await self.websocket.close(closed.code, closed.reason)
        except messages.InvalidMessageError as invalid:
            await self.websocket.close(CloseCode.BAD_REQUEST, str(invalid))
        except Exception:
            logger.exception("A socket failed.")
            code = CloseCode.INTERNAL_SERVER_ERROR
            await self.websocket.close(code, code.reason)
        finally:
            self._over = True
            if self._inspection is not None:
                self._inspection.cancel()
            await self.shutdown()

    async def handle_message(self, message: Any) -> None:
        match message["type"]:
            case "connection_init":
                await self.handle_connection_init(message)
            case "ping":
                await self.handle_ping(message)
            case "subscribe":
                await self.handle_subscribe(message)
            case "complete":
                await self.handle_complete(message)

    async def handle_connection_init(self, message: Any) -> None:
        if self.connection_init_received:
            raise ClosedError(CloseCode.TOO_MANY_INITIALISATION_REQUESTS)
        # Strawberry takes an object only
        message = {**message, "payload": message.get("payload") or {}}
        try:
            await super().handle_connection_init(message)
        except RefusedError as refused:
            raise ClosedError(CloseCode.FORBIDDEN, str(refused)) from None
        except DatabaseError:
            logger.exception("The database failed while a socket was opened.")
            raise ClosedError(CloseCode.TRY_AGAIN_LATER) from None
        self._inspect_later()

    def _inspect_later(self) -> None:
        if (seconds := settings.RX_RECHECK) and not self._over:
            self._inspection = asyncio.get_running_loop().call_later(
                seconds * (0.75 + random.random() / 2),
                lambda: self._hold(asyncio.create_task(self._inspect())),
            )

    async def _inspect(self) -> None:
        """Closes the socket of who is nobody any more, also where nothing is subscribed to."""
        since = time.monotonic() - settings.RX_RECHECK / 2
        try:
            self.view.scope["user"] = await workers.run(self.view.rxgraphql_viewer.look, since)
        except RefusedError as refused:
            await self.websocket.abandon(CloseCode.FORBIDDEN, str(refused))
            return
        except Exception:
            logger.exception("It can't be told whether a socket's credentials still hold.")
        self._inspect_later()

    def _hold(self, task: asyncio.Task[None]) -> None:
        """The event loop alone would forget it."""
        self._closing = task

    async def handle_ping(self, message: Any) -> None:
        pong = {"type": "pong"}
        if message.get("payload"):
            pong["payload"] = message["payload"]
        await self.send_message(pong)  # type: ignore[arg-type]

    async def handle_subscribe(self, message: Any) -> None:
        if not self.connection_acknowledged:
            raise ClosedError(CloseCode.UNAUTHORIZED)
        payload = message["payload"]
        operation = Subscribed(
            self,
            message["id"],
            payload["query"],
            payload.get("variables"),
            payload.get("operationName"),
        )
        if operation.id in self.operations:
            raise ClosedError(CloseCode.SUBSCRIBER_ALREADY_EXISTS)
        if refusal := self._refusal(operation):
            await self.send_message(
                {"id": operation.id, "type": "error", "payload": messages.formatted([refusal])}
            )
            return
        operation.task = asyncio.create_task(self.run_operation(operation))
        operation.task.add_done_callback(self._task_done)
        self.operations[operation.id] = operation

    def _refusal(self, operation: Subscribed) -> GraphQLError | None:
        limit, variables = self.max_subscriptions_per_connection, cast(Any, operation.variables)
        if limit is not None and len(self.operations) >= limit:
            return messages.error(
                ErrorCode.LIMIT_EXCEEDED, f"A socket may have {limit} operations at one time."
            )
        if not isinstance(variables, dict | None):
            return messages.error(ErrorCode.BAD_USER_INPUT, "The variables must be an object.")
        return None

    async def run_operation(self, operation: Any) -> None:
        try:
            if not (self.fast and await self._run_channel(operation)):
                await aclose_old_connections()
                await self._run_plain(operation)
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
        except WebSocketDisconnected:
            pass
        except ClosedError as closed:
            await self.websocket.abandon(closed.code, closed.reason)
        except Exception:
            logger.exception("An operation failed.")
            await operation.send_initial_errors(
                [messages.error(ErrorCode.INTERNAL, "The operation failed.")]
            )
        finally:
            self.forget(operation)

    async def _run_plain(self, operation: Subscribed) -> None:
        results = await self.schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=self.context,
            root_value=self.root_value,
            operation_name=operation.operation_name,
        )
        async with aclosing(results):
            await self._send_result_stream(operation, results)

    async def _send_result_stream(self, operation: Any, result_source: Any) -> None:
        async for result in result_source:
            if not isinstance(result, ExecutionResult):
                await self._reject_incremental_delivery(operation)
                return
            if isinstance(result, PreExecutionError) or _refused(result):
                await operation.send_initial_errors(result.errors or [])
                return
            await operation.send_next(result)

    async def _run_channel(self, operation: Subscribed) -> bool:
        """Serves the operation if it is a channel's subscription; False when it isn't one."""
        if not isinstance(self.schema, Schema):
            return False
        prepared = self.schema.prepare(
            operation.query, operation.variables, operation.operation_name
        )
        if isinstance(prepared, PreparedError):
            await operation.send_initial_errors(prepared.errors)
            return True
        if prepared.channel is None or prepared.projection is None:
            return False
        hub = get_hub()
        head = f'{{"id":{json.dumps(operation.id)},"type":"next","payload":'
        try:
            subscriber = await hub.subscribe(
                prepared.channel,
                prepared.arguments,
                prepared.projection,
                prepared.audience_key,
                self.view.rxgraphql_viewer,
                prepared.after,
                self._close_slow,
            )
            async with aclosing(subscriber):
                async for payload in subscriber:
                    await self.websocket.send_text(f"{head}{payload.body.decode()}}}")
        except RefusedError as refused:
            raise ClosedError(CloseCode.FORBIDDEN, str(refused)) from None
        except ChannelError as error:
            if hub.stopped:
                # It was stopped. An `error` would end the operation for good, and this the client can retry.
                raise ClosedError(CloseCode.SERVICE_RESTART) from None
            await operation.send_initial_errors([public_error(error)])
        return True

    def _close_slow(self) -> None:
        """The client doesn't read: a message to it would wait behind those that it hasn't read."""
        self._hold(
            asyncio.create_task(
                self.websocket.abandon(CloseCode.TRY_AGAIN_LATER, "Reads too slowly")
            )
        )

    def forget(self, operation: Subscribed) -> None:
        """Makes the operation's id free, unless another one has taken it over already."""
        if self.operations.get(operation.id) is operation:
            del self.operations[operation.id]


def _refused(result: ExecutionResult) -> bool:
    """Whether nothing was executed, for example since a variable has a wrong value: then no error has a path."""
    return result.data is None and all(error.path is None for error in result.errors or ())


class Consumer(GraphQLWSConsumer[Any, Any]):
    """One socket, as an ASGI application behind Channels' session middleware.

    It reads from the server itself. Channels' own loop would have a task and an unbounded queue for each socket, and
    with a channel layer configured a Redis subscription too.
    """

    graphql_transport_ws_handler_class = Handler
    websocket_adapter_class: Any = Adapter
    # under the name that an HttpRequest of ours has it
    rxgraphql_viewer: Viewer

    def __init__(self, schema: Any) -> None:
        super().__init__(
            schema=schema,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=settings.RX_CONNECTION_INIT_TIMEOUT),
            max_subscriptions_per_connection=settings.RX_MAX_SUBSCRIPTIONS,
        )

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self.scope = scope
        # Channels' session middleware wraps `send`, for cookies that a socket can't set.
        self.base_send = scope.get(SEND, send)
        self.base_receive = receive
        self.headers = origins.headers_of(scope["headers"])
        await receive()  # websocket.connect
        with suppress(OSError):  # the client may go away during the handshake
            if not origins.host_allowed(self.headers):
                logger.warning(
                    "A WebSocket for the host %r was refused: ALLOWED_HOSTS doesn't have it.",
                    self.headers.get("host", ""),
                )
                await self.reject_websocket(self)
                return
            try:
                await self.run(self)
            except ForeignOriginError:
                await self._refuse_origin()

    async def on_ws_connect(self, context: Any) -> UnsetType:
        token = auth.params_token(context["connection_params"])
        token = token or auth.header_token(self.headers.get("authorization", ""))
        if token:
            # cookies don't count beside a token, as with DRF over HTTP
            self.rxgraphql_viewer = await database_sync_to_async(auth.token_viewer)(token)
        elif "origin" in self.headers:
            user = await get_user(self.scope)
            user = user if user.is_active else AnonymousUser()
            self.rxgraphql_viewer = auth.session_viewer(user, self.scope.get("session"))
        else:
            raise RefusedError(
                403, ErrorCode.PERMISSION_ERROR, "Without an Origin header a token is needed."
            )
        # where code that knows Channels looks
        self.scope["user"] = self.user
        return cast(UnsetType, UNSET)

    def is_websocket_origin_allowed(self, request: Any, origin: str) -> bool:
        if not origins.permitted(origin, self.headers):
            raise ForeignOriginError
        return True

    async def _refuse_origin(self) -> None:
        """Tells the page's developer why: a browser shows a handshake that was answered with 403 to nobody.

        Nothing was read from the socket, and nobody looked at its cookies.
        """
        logger.warning(
            "A WebSocket of a page from %r to the host %r was refused. If it is yours, add the origin to "
            "RX_ALLOWED_ORIGINS; behind a proxy, see that it hands on the Host header.",
            self.headers.get("origin", ""),
            self.headers.get("host", ""),
        )
        if GRAPHQL_TRANSPORT_WS_PROTOCOL not in self.scope.get("subprotocols", ()):
            await self.reject_websocket(self)
            return
        await self.base_send(
            {"type": "websocket.accept", "subprotocol": GRAPHQL_TRANSPORT_WS_PROTOCOL}
        )
        code = CloseCode.POLICY_VIOLATION
        await self.base_send({"type": "websocket.close", "code": int(code), "reason": code.reason})

    @property
    def user(self) -> Any:
        """Who opened the socket, under the name that an HttpRequest has."""
        return self.rxgraphql_viewer.user
