"""Who is asking, over HTTP and over a socket."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import OperationalError
from rest_framework.authentication import TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.settings import api_settings

import rxgraphql
from rxgraphql import auth
from rxgraphql.codes import CloseCode
from rxgraphql.schema import reset_schema
from tests.serving import PATIENCE, Client, Site, serve, session_cookie

pytestmark = pytest.mark.django_db(transaction=True)

ME = {"query": "{ me }"}


@pytest.fixture(autouse=True)
def without_channels(settings: Any) -> Iterator[None]:
    settings.RX_SCHEMA = "tests.no_channels.schema"
    reset_schema()
    yield
    reset_schema()


@pytest.fixture(autouse=True)
def silent_log(caplog: pytest.LogCaptureFixture) -> Any:
    """A client's mistake is the client's: no test here may leave an error in the log, unless it says so."""
    caplog.set_level(logging.INFO)
    yield
    errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert errors == []


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with serve(rxgraphql.asgi_application()) as site:
        yield site


@dataclass(frozen=True)
class Person:
    user: User
    cookie: str
    token: str


@pytest.fixture
def ada() -> Person:
    user = User.objects.create_user("ada")
    return Person(user, session_cookie(user), Token.objects.create(user=user).key)


@pytest.fixture
def bob() -> Person:
    user = User.objects.create_user("bob")
    return Person(user, session_cookie(user), Token.objects.create(user=user).key)


@pytest.fixture
def inactive() -> Person:
    user = User.objects.create_user("gone", is_active=False)
    return Person(user, session_cookie(user), Token.objects.create(user=user).key)


async def me(client: Client) -> str:
    await client.subscribe("{ me }")
    answer = await client.receive()
    assert (await client.receive())["type"] == "complete"
    name: str = answer["payload"]["data"]["me"]
    return name


# ------------------------------------------------------------------------------------------ sockets


async def test_socket_session(site: Site, ada: Person) -> None:
    """The cookie of the site's own page says who it is."""
    async with site.connect(additional_headers={"Cookie": ada.cookie}) as client:
        assert await me(await client.init()) == "ada"


@pytest.mark.parametrize("cookie", ["", "sessionid=nothing", "sessionid=", "other=1", "=;;"])
async def test_socket_without_session(site: Site, cookie: str) -> None:
    """Without a session that exists, nobody is known, and that is no mistake."""
    async with site.connect(additional_headers={"Cookie": cookie}) as client:
        assert await me(await client.init()) == "AnonymousUser"


async def test_socket_session_of_an_inactive_user(
    site: Site, inactive: Person, settings: Any
) -> None:
    """An inactive user is nobody, even where the project's backend lets it log in."""
    async with site.connect(additional_headers={"Cookie": inactive.cookie}) as client:
        assert await me(await client.init()) == "AnonymousUser"
    backend = "django.contrib.auth.backends.AllowAllUsersModelBackend"
    settings.AUTHENTICATION_BACKENDS = [backend, django_settings.AUTHENTICATION_BACKENDS[0]]
    async with site.connect(additional_headers={"Cookie": inactive.cookie}) as client:
        assert await me(await client.init()) == "AnonymousUser"


@pytest.mark.parametrize(
    "params",
    [
        {"token": "KEY"},
        {"Authorization": "Token KEY"},
        {"authorization": "token  KEY "},
        {"token": None, "Authorization": "Token KEY"},
        {"token": "KEY", "other": [1]},
    ],
)
@pytest.mark.parametrize("origin", ["", None], ids=["own page", "no origin"])
async def test_socket_token(site: Site, ada: Person, params: Any, origin: str | None) -> None:
    """A token in connection_init says who it is, and needs no Origin."""
    params = {
        key: value.replace("KEY", ada.token) if isinstance(value, str) else value
        for key, value in params.items()
    }
    async with site.connect(origin=origin) as client:
        assert await me(await client.init(params)) == "ada"


async def test_socket_token_in_the_handshake(site: Site, ada: Person) -> None:
    """A client that can set headers may send the token with the handshake."""
    headers = {"Authorization": f"Token {ada.token}"}
    async with site.connect(origin=None, additional_headers=headers) as client:
        assert await me(await client.init()) == "ada"


async def test_socket_token_before_cookie(site: Site, ada: Person, bob: Person) -> None:
    """Beside a token, the cookie doesn't count."""
    for origin in ("", None):
        headers = {"Cookie": bob.cookie}
        async with site.connect(origin=origin, additional_headers=headers) as client:
            assert await me(await client.init({"token": ada.token})) == "ada"


@pytest.mark.parametrize("params", [{}, {"token": None}, {"token": ""}, {"Authorization": ""}])
async def test_socket_without_origin(site: Site, ada: Person, params: Any) -> None:
    """Without an Origin the cookie doesn't count, and without a token the socket is closed."""
    headers = {"Cookie": ada.cookie}
    async with site.connect(origin=None, additional_headers=headers) as client:
        await client.send({"type": "connection_init", "payload": params})
        reason = "Without an Origin header a token is needed."
        assert await client.closed() == (CloseCode.FORBIDDEN, reason)


@pytest.mark.parametrize(
    "params",
    [
        {"token": "nothing"},
        {"token": 5},
        {"token": ["x"]},
        {"token": "a b"},
        {"token": "\x00"},
        {"token": "é"},
        {"token": "x" * 1000},
        {"Authorization": "Token nothing"},
        {"Authorization": "Token"},
        {"Authorization": "Token "},
        {"Authorization": "Bearer nothing"},
        {"Authorization": 5},
        {"Authorization": {"Token": "x"}},
    ],
)
async def test_socket_bad_token(site: Site, ada: Person, params: Any) -> None:
    """A token that isn't valid closes with 4403, after which clients come back with another; the cookie is no help."""
    async with site.connect(additional_headers={"Cookie": ada.cookie}) as client:
        await client.send({"type": "connection_init", "payload": params})
        code, reason = await client.closed()
        assert code == CloseCode.FORBIDDEN
        assert reason


async def test_socket_token_of_an_inactive_user(site: Site, inactive: Person) -> None:
    """An inactive user's token is not valid."""
    async with site.connect() as client:
        await client.send({"type": "connection_init", "payload": {"token": inactive.token}})
        assert await client.closed() == (CloseCode.FORBIDDEN, "User inactive or deleted.")


async def test_socket_without_token_app(site: Site, settings: Any) -> None:
    """A project without DRF's tokens says so."""
    settings.INSTALLED_APPS = [
        app for app in django_settings.INSTALLED_APPS if app != "rest_framework.authtoken"
    ]
    async with site.connect() as client:
        await client.send({"type": "connection_init", "payload": {"token": "x"}})
        assert await client.closed() == (CloseCode.FORBIDDEN, "Tokens are not used here.")


async def test_socket_database_fails(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that doesn't answer closes with 1013: the client tries again later."""

    def fails(token: str) -> Any:
        raise OperationalError("on purpose")

    monkeypatch.setattr(auth, "token_user", fails)
    async with site.connect() as client:
        await client.send({"type": "connection_init", "payload": {"token": "x"}})
        code = CloseCode.TRY_AGAIN_LATER
        assert await client.closed() == (code, code.reason)
    caplog.clear()


async def test_socket_auth_fails(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Any other exception on the way closes with 4500: never a silent socket."""

    def fails(token: str) -> Any:
        raise KeyError("on purpose")

    monkeypatch.setattr(auth, "token_user", fails)
    async with site.connect() as client:
        await client.send({"type": "connection_init", "payload": {"token": "x"}})
        code = CloseCode.INTERNAL_SERVER_ERROR
        assert await client.closed() == (code, code.reason)
    assert "on purpose" in caplog.text
    caplog.clear()


# ------------------------------------------------------------------------------------------ HTTP


@pytest_asyncio.fixture
async def http(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.origin, timeout=PATIENCE) as client:
        yield client


async def post(http: httpx.AsyncClient, **headers: str) -> tuple[int, Any]:
    """Status, and the user's name or the error's code and message."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await http.post("/graphql/", json=ME, headers=headers)
    answer = response.json()
    if answer["data"] is not None:
        return response.status_code, answer["data"]["me"]
    return response.status_code, answer["errors"][0]["extensions"]["code"]


async def csrf(http: httpx.AsyncClient, settings: Any, cookie: str) -> tuple[str, str]:
    """The CSRF token of the GraphiQL page, and the Cookie header that goes with it."""
    settings.RX_GRAPHIQL = True
    page = await http.get("/graphql/", headers={"Accept": "text/html", "Cookie": cookie})
    found = re.search(r'"csrfToken": "(\w+)"', page.text)
    assert found
    http.cookies.clear()
    secret = page.cookies.get("csrftoken")
    return found[1], f"{cookie}; csrftoken={secret}" if secret else cookie


@pytest.mark.parametrize(
    "options", [{}, {"CSRF_COOKIE_HTTPONLY": True}, {"CSRF_USE_SESSIONS": True}]
)
async def test_http_session(
    http: httpx.AsyncClient, site: Site, ada: Person, settings: Any, options: dict[str, Any]
) -> None:
    """The session's user is taken with the CSRF token that the page has, wherever its secret is kept."""
    for name, value in options.items():
        setattr(settings, name, value)
    token, cookie = await csrf(http, settings, ada.cookie)
    found = await post(http, Cookie=cookie, X_CSRFToken=token, Origin=site.origin)
    assert found == (200, "ada")


async def test_http_session_without_csrf(
    http: httpx.AsyncClient, site: Site, ada: Person, settings: Any
) -> None:
    """Without the CSRF token, or with a wrong one, the request is refused: it may be another page's."""
    _, cookie = await csrf(http, settings, ada.cookie)
    assert await post(http, Cookie=cookie, Origin=site.origin) == (403, "PERMISSION_ERROR")
    assert await post(http, Cookie=cookie) == (403, "PERMISSION_ERROR")
    wrong = {"Cookie": cookie, "X_CSRFToken": "x" * 64, "Origin": site.origin}
    assert await post(http, **wrong) == (403, "PERMISSION_ERROR")


async def test_http_session_without_middleware(settings: Any, ada: Person) -> None:
    """A project that left CsrfViewMiddleware out is protected likewise, and its GraphiQL page works."""
    settings.MIDDLEWARE = [name for name in django_settings.MIDDLEWARE if "Csrf" not in name]
    async with (
        serve(rxgraphql.asgi_application()) as site,
        httpx.AsyncClient(base_url=site.origin, timeout=PATIENCE) as http,
    ):
        token, cookie = await csrf(http, settings, ada.cookie)
        assert await post(http, Cookie=cookie) == (403, "PERMISSION_ERROR")
        assert await post(http, Cookie=cookie, X_CSRFToken=token) == (200, "ada")


async def test_http_session_of_an_allowed_origin(
    http: httpx.AsyncClient, ada: Person, settings: Any
) -> None:
    """A page of RX_ALLOWED_ORIGINS needs the CSRF token, and no entry in CSRF_TRUSTED_ORIGINS besides."""
    settings.RX_ALLOWED_ORIGINS = ["http://localhost:5173"]
    token, cookie = await csrf(http, settings, ada.cookie)
    origin = "http://localhost:5173"
    assert await post(http, Cookie=cookie, X_CSRFToken=token, Origin=origin) == (200, "ada")
    assert await post(http, Cookie=cookie, Origin=origin) == (403, "PERMISSION_ERROR")


async def test_http_anonymous(http: httpx.AsyncClient) -> None:
    """Nobody is known without cookie and token, and nobody needs a CSRF token."""
    assert await post(http) == (200, "AnonymousUser")
    assert await post(http, Cookie="sessionid=nothing") == (200, "AnonymousUser")


async def test_http_inactive(http: httpx.AsyncClient, inactive: Person) -> None:
    """An inactive user is nobody by session, and refused by token."""
    assert await post(http, Cookie=inactive.cookie) == (200, "AnonymousUser")
    found = await post(http, Authorization=f"Token {inactive.token}")
    assert found == (401, "UNAUTHENTICATED")


async def test_http_token(http: httpx.AsyncClient, ada: Person, bob: Person) -> None:
    """A token says who it is, needs no CSRF token, and counts before the cookie."""
    authorization = f"Token {ada.token}"
    assert await post(http, Authorization=authorization) == (200, "ada")
    assert await post(http, Authorization=authorization, Cookie=bob.cookie) == (200, "ada")


@pytest.mark.parametrize("authorization", ["Token", "Token x", "Token a b", "token \x01"])
async def test_http_bad_token(http: httpx.AsyncClient, ada: Person, authorization: str) -> None:
    """A bad token is refused, whatever the cookie says."""
    found = await post(http, Authorization=authorization, Cookie=ada.cookie)
    assert found == (401, "UNAUTHENTICATED")


async def test_http_other_scheme(http: httpx.AsyncClient) -> None:
    """Another scheme's Authorization is not ours to judge: a proxy in front may have asked for it."""
    assert await post(http, Authorization="Basic eDp5") == (200, "AnonymousUser")


async def test_http_database_fails(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that doesn't answer is a 503 with a code, without its words."""

    def fails(token: str) -> Any:
        raise OperationalError("on purpose")

    monkeypatch.setattr(auth, "token_user", fails)
    assert await post(http, Authorization="Token x") == (503, "DATABASE_ERROR")
    caplog.clear()


class KeyAuthentication(TokenAuthentication):
    keyword = "Key"


async def test_own_token_class(
    http: httpx.AsyncClient, site: Site, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project's own subclass of TokenAuthentication in DEFAULT_AUTHENTICATION_CLASSES is used."""
    classes = [KeyAuthentication]
    monkeypatch.setattr(api_settings, "DEFAULT_AUTHENTICATION_CLASSES", classes, raising=False)
    assert await post(http, Authorization=f"Key {ada.token}") == (200, "ada")
    assert await post(http, Authorization=f"Token {ada.token}") == (200, "AnonymousUser")
    async with site.connect() as client:
        assert await me(await client.init({"Authorization": f"Key {ada.token}"})) == "ada"
