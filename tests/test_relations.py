"""What is read from Django's metadata: kinds of relations, what passes managers, orders as the database has them."""

from __future__ import annotations

import datetime
import random
import uuid
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Length, Lower, Now, Random
from django.test.utils import isolate_apps
from django.utils import timezone

from rxgraphql.errors import UnsupportedError
from rxgraphql.ordering import order_of, primitive_of
from rxgraphql.relations import check_model, relation
from rxgraphql.tree import column_key
from tests.chat.models import Message, Profile, Reaction, Room, Tag
from tests.clubs.models import Club, FamousClub, Membership, PaidClub, Person, Trophy
from tests.values_app.models import Company, Note, Record
from tests.values_app.models import Person as Author

isolated = isolate_apps("tests.chat")


def refused(model: type[models.Model], name: str) -> str:
    """Why the relation can't be streamed, and the fix."""
    with pytest.raises(UnsupportedError) as caught:
        relation(model, name)
    assert caught.value.fix
    return str(caught.value)


def managed(get: Callable[[Any], Any], **options: Any) -> type[models.Model]:
    """A model with a foreign key to User, whose default manager gives `get(queryset)`."""

    class Manager(models.Manager[Any]):
        def get_queryset(self) -> Any:
            return get(super().get_queryset())

    class Letter(models.Model):
        reader = models.ForeignKey(User, models.CASCADE, related_name="letters")
        friend = models.ForeignKey("self", models.CASCADE, null=True)
        text = models.TextField()
        data = models.JSONField(default=dict)
        sent = models.DateTimeField()
        hidden = models.BooleanField(default=False)

        objects = Manager()

        Meta = type("Meta", (), {"app_label": "chat", **options})

    return Letter


# ------------------------------------------------------------------------------------------ kinds


@pytest.mark.parametrize(
    ("model", "name", "kind", "many", "nullable", "child"),
    [
        (Message, "room", "forward", False, False, Room),
        (Message, "editor", "forward", False, True, User),
        (Profile, "user", "forward", False, False, User),
        (Room, "messages", "reverse", True, False, Message),
        (User, "profile", "reverse", False, True, Profile),
        (Club, "membership_set", "reverse", True, False, Membership),
        (Room, "members", "link", True, False, User),
        (User, "chat_rooms", "link", True, False, Room),
        (Message, "tags", "link", True, False, Tag),
        (Club, "people", "link", True, False, Person),
        (Person, "clubs", "link", True, False, Club),
        (Person, "friends", "link", True, False, Person),
        (Person, "idols", "link", True, False, Person),
        (Person, "fans", "link", True, False, Person),
        (FamousClub, "trophies", "reverse", True, False, Trophy),
    ],
)
def test_kinds(
    model: Any, name: str, kind: str, many: bool, nullable: bool, child: type[models.Model]
) -> None:
    """A relation is named as instances name it, from either of its ends."""
    found = relation(model, name)
    assert (found.kind, found.many, found.nullable, found.model) == (kind, many, nullable, child)


def test_both_ends_of_a_link() -> None:
    """Both ends of a many-to-many field speak of one table, whose first column is of the declaring model."""
    forward, backward = relation(Club, "people"), relation(Person, "clubs")
    assert forward.link == backward.link
    assert forward.link is not None
    assert (forward.link.label, forward.link.a, forward.link.b) == (
        "clubs.membership",
        "club_id",
        "person_id",
    )
    assert (forward.parent_is_a, backward.parent_is_a) == (True, False)
    assert (forward.query_name, backward.query_name) == ("clubs", "people")


@pytest.mark.parametrize("name", ["text", "nothing", "shout", "room__team", "room.team", "*", ""])
def test_what_is_no_relation(name: str) -> None:
    """A column, a property, a path and an unknown name are refused alike."""
    assert "is not a relation of the model" in refused(Message, name)


def test_the_query_name_is_not_an_accessor() -> None:
    """`message__in` is a query's word for what instances call otherwise, or not at all."""
    assert "is not a relation" in refused(Club, "membership")
    assert "is not a relation" in refused(User, "message")


@isolated
def test_to_field() -> None:
    """A key that points at another column than the primary key is refused from both ends, and between two models."""

    class Land(models.Model):
        code = models.CharField(max_length=2, unique=True)

        class Meta:
            app_label = "chat"

    class City(models.Model):
        land = models.ForeignKey(Land, models.CASCADE, to_field="code", related_name="cities")

        class Meta:
            app_label = "chat"

    class River(models.Model):
        lands = models.ManyToManyField(Land, through="Bank", related_name="rivers")

        class Meta:
            app_label = "chat"

    class Bank(models.Model):
        river = models.ForeignKey(River, models.CASCADE)
        land = models.ForeignKey(Land, models.CASCADE, to_field="code")

        class Meta:
            app_label = "chat"
            unique_together = ("river", "land")

    for model, name in ((City, "land"), (Land, "cities"), (River, "lands"), (Land, "rivers")):
        assert "to_field" in refused(model, name)


@isolated
def test_generic_relations() -> None:
    """A relation over content types is refused from both ends."""

    class Remark(models.Model):
        content_type = models.ForeignKey(ContentType, models.CASCADE, related_name="+")
        object_id = models.IntegerField()
        about = GenericForeignKey()

        class Meta:
            app_label = "chat"

    class Thing(models.Model):
        remarks = GenericRelation(Remark)

        class Meta:
            app_label = "chat"

    assert "generic relation" in refused(Thing, "remarks")
    assert "is not a relation" in refused(Remark, "about")


@isolated
def test_a_pair_that_may_come_twice() -> None:
    """A table between that may hold one pair twice is refused; any way of making it unique will do."""

    class Reader(models.Model):
        class Meta:
            app_label = "chat"

    class Book(models.Model):
        readers = models.ManyToManyField(Reader, through="Loan", related_name="+")

        class Meta:
            app_label = "chat"

    class Loan(models.Model):
        book = models.ForeignKey(Book, models.CASCADE)
        reader = models.ForeignKey(Reader, models.CASCADE)
        open = models.BooleanField()

        class Meta:
            app_label = "chat"

    assert "Add a UniqueConstraint over book and reader" in refused(Book, "readers")
    pair: list[models.BaseConstraint] = [
        models.UniqueConstraint(fields=("reader", "book"), condition=Q(open=True), name="open")
    ]
    Loan._meta.constraints = pair
    assert "may hold the same pair twice" in refused(Book, "readers")
    Loan._meta.constraints = [models.UniqueConstraint(fields=("reader", "book"), name="once")]
    assert relation(Book, "readers").link is not None
    Loan._meta.constraints = []
    Loan._meta.unique_together = (("book", "reader"),)
    assert relation(Book, "readers").link is not None


@isolated
def test_models_without_one_table_and_key() -> None:
    """Inherited tables and keys of several columns are refused; proxies and abstract bases are not."""

    class Pair(models.Model):
        pk = models.CompositePrimaryKey("one", "two")
        one = models.IntegerField()
        two = models.IntegerField()

        class Meta:
            app_label = "chat"

    with pytest.raises(UnsupportedError, match="composite primary key"):
        check_model(Pair)
    with pytest.raises(UnsupportedError, match="multi-table inheritance"):
        check_model(PaidClub)
    for model in (Club, FamousClub, Message, User):
        check_model(model)


# ------------------------------------------------------------------------------------------ managers


@isolated
@pytest.mark.parametrize(
    "get",
    [
        lambda rows: rows.filter(hidden=False),
        lambda rows: rows.exclude(text="").exclude(hidden=True),
        lambda rows: rows.filter(Q(hidden=False) | Q(text__startswith="a", sent__year=2020)),
        lambda rows: rows.filter(data__kind="public"),
        lambda rows: rows.filter(text=F("data__title")),
        lambda rows: rows.filter(sent__gt=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)),
        lambda rows: rows.annotate(size=Length("text")).filter(size__gt=3),
        lambda rows: rows.filter(reader_id=1, reader=2),
    ],
)
def test_filters_by_own_columns(get: Callable[[Any], Any]) -> None:
    """A manager that filters by the row's own columns is followed."""
    assert _filtered(managed(get))


def _filtered(model: type[models.Model]) -> bool:
    """As seen from the rows that the letters point at."""
    return relation(model, "letter_set").filtered


@isolated
@pytest.mark.parametrize(
    "get",
    [
        lambda rows: rows,
        lambda rows: rows.order_by("text"),
        lambda rows: rows.select_related("reader").defer("text"),
        lambda rows: rows.prefetch_related("letter_set").distinct(),
    ],
)
def test_managers_that_do_not_filter(get: Callable[[Any], Any]) -> None:
    """A manager that only orders or fetches lets everything through."""
    assert not _filtered(managed(get))


@isolated
@pytest.mark.parametrize(
    ("get", "why"),
    [
        (lambda rows: rows.filter(reader__username="ada"), "another table"),
        (lambda rows: rows.filter(friend__hidden=False), "another table"),
        (lambda rows: rows.annotate(n=models.Count("letter")).filter(n__gt=1), "another table"),
        (lambda rows: rows.filter(reader__in=User.objects.filter(is_active=True)), "subquery"),
        (lambda rows: rows.filter(Exists(User.objects.filter(pk=OuterRef("reader")))), "subquery"),
        (lambda rows: rows.exclude(letter__hidden=True), "subquery|another table"),
        (lambda rows: rows.filter(sent__lt=Now()), "by time or at random"),
        (lambda rows: rows.filter(Q(sent__lt=Now()) | Q(hidden=True)), "by time or at random"),
        (lambda rows: rows.annotate(r=Random()).filter(r__lt=0.5), "by time or at random"),
        (lambda rows: rows.filter(sent__lt=timezone.now()), "something else each time"),
        (lambda rows: rows.exclude(Q(sent__lt=timezone.now(), hidden=True)), "something else each"),
        (lambda rows: rows.extra(where=["1 = 1"]), "SQL of its own"),
        (lambda rows: rows.filter(pk__lt=RawSQL("random()", ())), "SQL of its own"),
        (lambda rows: rows[:10], "slices"),
        (lambda rows: rows.union(rows), "combines"),
        (lambda rows: rows.distinct("text"), "DISTINCT ON"),
        (lambda rows: rows.none(), "lets nothing through"),
    ],
)
def test_filters_that_can_not_be_followed(get: Callable[[Any], Any], why: str) -> None:
    """What passes must not change without a save of the row, or nobody would notice."""
    with pytest.raises(UnsupportedError, match=why) as caught:
        _filtered(managed(get))
    assert caught.value.fix
    assert "Letter" in caught.value.message


@isolated
def test_base_managers_that_filter() -> None:
    """A foreign key reads through the base manager: if that filters, the row may vanish beneath it."""
    model = managed(lambda rows: rows.filter(hidden=False), base_manager_name="objects")
    assert "base manager filters" in refused(model, "friend")


# ------------------------------------------------------------------------------------------ orders


def ordered(monkeypatch: pytest.MonkeyPatch, *terms: Any) -> Any:
    monkeypatch.setattr(Record._meta, "ordering", terms)
    return order_of(Record)


PLAIN: list[tuple[Any, ...]] = [
    ("integer",),
    ("-integer", "id"),
    ("boolean", "-big"),
    ("maybe_integer",),
    ("-maybe_integer",),
    (F("maybe_integer").asc(nulls_first=True),),
    (F("maybe_integer").asc(nulls_last=True),),
    (F("maybe_integer").desc(nulls_first=True),),
    (F("maybe_integer").desc(nulls_last=True),),
    (F("natural"),),
    ("maybe_moment", "-maybe_decimal"),
    ("date", "-time", "duration"),
    ("-duration",),
    ("moment",),
    ("decimal",),
    ("float",),
    ("token",),
    ("-token",),
    ("pk",),
    ("-pk",),
    ("-id",),
    ("author", "-editor"),
    ("-editor_id", "author_id"),
    ("priority", "-small"),
]
TEXT: list[tuple[Any, ...]] = [("text",), ("-char", "slug"), ("maybe_text",), ("-maybe_text",)]


@pytest.mark.every_database
@pytest.mark.django_db
@pytest.mark.parametrize("terms", PLAIN + TEXT, ids=str)
def test_orders_as_the_database(terms: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is told from the rows is the database's own, nulls and keys of several digits included."""
    rng = random.Random(7)
    company = Company.objects.create(name="c")
    people = [
        Author.objects.create(name=f"p{n}", handle=f"h{n}", company=company) for n in range(12)
    ]

    def moment() -> datetime.datetime:
        start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        return start + datetime.timedelta(microseconds=rng.choice([0, 500_000, 10**6, -(10**12)]))

    def text() -> str:
        return rng.choice(["", "a", "B", "ab", "ä", "Z", "z", "10", "9", "☃", "𝄞", "_"])

    Record.objects.bulk_create(
        Record(
            author=rng.choice(people),
            editor=rng.choice([None, *people]),
            integer=rng.choice([-5, 0, 9, 10]),
            big=rng.choice([-(2**40), 0, 2**40]),
            natural=rng.choice([9, 10, 11]),
            small=rng.choice([-1, 1]),
            priority=rng.choice([1, 2]),
            boolean=rng.choice([True, False]),
            float=rng.choice([-1.5, 0.0, 9.25, 10.0]),
            decimal=rng.choice([Decimal("-1.5"), Decimal(9), Decimal("10.001")]),
            date=rng.choice([datetime.date(999, 1, 1), datetime.date(2020, 1, 2)]),
            time=rng.choice([datetime.time(9), datetime.time(9, 0, 0, 5), datetime.time(10)]),
            duration=rng.choice([datetime.timedelta(days=n) for n in (-1, 0, 9, 10)]),
            moment=moment(),
            token=uuid.UUID(int=rng.getrandbits(128)),
            char=text(),
            text=text(),
            maybe_integer=rng.choice([None, -5, 9, 10]),
            maybe_moment=rng.choice([None, moment()]),
            maybe_decimal=rng.choice([None, Decimal("9.5"), Decimal(10)]),
            maybe_text=rng.choice([None, text()]),
        )
        for _ in range(120)
    )
    order = ordered(monkeypatch, *terms)
    assert order.computable == (terms in PLAIN or connection.vendor == "sqlite")
    if not order.computable:
        return
    attnames = [column.attname for column in order.columns]
    columns = {field.attname: field for field in Record._meta.concrete_fields}
    primitives = [primitive_of(columns[attname]) for attname in attnames]
    nodes = [
        SimpleNamespace(
            pk=str(pk),
            row=SimpleNamespace(
                hidden=tuple(make(value) for make, value in zip(primitives, raw, strict=True))
            ),
        )
        for pk, *raw in Record.objects.order_by("?").values_list("pk", *attnames)
    ]
    nodes.sort(key=column_key(order, tuple(range(len(attnames))), int))
    expected = Record.objects.order_by(*order.order_by).values_list("pk", flat=True)
    assert [int(node.pk) for node in nodes] == list(expected)


@pytest.mark.parametrize(
    ("terms", "columns"),
    [
        ((Lower("text"),), ["text"]),
        ((Lower("text").desc(), "id"), ["text", "id"]),
        ((F("integer") + F("small"),), ["integer", "small"]),
        ((Case(When(char="a", then=F("small")), default=Value(0)),), ["char", "small"]),
        ((Case(When(Q(char="a") & ~Q(slug="b"), then=Value(1))),), ["char", "slug"]),
        (("json",), ["json"]),
    ],
)
def test_orders_that_only_the_database_knows(
    terms: tuple[Any, ...], columns: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an expression all columns are known, so that the list is read again when one of them changes."""
    order = ordered(monkeypatch, *terms)
    assert not order.computable
    assert [column.attname for column in order.columns] == columns


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        (("?",), "at random"),
        ((Random(),), "without a save"),
        ((Now(),), "without a save"),
        ((RawSQL("random()", ()),), "without a save"),
        ((F("author__name").asc(),), "not a column of its own"),
        (("author__name",), "not a column of its own"),
        (("tags",), "not a column of its own"),
        (("unknown",), "not a column of its own"),
        ((Lower("author__name"),), "without a save"),
        ((Case(When(author__name="a", then=Value(1))),), "without a save"),
        ((Lower("unknown"),), "Cannot resolve"),
        ((Exists(Note.objects.filter(record=OuterRef("pk"))),), "without a save"),
    ],
)
def test_orders_that_can_not_be_followed(
    terms: tuple[Any, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that changes without a save of the row is refused."""
    with pytest.raises(UnsupportedError, match=why) as caught:
        ordered(monkeypatch, *terms)
    assert caught.value.fix
    assert "Record" in caught.value.message


def test_a_foreign_key_with_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """To order by a foreign key is to order by the other model's ordering, unless its column is named."""
    monkeypatch.setattr(Author._meta, "ordering", ("name",))
    with pytest.raises(UnsupportedError, match="follows the ordering of Person"):
        ordered(monkeypatch, "author")
    assert ordered(monkeypatch, "author_id").columns[0].attname == "author_id"


@isolated
def test_orders_of_managers() -> None:
    """A manager's own order comes before the model's, and reverse() is refused."""
    gets: list[Callable[[Any], Any]] = [
        lambda rows: rows.order_by("-sent"),
        lambda rows: rows,
        lambda rows: rows.order_by(),
        lambda rows: rows.order_by("sent").reverse(),
    ]
    current = iter(gets)
    model = managed(lambda rows: next(current)(rows), ordering=["hidden"])
    assert [order_of(model).order_by for _ in range(3)] == [
        ("-sent", "pk"),
        ("hidden", "pk"),
        ("pk",),
    ]
    with pytest.raises(UnsupportedError, match=r"reverse\(\)"):
        order_of(model)


@isolated
def test_columns_whose_values_are_made_otherwise() -> None:
    """Text with a collation, wide decimals and values of a field's own making are left to the database."""

    class Level(models.IntegerField):  # type: ignore[type-arg]
        def from_db_value(self, value: Any, *_: Any) -> Any:
            return f"level {value}"

    class Item(models.Model):
        level = Level()
        price = models.DecimalField(max_digits=30, decimal_places=2)
        cheap = models.DecimalField(max_digits=18, decimal_places=2)
        name = models.CharField(max_length=9, db_collation="NOCASE")

        class Meta:
            app_label = "chat"

    for name, computable in (("level", False), ("price", False), ("cheap", True), ("name", False)):
        Item._meta.ordering = [name]
        assert order_of(Item).computable is computable


def test_reactions_have_no_order() -> None:
    """A model without an ordering is ordered by its key."""
    order = order_of(Reaction)
    assert (order.columns, order.computable, order.order_by) == ((), True, ("pk",))
