"""The npm client graphql-ws in a Node process, driven from a test: what a browser's page would hold."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async

from rxgraphql import StateChannel
from tests.folding import Folded, document, expected
from tests.services import ROOT, Uvicorn

# Seconds after which a test gives up on an answer, and the client on the test.
PATIENCE = 20.0
LIFETIME = 300


class Operation:
    """One operation over a socket of its own, and what came for it."""

    def __init__(self, client: Client, id: str) -> None:  # noqa: A002
        self.client = client
        self.id = id
        # the server's headers at the handshake
        self.opened: dict[str, str] = {}
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def take(self, answer: dict[str, Any]) -> None:
        if "opened" in answer:
            self.opened = answer["opened"]
        else:
            self._answers.put_nowait(answer)

    async def answer(self) -> dict[str, Any]:
        """What comes next: {"next": payload}, {"error": ...} or {"complete": True}."""
        async with asyncio.timeout(PATIENCE):
            answer = await self._answers.get()
        return {name: value for name, value in answer.items() if name != "id"}

    async def next(self) -> dict[str, Any]:
        """The next payload."""
        answer = await self.answer()
        assert "next" in answer, answer
        payload: dict[str, Any] = answer["next"]
        return payload

    async def end(self) -> None:
        await self.client.write({"id": self.id})
        assert await self.answer() == {"complete": True}


class Client:
    """The Node process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._operations: dict[str, Operation] = {}
        self._ids = itertools.count(1)

    async def begin(self, query: str, **variables: Any) -> Operation:
        operation = Operation(self, str(next(self._ids)))
        self._operations[operation.id] = operation
        await self.write({"id": operation.id, "query": query, "variables": variables})
        return operation

    async def watch(self, channel: type[StateChannel], key: Any, pk: Any) -> SocketWatcher:
        """Subscribes to all of the channel; returns with the snapshot."""
        watcher = SocketWatcher(await self.begin(document(channel), key=str(key)), channel, pk)
        await watcher.next()
        return watcher

    async def write(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        await self._process.stdin.drain()

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            answer = json.loads(line)
            self._operations[answer["id"]].take(answer)


@contextlib.asynccontextmanager
async def node_client(server: Uvicorn) -> AsyncIterator[Client]:
    """A client of the server, as pages of the server's own origin would run it."""
    process = await asyncio.create_subprocess_exec(
        *("node", ROOT / "tests" / "client" / "watch.mjs"),
        *(f"{server.ws_url}/graphql/", server.url, str(LIFETIME)),
        stdin=PIPE,
        stdout=PIPE,
        limit=2**26,
    )
    client = Client(process)
    reading = asyncio.create_task(client.read())
    try:
        yield client
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            await process.wait()
            await reading


class SocketWatcher:
    """A page that holds a channel's state, folded from the payloads that came."""

    def __init__(self, operation: Operation, channel: type[StateChannel], pk: Any) -> None:
        self.operation = operation
        self.channel = channel
        self.pk = pk
        self.folded = Folded(channel)

    async def next(self) -> dict[str, Any]:
        """The next event, folded."""
        payload = await self.operation.next()
        assert "errors" not in payload, payload["errors"]
        self.folded.fold(payload["data"])
        (event,) = payload["data"].values()
        found: dict[str, Any] = event
        return found

    def state(self) -> dict[str, Any]:
        root = self.channel.tree.root
        key = root.key(str(self.pk))
        assert set(self.folded.nodes) == self.folded.reachable(root, key)
        return self.folded.tree(root, key)

    async def expected(self) -> dict[str, Any]:
        """The serializer's own output, as it is now."""
        return await sync_to_async(expected)(self.channel, self.pk)

    async def converge(self) -> None:
        """Takes events until the state equals the serializer's output."""
        wanted = await self.expected()
        while self.state() != wanted:
            await self.next()
