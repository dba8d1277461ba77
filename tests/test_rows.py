from __future__ import annotations

import datetime
import logging
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from typing import Any

import msgspec
import orjson
import pytest
from django.conf import settings as django_settings
from django.db import DatabaseError, OperationalError, connection, models, transaction
from django.db.models import Exists, F, OuterRef
from django.test import override_settings
from django.utils import timezone, translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pytest_django import DjangoAssertNumQueries
from rest_framework import serializers

from rxgraphql.errors import SharedContextError
from rxgraphql.rows import Row, RowReader, SharedContext, project_locale
from rxgraphql.snapshot import _one_view
from rxgraphql.tree import NodeType
from rxgraphql.wire import to_graphql
from tests.values_app.models import Company, Note, Person, Profile, Record, Tag
from tests.values_app.nodes import node_type
from tests.values_app.serializers import CompiledSerializer, InstanceSerializer

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]

ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"]
ON_SQLITE = "sqlite" in django_settings.DATABASES["default"]["ENGINE"]


def read(node: NodeType, queryset: models.QuerySet[Any] | None = None) -> list[Row]:
    queryset = node.model._default_manager.order_by("pk") if queryset is None else queryset
    return [row for _, row, _ in RowReader(node).read(queryset)]


def as_drf(node: NodeType, instance: Any) -> tuple[Any, ...] | None:
    """The instance's values through the serializer's own `.data`; None if that raises."""
    assert node.serializer_class is not None
    try:
        with project_locale():
            # FileField needs no request: without one its URL is relative.
            data = node.serializer_class(instance).data
        return tuple(to_graphql(field.type)(data.get(field.name)) for field in node.fields)
    except Exception:
        return None


def record(**values: Any) -> Record:
    if "author" not in values:
        number = Person.objects.count()
        values["author"] = Person.objects.create(name="Ann", handle=f"ann-{number}")
    return Record.objects.create(**values)


# ------------------------------------------------------------------------------------- equal to DRF

text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
    | st.sampled_from('ß🎈é\u2028"\\<&'),
    max_size=20,
)
json_values: SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
moments = st.datetimes(timezones=st.just(datetime.UTC)) | st.sampled_from(
    [
        datetime.datetime.min.replace(tzinfo=datetime.UTC),
        datetime.datetime.max.replace(tzinfo=datetime.UTC),
        # once in Berlin's hour that comes twice, once before a change
        datetime.datetime(2023, 10, 29, 0, 30, tzinfo=datetime.UTC),
        datetime.datetime(2023, 10, 29, 1, 30, 0, 1, tzinfo=datetime.UTC),
    ]
)
moods = st.sampled_from(["calm", "angry", "unknown", ""])
int32 = st.integers(-(2**31), 2**31 - 1)
# SQLite lets any integer and float in.
integers = int32 | st.sampled_from([2**31, -(2**40)]) if ON_SQLITE else int32
floats = st.floats(allow_nan=not ON_SQLITE, width=64)

records = st.fixed_dictionaries(
    {
        "big": st.integers(-(2**63), 2**63 - 1),
        "boolean": st.booleans(),
        "char": text,
        "date": st.dates(),
        "moment": moments,
        "decimal": st.decimals(-(10**9) + 1, 10**9 - 1, places=3, allow_nan=False),
        "duration": st.timedeltas(
            datetime.timedelta(days=-100_000), datetime.timedelta(days=100_000)
        ),
        "email": text,
        "file": text,
        "float": floats,
        "integer": integers | st.sampled_from([0, 1, 2, 3]),
        "ip": st.none() | st.ip_addresses().map(str),
        "json": json_values,
        "mood": moods,
        "mood_or_blank": moods,
        "natural": st.integers(0, 2**31 - 1),
        "path": text,
        "priority": st.sampled_from([1, 2, 7]),
        "slug": text,
        "small": st.integers(-(2**15), 2**15 - 1),
        "text": text,
        "time": st.times(),
        "token": st.uuids(),
        "url": text,
        "raw": st.binary(max_size=10),
        "maybe_integer": st.none() | int32,
        "maybe_moment": st.none() | moments,
        "maybe_decimal": st.none() | st.decimals(-9999, 9999, places=2, allow_nan=False),
        "maybe_text": st.none() | text,
        "maybe_mood": st.none() | st.sampled_from(["calm", "angry"]),
    }
)
# Which rows stand around the record.
around = st.fixed_dictionaries(
    {"editor": st.booleans(), "company": st.booleans(), "profile": st.booleans(), "name": text}
)


def build(values: dict[str, Any], rows: dict[str, Any], number: int) -> None:
    company = Company.objects.create(name=rows["name"], founded=datetime.date(1, 1, 1))
    editor = Person(name=rows["name"], handle=f"editor-{number}")
    editor.company = company if rows["company"] else None
    author = Person.objects.create(name=rows["name"], handle=f"author-{number}")
    if rows["editor"]:
        editor.save()
    if values["json"] is None:  # JSON's null, not the column's
        values = {**values, "json": models.Value(None, models.JSONField())}
    found = Record.objects.create(
        **values,
        author=author,
        editor=editor if rows["editor"] else None,
        by_handle=editor if rows["editor"] else None,
    )
    found.tags.set([Tag.objects.create(label=rows["name"]), Tag.objects.create(label="x")])
    if rows["profile"]:
        Profile.objects.create(record=found, motto=rows["name"])


@settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    built=st.lists(st.tuples(records, around), min_size=1, max_size=3),
    project_zone=st.sampled_from(ZONES),
    request_zone=st.sampled_from(ZONES),
)
@pytest.mark.parametrize("serializer_class", [CompiledSerializer, InstanceSerializer])
def test_rows_equal_drf(
    serializer_class: type[serializers.ModelSerializer[Any]],
    built: list[tuple[dict[str, Any], dict[str, Any]]],
    project_zone: str,
    request_zone: str,
) -> None:
    """Any row reads as DRF's own `.data` in the project's locale, whatever locale the thread is in."""
    with transaction.atomic():
        for number, (values, rows) in enumerate(built):
            build(values, rows, number)
        with override_settings(TIME_ZONE=project_zone):
            node = node_type(serializer_class)
            with timezone.override(request_zone), translation.override("de"):
                found = read(node)
            # The database may list unordered tags in any order.
            tags = models.Prefetch("tags", Tag.objects.order_by("pk"))
            instances = Record.objects.order_by("pk").prefetch_related(tags)
            expected = [as_drf(node, instance) for instance in instances]
        transaction.set_rollback(True)
    for names, row, wanted in zip([node.fields] * len(found), found, expected, strict=True):
        if row.values is None or wanted is None:
            assert (row.values, wanted) == (None, None), row.error
            continue
        for field, value, drf in zip(names, row.values, wanted, strict=True):
            assert (field.name, orjson.dumps(value)) == (field.name, orjson.dumps(drf))
            assert type(value) is type(drf)


def test_every_field_of_the_compiled_serializer_is_compiled() -> None:
    """What the property above is to prove of compiled fields is proved of compiled fields."""
    assert not RowReader(node_type(CompiledSerializer)).on_instances


@pytest.mark.parametrize(
    "rest_framework",
    [
        {"COERCE_DECIMAL_TO_STRING": False},
        {"DATETIME_FORMAT": None, "DATE_FORMAT": None, "TIME_FORMAT": None},
        {"DATETIME_FORMAT": "%s%f", "DATE_FORMAT": "%d.%m.%Y", "TIME_FORMAT": "%H.%M"},
        {"DURATION_FORMAT": "iso-8601", "UPLOADED_FILES_USE_URL": False},
    ],
)
def test_settings_of_drf_hold(rest_framework: dict[str, Any]) -> None:
    """The settings of REST_FRAMEWORK that shape output shape rows."""
    record(decimal=Decimal("1.250"), file="a b.png", duration=datetime.timedelta(days=1, hours=2))
    with override_settings(REST_FRAMEWORK=rest_framework):
        node = node_type(CompiledSerializer)
        assert [as_drf(node, Record.objects.get())] == [row.values for row in read(node)]


def test_without_time_zones() -> None:
    """With USE_TZ off, naive times stay naive."""

    class MomentSerializer(serializers.ModelSerializer[Any]):
        class Meta:
            model = Record
            fields = ["moment"]

    with override_settings(USE_TZ=False):
        record(moment=datetime.datetime(2024, 5, 6, 7, 8, 9))  # noqa: DTZ001
        node = node_type(MomentSerializer)
        assert [row.values for row in read(node)] == [("2024-05-06T07:08:09",)]
        assert as_drf(node, Record.objects.get()) == ("2024-05-06T07:08:09",)


# ------------------------------------------------------------------------------------------- queries


def test_compiled_rows_take_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """Where all fields are compiled, any number of rows is one query."""
    author = Person.objects.create(name="Ann", handle="ann")
    for _ in range(5):
        record(author=author, editor=author)
    reader = RowReader(node_type(CompiledSerializer))
    with django_assert_num_queries(1):
        assert len(reader.read(Record.objects.all())) == 5


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [1, 6])
def test_instances_take_as_many_queries_for_many_rows(
    count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Fields that run on instances have their relations fetched ahead: one query, one more per to-many relation."""
    for number in range(count):
        company = Company.objects.create(name="Acme")
        author = Person.objects.create(name="Ann", handle=f"a{number}", company=company)
        row = record(author=author, editor=author)
        row.tags.add(Tag.objects.create(label="red"), Tag.objects.create(label="blue"))
        Profile.objects.create(record=row, motto="Go")
    reader = RowReader(node_type(InstanceSerializer))
    with django_assert_num_queries(2):
        rows = reader.read(Record.objects.all())
    assert [row.error for _, row, _ in rows] == [None] * count


def test_lists_of_unordered_rows_are_in_order_of_keys() -> None:
    """A flat list of related rows whose model has no ordering doesn't depend on the database's mood."""

    class TagsSerializer(serializers.ModelSerializer[Any]):
        class Meta:
            model = Record
            fields = ["tags"]

    tags = [Tag.objects.create(id=uuid.UUID(int=number)) for number in (3, 1, 2)]
    record().tags.set(tags)
    assert read(node_type(TagsSerializer))[0].values == (
        [str(uuid.UUID(int=number)) for number in (1, 2, 3)],
    )


def test_sets_are_in_the_order_of_the_choices() -> None:
    """A set has another order in each process; the rows of all processes must be the same."""

    class SetSerializer(serializers.ModelSerializer[Any]):
        moods = serializers.MultipleChoiceField(
            source="mood_set", choices=["y", ("z", "Z"), "calm", "x", "angry"]
        )

        class Meta:
            model = Record
            fields = ["moods"]

    record()
    assert read(node_type(SetSerializer))[0].values == (["y", "z", "calm", "x", "angry"],)


# ------------------------------------------------------------------------ hidden columns, extra, visible


class SmallSerializer(serializers.ModelSerializer[Any]):
    class Meta:
        model = Record
        fields = ["id", "char", "author"]


class SmallWithMethodSerializer(SmallSerializer):
    twice = serializers.SerializerMethodField()

    class Meta(SmallSerializer.Meta):
        fields = ["id", "char", "author", "twice"]

    def get_twice(self, row: Record) -> str:
        return row.char * 2


@pytest.mark.parametrize("serializer_class", [SmallSerializer, SmallWithMethodSerializer])
def test_hidden_and_extra_columns_come_along(
    serializer_class: type[serializers.ModelSerializer[Any]],
) -> None:
    """Hidden columns become primitive, extra ones stay raw, and whether the manager lets the row through is a bool."""
    row = record(char="a", moment=datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC))
    node = node_type(serializer_class)
    node.column("author_id")
    node.column("moment")
    node.visible_annotation = "_rx_visible"
    queryset = Record.objects.annotate(
        _rx_visible=Exists(Person.objects.filter(pk=OuterRef("author"), name="Bob")),
        parent=F("author__name"),
    )
    reader = RowReader(node)
    [(key, found, extra)] = reader.read(queryset, ("parent", "author__handle", "author_id"))
    assert key == str(row.pk)
    assert found.hidden == (str(row.author_id), 86_400_000_000)
    assert found.visible is False
    assert found.values is not None
    assert found.values[:2] == ("a", str(row.author_id))
    assert extra == ("Ann", row.author.handle, row.author_id)


def test_rows_come_in_the_order_of_the_queryset() -> None:
    """An ordered queryset gives its order."""
    for char in "bca":
        record(char=char)
    rows = read(node_type(SmallSerializer), Record.objects.order_by("-char"))
    assert [row.values and row.values[0] for row in rows] == ["c", "b", "a"]


def test_rows_survive_the_wire() -> None:
    """A row is data: MessagePack there and back changes nothing."""
    record()
    [row] = read(node_type(CompiledSerializer))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=Row).hidden == row.hidden
    assert orjson.loads(orjson.dumps(row.values)) == list(row.values or ())


# -------------------------------------------------------------------------------------------- faults


def test_a_field_that_raises_spoils_its_row_only(caplog: pytest.LogCaptureFixture) -> None:
    """The row of a field that raises has an error that names it; the others arrive, and the traceback is logged."""

    class FailingSerializer(serializers.ModelSerializer[Any]):
        ratio = serializers.SerializerMethodField()

        class Meta:
            model = Record
            fields = ["char", "ratio"]

        def get_ratio(self, row: Record) -> float:
            return 1 / row.integer

    record(char="a", integer=2)
    record(char="b", integer=0)
    with caplog.at_level(logging.ERROR, "rxgraphql"):
        good, bad = read(node_type(FailingSerializer))
    assert good == Row(("a", 0.5), (), True)
    assert bad == Row(None, (), True, "Failing.ratio: ZeroDivisionError: division by zero")
    assert caplog.records[0].exc_info is not None


def test_a_value_that_graphql_would_refuse_is_an_error() -> None:
    """An annotation is a promise: a value of another type is an error of its row, not of the event."""

    class LyingSerializer(serializers.ModelSerializer[Any]):
        number = serializers.SerializerMethodField()

        class Meta:
            model = Record
            fields = ["number"]

        def get_number(self, row: Record) -> int:
            return {"none": None, "text": "abc", "big": 2**40}.get(row.char, 7)  # type: ignore[return-value]

    for char in ("none", "text", "big", "fine"):
        record(char=char)
    rows = read(node_type(LyingSerializer))
    assert [row.error is None for row in rows] == [False, False, False, True]
    assert "null" in str(rows[0].error)
    assert "'abc'" in str(rows[1].error)
    assert "32 bits" in str(rows[2].error)


def test_a_choice_outside_the_enum_is_an_error() -> None:
    """GraphQL has no word for a value that is not among the choices."""
    record(mood="gone")
    [row] = read(node_type(CompiledSerializer))
    assert row.values is None
    assert "'gone' is not a valid CompiledMood" in str(row.error)


def failing_query(row: Record) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")


def query_failing_in_related_rows(row: Record) -> None:
    list(row.tags.extra(where=["nowhere = 1"]))


def failing_transaction(row: Record) -> None:
    with transaction.atomic(savepoint=False):
        failing_query(row)


def disguised(row: Record) -> None:
    try:
        failing_query(row)
    except DatabaseError as error:
        raise LookupError("no nowhere") from error


class QueryingSerializer(serializers.ModelSerializer[Any]):
    """Runs queries for each row, and `fails` for those named "boom"."""

    fails: Callable[[Record], None]
    others = serializers.SerializerMethodField()
    after = serializers.SerializerMethodField()

    class Meta:
        model = Record
        fields = ["char", "others", "after"]

    def get_others(self, row: Record) -> int:
        if row.char == "boom":
            type(self).fails(row)
        return Record.objects.filter(char=row.char).count()

    def get_after(self, row: Record) -> int:
        return row.tags.count()


class WholeQueryingSerializer(QueryingSerializer):
    def to_representation(self, instance: Any) -> dict[str, Any]:
        data: dict[str, Any] = super().to_representation(instance)
        return data


@pytest.fixture(params=[False, True], ids=["autocommit", "transaction"])
def transaction_or_not(
    request: pytest.FixtureRequest, transactional_db: None
) -> Callable[[], AbstractContextManager[None]]:
    """Where rows are read: the publisher has no transaction, loads have one."""
    opened: bool = request.param
    return lambda: _one_view("default") if opened else nullcontext()


@pytest.mark.parametrize("serializer_class", [QueryingSerializer, WholeQueryingSerializer])
@pytest.mark.parametrize(
    "fails", [failing_query, query_failing_in_related_rows, failing_transaction, disguised]
)
def test_a_failed_query_spoils_its_row_only(
    serializer_class: type[QueryingSerializer],
    fails: Callable[[Record], None],
    transaction_or_not: Callable[[], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows before and after it arrive, and the queries that follow in the same transaction work."""
    monkeypatch.setattr(QueryingSerializer, "fails", fails, raising=False)
    for char in ("a", "boom", "b", "boom"):
        record(char=char)
    with transaction_or_not():
        rows = read(node_type(serializer_class))
        assert Record.objects.count() == 4
    assert [row.values for row in rows] == [("a", 1, 0), None, ("b", 1, 0), None]
    assert [row.error is None for row in rows] == [True, False, True, False]
    where = "to_representation()" if serializer_class is WholeQueryingSerializer else "others"
    assert f"Querying.{where}: " in str(rows[1].error)


@pytest.mark.parametrize("count", [1, 2, 250])
def test_failed_queries_among_many_rows(
    count: int,
    transaction_or_not: Callable[[], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each row has its own values, and each failed row its own error, however many there are."""
    monkeypatch.setattr(QueryingSerializer, "fails", failing_query, raising=False)
    author = Person.objects.create(name="Ann", handle="ann")
    names = ["boom" if number in (0, 7, 101, 102, 249) else str(number) for number in range(count)]
    Record.objects.bulk_create(Record(author=author, char=name) for name in names)
    with transaction_or_not():
        rows = read(node_type(QueryingSerializer))
    assert [row.values for row in rows] == [
        None if name == "boom" else (name, 1, 0) for name in names
    ]
    assert [row.error is not None for row in rows] == [name == "boom" for name in names]


def test_a_failed_query_that_its_code_expects(
    transaction_or_not: Callable[[], AbstractContextManager[None]],
) -> None:
    """Code that answers for its failed query gives the row's value, and the others are not made of its ruins."""

    class ExpectingSerializer(serializers.ModelSerializer[Any]):
        count = serializers.SerializerMethodField()

        class Meta:
            model = Record
            fields = ["char", "count"]

        def get_count(self, row: Record) -> int:
            try:
                if row.char == "boom":
                    failing_query(row)
                return Record.objects.count()
            except DatabaseError:
                return -1

    for char in ("a", "boom", "b", "boom"):
        record(char=char)
    with transaction_or_not():
        rows = read(node_type(ExpectingSerializer))
        assert Record.objects.count() == 4
    assert [row.values for row in rows] == [("a", 4), ("boom", -1), ("b", 4), ("boom", -1)]


def test_a_lost_database_is_not_an_error_of_rows(
    transaction_or_not: Callable[[], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the database goes away while a field runs, the read fails as a whole, to be done again."""

    def lose(row: Record) -> None:
        if ON_SQLITE:  # its connections can't be lost
            monkeypatch.setattr(connection, "is_usable", lambda: False)
            raise OperationalError("server closed the connection unexpectedly")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(QueryingSerializer, "fails", lose, raising=False)
    for char in ("a", "boom", "b"):
        record(char=char)
    try:
        with pytest.raises(OperationalError), transaction_or_not():
            read(node_type(QueryingSerializer))
    finally:
        connection.close()


# ------------------------------------------------------------------------------ what can't be compiled


def test_a_model_with_an_init_of_its_own_is_read_as_instances() -> None:
    """Instances that differ from what the database gave are asked, not their columns."""

    class NoteSerializer(serializers.ModelSerializer[Any]):
        class Meta:
            model = Note
            fields = ["text"]

    note = Note.objects.create(record=record(), text="x")
    Note.objects.filter(pk=note.pk).update(text=" padded ")
    assert [row.values for row in read(node_type(NoteSerializer))] == [("padded",)]


def test_a_serializers_own_to_representation_runs_whole() -> None:
    """What a serializer makes of a row is what is sent; its nested fields are not part of the row."""

    class ProfileSerializer(serializers.ModelSerializer[Any]):
        class Meta:
            model = Profile
            fields = ["motto"]

    class WholeSerializer(serializers.ModelSerializer[Any]):
        profile = ProfileSerializer()

        class Meta:
            model = Record
            fields = ["char", "integer", "profile"]

        def to_representation(self, instance: Any) -> dict[str, Any]:
            data: dict[str, Any] = super().to_representation(instance)
            assert "profile" not in data
            if instance.integer == 1:
                raise LookupError("one")
            return {**data, "char": data["char"] + "!"}

    record(char="a")
    record(char="b", integer=1)
    first, second = read(node_type(WholeSerializer))
    assert first.values == ("a!", 0)
    assert second.error == "Whole.to_representation(): LookupError: one"


def test_a_field_patched_on_its_serializer_is_not_compiled() -> None:
    """A method set on one field instance counts as overridden."""

    class PatchedSerializer(SmallSerializer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.fields["char"].to_representation = lambda value: value[::-1]  # type: ignore[method-assign]

    record(char="abc")
    assert (read(node_type(PatchedSerializer))[0].values or ())[0] == "cba"


@pytest.mark.parametrize("serializer_class", [CompiledSerializer, InstanceSerializer])
def test_one_value_of_an_instance(
    serializer_class: type[serializers.ModelSerializer[Any]],
) -> None:
    """A field asked of an instance at hand gives what its row has."""
    record(char="a", file="b.png", mood="angry")
    row = Record.objects.get()
    node = node_type(serializer_class)
    reader = RowReader(node)
    with timezone.override("Asia/Kathmandu"):
        values = tuple(reader.value(row, field.name) for field in node.fields)
    assert [values] == [row.values for row in read(node)]


# ---------------------------------------------------------------------------------- context and locale


@pytest.mark.parametrize(
    "ask",
    [
        lambda context: context["request"],
        lambda context: context.get("user"),
        lambda context: "request" in context,
    ],
)
def test_the_shared_context_refuses_one_viewer(ask: Any) -> None:
    """Output shared by all viewers can't depend on one."""
    with pytest.raises(SharedContextError, match="per_viewer"):
        ask(SharedContext())


def test_the_shared_context_is_otherwise_empty() -> None:
    """It answers like an empty dict, and keeps nothing."""
    context = SharedContext()
    assert context.get("view") is None
    assert dict(context) == {}
    with pytest.raises(KeyError):
        context["view"]
    with pytest.raises(SharedContextError):
        context["cache"] = 1


def test_a_serializer_that_asks_for_the_request_says_how_to_mend_it() -> None:
    """The error of its rows names the way out."""

    class AskingSerializer(serializers.ModelSerializer[Any]):
        mine = serializers.SerializerMethodField()

        class Meta:
            model = Record
            fields = ["mine"]

        def get_mine(self, row: Record) -> bool:
            return bool(self.context["request"].user == row.author)

    record()
    assert "Meta.per_viewer" in str(read(node_type(AskingSerializer))[0].error)


class AvatarField(serializers.FileField):
    def to_representation(self, value: Any) -> str | None:
        found: str | None = super().to_representation(value)
        return found and f"{found}?v=1"


def test_files_are_urls_of_the_site() -> None:
    """Without a request DRF's file fields give relative URLs, also where a subclass asks them."""

    class FileSerializer(serializers.ModelSerializer[Any]):
        avatar = AvatarField(source="file")

        class Meta:
            model = Record
            fields = ["file", "avatar"]

    record(file="ü 1.png")
    record(file="")
    with override_settings(MEDIA_URL="/media/"):
        assert [row.values for row in read(node_type(FileSerializer))] == [
            ("/media/%C3%BC%201.png", "/media/%C3%BC%201.png?v=1"),
            (None, None),
        ]


def test_the_project_locale_ends_with_the_read() -> None:
    """Reading leaves the thread's own time zone and language as they were."""
    record()
    with timezone.override("Asia/Kathmandu"), translation.override("de"):
        read(node_type(CompiledSerializer))
        assert timezone.get_current_timezone_name() == "Asia/Kathmandu"
        assert translation.get_language() == "de"
    assert connection.timezone_name == "UTC"
