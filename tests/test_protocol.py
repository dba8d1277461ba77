"""graphql-transport-ws over real sockets: what is answered, and what closes the socket with which code."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from channels.sessions import CookieMiddleware, SessionMiddleware
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rxgraphql.asgi import Application, refuse
from rxgraphql.codes import CloseCode
from rxgraphql.errors import ErrorCode
from rxgraphql.protocol import Consumer, Handler
from tests.no_channels import running, schema
from tests.services import ROOT
from tests.serving import Client, Site, serve

pytestmark = pytest.mark.django_db(transaction=True)


def application() -> Application:
    socket = CookieMiddleware(SessionMiddleware(Consumer.as_asgi(schema=schema)))
    return Application(http=None, socket=socket, other_sockets=nothing)


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    await refuse(receive, send)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with serve(application(), ws_max_size=4096) as site:
        yield site


@pytest.fixture(params=["fast", "plain"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as it is served, and once through Strawberry alone."""
    monkeypatch.setattr(Handler, "fast", request.param == "fast")


@pytest.fixture(autouse=True)
def silent_log(caplog: pytest.LogCaptureFixture) -> Any:
    """A client's mistake is the client's: no test here may leave an error in the log, unless it says so."""
    caplog.set_level(logging.INFO)
    yield
    errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert errors == []


BAD_FRAMES: dict[str, tuple[Any, str]] = {
    "not JSON": ("hello", "A message must be JSON"),
    "empty": ("", "A message must be JSON"),
    "NaN": ('{"type": NaN}', "A message must be JSON"),
    "half a surrogate": ('{"type": "\\ud800"}', "A message must be JSON"),
    "deep": ("[" * 2000, "A message must be JSON"),
    "binary": (b'{"type": "ping"}', "A message must be text, not binary"),
    "list": ([], "A message must be a JSON object"),
    "null": ("null", "A message must be a JSON object"),
    "number": (5, "A message must be a JSON object"),
    "no type": ({}, "A message must have a type"),
    "type is no text": ({"type": 5}, "A message must have a type"),
    "type is a list": ({"type": ["ping"]}, "A message must have a type"),
    "unknown type": ({"type": "start"}, "Unknown message type"),
    "a server's type": ({"type": "next", "id": "1", "payload": {}}, "Unknown message type"),
    "long unknown type": ({"type": "x" * 1000}, "Unknown message type"),
    "ping with a list": ({"type": "ping", "payload": []}, "The payload of ping must be an object"),
    "no id": (
        {"type": "subscribe", "payload": {"query": "{me}"}},
        "The id of subscribe must be a text",
    ),
    "id is a number": (
        {"type": "subscribe", "id": 1, "payload": {"query": "{me}"}},
        "The id of subscribe must be a text",
    ),
    "id is empty": (
        {"type": "subscribe", "id": "", "payload": {"query": "{me}"}},
        "The id of subscribe must be a text",
    ),
    "complete without id": ({"type": "complete"}, "The id of complete must be a text"),
    "complete with a list": ({"type": "complete", "id": []}, "The id of complete must be a text"),
    "no payload": ({"type": "subscribe", "id": "1"}, "The payload of subscribe must be an object"),
    "payload null": (
        {"type": "subscribe", "id": "1", "payload": None},
        "The payload of subscribe must be an object",
    ),
    "no query": (
        {"type": "subscribe", "id": "1", "payload": {}},
        "The query of subscribe must be a text",
    ),
    "query is a number": (
        {"type": "subscribe", "id": "1", "payload": {"query": 1}},
        "The query of subscribe must be a text",
    ),
    "operationName is a list": (
        {"type": "subscribe", "id": "1", "payload": {"query": "{me}", "operationName": []}},
        "The operationName of subscribe must be a text",
    ),
}


@pytest.mark.parametrize("acknowledged", [False, True], ids=["before ack", "after ack"])
@pytest.mark.parametrize(("frame", "reason"), BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
async def test_bad_frame(site: Site, frame: Any, reason: str, acknowledged: bool) -> None:
    """A frame that the protocol doesn't know closes the socket with 4400 and says why."""
    async with site.connect() as client:
        if acknowledged:
            await client.init()
        await client.send(frame)
        assert (CloseCode.BAD_REQUEST, reason) == await client.closed()


@pytest.mark.parametrize("payload", [[], "x", 5, True])
async def test_bad_connection_init(site: Site, payload: Any) -> None:
    """The parameters of a connection are an object or nothing."""
    async with site.connect() as client:
        await client.send({"type": "connection_init", "payload": payload})
        reason = "The payload of connection_init must be an object"
        assert (CloseCode.BAD_REQUEST, reason) == await client.closed()


@pytest.mark.parametrize("message", [{}, {"payload": None}, {"payload": {}}, {"payload": {"a": 1}}])
async def test_connection_init(site: Site, message: dict[str, Any]) -> None:
    """A connection without parameters, or with null, is acknowledged."""
    async with site.connect() as client:
        await client.send({"type": "connection_init", **message})
        assert await client.receive() == {"type": "connection_ack"}


async def test_second_connection_init(site: Site) -> None:
    """A second connection_init closes the socket with 4429."""
    async with site.connect() as client:
        await client.init()
        await client.send({"type": "connection_init"})
        code = CloseCode.TOO_MANY_INITIALISATION_REQUESTS
        assert (code, code.reason) == await client.closed()


async def test_subscribe_before_ack(site: Site) -> None:
    """Operations before the connection is acknowledged close the socket with 4401."""
    async with site.connect() as client:
        await client.subscribe("{ me }")
        assert await client.closed() == (CloseCode.UNAUTHORIZED, "Unauthorized")


async def test_init_timeout(settings: Any) -> None:
    """A client that says nothing is closed with 4408 after RX_CONNECTION_INIT_TIMEOUT seconds."""
    settings.RX_CONNECTION_INIT_TIMEOUT = 0.05
    async with serve(application()) as site, site.connect() as client:
        code = CloseCode.CONNECTION_INIT_TIMEOUT
        assert (code, code.reason) == await client.closed()


async def test_init_in_time(settings: Any) -> None:
    """The timeout ends with connection_init: an idle socket stays open."""
    settings.RX_CONNECTION_INIT_TIMEOUT = 0.2
    async with serve(application()) as site, site.connect() as client:
        await client.init()
        await client.subscribe("subscription { ticks(to: 1) }")
        await client.receive()
        settings.RX_CONNECTION_INIT_TIMEOUT = 0.3
        async with site.connect() as later:
            assert await later.closed() == (4408, "Connection initialisation timeout")
        await client.send({"type": "ping"})
        assert await client.receive() == {"type": "pong"}


async def test_ping(site: Site) -> None:
    """A ping is answered at any time, with its own payload; a pong is taken without an answer."""
    async with site.connect() as client:
        await client.send({"type": "ping"})
        assert await client.receive() == {"type": "pong"}
        await client.init()
        await client.send({"type": "pong", "payload": {"a": 1}})
        await client.send({"type": "ping", "payload": {"a": 1}})
        assert await client.receive() == {"type": "pong", "payload": {"a": 1}}


@pytest.mark.usefixtures("both_ways")
async def test_query(site: Site) -> None:
    """A query and a mutation run over the socket: one `next`, then `complete`."""
    async with site.connect() as client:
        await client.init()
        await client.subscribe(
            "mutation M($n: Int!) { double(number: $n) } query Q { me }",
            id="a",
            variables={"n": 4},
            operationName="M",
        )
        assert await client.receive() == {
            "id": "a",
            "type": "next",
            "payload": {"data": {"double": 8}},
        }
        assert await client.receive() == {"id": "a", "type": "complete"}


@pytest.mark.usefixtures("both_ways")
async def test_subscription(site: Site) -> None:
    """Each event of a subscription is a `next`, its end a `complete`, and the id is free again."""
    async with site.connect() as client:
        await client.init()
        for _ in range(2):
            await client.subscribe("subscription { count }", id="a")
            for number in range(3):
                expected = {"id": "a", "type": "next", "payload": {"data": {"count": number}}}
                assert expected == await client.receive()
            assert await client.receive() == {"id": "a", "type": "complete"}


@pytest.mark.usefixtures("both_ways")
async def test_complete_ends_the_operation(site: Site) -> None:
    """`complete` stops the operation at the server and leaves the others alone."""
    async with site.connect() as client:
        await client.init()
        await client.subscribe("subscription { ticks(to: 1) }", id="a")
        await client.receive()
        await client.subscribe("subscription { ticks(to: 1) }", id="b")
        await client.receive()
        assert len(running) == 2
        await client.send({"id": "a", "type": "complete"})
        await client.subscribe("{ me }", id="a")
        assert (await client.receive())["id"] == "a"
        assert len(running) == 1


async def test_unknown_complete(site: Site) -> None:
    """`complete` of an operation that has ended already is no mistake."""
    async with site.connect() as client:
        await client.init()
        await client.send({"id": "nothing", "type": "complete"})
        await client.send({"type": "ping"})
        assert await client.receive() == {"type": "pong"}


async def test_duplicate_id(site: Site) -> None:
    """Two operations at one time under one id close the socket with 4409."""
    async with site.connect() as client:
        await client.init()
        await client.subscribe("subscription { ticks(to: 1) }", id="a")
        await client.receive()
        await client.subscribe("{ me }", id="a")
        code = CloseCode.SUBSCRIBER_ALREADY_EXISTS
        assert (code, code.reason) == await client.closed()
    assert set() == running


async def test_too_big(site: Site) -> None:
    """A message beyond uvicorn's limit closes the socket with 1009."""
    async with site.connect() as client:
        await client.send({"type": "ping", "payload": {"a": "x" * 5000}})
        code, _ = await client.closed()
        assert code == CloseCode.MESSAGE_TOO_BIG


@pytest.mark.parametrize("letter", ["x", "é"])
async def test_too_big_for_us(settings: Any, letter: str) -> None:
    """A server without a limit makes no difference: RX_MAX_MESSAGE_SIZE counts bytes."""
    settings.RX_MAX_MESSAGE_SIZE = 1000
    async with serve(application()) as site, site.connect() as client:
        ping = '{"type":"ping","payload":{"a":"TEXT"}}'
        room = 1000 - len(ping.replace("TEXT", ""))
        fits = letter * (room // len(letter.encode()))
        await client.send(ping.replace("TEXT", fits))
        assert {"type": "pong", "payload": {"a": fits}} == await client.receive()
        await client.send(ping.replace("TEXT", fits + letter))
        code = CloseCode.MESSAGE_TOO_BIG
        assert (code, code.reason) == await client.closed()


async def test_too_many_subscriptions(settings: Any) -> None:
    """An operation beyond RX_MAX_SUBSCRIPTIONS gets an error, the others go on."""
    settings.RX_MAX_SUBSCRIPTIONS = 2
    async with serve(application()) as site, site.connect() as client:
        await client.init()
        for id in ("a", "b"):  # noqa: A001
            await client.subscribe("subscription { ticks(to: 1) }", id=id)
            await client.receive()
        await client.subscribe("{ me }", id="c")
        answer = await client.receive()
        assert (answer["id"], answer["type"]) == ("c", "error")
        assert answer["payload"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
        await client.send({"id": "a", "type": "complete"})
        await client.subscribe("{ me }", id="c")
        assert (await client.receive())["payload"] == {"data": {"me": "AnonymousUser"}}


@pytest.mark.parametrize("variables", [[], "x", 5])
async def test_variables_are_an_object(site: Site, variables: Any) -> None:
    """Variables that are no object are that operation's error alone."""
    async with site.connect() as client:
        await client.init()
        await client.subscribe("{ me }", variables=variables)
        answer = await client.receive()
        assert answer["type"] == "error"
        assert answer["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        await client.subscribe("{ me }")
        assert (await client.receive())["type"] == "next"


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{", {}),
        ("{ nothing }", {}),
        ("query Q($n: Int!) { me }", {}),
        ("mutation M($n: Int!) { double(number: $n) }", {"n": "x"}),
        ("mutation M($n: Int!) { double(number: $n) }", {"n": None}),
    ],
)
async def test_invalid_operation(site: Site, query: str, variables: dict[str, Any]) -> None:
    """A document that can't be executed is an `error` with a code, and the socket goes on."""
    async with site.connect() as client:
        await client.init()
        await client.subscribe(query, variables=variables)
        answer = await client.receive()
        assert answer["type"] == "error"
        assert all(item["extensions"]["code"] for item in answer["payload"])
        await client.subscribe("{ me }")
        assert (await client.receive())["type"] == "next"


@pytest.mark.parametrize("query", ["", " ", "# nothing", "fragment F on Query { me }"])
async def test_no_operation(site: Site, query: str) -> None:
    """A document without an operation likewise."""
    async with site.connect() as client:
        await client.init()
        await client.subscribe(query)
        answer = await client.receive()
        assert answer["type"] == "error"
        assert answer["payload"][0]["extensions"]["code"]


async def test_resolver_fails(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A resolver that raises is an error of its field."""
    async with site.connect() as client:
        await client.init()
        await client.subscribe("{ fail }")
        payload = (await client.receive())["payload"]
        assert payload["data"] is None
        assert payload["errors"][0]["path"] == ["fail"]
        assert (await client.receive())["type"] == "complete"
    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == [
        "strawberry.execution"
    ]
    caplog.clear()


async def test_disconnect_ends_the_operations(site: Site) -> None:
    """When the client goes, whatever way, its operations end."""
    async with site.connect() as client:
        await client.init()
        await client.subscribe("subscription { ticks(to: 1) }")
        await client.receive()
        assert len(running) == 1
        client.connection.transport.abort()
    async with site.connect() as client:
        while running:
            await client.send({"type": "ping"})
            await client.receive()


@pytest.mark.parametrize("protocols", [None, ["graphql-ws"], ["mqtt"]])
async def test_subprotocol(site: Site, protocols: Any) -> None:
    """Only graphql-transport-ws is spoken, never the legacy protocol: 4406."""
    async with site.connect(subprotocols=protocols) as client:
        assert client.connection.subprotocol is None
        code, _ = await client.closed()
        assert code == CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE


@pytest.mark.parametrize(
    "origin", ["http://elsewhere.example", "null", "http://127.0.0.1:1", "http://["]
)
async def test_foreign_origin(
    site: Site, origin: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of another origin is told so and gets nothing else, whoever its cookies say it is and whatever it says."""
    monkeypatch.setattr(Consumer, "on_ws_connect", None)
    async with site.connect(origin=origin) as client:
        with suppress(ConnectionClosed):
            await client.send({"type": "connection_init"})
        code, reason = await client.closed()
        assert (code, reason) == (CloseCode.POLICY_VIOLATION, CloseCode.POLICY_VIOLATION.reason)
    assert "RX_ALLOWED_ORIGINS" in caplog.text
    assert "allowed_origins" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_foreign_origin_of_another_protocol(site: Site) -> None:
    """Who doesn't speak ours, such as a page that looks for what there is, isn't even told that someone does."""
    options: list[Any] = [None, ["graphql-ws"]]
    for protocols in options:
        with pytest.raises(InvalidStatus) as refused:
            async with site.connect(origin="http://elsewhere.example", subprotocols=protocols):
                pass
        assert refused.value.response.status_code == 403


async def test_allowed_origin(site: Site, settings: Any) -> None:
    """A page of an origin in RX_ALLOWED_ORIGINS gets one."""
    settings.RX_ALLOWED_ORIGINS = ["http://localhost:5173"]
    async with site.connect(origin="http://localhost:5173") as client:
        await client.init()


async def test_foreign_host(site: Site, settings: Any) -> None:
    """A name that is not of ALLOWED_HOSTS gets no socket, even from a page of the same name."""
    settings.ALLOWED_HOSTS = ["example.org"]
    with pytest.raises(InvalidStatus) as refused:
        async with site.connect():
            pass
    assert refused.value.response.status_code == 403


def test_close_codes_are_documented() -> None:
    """docs/protocol.md has the table of close codes, each with its reason and whether clients come back."""
    text = (ROOT / "docs" / "protocol.md").read_text()
    rows = re.findall(r"^\| (\d{4}) \| ([^|]+) \| (yes|no) \|", text, re.MULTILINE)
    assert rows == [
        (str(code.value), code.reason, "yes" if code.retry else "no") for code in CloseCode
    ]


def test_error_codes_are_documented() -> None:
    """And all error codes."""
    text = (ROOT / "docs" / "protocol.md").read_text()
    assert re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE) == [
        str(code) for code in ErrorCode
    ]


async def test_a_client_that_does_not_read(site: Site) -> None:
    """Who asks and never reads the answers has to wait: nothing piles up at the server, and others are served."""
    async with site.connect() as lazy, site.connect() as client:
        await lazy.init()
        await client.init()
        lazy.connection.transport.pause_reading()
        flooding = asyncio.ensure_future(flood(lazy))
        for _ in range(100):
            await client.send({"type": "ping"})
            await client.receive()
        assert not flooding.done()
        flooding.cancel()
        lazy.connection.transport.abort()


async def flood(client: Client) -> None:
    message = {"type": "ping", "payload": {"a": "x" * 3000}}
    for _ in range(20_000):
        await client.send(message)


async def test_id_used_again_at_once(site: Site) -> None:
    """An id may be used again as soon as `complete` was sent, however the first operation is ending."""
    async with site.connect() as client:
        await client.init()
        for _ in range(50):
            await client.subscribe("subscription { ticks(to: 1) }", id="a")
            await client.send({"id": "a", "type": "complete"})
        await client.subscribe("{ me }", id="b")
        while (await client.receive())["id"] != "b":
            pass
        await client.subscribe("subscription { ticks(to: 1) }", id="a")
        while (await client.receive()).get("id") != "a":
            pass
        assert len(running) == 1


async def test_many_operations_at_once(site: Site) -> None:
    """Operations of one socket run beside each other, and each answer has its own id."""
    async with site.connect() as client:
        await client.init()
        for number in range(50):
            await client.subscribe(f"mutation {{ double(number: {number}) }}", id=str(number))
        answers = [await client.receive() for _ in range(100)]
        doubled = {
            int(answer["id"]): answer["payload"]["data"]["double"]
            for answer in answers
            if answer["type"] == "next"
        }
        assert doubled == {number: number * 2 for number in range(50)}


async def test_an_id_is_any_text(site: Site) -> None:
    """The id comes back as it was sent, quotes and all."""
    async with site.connect() as client:
        await client.init()
        for key in ('"', "\\", "\n", "é", "\u2028", "x" * 500):
            await client.subscribe("{ me }", id=key)
            assert (await client.receive())["id"] == key
            assert (await client.receive()) == {"id": key, "type": "complete"}
