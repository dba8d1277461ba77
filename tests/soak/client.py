"""A socket of graphql-transport-ws, and what is asked of it."""

from __future__ import annotations

import asyncio
import struct
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Origin, Subprotocol

from tests.chat.channels import RoomChannel
from tests.folding import document, nested_document
from tests.services import Uvicorn

# Seconds for a handshake and its acknowledgement, and for an answer to a subscription
PATIENCE = 15.0
# What a lost connection raises
LOST = (OSError, WebSocketException, TimeoutError)

DOCUMENT = (
    document(RoomChannel)
    .replace("$key: String!", "$key: String!, $after: String")
    .replace("name: $key", "name: $key, after: $after")
)
NESTED = nested_document(RoomChannel)


class Socket:
    """An acknowledged connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    @classmethod
    async def open(cls, server: Uvicorn) -> Socket:
        """Raises one of LOST."""
        async with asyncio.timeout(PATIENCE):
            connection = await connect(
                f"{server.ws_url}/graphql/",
                origin=Origin(server.url),
                subprotocols=[Subprotocol("graphql-transport-ws")],
                compression=None,
                max_size=None,
                ping_interval=None,
                close_timeout=2,
                proxy=None,
            )
            try:
                made = cls(connection)
                await made.send({"type": "connection_init"})
                answer = await made.receive()
                assert answer == {"type": "connection_ack"}, answer
            except BaseException:
                connection.transport.abort()
                raise
        return made

    async def send(self, message: dict[str, Any]) -> None:
        await self.connection.send(orjson.dumps(message).decode())

    async def receive(self) -> dict[str, Any]:
        """The next message that isn't a ping."""
        while True:
            message: dict[str, Any] = orjson.loads(await self.connection.recv())
            if message["type"] != "ping":
                return message

    async def subscribe(
        self, name: str, after: str | None = None, operation: str = "1", query: str = DOCUMENT
    ) -> None:
        variables = {"key": name, **({} if after is None else {"after": after})}
        payload = {"query": query, "variables": variables}
        await self.send({"id": operation, "type": "subscribe", "payload": payload})

    async def complete(self, operation: str = "1") -> None:
        await self.send({"id": operation, "type": "complete"})

    def abort(self) -> None:
        """The connection is reset: nobody says goodbye."""
        transport = self.connection.transport
        if (sock := transport.get_extra_info("socket")) is not None and sock.fileno() >= 0:
            sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def close(self) -> None:
        await self.connection.close()


def codes(message: dict[str, Any]) -> list[str]:
    """Of an `error` message, or of the errors in an event."""
    payload = message["payload"]
    errors = payload if isinstance(payload, list) else payload.get("errors") or []
    return [error.get("extensions", {}).get("code", "none") for error in errors]
