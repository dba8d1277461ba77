"""Every way to a channel's state gives the same: the fast path and Strawberry's, sockets, streams and queries."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from websockets.exceptions import ConnectionClosed

import rxgraphql
from rxgraphql import follower, protocol
from rxgraphql.codes import CloseCode
from rxgraphql.hub import get_hub
from rxgraphql.protocol import Handler
from rxgraphql.schema import get_schema
from tests import changes
from tests.changes import Change, World
from tests.chat.channels import RoomChannel
from tests.chat.models import Message, Room
from tests.folding import Folded, document, expected, nested_document
from tests.services import Valkey
from tests.serving import PATIENCE, Site, serve

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

DOCUMENTS = {
    "everything": document(RoomChannel),
    "live query": nested_document(RoomChannel),
    "aliases and fragments": """
        subscription Watch($key: String!, $long: Boolean = false) {
            lobby: room(name: $key) {
                ... on ChannelEvent { what: kind gone: removed ...Moves }
                ...Texts
                messages { tagged: tags { name } text }
                users { __typename name: username profile @include(if: $long) { color } }
            }
        }
        fragment Moves on ChannelEvent { lists { __typename node inserted } }
        fragment Texts on RoomEvent { messages { id text @skip(if: $long) author { id } } }
    """,
    "little": """subscription ($key: String!) { room(name: $key) { messages { text } } }""",
    "one list": """
        subscription ($key: String!) {
            room(name: $key) { kind lists { field index removed inserted } messages { text } }
        }
    """,
}


def sentinel(world: World) -> None:
    world.say("sentinel")


# In this order in one world; the last is seen by every document.
STEPS: list[Change] = [
    changes.create,
    changes.update,
    changes.update_author,
    changes.update_shared_profile,
    changes.add_profile,
    changes.reorder,
    changes.swap,
    changes.hide,
    changes.show,
    changes.move_in,
    changes.join,
    changes.tag,
    changes.rename_tag,
    changes.react,
    changes.pin,
    changes.edit_by_other,
    changes.message_and_author,
    changes.set_members,
    changes.delete,
    changes.cascade,
    sentinel,
]


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with serve(rxgraphql.asgi_application()) as site:
        yield site


@pytest_asyncio.fixture
async def http(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.origin, timeout=PATIENCE) as client:
        yield client


@pytest_asyncio.fixture
async def world(redis_url: str) -> World:
    return await sync_to_async(World)()


async def until_no_subscriber() -> None:
    async with asyncio.timeout(PATIENCE):
        while get_hub().subscriber_count:  # noqa: ASYNC110
            await asyncio.sleep(0)


# ---------------------------------------------------------------------------------------------- one document, four ways


Read = Callable[[], Awaitable[Any]]
Way = Callable[[Site, str], contextlib.AbstractAsyncContextManager[Read]]


@contextlib.asynccontextmanager
async def by_schema(site: Site, query: str) -> AsyncIterator[Read]:
    stream: Any = await get_schema().subscribe(query, {"key": "lobby"})

    async def read() -> Any:
        result = await anext(stream)
        payload = {"data": result.data}
        if result.errors:
            payload["errors"] = [error.formatted for error in result.errors]
        return payload

    try:
        yield read
    finally:
        await stream.aclose()


@contextlib.asynccontextmanager
async def by_stream(site: Site, query: str) -> AsyncIterator[Read]:
    body = {"query": query, "variables": {"key": "lobby"}}
    async with (
        httpx.AsyncClient(base_url=site.origin, timeout=PATIENCE) as http,
        http.stream(
            "POST", "/graphql/", json=body, headers={"Accept": "text/event-stream"}
        ) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.aiter_lines()

        async def read() -> Any:
            while not (line := await anext(lines)).startswith("data: "):
                pass
            return json.loads(line.removeprefix("data: "))

        yield read


@contextlib.asynccontextmanager
async def by_socket(site: Site, query: str) -> AsyncIterator[Read]:
    async with site.connect() as client:
        await client.init()
        await client.subscribe(query, variables={"key": "lobby"})

        async def read() -> Any:
            answer = await client.receive()
            assert answer["type"] == "next", answer
            return answer["payload"]

        yield read


@contextlib.asynccontextmanager
async def by_plain_socket(site: Site, query: str) -> AsyncIterator[Read]:
    async with by_socket(site, query) as read:
        yield read


WAYS: list[Way] = [by_schema, by_stream, by_socket, by_plain_socket]


@pytest.mark.parametrize("query", DOCUMENTS.values(), ids=DOCUMENTS.keys())
async def test_ways_are_equal(
    site: Site, world: World, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ways give the same payloads, in the same order, down to the order of their keys."""
    async with contextlib.AsyncExitStack() as stack:
        reads: list[Read] = []
        payloads: list[list[str]] = []
        for way in WAYS:
            monkeypatch.setattr(Handler, "fast", way is not by_plain_socket)
            reads.append(await stack.enter_async_context(way(site, query)))
            payloads.append([json.dumps(await reads[-1]())])
        assert get_hub().subscriber_count == len(WAYS)
        for step in STEPS:
            await sync_to_async(step)(world)
        for read, seen in zip(reads, payloads, strict=True):
            while "sentinel" not in seen[-1]:
                seen.append(json.dumps(await read()))
        assert len(payloads[0]) > 3
        assert payloads == [payloads[0]] * len(WAYS)
    await until_no_subscriber()


async def test_all_ways_tell_that_redis_is_away(
    site: Site,
    settings: Any,
    start_valkey: Callable[..., Valkey],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everyone hears the same, nobody's subscription ends, and all go on when it is back."""
    monkeypatch.setattr(follower, "AWAY_SECONDS", 0.1)
    valkey = await sync_to_async(start_valkey)()
    settings.REDIS_URL = valkey.url
    world = await sync_to_async(World)()
    async with contextlib.AsyncExitStack() as stack:
        reads: list[Read] = []
        for way in WAYS:
            monkeypatch.setattr(Handler, "fast", way is not by_plain_socket)
            reads.append(await stack.enter_async_context(way(site, document(RoomChannel))))
            await reads[-1]()
        await sync_to_async(valkey.kill)()
        told = [await read() for read in reads]
        assert told[0]["data"] is None
        (error,) = told[0]["errors"]
        assert (error["path"], error["extensions"]) == (["room"], {"code": "UNAVAILABLE"})
        assert [json.dumps(one) for one in told] == [json.dumps(told[0])] * len(WAYS)
        await sync_to_async(changes.update)(world)
        await sync_to_async(valkey.start)()
        for read in reads:
            assert (await read())["data"]["room"]["kind"] == "SNAPSHOT"
    await until_no_subscriber()


async def test_all_ways_resume(site: Site, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`after` continues where the cursor stands, whichever way the client comes."""
    query = document(RoomChannel).replace("name: $key", "name: $key, after: $after")
    query = query.replace("($key: String!)", "($key: String!, $after: String)")
    async with by_socket(site, document(RoomChannel)) as read:
        cursor = (await read())["data"]["room"]["cursor"]
        await sync_to_async(changes.update)(world)
        await read()
        payloads = []
        for way in WAYS:
            monkeypatch.setattr(Handler, "fast", way is not by_plain_socket)
            with_cursor = query.replace("$after: String", f'$after: String = "{cursor}"')
            async with way(site, with_cursor) as again:
                payloads.append(await again())
        assert payloads[0]["data"]["room"]["kind"] == "CHANGE"
        assert [m["text"] for m in payloads[0]["data"]["room"]["messages"]] == ["edited"]
        assert [json.dumps(one) for one in payloads] == [json.dumps(payloads[0])] * len(WAYS)
    await until_no_subscriber()


# ---------------------------------------------------------------------------------------------- its end


@pytest.mark.parametrize("reads_later", [True, False], ids=["slow", "never reads"])
async def test_slow_client_is_closed(
    site: Site,
    world: World,
    settings: Any,
    reads_later: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who doesn't read is closed with a code after which clients come back; who still doesn't read is cut off."""
    settings.RX_MAX_PENDING, settings.RX_SLOW_TIMEOUT = 2, 0.3
    if not reads_later:
        monkeypatch.setattr(protocol, "ABANDON_SECONDS", 0.3)
    found: list[Handler] = []
    close_slow = Handler._close_slow

    def noted(self: Handler) -> None:
        found.append(self)
        close_slow(self)

    monkeypatch.setattr(Handler, "_close_slow", noted)
    async with site.connect(max_queue=1) as client:
        await client.init()
        await client.subscribe(nested_document(RoomChannel), variables={"key": "lobby"})
        async with asyncio.timeout(PATIENCE):
            while not found:
                await sync_to_async(world.say)("x" * 300_000)
        if reads_later:
            async with asyncio.timeout(PATIENCE):
                with contextlib.suppress(ConnectionClosed):
                    async for _ in client.connection:
                        pass
            assert client.connection.close_code == CloseCode.TRY_AGAIN_LATER
        await until_no_subscriber()


@pytest.mark.parametrize("way", [by_stream, by_socket])
async def test_client_goes_away(site: Site, world: World, way: Way) -> None:
    """A client that goes without a word is forgotten, whether or not anything changes."""
    async with way(site, DOCUMENTS["little"]) as read:
        await read()
        assert get_hub().subscriber_count == 1
    await until_no_subscriber()


@pytest.mark.parametrize("kind", ["stream", "socket"])
async def test_connection_breaks(site: Site, world: World, kind: str) -> None:
    """So is one whose connection is reset."""
    body = json.dumps({"query": DOCUMENTS["little"], "variables": {"key": "lobby"}}).encode()
    if kind == "stream":
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        head = "POST /graphql/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b'"messages"')
        transport = writer.transport
    else:
        async with site.connect() as client:
            await client.init()
            await client.subscribe(DOCUMENTS["little"], variables={"key": "lobby"})
            await client.receive()
            transport = client.connection.transport
            transport.abort()
    transport.abort()
    await until_no_subscriber()


# ---------------------------------------------------------------------------------------------- queries


def once(name: str) -> dict[str, Any]:
    """The whole state as one query."""
    selection = (
        nested_document(RoomChannel)
        .partition("kind state")[2]
        .rpartition("}")[0]
        .rpartition("}")[0]
    )
    return {
        "query": f"query ($key: String!) {{ room(name: $key) {selection} }}",
        "variables": {"key": name},
    }


async def test_query_reads_the_replica(site: Site, http: httpx.AsyncClient, world: World) -> None:
    """A query beside a subscription shows what that one shows; when nobody subscribes it reads the database."""

    def edit_unseen() -> None:
        Message.everything.filter(pk=world.first.pk).update(text="unseen by signals")

    before = await sync_to_async(expected)(RoomChannel, world.room.pk)
    assert (await http.post("/graphql/", json=once("lobby"))).json()["data"]["room"] == before
    async with by_socket(site, document(RoomChannel)) as read:
        folded = Folded(RoomChannel)
        folded.fold((await read())["data"])
        await sync_to_async(edit_unseen)()
        answer = (await http.post("/graphql/", json=once("lobby"))).json()
        assert answer == {"data": {"room": before}}
        await sync_to_async(changes.create)(world)
        folded.fold((await read())["data"])
        answer = (await http.post("/graphql/", json=once("lobby"))).json()
        root = RoomChannel.tree.root
        assert answer["data"]["room"] == folded.tree(root, root.key(str(world.room.pk)))


async def test_query_without_subscriber(
    http: httpx.AsyncClient, world: World, settings: Any
) -> None:
    """Without a subscription a query needs no Redis."""
    settings.REDIS_URL = "unix:///nowhere.sock"
    wanted = await sync_to_async(expected)(RoomChannel, world.room.pk)
    answer = (await http.post("/graphql/", json=once("lobby"))).json()
    assert answer == {"data": {"room": wanted}}


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_unknown_and_forbidden(http: httpx.AsyncClient, world: World, accept: str) -> None:
    """Over HTTP too, an instance that isn't there and one that is forbidden give the same error."""
    await sync_to_async(Room.objects.create)(name="secret")
    answers = set()
    for name in ("nothing", "secret"):
        body = (
            once(name)
            if "json" in accept
            else {"query": DOCUMENTS["little"], "variables": {"key": name}}
        )
        response = await http.post("/graphql/", json=body, headers={"Accept": accept})
        answers.add((response.status_code, response.text))
    ((_, text),) = answers
    assert '"UNAUTHENTICATED"' in text


# ---------------------------------------------------------------------------------------------- without Redis


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_redis_fails_at_subscribe(
    site: Site, settings: Any, start_valkey: Callable[..., Valkey], how: str
) -> None:
    """A Redis that is gone, and one that doesn't answer, is UNAVAILABLE to subscribers soon, not a hang."""
    valkey = await sync_to_async(start_valkey)()
    settings.REDIS_URL = valkey.url
    await sync_to_async(World)()
    await sync_to_async(valkey.kill if how == "killed" else valkey.pause)()
    async with site.connect() as client:
        await client.init()
        for _ in range(2):
            before = time.monotonic()
            await client.subscribe(DOCUMENTS["little"], variables={"key": "lobby"})
            answer = await client.receive()
            assert answer["type"] == "error"
            assert answer["payload"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert time.monotonic() - before < 4
        if how == "killed":
            await sync_to_async(valkey.start)()
        else:
            valkey.resume()
        await client.subscribe(DOCUMENTS["little"], variables={"key": "lobby"})
        assert (await client.receive())["type"] == "next"


async def test_redis_restarts(
    site: Site, settings: Any, start_valkey: Callable[..., Valkey]
) -> None:
    """Who subscribed before Redis went gets a snapshot when it is back, and all changes from then on."""
    valkey = await sync_to_async(start_valkey)()
    settings.REDIS_URL = valkey.url
    world = await sync_to_async(World)()
    folded = Folded(RoomChannel)
    async with by_socket(site, document(RoomChannel)) as read:
        folded.fold((await read())["data"])
        await sync_to_async(valkey.kill)()
        await sync_to_async(changes.update)(world)
        await sync_to_async(valkey.start)()
        folded.fold((await read())["data"])
        assert folded.snapshots == 2
        root = RoomChannel.tree.root
        key = root.key(str(world.room.pk))
        assert folded.tree(root, key) == await sync_to_async(expected)(RoomChannel, world.room.pk)
        await sync_to_async(changes.update_author)(world)
        wanted = await sync_to_async(expected)(RoomChannel, world.room.pk)
        while folded.tree(root, key) != wanted:
            folded.fold((await read())["data"])
