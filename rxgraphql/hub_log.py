"""A hub's side of the state log: one connection that listens, one that asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import redis

from rxgraphql.address import Address
from rxgraphql.errors import LogUnavailableError
from rxgraphql.log import FAILURES, LEASE_MS, WATCH, Keys, Position, namespace, nonce

# A hub waits this long for an answer: so long may a subscriber wait to hear that there is none.
HUB_TIMEOUT: Final = 2.0


class HubLog:
    """A hub's side: one connection that listens, one that asks."""

    def __init__(self, url: str) -> None:
        self.keys = Keys(namespace(url))
        address = Address.parse(url)
        self.client = address.async_client(HUB_TIMEOUT)
        self._listener = address.async_client(HUB_TIMEOUT, listens=True)
        self._watch = self.client.register_script(WATCH)
        self._pubsub: Any = None

    async def subscribe(self) -> None:
        """Returns when the server has confirmed: every entry appended from now on is delivered. Raises
        LogUnavailableError."""
        try:
            # around it all: the connection has no timeout of its own, and its handshake waits for answers too
            async with asyncio.timeout(HUB_TIMEOUT):
                old, self._pubsub = self._pubsub, self._listener.pubsub()
                if old is not None:
                    with suppress(*FAILURES):
                        await old.aclose()
                await self._pubsub.subscribe(self.keys.channel)
                while (await self._pubsub.get_message(timeout=None))["type"] != "subscribe":
                    pass
        except TimeoutError as error:
            raise LogUnavailableError("Redis does not answer.") from error
        except FAILURES as error:
            raise LogUnavailableError(f"Redis can't be reached: {error}") from error

    async def frame(self) -> bytes | None:
        """The next frame; None for a late confirmation, which means that messages may have been missed. Raises
        LogUnavailableError."""
        try:
            while True:
                message = await self._pubsub.get_message(timeout=None)
                if message is None:
                    continue
                if message["type"] == "message":
                    data: bytes = message["data"]
                    return data
                return None
        except FAILURES as error:
            raise LogUnavailableError(f"The connection to Redis was lost: {error}") from error

    async def range(self, first: int, last: int, count: int) -> list[bytes]:
        """The frames of these sequences that the log still has, `count` at most. Raises LogUnavailableError."""
        found = await self._ask(
            lambda: self.client.xrange(self.keys.log, f"{first}-0", f"{last}-9", count=count)
        )
        return [fields[b"f"] for _, fields in found]

    async def watch(
        self, labels: Sequence[str], draw: bool = False, lease: int | None = None
    ) -> Position:
        """Sets or renews the leases, for `lease` milliseconds at least (LEASE_MS), and notes the counter, which `draw`
        raises by one. Raises LogUnavailableError."""
        keys = [self.keys.epoch, self.keys.counter, self.keys.sequence]
        keys += [self.keys.watch(label) for label in labels]
        keys += [self.keys.promise(label) for label in labels]
        arguments: list[str | int] = [nonce(), lease or LEASE_MS, int(draw)]
        reply = await self._ask(lambda: self._watch(keys=keys, args=arguments))
        epoch, counter, sequence, promised, *generations = reply
        return Position(
            epoch.decode(),
            counter,
            sequence,
            promised / 1000,
            dict(zip(labels, generations, strict=True)),
        )

    async def _ask(self, command: Callable[[], Any]) -> Any:
        """The reply. A connection that the server has closed since its last use is no reason to fail: once more."""
        try:
            try:
                reply = await command()
            except redis.ReadOnlyError:
                # a demoted master behind an address that may lead to another one by now
                await self.client.connection_pool.disconnect()
                raise
            except redis.ConnectionError:
                reply = await command()
        except FAILURES as error:
            raise LogUnavailableError(f"Redis can't be reached: {error}") from error
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # redis-py waits in asyncio.wait_for(), which in Python 3.11 swallows a cancel that comes with the answer
            raise asyncio.CancelledError
        return reply

    async def hang_up(self) -> None:
        """Breaks the connection that listens: `frame()` raises, and whoever waits there connects again."""
        connection = getattr(self._pubsub, "connection", None)
        if connection is not None:
            with suppress(*FAILURES):
                await connection.disconnect()

    async def close(self) -> None:
        for part in (self._pubsub, self._listener, self.client):
            if part is not None:
                with suppress(*FAILURES):
                    await part.aclose()
