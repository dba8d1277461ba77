"""Serializers over Record: one that has every field that can be compiled, one whose fields need an instance."""

from __future__ import annotations

import decimal
import zoneinfo
from typing import Any

from rest_framework import serializers

from tests.values_app.models import Mood, Person, Record

COLUMNS = [
    field.name
    for field in Record._meta.concrete_fields
    if field.name not in ("id", "raw", "by_handle")
]


class CompiledSerializer(serializers.ModelSerializer[Any]):
    anonymous = serializers.CharField(source="editor.name", allow_null=True)
    as_text = serializers.CharField(source="integer")
    author_name = serializers.CharField(source="author.name")
    bare_decimal = serializers.DecimalField(
        source="decimal", max_digits=None, decimal_places=None, coerce_to_string=True
    )
    berlin = serializers.DateTimeField(
        source="moment", default_timezone=zoneinfo.ZoneInfo("Europe/Berlin")
    )
    company = serializers.CharField(source="editor.company.name", read_only=True)
    date_object = serializers.DateField(source="date", format=None)
    dotted_key = serializers.PrimaryKeyRelatedField[Any](source="editor.company", read_only=True)
    formatted = serializers.DateTimeField(source="moment", format="%d.%m. %H:%M %A")
    formatted_date = serializers.DateField(source="date", format="%d.%m. %B")
    founded = serializers.ReadOnlyField(source="editor.company.founded")
    handle = serializers.SlugRelatedField[Any](
        slug_field="handle", queryset=Person.objects.all(), source="editor"
    )
    handle_key = serializers.SlugRelatedField[Any](
        slug_field="handle", read_only=True, source="by_handle"
    )
    hex_key = serializers.PrimaryKeyRelatedField[Any](
        source="author", read_only=True, pk_field=serializers.CharField()
    )
    hex_token = serializers.UUIDField(source="token", format="hex")
    int_token = serializers.UUIDField(source="token", format="int")
    iso_duration = serializers.DurationField(source="duration", format="iso-8601")
    items = serializers.JSONField(source="json", binary=True)
    local_decimal = serializers.DecimalField(
        source="decimal", max_digits=12, decimal_places=2, localize=True
    )
    moment_object = serializers.DateTimeField(source="moment", format=None)
    motto = serializers.CharField(source="profile.motto", read_only=True)
    name_only = serializers.FileField(source="file", use_url=False)
    normalized = serializers.DecimalField(
        source="decimal", max_digits=12, decimal_places=3, normalize_output=True
    )
    number = serializers.DecimalField(
        source="decimal", max_digits=12, decimal_places=1, coerce_to_string=False
    )
    read_only_moment = serializers.ReadOnlyField(source="moment")
    read_only_token = serializers.ReadOnlyField(source="token")
    rounded = serializers.DecimalField(
        source="decimal", max_digits=None, decimal_places=1, rounding=decimal.ROUND_UP
    )
    small_choice = serializers.ChoiceField(source="integer", choices=[1, 2, 3])
    text_mood = serializers.CharField(source="mood")
    time_object = serializers.TimeField(source="time", format=None)
    truth = serializers.BooleanField(source="integer")

    class Meta:
        model = Record
        fields = [
            *COLUMNS,
            "anonymous",
            "as_text",
            "author_id",
            "author_name",
            "bare_decimal",
            "berlin",
            "company",
            "date_object",
            "dotted_key",
            "formatted",
            "formatted_date",
            "founded",
            "handle",
            "handle_key",
            "hex_key",
            "hex_token",
            "int_token",
            "iso_duration",
            "items",
            "local_decimal",
            "moment_object",
            "motto",
            "name_only",
            "normalized",
            "number",
            "read_only_moment",
            "read_only_token",
            "rounded",
            "small_choice",
            "text_mood",
            "time_object",
            "truth",
        ]


class ShoutingField(serializers.CharField):
    def to_representation(self, value: Any) -> str:
        return super().to_representation(value).upper()


class InstanceSerializer(serializers.ModelSerializer[Any]):
    author_handle = serializers.ReadOnlyField(source="author.shout")
    defaulted = serializers.CharField(source="editor.name", default="nobody")
    labels = serializers.SlugRelatedField[Any](
        slug_field="label", many=True, read_only=True, source="tags"
    )
    loud = ShoutingField(source="char")
    moods = serializers.MultipleChoiceField(choices=Mood.choices)
    method = serializers.SerializerMethodField()
    profile = serializers.PrimaryKeyRelatedField[Any](read_only=True)
    unannotated = serializers.CharField(read_only=True)
    who = serializers.StringRelatedField[Any](source="editor")

    class Meta:
        model = Record
        fields = [
            "author",
            "author_handle",
            "char",
            "company_text",
            "defaulted",
            "get_mood_display",
            "labels",
            "length",
            "loud",
            "method",
            "moment",
            "moods",
            "profile",
            "raw",
            "tags",
            "unannotated",
            "who",
        ]

    company_text = serializers.StringRelatedField[Any](source="author.company")

    def get_method(self, record: Record) -> dict[Any, Any]:
        return {"moment": record.moment, "decimal": record.decimal, record.integer: {"b", "a"}}
