"""A serving process of the soak: the application, and what it holds at `/soak/counts`."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.soak.settings")

import json
from typing import Any

import tests.soak.shorter  # isort: skip # noqa: F401
import rxgraphql
from tests.soak import counts

_application = rxgraphql.asgi_application()
counts.count_loads()


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http" or scope["path"] != "/soak/counts":
        await _application(scope, receive, send)
        return
    body = json.dumps(counts.counts()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
