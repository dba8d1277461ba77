"""GraphQL over HTTP and server-sent events, and the GraphiQL page."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from django.contrib.auth.models import User
from django.test import Client as DjangoClient

import rxgraphql
from rxgraphql import views
from rxgraphql.schema import reset_schema
from tests.no_channels import running
from tests.serving import PATIENCE, Site, serve

pytestmark = pytest.mark.django_db(transaction=True)

JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def without_channels(settings: Any) -> Iterator[None]:
    settings.RX_SCHEMA = "tests.no_channels.schema"
    reset_schema()
    yield
    reset_schema()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with serve(rxgraphql.asgi_application()) as site:
        yield site


@pytest_asyncio.fixture
async def http(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.origin, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(autouse=True)
def silent_log(caplog: pytest.LogCaptureFixture) -> Any:
    """A client's mistake is the client's: no test here may leave an error in the log."""
    caplog.set_level(logging.INFO)
    yield
    errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert errors == []


async def test_post(http: httpx.AsyncClient) -> None:
    """A query by POST answers JSON."""
    response = await http.post("/graphql/", json={"query": "{ me }"})
    assert (response.status_code, response.json()) == (200, {"data": {"me": "AnonymousUser"}})
    assert response.headers["content-type"] == "application/json"


async def test_variables(http: httpx.AsyncClient) -> None:
    """Variables and the operation's name are taken."""
    response = await http.post(
        "/graphql/",
        json={
            "query": "query Q { me } mutation M($n: Int!) { double(number: $n) }",
            "variables": {"n": 2},
            "operationName": "M",
        },
    )
    assert response.json() == {"data": {"double": 4}}


async def test_get(http: httpx.AsyncClient) -> None:
    """A query may come by GET, a mutation may not: any page can make a browser send it."""
    response = await http.get("/graphql/", params={"query": "{ me }"})
    assert response.json() == {"data": {"me": "AnonymousUser"}}
    response = await http.get("/graphql/", params={"query": "mutation { double(number: 1) }"})
    assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT")


def code_of(response: httpx.Response) -> str:
    """The code of the first error, in an answer that has no data."""
    answer = response.json()
    assert answer["data"] is None
    code: str = answer["errors"][0]["extensions"]["code"]
    return code


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "BAD_USER_INPUT"),
        (b"hello", 400, "BAD_USER_INPUT"),
        (b"[" * 2000, 400, "BAD_USER_INPUT"),
        (b"\xff\xfe", 400, "BAD_USER_INPUT"),
        (b"null", 400, "BAD_USER_INPUT"),
        (b"5", 400, "BAD_USER_INPUT"),
        (b'"x"', 400, "BAD_USER_INPUT"),
        (b"[]", 400, "BAD_USER_INPUT"),
        (b"[1]", 400, "BAD_USER_INPUT"),
        (b"{}", 400, "BAD_USER_INPUT"),
        (b'{"query": null}', 400, "BAD_USER_INPUT"),
        (b'{"query": ""}', 400, "BAD_USER_INPUT"),
        (b'{"query": 5}', 400, "BAD_USER_INPUT"),
        (b'{"query": "{ me }", "variables": []}', 400, "BAD_USER_INPUT"),
        (b'{"query": "{ me }", "extensions": []}', 400, "BAD_USER_INPUT"),
        (b'{"query": "{ me }", "operationName": []}', 400, "BAD_USER_INPUT"),
        (b'{"query": "{ me }", "operationName": "Q"}', 400, "BAD_USER_INPUT"),
        (b'{"query": "fragment F on Query { me }"}', 400, "BAD_USER_INPUT"),
        (b'{"query": "subscription { count }"}', 400, "BAD_USER_INPUT"),
        (b'{"query": "{"}', 200, "GRAPHQL_PARSE_FAILED"),
        (b'{"query": "{ nothing }"}', 200, "GRAPHQL_VALIDATION_FAILED"),
        (
            b'{"query": "mutation M($n: Int!) { double(number: $n) }", "variables": {"n": "x"}}',
            200,
            "BAD_USER_INPUT",
        ),
    ],
)
async def test_bad_request(http: httpx.AsyncClient, body: bytes, status: int, code: str) -> None:
    """A request that can't be executed answers JSON with a code, not a page of Django's."""
    response = await http.post("/graphql/", content=body, headers=JSON)
    assert (response.status_code, code_of(response)) == (status, code)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_method(http: httpx.AsyncClient, method: str) -> None:
    """Other methods are refused."""
    response = await http.request(method, "/graphql/", json={"query": "{ me }"})
    assert (response.status_code, code_of(response)) == (405, "BAD_USER_INPUT")


async def test_content_type(http: httpx.AsyncClient) -> None:
    """What a form of any page can send isn't taken, or the CSRF token would be all that stands in its way."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = await http.post(
            "/graphql/", content=b'{"query": "{ me }"}', headers={"Content-Type": content_type}
        )
        assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT")


@pytest.mark.parametrize("chunked", [False, True])
async def test_too_big(http: httpx.AsyncClient, settings: Any, chunked: bool) -> None:
    """A body beyond RX_MAX_MESSAGE_SIZE is refused, also when its length isn't told before."""
    settings.RX_MAX_MESSAGE_SIZE = 1000
    body = json.dumps({"query": "{ me }" + " " * 1000}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    response = await http.post("/graphql/", content=chunks() if chunked else body, headers=JSON)
    assert (response.status_code, code_of(response)) == (413, "LIMIT_EXCEEDED")


async def test_resolver_fails(http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    """A resolver that raises is an error with a code and its path."""
    response = await http.post("/graphql/", json={"query": "{ fail }"})
    assert code_of(response) == "INTERNAL"
    assert response.json()["errors"][0]["path"] == ["fail"]
    caplog.clear()


# ------------------------------------------------------------------------------------------ origins


FOREIGN = {"Origin": "http://elsewhere.example"}


async def test_own_origin(http: httpx.AsyncClient, site: Site) -> None:
    """The site's own pages need no permission."""
    headers = {"Origin": site.origin}
    response = await http.post("/graphql/", json={"query": "{ me }"}, headers=headers)
    assert response.json() == {"data": {"me": "AnonymousUser"}}
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("headers", [FOREIGN, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_foreign_origin(http: httpx.AsyncClient, method: str, headers: Any) -> None:
    """Other pages are refused."""
    response = await http.request(method, "/graphql/?query={me}", headers=headers)
    assert (response.status_code, code_of(response)) == (403, "PERMISSION_ERROR")
    assert "access-control-allow-origin" not in response.headers


async def test_allowed_origin(http: httpx.AsyncClient, settings: Any) -> None:
    """Pages of RX_ALLOWED_ORIGINS may ask, with cookies, and their browsers are told so."""
    settings.RX_ALLOWED_ORIGINS = ["http://localhost:5173"]
    headers = {"Origin": "http://localhost:5173"}
    response = await http.options("/graphql/", headers=headers)
    assert response.status_code == 204
    assert response.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    allowed = response.headers["access-control-allow-headers"].lower()
    assert {"authorization", "content-type", "x-csrftoken"} <= set(allowed.split(", "))
    for answer in (
        response,
        await http.post("/graphql/", json={"query": "{ me }"}, headers=headers),
        await http.post("/graphql/", content=b"hello", headers={**headers, **JSON}),
    ):
        assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "Origin" in answer.headers["vary"]


# ------------------------------------------------------------------------------------------ events


async def events(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    kind = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield kind, json.loads(data) if data else None


def stream(http: httpx.AsyncClient, query: str, method: str = "POST") -> Any:
    headers = {"Accept": "text/event-stream"}
    if method == "GET":
        return http.stream("GET", "/graphql/", params={"query": query}, headers=headers)
    return http.stream("POST", "/graphql/", json={"query": query}, headers=headers)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_stream(http: httpx.AsyncClient, method: str) -> None:
    """A subscription streams events, and `complete` at its end."""
    async with stream(http, "subscription { count }", method) as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["x-accel-buffering"] == "no"
        assert [event async for event in events(response)] == [
            ("next", {"data": {"count": 0}}),
            ("next", {"data": {"count": 1}}),
            ("next", {"data": {"count": 2}}),
            ("complete", None),
        ]


@pytest.mark.parametrize("query", ["subscription {", "subscription { nothing }"])
async def test_stream_of_an_invalid_document(http: httpx.AsyncClient, query: str) -> None:
    """A document that can't be executed is an event with an error, and the end."""
    async with stream(http, query) as response:
        (kind, answer), end = [event async for event in events(response)]
    assert kind == "next"
    assert answer["data"] is None
    assert answer["errors"][0]["extensions"]["code"].startswith("GRAPHQL_")
    assert end == ("complete", None)


URQL = (
    "application/graphql-response+json, application/graphql+json, application/json,"
    " text/event-stream, multipart/mixed"
)


async def test_who_takes_json_gets_a_stream_of_subscriptions_alone(
    http: httpx.AsyncClient,
) -> None:
    """urql accepts both for queries and mutations, and can't read the one that Strawberry would choose."""
    query = await http.post("/graphql/", json={"query": "{ me }"}, headers={"Accept": URQL})
    assert query.headers["content-type"].startswith("application/json")
    assert query.json()["data"].keys() == {"me"}
    bad = await http.post("/graphql/", json={"query": "{ nothing }"}, headers={"Accept": URQL})
    assert bad.json()["errors"]
    subscription = {"query": "subscription { count }"}
    async with http.stream(
        "POST", "/graphql/", json=subscription, headers={"Accept": URQL}
    ) as response:
        assert [kind async for kind, _ in events(response)] == ["next"] * 3 + ["complete"]


async def test_disconnect_ends_the_stream(http: httpx.AsyncClient) -> None:
    """When the client goes, the subscription ends."""
    async with stream(http, "subscription { ticks(to: 2) }") as response:
        arriving = events(response)
        assert await anext(arriving) == ("next", {"data": {"ticks": 0}})
        assert await anext(arriving) == ("next", {"data": {"ticks": 1}})
        assert len(running) == 1
    async with asyncio.timeout(PATIENCE):
        while running:
            await http.get("/graphql/", params={"query": "{ me }"})


# ------------------------------------------------------------------------------------------ GraphiQL

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("debug", "graphiql", "status"),
    [(True, None, 200), (False, None, 404), (True, False, 404), (False, True, 200)],
)
async def test_graphiql(
    http: httpx.AsyncClient, settings: Any, debug: bool, graphiql: bool | None, status: int
) -> None:
    """GraphiQL is there with DEBUG, unless RX_GRAPHIQL says otherwise."""
    settings.DEBUG = debug
    settings.RX_GRAPHIQL = graphiql
    response = await http.get("/graphql/", headers=PAGE)
    assert response.status_code == status


async def test_graphiql_is_for_browsers(http: httpx.AsyncClient, settings: Any) -> None:
    """A request that doesn't ask for a page gets none."""
    settings.RX_GRAPHIQL = True
    for accept in ("*/*", "application/json", ""):
        response = await http.get("/graphql/", headers={"Accept": accept})
        assert (response.status_code, code_of(response)) == (400, "BAD_USER_INPUT")


async def test_graphiql_page(http: httpx.AsyncClient, settings: Any, tmp_path: Any) -> None:
    """The page has no script of its own but its configuration, and names nothing outside the site."""
    settings.RX_GRAPHIQL = True
    views_bundle = tmp_path / "graphiql.js"
    views_bundle.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "BUNDLE", views_bundle)
        page = (await http.get("/graphql/", headers=PAGE)).text
    assert '<div id="graphiql">' in page
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
    assert [attributes for attributes, _ in scripts] == [
        ' id="rxgraphql-config" type="application/json"',
        ' type="module" src="/static/rxgraphql/graphiql/graphiql.js"',
    ]
    config = json.loads(scripts[0][1])
    assert config["url"] == "/graphql/"
    assert config["csrfHeader"].lower() == "x-csrftoken"
    assert re.fullmatch(r"[A-Za-z0-9]{64}", config["csrfToken"])
    assert not re.search(r"https?:|//", page.replace("<!doctype", ""))
    assert "style=" not in page


async def test_graphiql_without_its_bundle(
    http: httpx.AsyncClient, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Without the bundle the page says how to build it."""
    settings.RX_GRAPHIQL = True
    monkeypatch.setattr(views, "BUNDLE", tmp_path / "graphiql.js")
    page = (await http.get("/graphql/", headers=PAGE)).text
    assert "make graphiql" in page
    assert "<script" not in page


# ------------------------------------------------------------------------------------------ Django's client


def test_in_a_users_test(client: DjangoClient, settings: Any) -> None:
    """In a project's own tests, Django's client reaches the view through an included URL, logged in."""
    settings.ROOT_URLCONF = "rxgraphql.urls"
    client.force_login(User.objects.create_user("ada"))
    response = client.post("/graphql/", {"query": "{ me }"}, content_type="application/json")
    assert response.json() == {"data": {"me": "ada"}}


def test_atomic_requests(client: DjangoClient, settings: Any) -> None:
    """ATOMIC_REQUESTS, with which Django refuses asynchronous views, makes no difference."""
    from django.db import connection

    settings.ROOT_URLCONF = "rxgraphql.urls"
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        response = client.post("/graphql/", {"query": "{ me }"}, content_type="application/json")
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert response.json() == {"data": {"me": "AnonymousUser"}}
