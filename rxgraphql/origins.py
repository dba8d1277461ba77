"""Which web pages may talk to the server.

A browser sends the user's cookies with a WebSocket handshake from any page, and no CSRF token: only the Origin header
says whose page it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from django.conf import settings as django_settings
from django.http.request import split_domain_port, validate_host
from strawberry.http.websocket_origin import (
    is_same_origin,
    normalize_allowed_origins,
    normalize_origin,
)

from rxgraphql.conf import settings

__all__ = ["Headers", "headers_of", "host_allowed", "listed", "permitted"]

Headers = Mapping[str, str]  # by lowercase name


def headers_of(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of an ASGI scope."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def host_allowed(headers: Headers) -> bool:
    """Whether the request was sent to a host of this site, as Django asks for HTTP.

    Without it, a page whose name was rebound to this server's address would be of the same origin.
    """
    allowed = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed:
        allowed = [".localhost", "127.0.0.1", "[::1]"]
    domain, _ = split_domain_port(_host(headers))
    return bool(domain) and validate_host(domain, allowed)


def permitted(origin: str, headers: Headers) -> bool:
    """Whether a page of `origin` may use the server: one of this site, or of RX_ALLOWED_ORIGINS."""
    return is_same_origin(origin, _host(headers)) or listed(origin)


def listed(origin: str) -> bool:
    """Whether RX_ALLOWED_ORIGINS has the origin."""
    return normalize_origin(origin) in _normalized(tuple(settings.RX_ALLOWED_ORIGINS))


def _host(headers: Headers) -> str:
    if django_settings.USE_X_FORWARDED_HOST and "x-forwarded-host" in headers:
        return headers["x-forwarded-host"]
    return headers.get("host", "")


@lru_cache(maxsize=8)
def _normalized(origins: tuple[str, ...]) -> frozenset[str]:
    return normalize_allowed_origins(origins)
