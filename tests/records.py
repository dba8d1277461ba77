"""One Record with something in every column, and its serializer as a node type."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

from rxgraphql.channel import registry
from tests.values_app.models import Company, Person, Record
from tests.values_app.models import Tag as RecordTag
from tests.values_app.serializers import CompiledSerializer


class ColumnsSerializer(CompiledSerializer):
    handle_key = None  # type: ignore[assignment]  # a key that points at no primary key can't be followed

    class Meta(CompiledSerializer.Meta):
        fields = [name for name in CompiledSerializer.Meta.fields if name != "handle_key"]


def selection(serializer_class: Any) -> str:
    """Every flat field of a node type."""
    fields = registry.node_type(serializer_class).fields
    return " ".join(["id", *(field.graphql_name for field in fields)])


def make_record() -> Record:
    company = Company.objects.create(name="Acme", founded=datetime.date(1999, 12, 31))
    person = Person.objects.create(name="Ada", handle="ada", company=company)
    record = Record.objects.create(
        author=person,
        editor=person,
        big=2**60,
        char="words",
        decimal=decimal.Decimal("1.250"),
        duration=datetime.timedelta(days=1, seconds=30),
        json={"deep": [1, {"er": None}]},
        maybe_decimal=decimal.Decimal("0.10"),
        token=uuid.UUID(int=7),
        mood="angry",
        small=3,
        integer=2,
    )
    record.tags.add(RecordTag.objects.create(label="one"), RecordTag.objects.create(label="two"))
    return Record.objects.get(pk=record.pk)
