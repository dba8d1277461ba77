"""A real uvicorn in the test's own event loop, and a client that speaks graphql-transport-ws to it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

# Seconds after which a test gives up on an answer.
PATIENCE = 20.0


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the test runner's


@dataclass(frozen=True)
class Site:
    """Where the application is served."""

    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/graphql/"

    @contextlib.asynccontextmanager
    async def connect(
        self, *, origin: str | None = "", path: str = "/graphql/", **options: Any
    ) -> AsyncIterator[Client]:
        """A socket from a page of the site itself; `origin=None` sends no Origin header."""
        options.setdefault("subprotocols", [Subprotocol(GRAPHQL_TRANSPORT_WS_PROTOCOL)])
        async with connect(
            f"ws://127.0.0.1:{self.port}{path}",
            origin=self.origin if origin == "" else origin,  # type: ignore[arg-type]
            max_size=None,
            **options,
        ) as connection:
            yield Client(connection)


@contextlib.asynccontextmanager
async def serve(application: Any, **options: Any) -> AsyncIterator[Site]:
    """Serves until the block ends, then shuts down in order."""
    options = {"log_config": None, "ws_per_message_deflate": False, "lifespan": "on", **options}
    server = Server(uvicorn.Config(application, timeout_graceful_shutdown=3, **options))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started:
            if started.done():
                await started
                raise RuntimeError("The server did not start.")
            await asyncio.sleep(0)
        try:
            yield Site(listener.getsockname()[1])
        finally:
            server.should_exit = True
            await started


class Client:
    """One socket. What comes must come within PATIENCE."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._ids = itertools.count(1)

    async def send(self, message: Any) -> None:
        """A frame: text and bytes as they stand, anything else as JSON."""
        await self.connection.send(
            message if isinstance(message, str | bytes) else json.dumps(message)
        )

    async def receive(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self.connection.recv())

    async def init(self, payload: Any = None) -> Client:
        await self.send({"type": "connection_init", "payload": payload})
        assert await self.receive() == {"type": "connection_ack"}
        return self

    async def subscribe(self, query: str, id: str | None = None, **payload: Any) -> str:  # noqa: A002
        key = id or str(next(self._ids))
        await self.send({"id": key, "type": "subscribe", "payload": {"query": query, **payload}})
        return key

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close frame that the server sends next."""
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionClosed) as closed:
                await self.connection.recv()
        frame = closed.value.rcvd
        assert frame is not None, "the connection broke without a close frame"
        return frame.code, frame.reason


def session_cookie(user: User) -> str:
    """The Cookie header of a browser in which the user is logged in."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"
