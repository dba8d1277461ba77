"""Who watches is asked again: when the anchor changes, from time to time, and on call."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import logging
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import DataError, OperationalError, transaction
from rest_framework.authtoken.models import Token

import rxgraphql
from rxgraphql import auth, follower, guard
from rxgraphql import hub as hubs
from rxgraphql.authorize import authorize
from rxgraphql.codes import CloseCode
from rxgraphql.errors import ChannelError, RefusedError
from rxgraphql.hub import Hub, get_hub
from rxgraphql.protocol import Handler
from rxgraphql.viewer import Viewer
from tests.changes import World
from tests.chat.channels import RoomChannel
from tests.chat.models import Room
from tests.folding import Watcher, expected
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


async def test_nothing_is_told_meanwhile(
    site: Site, world: World, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the answer isn't known nothing is given out, however many events come; then all of them."""
    monkeypatch.setattr(guard, "HOLD_MOST", PATIENCE)
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
    with pytest.raises(TypeError, match=r"takes users, not <Room"):
        rxgraphql.recheck(world.room)
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


# ------------------------------------------------------------------------------------------ what must not hang or open


@contextlib.asynccontextmanager
async def busy(world: World, pause: float) -> AsyncIterator[None]:
    """The room is saved again and again."""

    async def save() -> None:
        for number in itertools.count():
            world.room.topic = f"topic {number}"
            await world.room.asave()
            await asyncio.sleep(pause)

    saving = asyncio.create_task(save())
    try:
        yield
    finally:
        saving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await saving


async def told(watcher: Watcher, text: str) -> None:
    """Takes events until one has the message."""
    async with asyncio.timeout(PATIENCE):
        while True:
            payload = await anext(watcher.subscriber)
            event = (payload.data or {}).get("room") or {"messages": []}
            if any(message["text"] == text for message in event["messages"]):
                return


async def test_busy_anchor(hub: Hub, world: World, question: Question) -> None:
    """The anchor changes faster than anybody can be asked for: events go on, and Bob goes all the same."""

    def slowly(user: Any, room: Room) -> bool:
        time.sleep(0.05)
        return question.is_member(user, room)

    ada = await watch(hub, world, world.ada)
    bob = await watch(hub, world, world.bob)
    question.answer = slowly
    async with busy(world, 0.02):
        async with asyncio.timeout(PATIENCE):
            for _ in range(20):
                await ada.next()
        await sync_to_async(expel)(world)
        with pytest.raises(ChannelError, match="was not found"):
            await told(bob, "never said")


async def test_question_that_saves_the_anchor(hub: Hub, world: World, question: Question) -> None:
    """It is a reason to ask again each time; but not as fast as the database can."""

    def noting(user: Any, room: Room) -> bool:
        Room.objects.get(pk=room.pk).save()
        return True

    ada = await watch(hub, world, world.ada)
    question.answer = noting
    await rxgraphql.atouch(world.room)
    await asyncio.sleep(1)
    question.asked.clear()
    await sync_to_async(world.say)("Hello")
    await told(ada, "Hello")
    await asyncio.sleep(2)
    assert 1 <= len(question.asked) <= 3 * guard.MOST_ROUNDS


async def test_slow_question(hub: Hub, world: World, question: Question) -> None:
    """Events wait for an answer for HOLD_MOST seconds at most."""
    goes_on = threading.Event()
    ada = await watch(hub, world, world.ada)
    question.answer = lambda user, room: goes_on.wait(PATIENCE)
    await rxgraphql.atouch(world.room)
    await sync_to_async(world.say)("Hello")
    began = time.monotonic()
    await told(ada, "Hello")
    assert 0.3 < time.monotonic() - began < 2
    goes_on.set()


async def test_expelled_while_the_first_one_loads(
    hub: Hub, world: World, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bob, the first who comes, gets permission and is expelled; only then the state is loaded."""

    async def and_expelled(*arguments: Any) -> str:
        pk = await authorize(*arguments)
        await sync_to_async(expel)(world)
        return pk

    monkeypatch.setattr(hubs, "authorize", and_expelled)
    with pytest.raises(ChannelError, match="was not found"):
        await watch(hub, world, world.bob)


async def test_recheck_before_the_subscription(
    site: Site, world: World, question: Question
) -> None:
    """An open socket without a subscription: its user is demoted, and subscribes then."""
    question.answer = lambda user, room: user.is_staff
    for user in (world.ada, world.bob):
        user.is_staff = True
        await user.asave()
    async with page(site, world.ada), site.connect() as idle:
        await idle.init({"token": (await Token.objects.acreate(user=world.bob)).key})
        await User.objects.filter(pk=world.bob.pk).aupdate(is_staff=False)
        await rxgraphql.arecheck(world.bob)
        await asyncio.sleep(0.5)
        await idle.subscribe(TEXTS, variables={"key": "lobby"})
        assert await Page(idle).refusal() == NOT_FOUND


async def test_row_gone(
    hub: Hub, world: World, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bob is expelled, and the room is gone before he is asked for: what waited isn't for him, and it completes."""
    asked, goes_on = threading.Event(), threading.Event()

    def late(user: Any, room: Room) -> bool:
        asked.set()
        return goes_on.wait(PATIENCE)

    bob = await watch(hub, world, world.bob)
    (live,) = hub.replicas.values()
    question.answer = late
    await rxgraphql.atouch(world.room)
    await sync_to_async(asked.wait)(PATIENCE)
    before = live.guard.suspected_at
    await sync_to_async(expel)(world)
    async with asyncio.timeout(PATIENCE):
        while live.guard.suspected_at == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # nothing tells of the deletion
    monkeypatch.setattr(hub, "take", lambda entry, fresh: None)
    await world.room.adelete()
    goes_on.set()
    with pytest.raises(StopAsyncIteration):
        async with asyncio.timeout(PATIENCE):
            await bob.next()


@pytest.mark.parametrize("error", [DataError("too long"), OperationalError("timeout")])
async def test_one_answer_fails(
    hub: Hub, world: World, question: Question, error: Exception
) -> None:
    """What the database can't answer of Bob keeps nobody else from anything."""

    def of_bob(user: Any, room: Room) -> bool:
        if user == world.bob:
            raise error
        return True

    ada = await watch(hub, world, world.ada)
    bob = await watch(hub, world, world.bob)
    question.answer = of_bob
    await rxgraphql.atouch(world.room)
    await sync_to_async(world.say)("For Ada")
    await told(ada, "For Ada")
    payload = await anext(bob.subscriber)
    assert [error["extensions"]["code"] for error in payload.errors] == ["DATABASE_ERROR"]


async def test_credentials_that_fail(hub: Hub, world: World, question: Question) -> None:
    """An authenticator of the project's own raises something else: that is nobody's permission either."""

    def ask() -> Any:
        raise PermissionError("blocked")

    ada = await watch(hub, world, world.ada)
    bob = await watch(hub, world, Viewer(world.bob, ask))
    await rxgraphql.atouch(world.room)
    await sync_to_async(world.say)("For Ada")
    await told(ada, "For Ada")
    with pytest.raises(ChannelError, match="could not be told"):
        await bob.next()


@pytest.mark.parametrize("loser", ["one", "two"])
async def test_guests(hub: Hub, world: World, question: Question, loser: str) -> None:
    """Two guests whom has_permission() tells apart have an answer each; and what is said later goes to one only."""
    allowed = {"one", "two"}
    question.answer = lambda user, room: user.username in allowed
    guests = {
        name: SimpleNamespace(username=name, is_authenticated=False, is_active=True)
        for name in sorted(allowed)
    }
    watchers = {name: await watch(hub, world, guest) for name, guest in guests.items()}
    allowed.discard(loser)
    await rxgraphql.atouch(world.room)
    await sync_to_async(world.say)("For one of them")
    (stays,) = allowed
    await told(watchers[stays], "For one of them")
    with pytest.raises(ChannelError):
        await watchers[loser].next()


async def test_user_of_another_service(hub: Hub, world: World) -> None:
    """A user that never was in a database of this project is who it is."""
    watcher = await watch(hub, world, User(pk=4711, username="remote"))
    await rxgraphql.atouch(world.room)
    await sync_to_async(world.say)("Hello")
    await told(watcher, "Hello")


async def test_mistake_in_the_query_set(
    hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What get_queryset() raises is no answer: it is told, and asked again. So is what no future can hold."""
    everything = RoomChannel.get_queryset
    mistakes = [StopIteration(), ZeroDivisionError()]

    def get_queryset(channel: RoomChannel) -> Any:
        if mistakes:
            raise mistakes.pop()
        return everything(channel)

    ada = await watch(hub, world, world.ada)
    monkeypatch.setattr(RoomChannel, "get_queryset", get_queryset)
    await rxgraphql.atouch(world.room)
    await sync_to_async(world.say)("Hello")
    payload = await anext(ada.subscriber)
    assert [error["extensions"]["code"] for error in payload.errors] == ["INTERNAL"]
    await told(ada, "Hello")
    assert mistakes == []


async def test_two_troubles(hub: Hub, world: World, question: Question) -> None:
    """Redis and the database are away: it goes on when both are back, and each is told."""
    answers = False

    def perhaps(user: Any, room: Room) -> bool:
        if not answers:
            raise OperationalError("gone")
        return True

    async def code() -> str:
        async with asyncio.timeout(PATIENCE):
            payload = await anext(ada.subscriber)
        (error,) = payload.errors or [{"extensions": {"code": ""}}]
        found: str = error["extensions"]["code"]
        return found

    ada = await watch(hub, world, world.ada)
    question.answer = perhaps
    await rxgraphql.atouch(world.room)
    await asyncio.sleep(0.3)
    hub.away()
    hub.back()
    assert await code() == "DATABASE_ERROR"
    hub.away()
    assert await code() == "UNAVAILABLE"
    answers = True
    coming = asyncio.create_task(code())
    await asyncio.sleep(7)
    assert not coming.done()
    hub.back()
    assert await coming == ""


async def test_nobody_is_kept(hub: Hub, world: World, question: Question) -> None:
    """Who left while the database was away is forgotten."""
    failing = True

    def perhaps(user: Any, room: Room) -> bool:
        if failing:
            raise OperationalError("gone")
        return True

    await watch(hub, world, world.ada)
    bob = await watch(hub, world, world.bob)
    question.answer = perhaps
    await rxgraphql.atouch(world.room)
    await anext(bob.subscriber)
    left = weakref.ref(bob.subscriber)
    await bob.subscriber.aclose()
    failing = False
    del bob
    async with asyncio.timeout(PATIENCE):
        while left() is not None:
            gc.collect()
            await asyncio.sleep(0.1)


async def test_inspection_ends_with_the_socket(
    site: Site, world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that goes while its credentials are looked at is not looked at any more."""
    settings.RX_RECHECK = 0.2
    looking, looks = threading.Event(), 0

    class Slow(Viewer):
        def look(self, since: float) -> Any:
            nonlocal looks
            looks += 1
            looking.set()
            time.sleep(0.2)
            return super().look(since)

    monkeypatch.setattr(auth, "Viewer", Slow)
    async with site.connect() as client:
        await client.init({"token": (await Token.objects.acreate(user=world.ada)).key})
        await sync_to_async(looking.wait)(PATIENCE)
    await asyncio.sleep(0.5)
    before = looks
    await asyncio.sleep(1)
    assert looks == before


async def test_rotated_key(site: Site, world: World, settings: Any) -> None:
    """SECRET_KEY is a new one, and the old one a fallback: a look changes nothing of the browser's session."""
    eve = await sync_to_async(User.objects.create_user)("visitor")
    cookie = await sync_to_async(session_cookie)(eve)
    key = cookie.partition("=")[2]
    async with page(site, eve, additional_headers={"Cookie": cookie}) as visitor:
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "another one that is long enough to be a key"
        settings.RX_RECHECK = 0.2
        await asyncio.sleep(1)
        assert await Session.objects.filter(session_key=key).aexists()
        await sync_to_async(world.say)("All is well")
        assert await visitor.texts() == ["All is well"]


def test_impersonation(world: World) -> None:
    """A middleware shows somebody else as the user: it is the session that has to last."""
    cookie = session_cookie(world.ada)
    viewer = auth.session_viewer(world.bob, SessionStore(cookie.partition("=")[2]))
    assert viewer.look(time.monotonic()) == world.bob
    Session.objects.all().delete()
    with pytest.raises(RefusedError, match="has ended"):
        viewer.look(time.monotonic())


def test_look_of_two_threads() -> None:
    """The one that began first and is done last must not win."""
    began, goes_on = threading.Event(), threading.Event()

    def ask() -> str:
        if not began.is_set():
            began.set()
            goes_on.wait(PATIENCE)
            return "before"
        return "now"

    viewer = Viewer("at first", ask)
    first = threading.Thread(target=viewer.look, args=(time.monotonic(),))
    first.start()
    began.wait(PATIENCE)
    assert viewer.look(time.monotonic()) == "now"
    goes_on.set()
    first.join()
    assert viewer.user == "now"


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("using", ["default", "other"])
@pytest.mark.parametrize("by_hand", [False, True], ids=["atomic", "by hand"])
async def test_recheck_in_any_transaction(
    site: Site, world: World, question: Question, using: str, by_hand: bool
) -> None:
    """Whichever database decides, and however its transaction is made: it is told with the commit."""

    def demote() -> None:
        if by_hand:
            transaction.set_autocommit(False, using=using)
        try:
            with contextlib.nullcontext() if by_hand else transaction.atomic(using=using):
                list(User.objects.using(using).all()[:1])
                rxgraphql.recheck(world.bob)
                time.sleep(0.3)
                assert question.asked == []
                question.answer = lambda user, room: False
            if by_hand:
                transaction.commit(using=using)
        finally:
            if by_hand:
                transaction.set_autocommit(True, using=using)

    async with page(site, world.bob) as bob:
        question.asked.clear()
        await sync_to_async(demote)()
        assert await bob.refusal() == NOT_FOUND


async def test_recheck_of_very_many(site: Site, world: World, question: Question) -> None:
    """More users than an entry should name are everyone."""
    async with page(site, world.bob) as bob:
        question.answer = lambda user, room: False
        await rxgraphql.arecheck(*[User(pk=10**7 + number) for number in range(10_001)])
        assert await bob.refusal() == NOT_FOUND


async def test_many_events_while_held(
    hub: Hub, world: World, question: Question, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More events than may wait, and Redis away and back meanwhile: the state is right in the end."""
    settings.RX_MAX_PENDING = 3
    monkeypatch.setattr(guard, "HOLD_MOST", PATIENCE)
    goes_on = threading.Event()

    def late(user: Any, room: Room) -> bool:
        goes_on.wait(PATIENCE)
        return question.is_member(user, room)

    ada = await watch(hub, world, world.ada)
    bob = await watch(hub, world, world.bob)
    question.answer = late
    await sync_to_async(expel)(world)
    for number in range(10):
        await sync_to_async(world.say)(f"{number}")
    hub.away()
    hub.back()
    goes_on.set()
    wanted = await sync_to_async(expected)(RoomChannel, world.room.pk)
    async with asyncio.timeout(PATIENCE):
        while ada.state() != wanted:
            await ada.next()
    with pytest.raises(ChannelError, match="was not found"):
        await bob.next()
