"""Bulk operations through LiveManager and LiveQuerySet: each row that changes is named, in one event at the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat, Lower
from django.test.utils import CaptureQueriesContext

from rxgraphql import LiveManager, LiveQuerySet, capture, managers
from rxgraphql.changeset import ChangeSet
from rxgraphql.hub import Hub
from tests.changes import PATIENCE, elsewhere
from tests.folding import Watcher, expected
from tests.listening import Listener, keys, links
from tests.shelves.channels import ShelfChannel
from tests.shelves.models import Book, Genre, Receipt, Shelf, Shelving, WideShelf
from tests.shop import Shop, books

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.every_database,
]


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch, shop: Shop) -> list[ChangeSet]:
    """What is published, a change set for each commit."""
    published: list[ChangeSet] = []
    monkeypatch.setattr(capture, "publish", lambda using, changes: published.append(changes))
    return published


# ------------------------------------------------------------------------------------------ update


def test_update(log: Listener, shop: Shop) -> None:
    """The rows that matched are in one entry, and no other."""
    assert Book.objects.filter(shelf=shop.shelf, position__gt=0).update(title="new") == 2
    assert keys(log.entry()) == books(shop.two, shop.three)


def test_update_out_of_its_own_filter(log: Listener, shop: Shop) -> None:
    """Rows that no longer match after the update are named all the same, through the project's own method too."""
    assert Book.objects.filter(shelf=shop.shelf).sell() == 3
    assert keys(log.entry()) == books(shop.one, shop.two, shop.three)
    assert Book.objects.filter(shelf=shop.shelf).update(title="none") == 0
    assert log.entries() == []


def test_update_in_a_transaction(log: Listener, shop: Shop) -> None:
    """All that a transaction does is one entry, at its commit; what was rolled back is none."""
    with transaction.atomic():
        Book.objects.filter(pk=shop.one.pk).update(title="new")
        Shelf.objects.update(name="new")
        shop.far.save()
        assert log.entries() == []
    assert keys(log.entry()) == {*books(shop.one, shop.far), "shelves.shelf:a", "shelves.shelf:b"}
    with transaction.atomic():
        Book.objects.update(title="never")
        transaction.set_rollback(True)
    assert log.entries() == []


@pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="SQLite lets one writer at a time begin"
)
def test_rows_that_match_in_between(
    log: Listener, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys are read; another writer commits a row that matches and takes one out; then the update runs.

    The row that came is not changed, as if it had come a moment later; the one that went isn't either.
    """
    choose = LiveQuerySet._rx_choose

    def choose_and_wait(self: Any, marks: Any) -> Any:
        chosen = choose(self, marks)
        monkeypatch.undo()
        elsewhere(lambda: Book.everything.filter(pk=shop.far.pk).update(position=9))
        elsewhere(lambda: Book.everything.filter(pk=shop.two.pk).update(position=0))
        return chosen

    monkeypatch.setattr(LiveQuerySet, "_rx_choose", choose_and_wait)
    assert Book.objects.filter(position__gte=1).update(title="new") == 1
    titles = dict(Book.everything.values_list("pk", "title"))
    assert [titles[book.pk] for book in (shop.two, shop.three, shop.far)] == ["two", "new", "far"]
    assert keys(log.entries()[-1]) >= books(shop.three)


def test_update_through_other_tables(log: Listener, shop: Shop) -> None:
    """Filters by joins, annotations, orderings and values() choose the same rows as without us."""
    by_genre = Book.objects.filter(genres__name="novel").order_by("-title").distinct()
    assert by_genre.update(title="x") == 1
    assert keys(log.entry()) == books(shop.one)
    counted = Book.objects.annotate(n=models.Count("genres")).filter(n=0, shelf=shop.shelf)
    assert counted.values("title").update(title="y") == 2
    assert keys(log.entry()) == books(shop.two, shop.three)


def test_updates_that_django_refuses(log: Listener, shop: Shop) -> None:
    """Django's own errors come as they are, also when no row matches."""
    with pytest.raises(TypeError, match="slice"):
        Book.objects.all()[:1].update(title="x")
    with pytest.raises(Exception, match="nothing"):
        Book.objects.none().update(nothing=1)
    assert log.entries() == []


def test_inherited_tables(log: Listener, shop: Shop) -> None:
    """A column of the parent's table that is updated through the child is the parent's row."""
    wide = WideShelf.objects.create(id="w", name="Wide")
    log.entries()
    assert WideShelf.objects.update(name="Wider", width=3) == 1
    assert keys(log.entry()) == {"shelves.shelf:w"}
    wide.refresh_from_db()
    assert (wide.name, wide.width) == ("Wider", 3)


def test_a_key_changes(log: Listener, shop: Shop) -> None:
    """The row of the old key is gone and that of the new one is there."""
    Shelf.objects.create(id="empty")
    log.entries()
    Shelf.objects.filter(id="empty").update(id="full")
    assert keys(log.entry()) == {"-shelves.shelf:empty", "shelves.shelf:full"}


def test_keys_that_nobody_can_name(marked: list[ChangeSet], shop: Shop) -> None:
    """Keys that the database makes are unknown to all: the label is."""
    Shelf.objects.create(id="empty")
    Shelf.objects.filter(id="empty").update(id=Concat(F("id"), Value("!")))
    assert marked[-1].unknown == {"shelves.shelf"}


def test_links_that_change(marked: list[ChangeSet], shop: Shop) -> None:
    """A row of a table between that gets other ends is the link that it was and the one that it is."""
    label = "shelves.shelving"
    one, novel, essay = str(shop.one.pk), str(shop.novel.pk), str(shop.essay.pk)
    Shelving.objects.update(genre=shop.essay)
    assert marked[-1].links == {label: {(one, novel), (one, essay)}}
    Shelving.objects.update(weight=3)
    assert marked[-1].links == {label: {(one, essay)}}
    shop.shelving.refresh_from_db()
    shop.shelving.genre = shop.novel
    Shelving.objects.bulk_update([shop.shelving], ["genre"])
    assert marked[-1].links == {label: {(one, novel), (one, essay)}}
    assert not any(changes.links_unknown or changes.unknown for changes in marked)


def test_too_many_rows(
    marked: list[ChangeSet], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a bound the rows aren't named: what depends on them is loaded anew."""
    monkeypatch.setattr(managers, "MOST_ROWS", 2)
    assert Book.objects.filter(shelf=shop.shelf).update(title="x") == 3
    assert (marked[-1].unknown, marked[-1].rows) == ({"shelves.book"}, {})
    assert Book.objects.filter(pk__in=[shop.one.pk, shop.two.pk]).update(title="y") == 2
    assert len(marked[-1].rows["shelves.book"]) == 2


# ------------------------------------------------------------------------------------------ bulk_create, bulk_update


def test_bulk_create(log: Listener, shop: Shop) -> None:
    """New rows are one entry."""
    made = Book.objects.bulk_create(Book(shelf=shop.shelf, title=f"{n}") for n in range(3))
    assert keys(log.entry()) == books(*made)
    assert Book.objects.bulk_create([]) == []
    assert log.entries() == []


def test_bulk_create_links(marked: list[ChangeSet], shop: Shop) -> None:
    """Rows of a table between are links, whether or not their own keys are known."""
    Shelving.objects.bulk_create(
        [Shelving(book=shop.two, genre=shop.novel), Shelving(book=shop.one, genre=shop.novel)],
        ignore_conflicts=True,
    )
    novel = str(shop.novel.pk)
    assert marked[-1].links == {
        "shelves.shelving": {(str(shop.one.pk), novel), (str(shop.two.pk), novel)}
    }
    assert not marked[-1].unknown


def test_bulk_create_ignoring_conflicts(marked: list[ChangeSet], shop: Shop) -> None:
    """Keys that were given are named; of those that the database makes and doesn't tell, the label is unknown."""
    Genre.objects.bulk_create([Genre(name="poem"), Genre(name="novel")], ignore_conflicts=True)
    assert len(marked[-1].rows["shelves.genre"]) == 2
    assert not marked[-1].unknown
    Book.objects.bulk_create([Book(title="new")], ignore_conflicts=True)
    assert marked[-1].unknown == {"shelves.book"}


def test_upserts(log: Listener, shop: Shop) -> None:
    """An upsert by another unique column changes the row that is there, whose key isn't the new object's."""
    Genre.objects.bulk_create(
        [Genre(name="novel"), Genre(name="poem")],
        update_conflicts=True,
        update_fields=["name"],
        unique_fields=["name"],
    )
    poem = Genre.objects.get(name="poem")
    found = keys(log.entry())
    assert {f"shelves.genre:{shop.novel.pk}", f"shelves.genre:{poem.pk}"} <= found
    assert not [key for key in found if key.startswith("shelves") and f"{shop.essay.pk}" in key]


def test_upserts_by_key(log: Listener, shop: Shop) -> None:
    """An upsert by the primary key names the keys, and asks nothing more than Django does."""
    with CaptureQueriesContext(connection) as queries:
        Shelf.objects.bulk_create(
            [Shelf(id="a", name="New"), Shelf(id="z")],
            update_conflicts=True,
            update_fields=["name"],
            unique_fields=["id"],
        )
        before_commit = [q["sql"].split()[0] for q in queries.captured_queries]
    assert before_commit[: before_commit.index("COMMIT")].count("SELECT") == 0
    assert keys(log.entry()) == {"shelves.shelf:a", "shelves.shelf:z"}


def test_bulk_update(log: Listener, shop: Shop) -> None:
    """The objects' rows are one entry, and their keys aren't asked for."""
    for book in (shop.one, shop.two):
        book.title += "!"
    with CaptureQueriesContext(connection) as queries:
        assert Book.everything.bulk_update([shop.one, shop.two], ["title"], batch_size=1) == 2
        verbs = [q["sql"].split()[0] for q in queries.captured_queries]
    assert verbs[: verbs.index("COMMIT")] == ["BEGIN", "UPDATE", "UPDATE"]
    assert keys(log.entry()) == books(shop.one, shop.two)


def test_update_or_create(log: Listener, shop: Shop) -> None:
    """What saves is seen once, by its signal."""
    Shelf.objects.update_or_create(id="a", defaults={"name": "New"})
    assert keys(log.entry()) == {"shelves.shelf:a"}
    book, created = shop.other.books.get_or_create(title="here")
    assert created
    assert keys(log.entry()) == books(book)


# ------------------------------------------------------------------------------------------ delete


def test_delete(log: Listener, shop: Shop) -> None:
    """Deleted rows are gone, and so are their links."""
    gone = {f"-{key}" for key in books(shop.one, shop.two, shop.three)}
    Book.objects.filter(shelf=shop.shelf).delete()
    entry = log.entry()
    assert keys(entry) == gone
    assert ("shelves.shelving", str(shop.one.pk), str(shop.novel.pk), False) in links(entry)


def test_raw_delete(log: Listener, shop: Shop) -> None:
    """A deletion that sends no signal is seen too."""
    assert Shelving.objects.all()._raw_delete("default") == 1
    entry = log.entry()
    assert links(entry) == {("shelves.shelving", str(shop.one.pk), str(shop.novel.pk), False)}
    assert Book.objects.filter(position__gt=0)._raw_delete("default") == 2
    assert keys(log.entry()) == {f"-{key}" for key in books(shop.two, shop.three)}


# ------------------------------------------------------------------------------------------ the reverse side


def test_reverse_managers(log: Listener, shop: Shop) -> None:
    """add, remove, clear and set of a reverse foreign key are seen, in bulk and one by one."""
    shelf = shop.shelf
    for bulk in (True, False):
        shelf.books.add(shop.far, shop.lost, bulk=bulk)
        assert set().union(*map(keys, log.entries())) == books(shop.far, shop.lost)
        shelf.books.remove(shop.far, bulk=bulk)
        assert set().union(*map(keys, log.entries())) == books(shop.far)
        shelf.books.set([shop.one, shop.lost], bulk=bulk)
        assert set().union(*map(keys, log.entries())) == books(shop.two, shop.three)
        shelf.books.clear(bulk=bulk)
        assert set().union(*map(keys, log.entries())) == books(shop.one, shop.lost)
        Book.everything.filter(title__in=["one", "two", "three"]).update(shelf=shelf)
        log.entries()


def test_reverse_managers_by_other_managers(log: Listener, shop: Shop) -> None:
    """Another manager of the model is as good."""
    shop.shelf.books(manager="everything").add(shop.far)
    assert keys(log.entry()) == books(shop.far)


def test_reverse_managers_of_links(marked: list[ChangeSet], shop: Shop) -> None:
    """A row of a table between that is handed over was a link that nobody knows any more."""
    shop.two.shelving_set.add(shop.shelving)
    assert marked[-1].links_unknown == {"shelves.shelving"}
    assert marked[-1].links == {"shelves.shelving": {(str(shop.two.pk), str(shop.novel.pk))}}


def test_reverse_managers_ask_nothing_more(log: Listener, shop: Shop) -> None:
    """`add()` sends Django's own update."""
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        shop.shelf.books.add(shop.far)
        verbs = [query["sql"].split()[0] for query in queries.captured_queries]
    assert [verb for verb in verbs if verb != "BEGIN"] == ["UPDATE"]


def test_migrations_see_nothing() -> None:
    """Our managers need no migration."""
    from django.db.migrations.state import ModelState

    for model in (Shelf, Receipt, Genre, Shelving, WideShelf):
        assert ModelState.from_model(model).managers == []


def test_query_sets_of_another_kind() -> None:
    """A LiveManager of query sets that see nothing is an error at once, with the way out."""
    with pytest.raises(TypeError, match="inherit from LiveQuerySet"):
        LiveManager.from_queryset(models.QuerySet)


# ------------------------------------------------------------------------------------------ what it costs


def test_models_that_nobody_reads(log: Listener, shop: Shop) -> None:
    """They get Django's own statements and nothing else."""
    receipt = Receipt.objects.create(book=shop.one)
    with CaptureQueriesContext(connection) as queries:
        Receipt.objects.update(total=1)
        Receipt.objects.filter(total=2).delete()
        shop.one.receipts.add(receipt)
        Receipt.objects.bulk_create([Receipt()])
    verbs = [query["sql"].split()[0] for query in queries.captured_queries]
    assert [v for v in verbs if v not in ("BEGIN", "COMMIT")] == [
        "UPDATE",
        "DELETE",
        "UPDATE",
        "INSERT",
    ]
    assert log.entries() == []


# ------------------------------------------------------------------------------------------ to the client


CHANGES: list[Callable[[Shop], Any]] = [
    lambda s: Book.objects.filter(shelf=s.shelf).update(title="new"),
    lambda s: Book.objects.filter(position=1).sell(),
    lambda s: Book.everything.filter(sold=True).update(sold=False),
    lambda s: Book.objects.filter(shelf=s.shelf).update(position=-F("position")),
    lambda s: Book.objects.filter(pk=s.two.pk).update(shelf=s.other),
    lambda s: Book.objects.bulk_create([Book(shelf=s.shelf, title="a"), Book(title="b")]),
    lambda s: Shelving.objects.bulk_create([Shelving(book=s.two, genre=s.essay)]),
    lambda s: Shelving.objects.update(genre=s.essay),
    lambda s: Shelving.objects.all()._raw_delete("default"),
    lambda s: Genre.objects.update(name=Concat(F("name"), Value("!"))),
    lambda s: s.shelf.books.add(s.far, s.lost),
    lambda s: s.shelf.books.clear(),
    lambda s: s.shelf.books.set([s.three, s.lost]),
    lambda s: s.other.books.set([s.one]),
    lambda s: s.one.genres.set([s.essay]),
    lambda s: Shelf.objects.filter(pk="a").update(name="new"),
    lambda s: Book.objects.filter(pk=s.one.pk).delete(),
]


ASYNC_CHANGES: list[Callable[[Shop], Awaitable[Any]]] = [
    lambda s: Book.objects.filter(shelf=s.shelf).aupdate(title="async"),
    lambda s: Book.objects.abulk_create([Book(shelf=s.shelf, title="async")]),
    lambda s: Book.objects.abulk_update([Book(pk=s.one.pk, title="async")], ["title"]),
    lambda s: Book.objects.filter(shelf=s.shelf).adelete(),
    lambda s: s.shelf.books.aadd(s.lost),
    lambda s: s.shelf.books.aremove(s.one),
    lambda s: s.shelf.books.aset([s.lost]),
]


@pytest.mark.parametrize("number", range(len(CHANGES) + len(ASYNC_CHANGES)))
async def test_subscribers(number: int, hub: Hub, transactional_db: None, redis_url: str) -> None:
    """After one event a subscriber has what the serializer gives."""
    shop = await sync_to_async(Shop)()
    watcher = await Watcher.open(hub, ShelfChannel, "a", "a")
    if number < len(CHANGES):
        await sync_to_async(CHANGES[number])(shop)
    else:
        await ASYNC_CHANGES[number - len(CHANGES)](shop)
    async with asyncio.timeout(PATIENCE):
        event = await watcher.next()
    assert event["kind"] == "CHANGE"
    assert watcher.state() == await sync_to_async(expected)(ShelfChannel, "a")


def test_generic_relations() -> None:
    """`add()` of a generic relation is seen as that of a foreign key; that of a link needs no help."""
    from django.contrib.contenttypes.fields import create_generic_related_manager

    generic: Any = create_generic_related_manager(LiveManager, None)
    assert hasattr(generic.add, "__wrapped__")
    assert generic.add.__wrapped__.alters_data
    assert generic.add.alters_data
    assert not hasattr(type(Book(pk=1).genres).add, "__wrapped__")


def test_keys_of_expressions(log: Listener) -> None:
    """The database makes the key of an expression, and nobody can name the row."""
    Shelf.objects.create(id=Lower(Value("SAVED")))
    assert log.entry().unknown == ["shelves.shelf"]
    log.watch()
    Shelf.objects.bulk_create([Shelf(id=Lower(Value("CREATED")))])
    assert log.entry().unknown == ["shelves.shelf"]
