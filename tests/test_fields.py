from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NewType, TypedDict
from uuid import UUID

import pytest
from django.db import models
from django.test import override_settings
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from pytest_django import DjangoAssertNumQueries
from rest_framework import serializers

from rxgraphql.errors import UnsupportedError
from rxgraphql.fields import (
    FieldType,
    field_type,
    is_output,
    points_at,
    shown_relations,
    to_graphql,
)
from tests.values_app.models import Mood, Priority, Record
from tests.values_app.serializers import CompiledSerializer, InstanceSerializer

if TYPE_CHECKING:
    from tests.values_app.models import Company

KeyField: Any = serializers.PrimaryKeyRelatedField
LinkField: Any = serializers.HyperlinkedRelatedField
SlugField: Any = serializers.SlugRelatedField

BigInt = NewType("BigInt", int)
Handle = NewType("Handle", str)


def bound(field: Any, model: type[models.Model] = Record, name: str = "char") -> Any:
    """The field in a serializer of the model."""
    meta = type("Meta", (), {"model": model, "fields": [name]})
    cls = type("AnySerializer", (serializers.ModelSerializer,), {name: field, "Meta": meta})
    return cls().fields[name]


def type_of(field: Any, model: type[models.Model] = Record, name: str = "char") -> str:
    return str(field_type(bound(field, model, name), model, "Record"))


def hinted(hint: Any) -> Any:
    """A field whose method is annotated with the hint."""

    class HintedSerializer(serializers.ModelSerializer[Any]):
        shown = serializers.SerializerMethodField()

        class Meta:
            model = Record
            fields = ["shown"]

        def get_shown(self, record: Record) -> Any: ...

    HintedSerializer.get_shown.__annotations__["return"] = hint
    return HintedSerializer().fields["shown"]


# ---------------------------------------------------------------------------------------- plain fields


@pytest.mark.every_database
@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "author": "ID!",
        "author_id": "ID!",
        "big": "BigInt!",
        "boolean": "Boolean!",
        "by_handle": "String",
        "char": "String!",
        "date": "Date!",
        "decimal": "Decimal!",
        "duration": "Duration!",
        "editor": "ID",
        "email": "String!",
        "file": "String",
        "float": "Float!",
        "get_mood_display": "String!",
        "integer": "Int!",
        "ip": "String",
        "json": "JSON!",
        "length": "Int!",
        "maybe_decimal": "Decimal",
        "maybe_integer": "Int",
        "maybe_moment": "DateTime",
        "maybe_mood": "RecordMaybeMood",
        "maybe_text": "String",
        "moment": "DateTime!",
        "mood": "RecordMood!",
        "mood_or_blank": "String!",
        "natural": "Int!",
        "path": "String!",
        "pk": "ID!",
        "priority": "Int!",
        "raw": "String!",
        "slug": "String!",
        "small": "Int!",
        "tags": "[ID!]!",
        "text": "String!",
        "time": "Time!",
        "token": "UUID!",
        "url": "String!",
    }.items(),
)
def test_what_a_model_serializer_makes_of_columns(name: str, expected: str) -> None:
    """Each column that a ModelSerializer finds by itself has the type of DESIGN's table, on every database."""
    meta = type("Meta", (), {"model": Record, "fields": [name]})
    serializer = type("AnySerializer", (serializers.ModelSerializer,), {"Meta": meta})()
    assert str(field_type(serializer.fields[name], Record, "Record")) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (serializers.CharField(allow_null=True), "String"),
        (serializers.CharField(required=False), "String!"),
        (serializers.CharField(source="editor.name"), "String"),
        (serializers.CharField(source="author.name"), "String!"),
        (serializers.CharField(source="author.company.name"), "String"),
        (serializers.CharField(source="profile.motto", read_only=True), "String"),
        (serializers.CharField(source="maybe_text"), "String"),
        (serializers.CharField(source="author", read_only=True), "String!"),
        (serializers.CharField(source="author.id"), "ID!"),
        (serializers.IntegerField(source="editor_id"), "ID"),
        (serializers.ChoiceField(choices=["a", "b"]), "String!"),  # the column may be blank
        (serializers.ChoiceField(choices=["a", "b"], source="mood"), "RecordChar!"),
        (serializers.ChoiceField(choices=["a", "b"], allow_blank=True), "String!"),
        (serializers.ChoiceField(choices=["a", "b"], source="integer"), "RecordChar!"),
        (serializers.ChoiceField(choices=["a-b"], source="mood"), "String!"),
        (serializers.ChoiceField(choices=["true", "b"], source="mood"), "String!"),
        (serializers.ChoiceField(choices=["__a"], source="mood"), "String!"),
        (serializers.ChoiceField(choices=["a", ""], source="mood"), "String!"),
        (serializers.ChoiceField(choices=[]), "String!"),
        (serializers.ChoiceField(choices=[1, 2]), "Int!"),
        (serializers.ChoiceField(choices=[1, 2**40]), "BigInt!"),
        (serializers.ChoiceField(choices=[1, "a"]), "String!"),
        (serializers.ChoiceField(choices=[(True, "yes"), (False, "no")]), "Boolean!"),
        (serializers.ChoiceField(choices=[("Group", [("a", "A")])], source="mood"), "RecordChar!"),
        (serializers.MultipleChoiceField(choices=Mood.choices), "[RecordChar!]!"),
        (serializers.MultipleChoiceField(choices=Priority.choices), "[Int!]!"),
        (serializers.DateField(format="%d.%m.%Y"), "String!"),
        (serializers.DateTimeField(format=None), "DateTime!"),
        (serializers.DecimalField(max_digits=4, decimal_places=1, localize=True), "String!"),
        (serializers.DictField(), "JSON!"),
        (serializers.HStoreField(), "JSON!"),
        (serializers.FileField(), "String"),
        (serializers.FilePathField(path="."), "String!"),
        (serializers.IPAddressField(), "String!"),
        (serializers.ImageField(), "String"),
        (serializers.IntegerField(source="integer"), "Int!"),
        (serializers.IntegerField(source="integer", max_value=2**31), "BigInt!"),
        (serializers.IntegerField(source="integer", min_value=-(2**31)), "Int!"),
        (serializers.IntegerField(source="big"), "BigInt!"),
        (serializers.IntegerField(source="length"), "Int!"),
        (serializers.IntegerField(source="unannotated"), "Int"),
        (serializers.ListField(), "[JSON]!"),
        (serializers.ListField(child=serializers.IntegerField()), "[Int!]!"),
        (serializers.ListField(child=serializers.CharField(allow_null=True)), "[String]!"),
        (serializers.ListField(child=serializers.ListField(child=serializers.DateField())), "[[Date!]!]!"),
        (serializers.ListField(child=serializers.ChoiceField(choices=["a"])), "[RecordChar!]!"),
        (serializers.ModelField(model_field=Record._meta.get_field("maybe_integer")), "Int"),
        (KeyField(source="author_id", read_only=True), "ID!"),
        (KeyField(source="author.company", read_only=True), "ID"),
        (KeyField(source="profile", read_only=True), "ID"),
        (KeyField(source="tags", read_only=True, many=True), "[ID!]!"),
        (serializers.ReadOnlyField(source="author.company.founded"), "Date"),
        (serializers.ReadOnlyField(source="author.shout"), "String!"),
        (serializers.ReadOnlyField(source="editor.shout"), "String"),
        (serializers.ReadOnlyField(source="json.key"), "JSON"),
        (serializers.RegexField("a"), "String!"),
        (SlugField(slug_field="founded", source="author.company", read_only=True), "Date"),
        (SlugField(slug_field="company__name", source="author", read_only=True), "String"),
        (SlugField(slug_field="shout", source="author", read_only=True), "String!"),
        (SlugField(slug_field="id", source="tags", read_only=True, many=True), "[ID!]!"),
        (serializers.StringRelatedField(source="editor"), "String"),
        (serializers.StringRelatedField(source="tags", many=True), "[String!]!"),
        (serializers.UUIDField(format="int"), "String!"),
        (serializers.UUIDField(format="urn"), "UUID!"),
    ],
)  # fmt: skip
def test_what_declared_fields_are(field: Any, expected: str) -> None:
    """A declared field has the type of DESIGN's table, null where its output may be."""
    assert type_of(field) == expected


def test_a_choice_field_is_an_enum_of_its_values() -> None:
    """An enum has the choices' values and a name of its own: type and field."""
    found = field_type(
        bound(serializers.ChoiceField(choices=Mood.choices), name="mood"), Record, "Record"
    )
    assert (found.enum_name, found.choices) == ("RecordMood", ("calm", "angry"))


@pytest.mark.django_db
def test_types_ask_nothing_of_the_database(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    """Types are made at start-up, when there may be no database: choices of relations are never looked at."""
    with django_assert_num_queries(0):
        for cls in (CompiledSerializer, InstanceSerializer):
            for field in cls().fields.values():
                field_type(field, Record, "Record")
                shown_relations(field, Record)
                points_at(field, Record)


def test_write_only_fields_are_no_output() -> None:
    """`write_only` and hidden fields never show."""
    assert not is_output(bound(serializers.CharField(write_only=True)))
    assert not is_output(bound(serializers.HiddenField(default=1)))
    assert is_output(bound(serializers.CharField()))


# ----------------------------------------------------------------------------------------- annotations


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(TypedDict):
    x: int


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (str, "String!"),
        (bool, "Boolean!"),
        (int, "Int!"),
        (float, "Float!"),
        (int | float, "Float!"),
        (Decimal, "Decimal!"),
        (UUID, "UUID!"),
        (datetime.datetime, "DateTime!"),
        (datetime.date, "Date!"),
        (datetime.time, "Time!"),
        (datetime.timedelta, "Duration!"),
        (dict[str, int], "JSON!"),
        (Mapping[str, Any], "JSON!"),
        (Point, "JSON!"),
        (Any, "JSON"),
        (str | None, "String"),
        ("str | None", "String"),
        (list[int], "[Int!]!"),
        (list[int | None], "[Int]!"),
        (list[list[str]] | None, "[[String!]!]"),
        (tuple[str, ...], "[String!]!"),
        (tuple[int, str], "[JSON]!"),
        (Iterable[str], "[String!]!"),
        (set[str], "[String!]!"),
        (list, "[JSON]!"),
        (Literal["a", "b"], "RecordShown!"),
        (Literal["a", None], "RecordShown"),
        (Literal["a b"], "String!"),
        (Literal[1, 2], "Int!"),
        (Color, "RecordShown!"),
        (Mood, "RecordShown!"),
        (Priority, "Int!"),
        (list[Color], "[RecordShown!]!"),
        (Handle, "String!"),
        (BigInt, "BigInt!"),
    ],
)
def test_annotations(hint: Any, expected: str) -> None:
    """A method's return annotation is its type."""
    assert str(field_type(hinted(hint), Record, "Record")) == expected


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (None, "no GraphQL type"),
        (object, "no GraphQL type"),
        (str | int, "no GraphQL type"),
        (bytes, "no GraphQL type"),
        (Record, "returns rows"),
        (list[Record], "returns rows"),
        (models.QuerySet[Record] | None, "returns rows"),
        ("OrderedDict[str, int]", "can't be evaluated"),
    ],
)
def test_annotations_without_a_type(hint: Any, said: str) -> None:
    """An annotation that says nothing to GraphQL is refused with the ones that would."""
    with pytest.raises(UnsupportedError, match=said) as caught:
        field_type(hinted(hint), Record, "Record")
    assert caught.value.fix


def test_only_the_return_annotation_is_evaluated() -> None:
    """Parameters may name what is imported for type checkers only."""

    class CompanySerializer(serializers.ModelSerializer[Any]):
        shown = serializers.SerializerMethodField(method_name="show")

        class Meta:
            model = Record
            fields = ["shown"]

        def show(self, company: Company) -> int: ...  # type: ignore[empty-body]

    field = CompanySerializer().fields["shown"]
    assert field_type(field, Record, "Record") == FieldType("Int")


class ExactField(serializers.Field[Any, Any, Any, Any]):
    def to_representation(self, value: Any) -> list[float] | None: ...


class UntypedField(serializers.Field[Any, Any, Any, Any]):
    def to_representation(self, value): ...  # type: ignore[no-untyped-def]


class WholeField(serializers.Field[Any, Any, Any, Any]):
    def get_attribute(self, instance: Any) -> Any:
        return instance

    def to_representation(self, value: Any) -> str: ...  # type: ignore[empty-body]


class QuietIntegerField(serializers.IntegerField):
    def to_representation(self, value):  # type: ignore[no-untyped-def]
        return 0


class TagField(serializers.RelatedField[Any, Any, Any]):
    def to_representation(self, value: Any) -> str: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (ExactField(), "[Float!]"),
        (ExactField(source="*"), "[Float!]"),
        (WholeField(), "String!"),
        (WholeField(source="not_there"), "String"),
        (QuietIntegerField(), "Int!"),
        (TagField(source="tags", many=True, read_only=True), "[String!]!"),
        (serializers.ListField(child=ExactField()), "[[Float!]]!"),
    ],
)
def test_fields_of_the_projects_own(field: Any, expected: str) -> None:
    """An overridden `to_representation` has the type it is annotated with, else that of the field it overrides."""
    assert type_of(field) == expected


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("field", "message", "fix"),
    [
        (UntypedField(), "UntypedField, whose GraphQL type is unknown", "return annotation"),
        (serializers.CharField(source="*"), "whole instance", "SerializerMethodField"),
        (serializers.CharField(source="nothing"), "no attribute 'nothing'", "property"),
        (serializers.CharField(source="author.nothing"), "Person has no attribute", "property"),
        (serializers.IntegerField(source="tags.count"), "from the rows of 'tags'", "column"),
        (serializers.IntegerField(source="author"), "over the relation 'author'", "PrimaryKeyRelatedField"),
        (serializers.CharField(source="tags"), "over the relation 'tags'", "nested serializer"),
        (serializers.ReadOnlyField(source="author"), "over the relation", "nested serializer"),
        (serializers.ReadOnlyField(source="unannotated"), "doesn't say what it returns", "Annotate"),
        (serializers.ReadOnlyField(source="latest_tag"), "returns rows", "relation"),
        (serializers.ReadOnlyField(source="latest_tag.label"), "returns rows", "relation"),
        (serializers.CharField(source="unannotated.x"), "may return a row", "Annotate"),
        (serializers.ReadOnlyField(source="file"), "no GraphQL type", "FileField"),
        (serializers.ReadOnlyField(source="raw"), "no GraphQL type", "serializer field"),
        (serializers.StringRelatedField(source="latest_tag"), "returns rows", "relation"),
        (serializers.StringRelatedField(source="length"), "not a relation", "relation"),
        (serializers.StringRelatedField(source="tags"), "many rows", "many=True"),
        (serializers.StringRelatedField(source="author", many=True), "many=True", "many-to-many"),
        (KeyField(source="by_handle", read_only=True), "holds 'handle'", "SlugRelatedField"),
        (SlugField(slug_field="company", source="author", read_only=True), "'company'", "column"),
        (LinkField("view", source="author", read_only=True), "hyperlink", "PrimaryKeyRelatedField"),
        (serializers.HyperlinkedIdentityField("view"), "hyperlink", "PrimaryKeyRelatedField"),
        (serializers.SerializerMethodField(method_name="missing"), "doesn't exist", "Write"),
        (serializers.ListField(child=KeyField(read_only=True)), "list of", "nested serializer"),
    ],
)  # fmt: skip
def test_refusals(field: Any, message: str, fix: str) -> None:
    """What can't be typed or watched is refused at start-up, and the error says what to write instead."""
    with pytest.raises(UnsupportedError) as caught:
        type_of(field)
    assert message in caught.value.message
    assert fix in caught.value.fix


def test_a_method_without_an_annotation_says_where_to_add_one() -> None:
    """The error names the method."""

    class BareSerializer(serializers.ModelSerializer[Any]):
        shown = serializers.SerializerMethodField()

        class Meta:
            model = Record
            fields = ["shown"]

        def get_shown(self, record): ...  # type: ignore[no-untyped-def]

    with pytest.raises(UnsupportedError, match=r"BareSerializer\.get_shown\(\)") as caught:
        field_type(BareSerializer().fields["shown"], Record, "Record")
    assert "def get_shown(self, instance) -> str:" in caught.value.fix


# ----------------------------------------------------------------------------------------- other rows


@pytest.mark.parametrize(
    ("field", "shown", "points"),
    [
        (serializers.CharField(), (), None),
        (serializers.CharField(source="author.company.name"), (("author", "company"),), None),
        (serializers.CharField(source="profile.motto", read_only=True), (("profile",),), None),
        (serializers.IntegerField(source="author_id"), (), "author"),
        (serializers.IntegerField(source="author.company_id"), (("author", "company"),), None),
        (KeyField(source="author", read_only=True), (), "author"),
        (KeyField(source="author_id", read_only=True), (), "author"),
        (KeyField(source="author.company", read_only=True), (("author", "company"),), None),
        (KeyField(source="profile", read_only=True), (("profile",),), None),
        (KeyField(source="tags", read_only=True, many=True), (("tags",),), None),
        (KeyField(source="note_set", read_only=True, many=True), (("note_set",),), None),
        (serializers.ReadOnlyField(source="author.shout"), (("author",),), None),
        (serializers.ReadOnlyField(source="length"), (), None),
        (SlugField(slug_field="handle", source="editor", read_only=True), (("editor",),), None),
        (SlugField(slug_field="company__name", source="editor", read_only=True), (("editor", "company"),), None),
        (SlugField(slug_field="label", source="tags", many=True, read_only=True), (("tags",),), None),
        (serializers.StringRelatedField(source="author"), (("author",),), None),
        (TagField(source="tags", many=True, read_only=True), (("tags",),), None),
        (WholeField(source="*"), (), None),
    ],
)  # fmt: skip
def test_shown_rows(field: Any, shown: Any, points: str | None) -> None:
    """A field names the relations whose rows it shows, and the key whose target's deletion changes it."""
    field = bound(field)
    assert (shown_relations(field, Record), points_at(field, Record)) == (shown, points)


# ------------------------------------------------------------------------------------------- the wire


@pytest.mark.parametrize(
    ("kind", "value", "ready"),
    [
        ("ID", 5, "5"),
        ("ID", UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("Int", True, 1),
        ("Int", Priority.HIGH, 2),
        ("Int", "7", 7),
        ("Int", 3.0, 3),
        ("BigInt", 2**70, "1180591620717411303424"),
        ("BigInt", "12", "12"),
        ("Float", 1, 1.0),
        ("Float", Decimal("1.5"), 1.5),
        ("Boolean", 1, True),
        ("String", mark_safe("<b>"), "<b>"),
        ("String", gettext_lazy("Yes"), "Yes"),
        ("String", Mood.CALM, "calm"),
        ("String", 5, "5"),
        ("String", True, "true"),
        ("UUID", "{00000000-0000-0000-0000-000000000001}", "{00000000-0000-0000-0000-000000000001}"),
        ("Decimal", Decimal("1E+3"), "1000"),
        ("Decimal", 1.5, "1.5"),
        ("Date", datetime.date(2024, 1, 2), "2024-01-02"),
        ("DateTime", datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), "2024-01-02T00:00:00Z"),
        ("DateTime", "2024-01-02T00:00:00Z", "2024-01-02T00:00:00Z"),
        ("Time", datetime.time(1, 2), "01:02:00"),
        ("Duration", datetime.timedelta(days=1, seconds=2), "1 00:00:02"),
        ("JSON", {1: {"a": (1, Decimal("0.5"))}, None: Mood.CALM}, {"1": {"a": [1, 0.5]}, "null": "calm"}),
        ("JSON", {"b", "a"}, ["a", "b"]),
        ("JSON", datetime.date(2024, 1, 2), "2024-01-02"),
        ("JSON", [gettext_lazy("Yes"), UUID(int=1)], ["Yes", "00000000-0000-0000-0000-000000000001"]),
    ],
)  # fmt: skip
def test_values_ready_for_json(kind: str, value: Any, ready: Any) -> None:
    """What DRF or a method gives becomes plain JSON of the type's kind, of exactly Python's own types."""
    found = to_graphql(FieldType(kind))(value)
    assert found == ready
    assert type(found) is type(ready)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Int", "abc"),
        ("Int", 2**31),
        ("Int", 1.5),
        ("Int", []),
        ("BigInt", "x"),
        ("Float", float("nan")),
        ("Float", "inf"),
        ("Float", None),
        ("Boolean", "yes"),
        ("Boolean", 2),
        ("String", {}),
        ("String", "\ud800"),
        ("ID", 1.5),
        ("UUID", "x"),
        ("Decimal", Decimal("NaN")),
        ("Decimal", "1,5"),
        ("Date", datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)),
        ("Date", "2.1.2024"),
        ("DateTime", datetime.date(2024, 1, 2)),
        ("Time", "noon"),
        ("Duration", "long"),
        ("Duration", 5),
        ("JSON", {"a": float("nan")}),
        ("JSON", {"a": object()}),
        ("JSON", {(1, 2): 3}),
        ("JSON", 2**64),
        ("JSON", ["\udfff"]),
        ("JSON", {"\udfff": 1}),
    ],
)
def test_mismatches(kind: str, value: Any) -> None:
    """A value that GraphQL or JSON can't carry raises ValueError, so that it spoils its row only."""
    with pytest.raises(ValueError, match=r"."):
        to_graphql(FieldType(kind))(value)


def test_nulls() -> None:
    """None passes where the type is nullable, at every depth, and nowhere else."""
    item = FieldType("Int", nullable=True)
    assert to_graphql(FieldType("List", nullable=True, item=item))(None) is None
    assert to_graphql(FieldType("List", item=item))([1, None]) == [1, None]
    for strict in (FieldType("List", item=item), FieldType("JSON"), FieldType("Enum")):
        with pytest.raises(ValueError, match="null"):
            to_graphql(strict)(None)
    with pytest.raises(ValueError, match="null"):
        to_graphql(FieldType("List", item=FieldType("Int")))([None])


def test_lists_and_enums() -> None:
    """An iterable becomes a list, a set one in the choices' order; an enum takes its values only."""
    color = FieldType("Enum", choices=("red", "blue", "green"), enum_name="Color")
    colors = to_graphql(FieldType("List", item=color))
    assert colors({"green", "red", "blue"}) == ["red", "blue", "green"]
    assert colors(name for name in ("blue", Color.RED)) == ["blue", "red"]
    for wrong in ("red", b"red", {"red": 1}, 5):
        with pytest.raises(ValueError, match="not a valid list"):
            colors(wrong)
    unknown: Any
    for unknown in ("pink", 1, []):
        with pytest.raises(ValueError, match="not a valid Color"):
            to_graphql(color)(unknown)


def test_durations_are_as_drf_formats_them() -> None:
    """A duration from a method looks like one from a DurationField."""
    with override_settings(REST_FRAMEWORK={"DURATION_FORMAT": "iso-8601"}):
        assert to_graphql(FieldType("Duration"))(datetime.timedelta(hours=1)) == "P0DT01H00M00S"
