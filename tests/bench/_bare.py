"""The bare path: what is published on one Redis channel goes to every socket as it is. An ASGI application."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio

CHANNEL = "bare"


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    async with redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]) as client:
        pubsub: Any = client.pubsub()
        await pubsub.subscribe(CHANNEL)
        assert (await pubsub.get_message(timeout=None))["type"] == "subscribe"
        await send({"type": "websocket.accept"})
        while True:
            message = await pubsub.get_message(timeout=None)
            await send({"type": "websocket.send", "text": message["data"].decode()})
