"""Django state, live in the browser, over GraphQL subscriptions.

StateChannel        subclass it: a serializer's nested state becomes a subscription
Schema              strawberry.Schema with all channels in it
type_for            the generated type of a serializer, for your own resolvers
asgi_application    HTTP, SSE and WebSocket for `asgi.py`
LiveManager         a manager whose bulk operations are seen, and its LiveQuerySet
touch, atouch       look at these rows again: what changed them sent no signal
recheck, arecheck   ask again who may see what
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rxgraphql.asgi import asgi_application
    from rxgraphql.channel import StateChannel
    from rxgraphql.errors import ChannelError, ConfigurationError, RxError
    from rxgraphql.managers import LiveManager, LiveQuerySet
    from rxgraphql.rechecks import arecheck, recheck
    from rxgraphql.schema import Schema
    from rxgraphql.touches import atouch, touch
    from rxgraphql.types import type_for

__version__ = "0.1.0"
__all__ = [
    "ChannelError",
    "ConfigurationError",
    "LiveManager",
    "LiveQuerySet",
    "RxError",
    "Schema",
    "StateChannel",
    "arecheck",
    "asgi_application",
    "atouch",
    "recheck",
    "touch",
    "type_for",
]

# Loaded at first use: the app registry must be able to import this package before any model is.
_HOMES = {
    "ChannelError": "rxgraphql.errors",
    "ConfigurationError": "rxgraphql.errors",
    "LiveManager": "rxgraphql.managers",
    "LiveQuerySet": "rxgraphql.managers",
    "RxError": "rxgraphql.errors",
    "Schema": "rxgraphql.schema",
    "StateChannel": "rxgraphql.channel",
    "arecheck": "rxgraphql.rechecks",
    "asgi_application": "rxgraphql.asgi",
    "atouch": "rxgraphql.touches",
    "recheck": "rxgraphql.rechecks",
    "touch": "rxgraphql.touches",
    "type_for": "rxgraphql.types",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
