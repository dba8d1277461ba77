"""Who watches is asked again: when the anchor changes, from time to time, and on call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.sessions.models import Session
from django.db import OperationalError, transaction
from rest_framework.authtoken.models import Token

import rxgraphql
from rxgraphql import follower, guard
from rxgraphql import hub as hubs
from rxgraphql.authorize import authorize
from rxgraphql.codes import CloseCode
from rxgraphql.errors import ChannelError
from rxgraphql.hub import Hub, get_hub
from rxgraphql.protocol import Handler
from tests.changes import World
from tests.chat.channels import RoomChannel
from tests.chat.models import Room
from tests.folding import Watcher
from tests.serving import PATIENCE, Client, Site, serve, session_cookie

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

TEXTS = "subscription ($key: String!) { room(name: $key) { messages { text } } }"
NOT_FOUND = ("NOT_FOUND", "Room was not found, or you may not see it.")


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Only what a test is about asks again, and then soon."""
    settings.RX_RECHECK = 0
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.1)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with serve(rxgraphql.asgi_application()) as site:
        yield site


class Question:
    """`has_permission()` for members only, and whom it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Callable[[Any, Room], Any] = self.is_member

    def __call__(self, user: Any, room: Room) -> Any:
        self.asked.append(user.username)
        return self.answer(user, room)

    @staticmethod
    def is_member(user: Any, room: Room) -> bool:
        return room.members.filter(pk=user.pk).exists()


@pytest.fixture
def question(monkeypatch: pytest.MonkeyPatch) -> Question:
    question = Question()
    monkeypatch.setattr(
        RoomChannel, "has_permission", lambda channel, user, instance: question(user, instance)
    )
    return question


class Page:
    """Somebody's socket, subscribed to the room's messages."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def payload(self) -> Any:
        answer = await self.client.receive()
        assert answer["type"] == "next", answer
        return answer["payload"]

    async def texts(self) -> list[str]:
        payload = await self.payload()
        assert "errors" not in payload, payload
        (event,) = payload["data"].values()
        return [message["text"] for message in event["messages"]]

    async def refusal(self) -> tuple[str, str]:
        """Code and text of the error that comes next, before anything else."""
        answer = await self.client.receive()
        assert answer["type"] == "error", answer
        (error,) = answer["payload"]
        return error["extensions"]["code"], error["message"]


@contextlib.asynccontextmanager
async def page(site: Site, user: User, **options: Any) -> AsyncIterator[Page]:
    """With a token, unless `options` have a cookie."""
    params = None
    if "additional_headers" not in options:
        params = {"token": (await Token.objects.aget_or_create(user=user))[0].key}
    async with site.connect(**options) as client:
        await client.init(params)
        await client.subscribe(TEXTS, variables={"key": "lobby"})
        found = Page(client)
        assert await found.texts()
        yield found


async def watch(hub: Hub, world: World, user: Any) -> Watcher:
    return await Watcher.open(hub, RoomChannel, "lobby", world.room.pk, user=user)


@transaction.atomic
def expel(world: World) -> None:
    """What is said in the same commit isn't for the one who has to go."""
    world.room.members.remove(world.bob)
    world.say("Now that Bob is gone")


# ------------------------------------------------------------------------------------------ when the anchor changes


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
async def test_expelled(
    site: Site, world: World, question: Question, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    """Nothing of the commit that takes the permission away reaches the one who loses it; the others get it."""
    monkeypatch.setattr(Handler, "fast", fast)
    async with page(site, world.ada) as ada, page(site, world.bob) as bob:
        await sync_to_async(world.say)("For all")
        assert await ada.texts() == await bob.texts() == ["For all"]
        await sync_to_async(expel)(world)
        assert await ada.texts() == ["Now that Bob is gone"]
        assert await bob.refusal() == NOT_FOUND
        await sync_to_async(world.say)("Still here")
        assert await ada.texts() == ["Still here"]
        assert get_hub().subscriber_count == 1


async def test_row_of_the_anchor(site: Site, world: World) -> None:
    """A permission that the anchor's own row decides is gone with the row's change, whatever else it is."""
    async with page(site, world.ada) as ada:
        await Room.objects.filter(pk=world.room.pk).aupdate(name="secret")
        await rxgraphql.atouch(world.room)
        assert await ada.refusal() == NOT_FOUND


async def test_nobody(site: Site, world: World) -> None:
    """Who isn't logged in is told so, as at the first time."""
    async with site.connect() as client:
        await client.init()
        await client.subscribe(TEXTS, variables={"key": "lobby"})
        nobody = Page(client)
        assert await nobody.texts()
        world.room.name = "secret"
        await world.room.asave()
        assert (await nobody.refusal())[0] == "UNAUTHENTICATED"


async def test_asked_once_for_each_user(site: Site, world: World, question: Question) -> None:
    """Equal users have one answer; what is no change of the anchor asks nobody."""
    async with page(site, world.ada) as one, page(site, world.ada) as two, page(site, world.bob):
        question.asked.clear()
        await sync_to_async(world.say)("No reason to ask")
        assert await one.texts() == await two.texts() == ["No reason to ask"]
        assert question.asked == []
        world.room.topic = "Something else"
        await world.room.asave()
        await sync_to_async(world.say)("Afterwards")
        assert await one.texts() == await two.texts() == ["Afterwards"]
        assert sorted(question.asked) == ["ada", "bob"]


async def test_nothing_is_told_meanwhile(site: Site, world: World, question: Question) -> None:
    """As long as the answer isn't known nothing is given out, however many events come; then all of them."""
    goes_on = threading.Event()

    def slowly(user: Any, room: Room) -> bool:
        goes_on.wait(PATIENCE)
        return question.is_member(user, room)

    async with page(site, world.ada) as ada, page(site, world.bob) as bob:
        question.answer = slowly
        await sync_to_async(expel)(world)
        await sync_to_async(world.say)("And more")
        for somebody in (ada, bob):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await somebody.client.connection.recv()
        goes_on.set()
        assert await ada.texts() == ["Now that Bob is gone"]
        assert await ada.texts() == ["And more"]
        assert await bob.refusal() == NOT_FOUND


async def test_changed_while_asked(hub: Hub, world: World, question: Question) -> None:
    """Bob is asked for, is still a member; he is expelled, and then the answer comes: the next one counts."""
    asked, goes_on = threading.Event(), threading.Event()

    def late(user: Any, room: Room) -> bool:
        answer = question.is_member(user, room)
        asked.set()
        goes_on.wait(PATIENCE)
        return answer

    bob = await watch(hub, world, world.bob)
    question.answer = late
    await rxgraphql.atouch(world.room)
    await sync_to_async(asked.wait)(PATIENCE)
    (live,) = hub.replicas.values()
    before = live.guard.suspected_at
    await sync_to_async(expel)(world)
    async with asyncio.timeout(PATIENCE):
        while live.guard.suspected_at == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    goes_on.set()
    with pytest.raises(ChannelError, match="was not found"):
        await bob.next()


async def test_expelled_while_he_comes(
    hub: Hub, world: World, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bob gets permission, is expelled, and only then joins those who watch: he is asked for once more."""

    async def and_expelled(*arguments: Any) -> str:
        pk = await authorize(*arguments)
        await sync_to_async(expel)(world)
        await ada.next()
        return pk

    ada = await watch(hub, world, world.ada)
    monkeypatch.setattr(hubs, "authorize", and_expelled)
    with pytest.raises(ChannelError, match="was not found"):
        await watch(hub, world, world.bob)


async def test_many_viewers_wait_for_nothing(
    site: Site, world: World, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where asking takes long, events go on meanwhile; who has to go goes a moment later."""
    async with page(site, world.ada) as ada, page(site, world.bob) as bob:
        monkeypatch.setattr(guard, "HOLD_MOST", -1.0)
        await sync_to_async(expel)(world)
        assert await bob.texts() == ["Now that Bob is gone"]
        assert await bob.refusal() == NOT_FOUND
        assert await ada.texts() == ["Now that Bob is gone"]


async def test_loaded_anew(
    site: Site, world: World, question: Question, flush: Callable[[], None]
) -> None:
    """What happened while nobody could tell of it counts too: Redis lost all, and bulk SQL expelled Bob."""
    async with page(site, world.ada) as ada, page(site, world.bob) as bob:
        await Room.members.through.objects.filter(user=world.bob).adelete()
        await sync_to_async(flush)()
        assert await bob.refusal() == NOT_FOUND
        assert len(await ada.texts()) == 2


async def test_database_fails(
    site: Site, world: World, question: Question, caplog: pytest.LogCaptureFixture
) -> None:
    """No answer is no permission and no refusal: whoever waits is told, and gets all when the database is back."""
    failing = True

    def perhaps(user: Any, room: Room) -> bool:
        if failing:
            raise OperationalError("the server went away")
        return question.is_member(user, room)

    async with page(site, world.ada) as ada, page(site, world.bob) as bob:
        question.answer = perhaps
        await sync_to_async(expel)(world)
        for somebody in (ada, bob):
            (error,) = (await somebody.payload())["errors"]
            assert error["extensions"]["code"] == "DATABASE_ERROR"
        failing = False
        assert await ada.texts() == ["Now that Bob is gone"]
        assert await bob.refusal() == NOT_FOUND
    assert "went away" in caplog.text


async def test_the_question_fails(
    site: Site, world: World, question: Question, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in has_permission() opens nothing, at whatever time."""

    def mistaken(user: Any, room: Room) -> bool:
        raise ZeroDivisionError

    async with page(site, world.ada) as ada:
        question.answer = mistaken
        await rxgraphql.atouch(world.room)
        code, message = await ada.refusal()
    assert code == "PERMISSION_ERROR"
    assert "ZeroDivisionError" in caplog.text
    assert "ZeroDivision" not in message


@pytest.mark.parametrize("answer", [None, 1, "yes"])
async def test_only_true(site: Site, world: World, question: Question, answer: Any) -> None:
    async with page(site, world.ada) as ada:
        question.answer = lambda user, room: answer
        await rxgraphql.atouch(world.room)
        assert await ada.refusal() == NOT_FOUND


async def test_async_question(site: Site, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `async` has_permission() is asked again as well."""

    async def has_permission(channel: RoomChannel, user: Any, room: Room) -> bool:
        return await room.members.filter(pk=user.pk).aexists()

    monkeypatch.setattr(RoomChannel, "has_permission", has_permission)
    async with page(site, world.ada) as ada, page(site, world.bob) as bob:
        await sync_to_async(expel)(world)
        assert await bob.refusal() == NOT_FOUND
        assert await ada.texts() == ["Now that Bob is gone"]


async def test_not_in_the_query_set_any_more(
    site: Site, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query set of the channel's own that leaves the row out closes it; a row that is gone completes."""
    everything = RoomChannel.get_queryset
    async with page(site, world.ada) as ada:
        monkeypatch.setattr(
            RoomChannel, "get_queryset", lambda self: everything(self).exclude(topic="archived")
        )
        world.room.topic = "archived"
        await world.room.asave()
        assert await ada.refusal() == NOT_FOUND
    monkeypatch.undo()
    async with page(site, world.ada) as ada:
        await sync_to_async(rxgraphql.recheck)()
        await world.room.adelete()
        while (answer := await ada.client.receive())["type"] == "next":
            pass
        assert answer["type"] == "complete"


# ------------------------------------------------------------------------------------------ on call


async def test_recheck(site: Site, world: World, question: Question) -> None:
    """Groups are no part of the room: who changes them says so, and only those who are named are asked for."""
    staff = await Group.objects.acreate(name="staff")
    for user in (world.ada, world.bob):
        await user.groups.aadd(staff)
    question.answer = lambda user, room: user.groups.filter(name="staff").exists()
    async with page(site, world.ada) as ada, page(site, world.bob) as bob:
        question.asked.clear()
        await world.bob.groups.aclear()
        await rxgraphql.arecheck(world.bob)
        assert await bob.refusal() == NOT_FOUND
        assert question.asked == ["bob"]
        await rxgraphql.arecheck()
        await sync_to_async(world.say)("Ada stays")
        assert await ada.texts() == ["Ada stays"]
        assert question.asked == ["bob", "ada"]


async def test_recheck_with_the_commit(site: Site, world: World, question: Question) -> None:
    """In a transaction it is told with the commit: before it, the answer would be the old one."""

    @transaction.atomic
    def demote() -> None:
        rxgraphql.recheck(world.bob)
        Room.members.through.objects.filter(user=world.bob).delete()

    async with page(site, world.bob) as bob:
        await sync_to_async(demote)()
        assert await bob.refusal() == NOT_FOUND


async def test_recheck_of_an_inactive_user(site: Site, world: World) -> None:
    """Who may not log in any more loses the socket, with the code that asks for other credentials."""
    async with page(site, world.bob) as bob:
        await User.objects.filter(pk=world.bob.pk).aupdate(is_active=False)
        await rxgraphql.arecheck(world.bob)
        code, reason = await bob.client.closed()
    assert code == CloseCode.FORBIDDEN
    assert "inactive" in reason


def test_recheck_of_something_else(world: World) -> None:
    with pytest.raises(TypeError, match=r"takes users, not 'bob'"):
        rxgraphql.recheck("bob")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"one by one: recheck\(\*users\)"):
        rxgraphql.recheck(User.objects.all())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no primary key"):
        rxgraphql.recheck(User(username="new"))


def test_recheck_without_redis(
    world: World, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails nobody's request."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    rxgraphql.recheck(world.bob)
    assert "within RX_RECHECK" in caplog.text


# ------------------------------------------------------------------------------------------ from time to time


async def test_in_time(site: Site, world: World, question: Question, settings: Any) -> None:
    """What nobody told of is found all the same."""
    async with page(site, world.ada) as ada, page(site, world.bob) as bob:
        await Room.members.through.objects.filter(user=world.bob).adelete()
        settings.RX_RECHECK = 0.2
        assert await bob.refusal() == NOT_FOUND
        await sync_to_async(world.say)("Ada stays")
        assert await ada.texts() == ["Ada stays"]


async def test_token_is_gone(site: Site, world: World, settings: Any) -> None:
    """A token that was taken back closes the socket, also one that has no subscription."""
    settings.RX_RECHECK = 0.2
    async with page(site, world.ada) as ada, site.connect() as idle, page(site, world.bob) as bob:
        await idle.init({"token": (await Token.objects.aget(user=world.ada)).key})
        await Token.objects.filter(user=world.ada).adelete()
        assert await ada.client.closed() == (CloseCode.FORBIDDEN, "Invalid token.")
        assert await idle.closed() == (CloseCode.FORBIDDEN, "Invalid token.")
        await sync_to_async(world.say)("Bob stays")
        assert await bob.texts() == ["Bob stays"]


@pytest.mark.parametrize("how", ["logout", "password", "inactive", "deleted"])
async def test_session_has_ended(site: Site, world: World, settings: Any, how: str) -> None:
    """Who logged out, elsewhere changed the password, or isn't active any more loses the socket."""
    settings.RX_RECHECK = 0.2
    eve = await sync_to_async(User.objects.create_user)("visitor")
    headers = {"Cookie": await sync_to_async(session_cookie)(eve)}
    async with page(site, eve, additional_headers=headers) as visitor:
        await asyncio.sleep(0.5)
        await sync_to_async(world.say)("All is well")
        assert await visitor.texts() == ["All is well"]
        match how:
            case "logout":
                await Session.objects.all().adelete()
            case "password":
                await sync_to_async(eve.set_password)("another")
                await eve.asave()
            case "inactive":
                await User.objects.filter(pk=eve.pk).aupdate(is_active=False)
            case "deleted":
                await User.objects.filter(pk=eve.pk).adelete()
        code, reason = await visitor.client.closed()
    assert code == CloseCode.FORBIDDEN
    assert reason


async def test_stream(site: Site, world: World, settings: Any) -> None:
    """A stream over HTTP ends with the reason."""
    settings.RX_RECHECK = 0.2
    token = await Token.objects.acreate(user=world.ada)
    headers = {"Accept": "text/event-stream", "Authorization": f"Token {token.key}"}
    body = {"query": TEXTS, "variables": {"key": "lobby"}}
    async with (
        httpx.AsyncClient(base_url=site.origin, timeout=PATIENCE) as http,
        http.stream("POST", "/graphql/", json=body, headers=headers) as response,
    ):
        lines = response.aiter_lines()

        async def payload() -> Any:
            while not (line := await anext(lines)).startswith("data: "):
                pass
            return json.loads(line.removeprefix("data: "))

        assert "errors" not in await payload()
        await Token.objects.all().adelete()
        (error,) = (await payload())["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert [line async for line in lines if line.startswith("event: ")] == ["event: complete"]


async def test_users_of_no_database(hub: Hub, world: World, settings: Any) -> None:
    """Who isn't known, or is an object of the project's own, is only asked for permission."""
    settings.RX_RECHECK = 0.2
    watchers = [await watch(hub, world, user) for user in (AnonymousUser(), object())]
    await asyncio.sleep(0.6)
    await sync_to_async(world.say)("Hello")
    for watcher in watchers:
        await watcher.next()


async def test_silent_log(
    site: Site, world: World, question: Question, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal is nobody's mistake."""
    caplog.set_level(logging.INFO)
    async with page(site, world.bob) as bob:
        await sync_to_async(expel)(world)
        assert await bob.refusal() == NOT_FOUND
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "is closed to a subscriber" in caplog.text
