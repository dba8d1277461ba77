"""`touch()`: what no signal told is looked at again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from rxgraphql import atouch, capture, touch
from rxgraphql.changeset import ChangeSet
from rxgraphql.hub import Hub
from tests.changes import PATIENCE
from tests.folding import Watcher, expected
from tests.listening import Listener, keys
from tests.shelves.channels import ShelfChannel
from tests.shelves.models import Book, Receipt, Shelf, Shelving, WideShelf
from tests.shop import Shop, books

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.every_database,
]

SHELVING = "shelves.shelving"


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch, shop: Shop) -> list[tuple[str, ChangeSet]]:
    """What is published, and of which database."""
    published: list[tuple[str, ChangeSet]] = []
    monkeypatch.setattr(capture, "publish", lambda *args: published.append(args))
    return published


def test_instances(log: Listener, shop: Shop) -> None:
    """Instances, lists and generators of them, and query sets, all in one event."""
    touch(shop.one, [shop.shelf, shop.far], (book for book in [shop.two]))
    assert keys(log.entry()) == {*books(shop.one, shop.two, shop.far), "shelves.shelf:a"}
    touch()
    touch([])
    assert log.entries() == []


def test_query_sets(log: Listener, shop: Shop) -> None:
    """A query set costs one query for its keys, and one that was evaluated none."""
    found = Book.objects.filter(shelf=shop.shelf)
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        touch(found)
        assert [q["sql"].split()[0] for q in queries.captured_queries] == ["SELECT"]
    assert keys(log.entry()) == books(shop.one, shop.two, shop.three)
    evaluated = Book.objects.filter(sold=False, shelf=shop.shelf)
    assert len(evaluated) == 3
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shelves_book SET sold = %s", [True])
    touch(evaluated)
    assert keys(log.entry()) == books(shop.one, shop.two, shop.three)
    touch(Book.everything.order_by("-pk").values("title")[:1], Book.objects.none())
    assert keys(log.entry()) == books(shop.sold)
    touch(Book.objects.raw("SELECT * FROM shelves_book WHERE title = 'one'"))
    assert keys(log.entry()) == books(shop.one)


def test_transactions(log: Listener, shop: Shop) -> None:
    """It is told with the commit, and not at all after a rollback."""
    with transaction.atomic():
        touch(shop.one)
        assert log.entries() == []
    assert keys(log.entry()) == books(shop.one)
    with transaction.atomic():
        touch(shop.one)
        transaction.set_rollback(True)
    assert log.entries() == []


def test_links(marked: list[tuple[str, ChangeSet]], shop: Shop) -> None:
    """All links of an instance are looked at; a row of a table between is its link."""
    one, novel = str(shop.one.pk), str(shop.novel.pk)
    touch(shop.one)
    touch(shop.novel)
    touch(shop.shelving)
    touch(Shelving.objects.all())
    first, second, *others = [changes for _, changes in marked]
    assert first.link_ends == {(SHELVING, True, one)}
    assert second.link_ends == {(SHELVING, False, novel)}
    assert [changes.links for changes in others] == [{SHELVING: {(one, novel)}}] * 2


def test_rows_of_automatic_tables(
    marked: list[tuple[str, ChangeSet]], transactional_db: Any
) -> None:
    """A query set of a table that Django made between two models marks links."""
    from tests.changes import World
    from tests.chat.models import Room

    world = World()
    marked.clear()
    touch(Room.members.through.objects.filter(user=world.ada))
    ((_, changes),) = marked
    assert changes.links == {"chat.room_members": {(str(world.room.pk), str(world.ada.pk))}}


def test_inherited_tables(log: Listener, shop: Shop) -> None:
    """A row whose table stands beside another is that one's row."""
    WideShelf.objects.create(id="w")
    log.entries()
    touch(WideShelf.objects.all())
    assert keys(log.entry()) == {"shelves.shelf:w"}


def test_models_that_nobody_reads(log: Listener, shop: Shop) -> None:
    """Nothing happens, and nothing is asked."""
    receipt = Receipt.objects.create(book=shop.one)
    with CaptureQueriesContext(connection) as queries:
        touch(receipt, Receipt.objects.all(), [receipt], Receipt())
    assert len(queries) == 0
    assert log.entries() == []


class Replicas:
    """Reads go to a copy, writes to the primary database."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "other"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_replicas(marked: list[tuple[str, ChangeSet]], shop: Shop, settings: Settings) -> None:
    """What was read from a replica of the database is told of the one that is written to."""
    settings.DATABASE_ROUTERS = ["tests.test_touch.Replicas"]
    shop.one._state.db = "other"
    touch(shop.one)
    with CaptureQueriesContext(connections["other"]) as queries:
        touch(Shelf.objects.all())
    assert [using for using, _ in marked] == ["default", "default"]
    assert len(queries) == 0


@pytest.mark.parametrize(
    "thing", [3, "x", None, Book, Book.objects, {"pk": 3}, [3], [None], "shelves.Book"]
)
def test_other_things(thing: Any, log: Listener, shop: Shop) -> None:
    """Anything else is an error that says what is taken, and then nothing is told."""
    with pytest.raises(TypeError, match="model instances, iterables of instances, and query sets"):
        touch(shop.one, thing)
    assert log.entries() == []


def test_no_key(log: Listener, shop: Shop) -> None:
    """An instance without a key is an error: nobody knows which row it is."""
    with pytest.raises(ValueError, match="Save it first"):
        touch(Book(title="new"))


async def test_subscribers(hub: Hub, transactional_db: None, redis_url: str) -> None:
    """Raw SQL on rows and on a table between is seen by touching what it concerns."""
    shop = await sync_to_async(Shop)()
    watcher = await Watcher.open(hub, ShelfChannel, "a", "a")

    def link() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO shelves_shelving (book_id, genre_id, weight) "
                "SELECT %s, genre_id, 0 FROM shelves_shelving",
                [shop.two.pk],
            )

    def rename() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE shelves_book SET title = 'raw'")

    for change, things in ((link, shop.two), (rename, Book.everything.all())):
        await sync_to_async(change)()
        await atouch(things)
        async with asyncio.timeout(PATIENCE):
            event = await watcher.next()
        assert event["kind"] == "CHANGE"
        assert watcher.state() == await sync_to_async(expected)(ShelfChannel, "a")
