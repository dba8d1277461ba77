from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from typing import Any

import rxgraphql

application = rxgraphql.asgi_application()


async def telling(scope: Any, receive: Any, send: Any) -> None:
    """The application; each socket's handshake tells which worker process took it."""

    async def tell(message: Any) -> None:
        if message["type"] == "websocket.accept":
            headers = [*message.get("headers", ()), (b"x-worker", str(os.getpid()).encode())]
            message = {**message, "headers": headers}
        await send(message)

    await application(scope, receive, tell if scope["type"] == "websocket" else send)
