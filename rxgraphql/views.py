"""GraphQL over HTTP and server-sent events, and the GraphiQL page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from asgiref.sync import sync_to_async
from cross_web import HTTPException
from django.conf import settings as django_settings
from django.core.exceptions import RequestDataTooBig
from django.db import Error as DatabaseError
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.template import Context, Engine
from django.utils.cache import patch_vary_headers
from django.utils.decorators import classonlymethod
from strawberry.django.views import AsyncGraphQLView
from strawberry.http import GraphQLHTTPResponse
from strawberry.subscriptions import GRAPHQL_SSE_PROTOCOL
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from rxgraphql import auth, messages, origins
from rxgraphql.conf import settings
from rxgraphql.errors import ErrorCode, RefusedError

__all__ = ["GraphQLView"]

logger = logging.getLogger("rxgraphql.views")

PACKAGE: Final = Path(__file__).parent
BUNDLE: Final = PACKAGE / "static" / "rxgraphql" / "graphiql" / "graphiql.js"


class GraphQLView(AsyncGraphQLView[Any, None]):
    """The project's schema over HTTP: JSON, or a stream of events for `Accept: text/event-stream`."""

    schema: Any

    def __init__(self, schema: Any = None, **kwargs: Any) -> None:
        from rxgraphql.schema import get_schema

        super().__init__(
            schema=schema or get_schema(),
            subscription_protocols=(GRAPHQL_SSE_PROTOCOL,),
            **kwargs,
        )

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> Any:  # noqa: N805
        view: Any = super().as_view(**initkwargs)
        # CSRF is checked here, for users of a session only, as DRF does.
        view.csrf_exempt = True
        # Django refuses asynchronous views where ATOMIC_REQUESTS is on; a mutation opens its own transaction.
        view._non_atomic_requests = set(connections)
        return view

    async def dispatch(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        try:
            response = await self._answer(request)
        except RefusedError as refused:
            response = refusal(refused.status, refused.code, str(refused))
        except HTTPException as error:
            code = ErrorCode.NOT_FOUND if error.status_code == 404 else ErrorCode.BAD_USER_INPUT
            response = refusal(error.status_code, code, error.reason)
        except RequestDataTooBig:
            response = too_big()
        except DatabaseError:
            logger.exception("The database failed before a request was executed.")
            response = refusal(503, ErrorCode.DATABASE_ERROR, "The database does not answer.")
        except Exception:
            logger.exception("A request failed.")
            response = refusal(500, ErrorCode.INTERNAL, "The request failed.")
        return allow_origin(request, response)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        check_origin(request)
        if request.method == "OPTIONS":
            return preflight()
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.RX_MAX_MESSAGE_SIZE:
            return too_big()
        viewer = await sync_to_async(auth.request_viewer)(request)
        setattr(request, auth.VIEWER, viewer)
        user = request.user = viewer.user
        request.auser = lambda: _result(user)
        if request.method == "POST" and len(request.body) > settings.RX_MAX_MESSAGE_SIZE:
            return too_big()
        response = await self.run(request=request)
        if response.streaming:
            # A stream may last for days, and would keep the connection of its thread as long.
            await sync_to_async(close_connections)()
        return response

    def should_render_graphql_ide(self, request: Any) -> bool:
        # Strawberry takes */* as well, which is what curl and EventSource-like clients send
        return (
            request.method == "GET"
            and request.query_params.get("query") is None
            and "text/html" in request.headers.get("accept", "")
        )

    async def render_graphql_ide(self, request: HttpRequest) -> Any:
        enabled = settings.RX_GRAPHIQL
        if not (django_settings.DEBUG if enabled is None else enabled):
            raise HTTPException(404, "GraphiQL is off; RX_GRAPHIQL = True switches it on.")
        return await sync_to_async(graphiql_page)(request)

    async def parse_http_body(self, request: Any) -> Any:
        data: Any = await super().parse_http_body(request)
        # urql takes both for all that it asks, and reads Strawberry's streams as empty answers.
        accept = request.headers.get("accept", "")
        if (
            getattr(data, "protocol", None) == "sse"
            and "json" in accept
            and not self._streams(data)
        ):
            data.protocol = "http"
        return data

    def _streams(self, data: Any) -> bool:
        if not data.query:
            return False
        prepared = self.schema.prepare(data.query, data.variables, data.operation_name)
        return getattr(prepared, "kind", None) is OperationType.SUBSCRIPTION

    async def execute_single(self, *, request_data: Any, **kwargs: Any) -> ExecutionResult:  # type: ignore[override]
        # Strawberry would execute it as a query, and fail.
        if self._streams(request_data):
            raise HTTPException(
                400, "A subscription needs `Accept: text/event-stream`, or a WebSocket."
            )
        return await super().execute_single(request_data=request_data, **kwargs)

    def parse_json(self, data: str | bytes) -> Any:
        value = super().parse_json(data)
        if not isinstance(value, dict) and not (
            isinstance(value, list) and all(isinstance(item, dict) for item in value)
        ):
            raise HTTPException(400, "A request must be a JSON object.")
        return value

    def decode_json(self, data: str | bytes) -> object:
        return messages.decode(data)

    def encode_json(self, data: object) -> str:
        return messages.encode(data).decode()

    async def process_result(
        self, request: HttpRequest, result: ExecutionResult
    ) -> GraphQLHTTPResponse:
        response: GraphQLHTTPResponse = {"data": result.data}
        if result.errors:
            response["errors"] = [*messages.formatted(result.errors)]
        if result.extensions:
            response["extensions"] = result.extensions
        return response


async def _result(user: Any) -> Any:
    return user


def close_connections() -> None:
    """Closes the connections of this thread, but not under a transaction (of a test, which shares its own)."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def check_origin(request: HttpRequest) -> None:
    """Refuses requests of foreign pages. One without an Origin is not a page's, or reads from its own site."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    origin = headers.get("origin")
    if origin is not None:
        permitted = origins.permitted(origin, headers)
    else:
        permitted = headers.get("sec-fetch-site") != "cross-site"
    if not permitted:
        raise RefusedError(
            403,
            ErrorCode.PERMISSION_ERROR,
            "Pages of this origin may not use GraphQL here; RX_ALLOWED_ORIGINS names those that may.",
        )


def preflight() -> HttpResponse:
    """Says to a browser what a page of another origin may send; `allow_origin` says whether it may."""
    csrf_header = header_name(django_settings.CSRF_HEADER_NAME)
    return HttpResponse(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
            "Access-Control-Allow-Headers": f"Accept, Authorization, Content-Type, {csrf_header}",
            "Access-Control-Max-Age": "600",
        },
    )


def allow_origin(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    origin = request.headers.get("Origin")
    if origin is not None and origins.listed(origin):
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Allow-Credentials"] = "true"
    patch_vary_headers(response, ["Origin"])
    return response


def header_name(meta: str) -> str:
    """The header of a key of `request.META`: HTTP_X_CSRFTOKEN -> X-Csrftoken."""
    return meta.removeprefix("HTTP_").replace("_", "-").title()


def refusal(status: int, code: ErrorCode, message: str) -> HttpResponse:
    errors = messages.formatted([messages.error(code, message)])
    body = messages.encode({"data": None, "errors": errors})
    return HttpResponse(body, status=status, content_type="application/json")


def too_big() -> HttpResponse:
    limit = settings.RX_MAX_MESSAGE_SIZE
    return refusal(413, ErrorCode.LIMIT_EXCEEDED, f"A request may have {limit} bytes.")


def graphiql_page(request: HttpRequest) -> HttpResponseBase:
    """The page, whatever template engines the project has."""
    engine = Engine(
        dirs=[str(PACKAGE / "templates")],
        libraries={"static": "django.templatetags.static"},
        builtins=["django.template.defaultfilters"],
    )
    # In the page and not in the cookie alone: with CSRF_COOKIE_HTTPONLY no script can read that one.
    config = {
        "url": request.path,
        "csrfHeader": header_name(django_settings.CSRF_HEADER_NAME),
        "csrfToken": get_token(request),
    }
    context = Context({"config": config, "built": BUNDLE.is_file()})
    response = HttpResponse(engine.get_template("rxgraphql/graphiql.html").render(context))
    # The project may have no CsrfViewMiddleware to set the cookie.
    return auth.CsrfCheck().process_response(request, response)
