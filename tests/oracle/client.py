"""A subscriber: joins, lags, leaves, drops and resumes, at any worker, and keeps all that it is told."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Origin, Subprotocol

from tests.oracle.checker import Told
from tests.oracle.state import DOCUMENT, State
from tests.services import Uvicorn

# Seconds for which a client waits for a handshake and for its acknowledgement: a frozen worker gives none.
PATIENCE = 6.0


class Slot:
    """A serving process, or the place where one is started again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.server: Uvicorn | None = None
        self.logs: list[str] = []

    @property
    def log(self) -> str:
        return "".join([*self.logs, self.server.log if self.server is not None else ""])


class Client:
    """One reader of one board, over its whole life."""

    def __init__(
        self, name: str, board: int, slots: list[Slot], seed: int, clock: Callable[[], float]
    ) -> None:
        self.name = name
        self.board = board
        self.root = f"Board:{board}"
        self.slots = slots
        self.rng = random.Random(f"{seed} {name}")
        self.clock = clock
        self.history: list[Told] = []
        self.errors: list[tuple[float, str]] = []
        self.state = State()
        self.cursor: str | None = None
        self.counts: Counter[str] = Counter()
        # true: nobody leaves or lags any more
        self.settling = False
        self.finished = False
        # the first of a board's clients stays from the beginning to the end
        self.steady = name.endswith("-0")
        self.joins_after = 0.0 if self.steady else self.rng.uniform(0, 6)
        self._connections = 0

    async def run(self) -> None:
        await asyncio.sleep(self.joins_after)
        while not self.finished:
            slot = self.rng.choice(self.slots)
            if slot.server is None:
                await asyncio.sleep(0.05)
                continue
            try:
                await self.session(slot, slot.server)
            except (OSError, WebSocketException, TimeoutError) as error:
                self.counts["connections lost"] += 1
                self.counts[type(error).__name__] += 1
            if not self.finished:
                await asyncio.sleep(0.1 if self.settling else self.rng.choice((0.05, 0.3, 1.5)))

    async def session(self, slot: Slot, server: Uvicorn) -> None:
        receiving = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # small, so that a client that doesn't read is soon felt
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiving.setblocking(False)
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_connect(receiving, (server.host, server.port))
                connection = await connect(
                    f"{server.ws_url}/graphql/",
                    sock=receiving,
                    origin=Origin(server.url),
                    subprotocols=[Subprotocol("graphql-transport-ws")],
                    max_size=None,
                    max_queue=1,
                    compression=None,
                    ping_interval=None,
                    close_timeout=1,
                )
        except BaseException:
            receiving.close()
            raise
        self._connections += 1
        self.counts["connections"] += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await self.begin(connection)
            await self.read(connection, slot)
        finally:
            connection.transport.abort()

    async def begin(self, connection: ClientConnection) -> None:
        await send(connection, {"type": "connection_init"})
        answer = json.loads(await connection.recv())
        if answer != {"type": "connection_ack"}:
            self.note_error(f"answer to connection_init: {answer}")
        if self.cursor is not None and self.rng.random() < 0.1:
            # as a page that was loaded anew
            self.cursor = None
        if self.cursor is not None:
            self.counts["resumes"] += 1
        payload = {"query": DOCUMENT, "variables": {"id": str(self.board), "after": self.cursor}}
        await send(connection, {"id": "1", "type": "subscribe", "payload": payload})

    async def read(self, connection: ClientConnection, slot: Slot) -> None:
        """Reads until it is time to leave, the connection ends or the subscription does."""
        until = self.clock() + self.rng.choice((0.5, 2.0, 5.0, 10.0))
        is_first = True
        while not self.finished:
            if not (self.settling or self.steady) and self.clock() > until:
                await self.leave(connection)
                return
            try:
                async with asyncio.timeout(0.25):
                    message = json.loads(await connection.recv())
            except TimeoutError:
                continue
            if message["type"] != "next":
                if message["type"] != "ping":
                    self.note_error(json.dumps(message))
                    return
                continue
            payload = message["payload"]
            if payload.get("errors"):
                self.note_error(json.dumps(payload["errors"]))
            self.take(payload["data"]["board"], slot, is_first)
            is_first = False
            if not self.settling and self.rng.random() < 0.02:
                self.counts["lags"] += 1
                await asyncio.sleep(self.rng.choice((0.3, 1.0, 2.5)))

    def take(self, event: dict[str, Any], slot: Slot, is_first: bool) -> None:
        if is_first and self.cursor is not None:
            how = "with a snapshot" if event["kind"] == "SNAPSHOT" else "without a snapshot"
            self.counts[f"resumes {how}"] += 1
        elif not is_first and event["kind"] == "SNAPSHOT":
            self.counts["snapshots in between"] += 1
        self.counts["snapshots" if event["kind"] == "SNAPSHOT" else "changes"] += 1
        self.history.append(Told(event, self._connections, slot.name, self.clock()))
        self.state.fold(event)
        self.cursor = event["cursor"]

    async def leave(self, connection: ClientConnection) -> None:
        if self.rng.random() < 0.5:
            self.counts["drops"] += 1
            connection.transport.abort()
            return
        self.counts["leaves"] += 1
        with suppress(WebSocketException):
            await send(connection, {"id": "1", "type": "complete"})
            await connection.close()

    def note_error(self, text: str) -> None:
        self.errors.append((self.clock(), text))

    def held(self) -> dict[str, Any] | None:
        """The nested state; None while something of it is missing."""
        try:
            return self.state.tree(self.root)
        except KeyError:
            return None


async def send(connection: ClientConnection, message: dict[str, Any]) -> None:
    await connection.send(json.dumps(message))
