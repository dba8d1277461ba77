"""The ASGI application: GraphQL over HTTP and WebSocket at one path, and all that the project serves besides."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import django
from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.sessions import CookieMiddleware, SessionMiddleware
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers.asgi import ASGIHandler
from django.urls import URLPattern, URLResolver

from rxgraphql import origins
from rxgraphql.conf import settings
from rxgraphql.errors import ConfigurationError

__all__ = ["Application", "asgi_application"]

logger = logging.getLogger("rxgraphql.asgi")

# Where the scope keeps the server's own `send`, which middleware wraps.
SEND = "rxgraphql.send"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def asgi_application(
    http: ASGIApp | None = None,
    websocket_urlpatterns: Sequence[URLPattern | URLResolver] = (),
) -> Application:
    """What a project's `asgi.py` calls `application`.

    It serves GraphQL at RX_GRAPHQL_PATH and passes other HTTP requests to `http`, by default to Django. Other
    WebSockets go to `websocket_urlpatterns`, as Channels' URLRouter takes them, with `scope["user"]` set and the origin
    checked.
    Raises ConfigurationError with all faults of the settings, or of all channels.
    """
    django.setup(set_prefix=False)
    # These need the apps to be ready.
    from rxgraphql.checks import settings_faults
    from rxgraphql.protocol import Consumer
    from rxgraphql.schema import get_schema

    if faults := list(settings_faults()):
        raise ConfigurationError(faults)
    schema = get_schema()
    return Application(
        http=http,
        socket=CookieMiddleware(SessionMiddleware(Consumer.as_asgi(schema=schema))),
        other_sockets=AuthMiddlewareStack(URLRouter(list(websocket_urlpatterns))),
    )


class Application:
    """Hands each connection to the one who serves it, and stops the hub with the server."""

    def __init__(self, http: ASGIApp | None, socket: ASGIApp, other_sockets: ASGIApp) -> None:
        self._graphql: ASGIApp = DjangoHandler()
        self._http = http or self._graphql
        self._static = _with_static_files(self._http)
        self._socket = socket
        self._other_sockets = other_sockets
        # With DEBUG the static files are served too; `runserver --nostatic` switches it off.
        self.serve_static = django_settings.DEBUG

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http" if is_graphql(scope):
                await self._graphql(scope, receive, send)
            case "http":
                await (self._static if self.serve_static else self._http)(scope, receive, send)
            case "websocket" if is_graphql(scope):
                await self._socket({**scope, SEND: send}, receive, send)
            case "websocket":
                await self._other_socket(scope, receive, send)
            case "lifespan":
                await _lifespan(receive, send)
            case other:
                raise ValueError(f"{other} connections are not served here.")

    async def _other_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = origins.headers_of(scope["headers"])
        origin = headers.get("origin")
        foreign = origin is not None and not origins.permitted(origin, headers)
        if foreign or not origins.host_allowed(headers):
            await refuse(receive, send)
            return
        try:
            await self._other_sockets(scope, receive, send)
        except ValueError as error:
            # URLRouter's way to say that it has no such path
            if not str(error).startswith("No route found"):
                raise
            await refuse(receive, send)


class DjangoHandler(ASGIHandler):
    """Django, with GraphQL at RX_GRAPHQL_PATH whether or not the project's URLs include it.

    It takes the way of every other request, so that the project's middleware sees it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._urls = _urls_with_graphql()

    def create_request(self, scope: Any, body_file: Any) -> Any:
        made: Any = super().create_request(scope, body_file)
        request, _ = made
        if request is not None and is_graphql(scope):
            request.urlconf = self._urls
        return made


def is_graphql(scope: Scope) -> bool:
    """Whether the path is GraphQL's; without its last slash, Django redirects there."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    ours: str = settings.RX_GRAPHQL_PATH
    return path.rstrip("/") == ours.rstrip("/")


async def refuse(receive: Receive, send: Send) -> None:
    """Answers a handshake with 403."""
    await receive()
    await send({"type": "websocket.close"})


async def _lifespan(receive: Receive, send: Send) -> None:
    from rxgraphql.hub import get_hub

    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            break
        get_hub().outbox.start()
        await send({"type": "lifespan.startup.complete"})
    try:
        await get_hub().stop()
    except Exception:
        logger.exception("The hub did not stop in order.")
    await send({"type": "lifespan.shutdown.complete"})


def _with_static_files(application: Any) -> ASGIApp:
    if not apps.is_installed("django.contrib.staticfiles"):
        return cast(ASGIApp, application)
    handler: ASGIApp = ASGIStaticFilesHandler(application)
    return handler


def _urls_with_graphql() -> ModuleType:
    """The project's URLs after ours, as a module: middleware and templates may still reverse any of them."""
    project = import_module(django_settings.ROOT_URLCONF)
    urls = ModuleType("rxgraphql.project_urls")
    urls.__dict__.update(
        {name: value for name, value in vars(project).items() if name.startswith("handler")}
    )
    ours = import_module("rxgraphql.urls")
    urls.urlpatterns = [*ours.urlpatterns, *project.urlpatterns]  # type: ignore[attr-defined]
    return urls
