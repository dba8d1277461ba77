"""The whole application: what is served where, channels over every transport, and the end of the hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth.models import User
from django.test import override_settings
from django.urls import path
from websockets.exceptions import InvalidStatus

import rxgraphql
from rxgraphql.channel import StateChannel, registry
from rxgraphql.codes import CloseCode
from rxgraphql.errors import ConfigurationError
from rxgraphql.hub import get_hub
from rxgraphql.protocol import Handler
from rxgraphql.schema import reset_schema
from tests.chat.channels import RoomChannel
from tests.chat.models import Message, Room
from tests.serving import PATIENCE, Client, Site, serve, session_cookie

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("redis_url"),
    pytest.mark.every_database,
]

# With all that JSON must escape: frames are put together by hand.
ID = 'a "room"\n\\ é'

ROOM = """
    subscription Room($name: String!) {
        room(name: $name) {
            __typename kind removed
            lists { node field index removed inserted }
            rooms { id topic }
            texts: messages { id text author { username } }
            state { name messages { text } }
        }
    }
"""


@pytest.fixture(autouse=True)
def fresh_schema() -> None:
    reset_schema()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with serve(rxgraphql.asgi_application()) as site:
        yield site


@pytest_asyncio.fixture
async def http(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.origin, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def room() -> Room:
    author = User.objects.create_user("ada")
    room = Room.objects.create(name="lobby", topic="all")
    Message.objects.create(room=room, author=author, text="hello")
    return room


async def change(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await sync_to_async(function)(*args, **kwargs)


async def subscribed(client: Client, **variables: Any) -> Any:
    """The first payload."""
    await client.subscribe(ROOM, id=ID, variables=variables)
    answer = await client.receive()
    assert (answer["id"], answer["type"]) == (ID, "next")
    return answer["payload"]


@pytest.fixture(params=["fast", "plain"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as it is served, and once through Strawberry alone."""
    monkeypatch.setattr(Handler, "fast", request.param == "fast")


@pytest.mark.usefixtures("both_ways")
async def test_channel(site: Site, room: Room) -> None:
    """A channel's subscription begins with a snapshot and follows each commit."""
    async with site.connect() as client:
        await client.init()
        event = (await subscribed(client, name="lobby"))["data"]["room"]
        assert (event["__typename"], event["kind"]) == ("RoomEvent", "SNAPSHOT")
        assert event["state"] == {"name": "lobby", "messages": [{"text": "hello"}]}
        await change(Room.objects.create, name="other")
        room.topic = "news"
        await change(room.save)
        event = (await client.receive())["payload"]["data"]["room"]
        assert (event["kind"], event["rooms"]) == (
            "CHANGE",
            [{"id": str(room.pk), "topic": "news"}],
        )


async def test_fast_and_plain_are_equal(site: Site, room: Room) -> None:
    """The fast path and Strawberry's give the same payloads, event for event, and in the same order of keys."""
    fast: list[Any] = []
    plain: list[Any] = []
    async with site.connect() as one, site.connect() as other:
        for client, payloads, way in ((one, fast, True), (other, plain, False)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Handler, "fast", way)
                await client.init()
                payloads.append(await subscribed(client, name="lobby"))
        author = await change(User.objects.get)
        message = Message(room=room, author=author, text="second")
        for step in (message.save, message.save, message.delete, author.save):
            message.text += "!"
            author.username += "!"
            await change(step)
            # awaited, since what is committed meanwhile may arrive in the same event
            for client, payloads in ((one, fast), (other, plain)):
                payloads.append((await client.receive())["payload"])
        assert [json.dumps(payload) for payload in fast] == [json.dumps(item) for item in plain]
        assert get_hub().subscriber_count == 2


@pytest.mark.usefixtures("both_ways")
async def test_anchor_deleted(site: Site, room: Room) -> None:
    """When the anchor is gone the operation completes, and its id is free."""
    async with site.connect() as client:
        await client.init()
        await subscribed(client, name="lobby")
        await change(room.delete)
        answers = [await client.receive()]
        while answers[-1]["type"] == "next":
            answers.append(await client.receive())
        assert answers[-1] == {"id": ID, "type": "complete"}
        assert get_hub().subscriber_count == 0


REFUSED: dict[str, tuple[Any, str]] = {
    "unknown": ({"name": "nothing"}, "UNAUTHENTICATED"),
    "forbidden": ({"name": "secret"}, "UNAUTHENTICATED"),
    "has_permission raises": ({"name": "broken"}, "PERMISSION_ERROR"),
    "variable missing": ({}, "BAD_USER_INPUT"),
    "variable null": ({"name": None}, "BAD_USER_INPUT"),
    "variable of a wrong type": ({"name": 5}, "BAD_USER_INPUT"),
    "variable is an object": ({"name": {"a": 1}}, "BAD_USER_INPUT"),
    "null character": ({"name": "\x00"}, "UNAUTHENTICATED"),
}


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(("variables", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_refused(site: Site, variables: Any, code: str) -> None:
    """What can't be opened is an `error` with a code that tells nothing else, and the socket goes on."""
    await change(Room.objects.create, name="secret")
    await change(Room.objects.create, name="broken")
    async with site.connect() as client:
        await client.init()
        for _ in range(2):
            await client.subscribe(ROOM, id=ID, variables=variables)
            answer = await client.receive()
            assert (answer["id"], answer["type"]) == (ID, "error")
            (error,) = answer["payload"]
            expected = {code, "BAD_USER_INPUT"} if variables.get("name") == "\x00" else {code}
            assert error["extensions"]["code"] in expected
            assert "the permission check itself fails" not in json.dumps(answer)
        await client.send({"type": "ping"})
        assert await client.receive() == {"type": "pong"}


async def test_unknown_and_forbidden_are_equal(site: Site) -> None:
    """To a user who is logged in too, what is forbidden looks like what isn't there."""
    await change(Room.objects.create, name="secret")
    cookie = await change(session_cookie, await change(User.objects.create_user, "ada"))
    async with site.connect(additional_headers={"Cookie": cookie}) as client:
        await client.init()
        answers = []
        for name in ("nothing", "secret"):
            await client.subscribe(ROOM, id=ID, variables={"name": name})
            answers.append(await client.receive())
        assert answers[0] == answers[1]
        assert answers[0]["payload"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_redis_is_gone(site: Site, room: Room, settings: Any, tmp_path: Path) -> None:
    """Without Redis a subscription is refused with UNAVAILABLE, and at once."""
    settings.REDIS_URL = f"unix://{tmp_path}/nothing.sock"
    async with site.connect() as client:
        await client.init()
        await client.subscribe(ROOM, variables={"name": "lobby"})
        answer = await client.receive()
        assert answer["type"] == "error"
        assert answer["payload"][0]["extensions"]["code"] == "UNAVAILABLE"


async def test_hub_stops(site: Site, room: Room) -> None:
    """When the hub stops, sockets with subscriptions close with a code after which clients connect again."""
    async with site.connect() as client:
        await client.init()
        await subscribed(client, name="lobby")
        await get_hub().stop()
        code = CloseCode.SERVICE_RESTART
        assert await client.closed() == (code, code.reason)
    async with site.connect() as client:
        await client.init()
        await subscribed(client, name="lobby")


async def test_server_stops(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """When the server stops, its sockets close likewise, and the hub ends with it."""
    caplog.set_level(logging.INFO)
    async with contextlib.AsyncExitStack() as stack:
        async with serve(rxgraphql.asgi_application()) as site:
            client = await stack.enter_async_context(site.connect())
            await client.init()
            await subscribed(client, name="lobby")
            hub = get_hub()
        assert await client.closed() == (CloseCode.SERVICE_RESTART, "")
    assert get_hub() is not hub
    assert "ERROR" not in {record.levelname for record in caplog.records}


async def test_query(http: httpx.AsyncClient, room: Room) -> None:
    """Query reads the state once, over HTTP."""
    query = 'query { room(name: "lobby") { topic messages { text } } }'
    response = await http.post("/graphql/", json={"query": query})
    assert response.json() == {"data": {"room": {"topic": "all", "messages": [{"text": "hello"}]}}}


async def test_query_refused(http: httpx.AsyncClient) -> None:
    """has_permission guards Query too."""
    await change(Room.objects.create, name="secret")
    response = await http.post("/graphql/", json={"query": '{ room(name: "secret") { id } }'})
    answer = response.json()
    assert answer["data"] == {"room": None}
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_stream(http: httpx.AsyncClient, room: Room) -> None:
    """A channel streams as server-sent events, and ends with its reader."""
    body = {"query": ROOM, "variables": {"name": "lobby"}}
    headers = {"Accept": "text/event-stream"}
    async with http.stream("POST", "/graphql/", json=body, headers=headers) as response:
        lines = response.aiter_lines()
        kinds = []
        async for line in lines:
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))["data"]["room"]
                kinds.append(event["kind"])
                if len(kinds) == 2:
                    break
                room.topic = "news"
                await change(room.save)
        assert kinds == ["SNAPSHOT", "CHANGE"]
        assert get_hub().subscriber_count == 1
    async with asyncio.timeout(PATIENCE):
        while get_hub().subscriber_count:
            await http.get("/graphql/", params={"query": "{ __typename }"})


async def test_stream_refused(http: httpx.AsyncClient) -> None:
    """has_permission guards the stream too."""
    await change(Room.objects.create, name="secret")
    body = {"query": ROOM, "variables": {"name": "secret"}}
    response = await http.post("/graphql/", json=body, headers={"Accept": "text/event-stream"})
    assert '"code":"UNAUTHENTICATED"' in response.text
    assert response.text.rstrip().endswith("event: complete\r\ndata:")


# ------------------------------------------------------------------------------------------ routing


async def test_pages_of_the_project(http: httpx.AsyncClient) -> None:
    """Everything else is Django's, and names of its URLs resolve in every request."""
    response = await http.get("/admin/login/")
    assert response.status_code == 200
    assert (await http.get("/nothing/")).status_code == 404


async def test_last_slash(site: Site, http: httpx.AsyncClient) -> None:
    """Without its last slash the path is found too."""
    response = await http.get("/graphql?query={__typename}")
    assert (response.status_code, response.headers["location"]) == (
        301,
        "/graphql/?query=%7B__typename%7D",
    )
    async with site.connect(path="/graphql") as client:
        await client.init()


async def test_path(settings: Any) -> None:
    """RX_GRAPHQL_PATH is where GraphQL is, and nowhere else."""
    import importlib

    from rxgraphql import urls

    settings.RX_GRAPHQL_PATH = "/api/live"
    importlib.reload(urls)
    try:
        async with (
            serve(rxgraphql.asgi_application()) as site,
            httpx.AsyncClient(base_url=site.origin) as http,
        ):
            body = {"query": "{ __typename }"}
            assert (await http.post("/api/live", json=body)).json() == {
                "data": {"__typename": "Query"}
            }
            assert (await http.post("/graphql/", json=body)).status_code == 404
            async with site.connect(path="/api/live") as client:
                await client.init()
    finally:
        del settings.RX_GRAPHQL_PATH
        importlib.reload(urls)


@pytest.mark.parametrize("debug", [True, False])
async def test_static_files(debug: bool) -> None:
    """Static files are served with DEBUG."""
    with override_settings(DEBUG=debug):
        application = rxgraphql.asgi_application()
    async with (
        serve(application) as site,
        httpx.AsyncClient(base_url=site.origin) as http,
    ):
        response = await http.get("/static/admin/css/base.css")
        assert response.status_code == (200 if debug else 404)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_http_of_another(settings: Any) -> None:
    """`http` takes all but GraphQL."""
    async with (
        serve(rxgraphql.asgi_application(http=hello)) as site,
        httpx.AsyncClient(base_url=site.origin) as http,
    ):
        assert (await http.get("/admin/login/")).text == "hello"
        response = await http.post("/graphql/", json={"query": "{ __typename }"})
        assert response.json() == {"data": {"__typename": "Query"}}


class Echo(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        await self.send(json.dumps(f"{self.scope['user']}: {text_data}"))


async def test_other_sockets() -> None:
    """`websocket_urlpatterns` are served beside GraphQL, with the user, and to allowed origins only."""
    cookie = await change(session_cookie, await change(User.objects.create_user, "ada"))
    application = rxgraphql.asgi_application(
        websocket_urlpatterns=[path("ws/echo/", Echo.as_asgi())]
    )
    async with serve(application) as site:
        options: dict[str, Any] = {"subprotocols": None, "path": "/ws/echo/"}
        async with site.connect(additional_headers={"Cookie": cookie}, **options) as client:
            await client.send("hello")
            assert await client.receive() == "ada: hello"
        with pytest.raises(InvalidStatus):
            async with site.connect(origin="http://elsewhere.example", **options):
                pass
        async with site.connect() as client:
            await client.init()


async def test_unknown_socket(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A socket at any other path is refused with 403, without a traceback."""
    with pytest.raises(InvalidStatus) as refused:
        async with site.connect(path="/elsewhere/"):
            pass
    assert refused.value.response.status_code == 403
    assert "Traceback" not in caplog.text


async def test_included_urls(settings: Any, room: Room) -> None:
    """A project that includes rxgraphql.urls itself is served likewise."""
    settings.ROOT_URLCONF = "tests.urls_included"
    async with (
        serve(rxgraphql.asgi_application()) as site,
        httpx.AsyncClient(base_url=site.origin) as http,
    ):
        for address in ("/graphql/", "/nested/graphql/"):
            response = await http.post(address, json={"query": "{ __typename }"})
            assert response.json() == {"data": {"__typename": "Query"}}


def test_faulty_channel() -> None:
    """No server starts with a faulty channel: all faults are raised, each with its fix."""

    class OpenChannel(StateChannel):
        class Meta(RoomChannel.Meta):
            graphql_name = "Open"

    try:
        with pytest.raises(ConfigurationError, match="has_permission"):
            rxgraphql.asgi_application()
    finally:
        registry.remove(OpenChannel)
        reset_schema()


@pytest.mark.parametrize(("name", "value"), [("REDIS_URL", None), ("RX_ALLOWED_ORIGINS", ["*"])])
def test_faulty_settings(settings: Any, name: str, value: Any) -> None:
    """Nor with settings that `check` refuses: a server that no command started checks them too."""
    setattr(settings, name, value)
    with pytest.raises(ConfigurationError, match=name):
        rxgraphql.asgi_application()


async def test_other_protocols() -> None:
    """A connection of an unknown type is refused as ASGI asks for."""
    with pytest.raises(ValueError, match="telnet"):
        await rxgraphql.asgi_application()({"type": "telnet"}, None, None)  # type: ignore[arg-type]
