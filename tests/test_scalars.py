from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import strawberry

from rxgraphql import Schema, StateChannel, type_for
from rxgraphql.scalars import PYTHON_TYPES, BigInt, Duration
from rxgraphql.schema import Operation, PreparedError
from tests.chat.serializers import RoomSerializer
from tests.records import ColumnsSerializer, make_record
from tests.schemas import Open, own_channels, query_of


@pytest.fixture(autouse=True)
def forget_channels() -> Iterator[None]:
    with own_channels():
        yield


ARGUMENTS: list[tuple[str, Any, Any]] = [
    ("ID", "7", "7"),
    ("Int", 7, 7),
    ("BigInt", str(2**60), 2**60),
    ("BigInt", 7, 7),
    ("Float", 1.5, 1.5),
    ("Boolean", True, True),
    ("String", "a", "a"),
    ("UUID", str(uuid.UUID(int=7)), uuid.UUID(int=7)),
    ("Decimal", "1.50", decimal.Decimal("1.50")),
    ("Date", "2026-01-02", datetime.date(2026, 1, 2)),
    (
        "DateTime",
        "2026-01-02T03:04:05Z",
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    ),
    ("Time", "03:04:05", datetime.time(3, 4, 5)),
    ("Duration", "1 02:03:04", datetime.timedelta(days=1, hours=2, minutes=3, seconds=4)),
    ("Duration", "P1DT1S", datetime.timedelta(days=1, seconds=1)),
    ("JSON", {"a": [1]}, {"a": [1]}),
]


def channel_with_argument(kind: str) -> type[StateChannel]:
    class ArgumentChannel(Open):
        class Meta:
            anchor = RoomSerializer()

        def get_object(self, value: Any) -> Any:  # type: ignore[override]
            raise NotImplementedError

        get_object.__annotations__["value"] = PYTHON_TYPES[kind]

    return ArgumentChannel


@pytest.mark.parametrize(("kind", "given", "expected"), ARGUMENTS)
def test_arguments_are_python_objects(kind: str, given: Any, expected: Any) -> None:
    """A channel's annotated argument arrives as a Python object of its annotation."""
    made = Schema(channels=[channel_with_argument(kind)])
    query = f"subscription ($v: {kind}!) {{ argument(value: $v) {{ kind }} }}"
    operation = made.prepare(query, {"v": given})
    assert isinstance(operation, Operation), operation
    assert operation.arguments == {"value": expected}
    assert type(operation.arguments["value"]) is type(expected)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("Int", 2**31),
        ("BigInt", "1.5"),
        ("BigInt", True),
        ("BigInt", "9" * 5000),
        ("UUID", "7"),
        ("Decimal", "one"),
        ("Date", "2026-13-01"),
        ("DateTime", "yesterday"),
        ("Duration", "long"),
        ("Duration", 5),
        ("ID", None),
    ],
)
def test_malformed_arguments(kind: str, given: Any) -> None:
    """An argument that can't be parsed is the client's mistake, with a text that says so."""
    made = Schema(channels=[channel_with_argument(kind)])
    query = f"subscription ($v: {kind}!) {{ argument(value: $v) {{ kind }} }}"
    refused = made.prepare(query, {"v": given})
    assert isinstance(refused, PreparedError)
    assert [error.extensions for error in refused.errors] == [{"code": "BAD_USER_INPUT"}]
    assert "$v" in refused.errors[0].message


def test_scalars_take_objects_of_users_resolvers() -> None:
    """The scalars serialize Python objects as well as text."""

    @strawberry.type
    class Query:
        big: BigInt = BigInt(2**60)
        duration: Duration = Duration(datetime.timedelta(hours=1))
        moment: datetime.datetime = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
        token: uuid.UUID = uuid.UUID(int=7)

    made = Schema(query=Query, channels=())
    assert made.execute_sync("{ big duration moment token }", root_value=Query()).data == {
        "big": str(2**60),
        "duration": "01:00:00",
        "moment": "2026-01-02T00:00:00+00:00",
        "token": str(uuid.UUID(int=7)),
    }


@pytest.mark.django_db
def test_users_own_scalar() -> None:
    """A scalar that the user puts in a built-in one's place lets the rows' text through."""
    now = strawberry.field(
        resolver=lambda: datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        graphql_type=datetime.datetime,
    )
    query = query_of(type_for(ColumnsSerializer), make_record, now=now)
    stamp = strawberry.scalar(
        name="Stamp", serialize=lambda value: value.timestamp(), parse_value=float
    )
    made = Schema(
        query=query,
        channels=(),
        scalar_overrides={datetime.datetime: stamp},
    )
    result = made.execute_sync("{ now found { moment } }")
    assert result.data == {"now": 1767312000.0, "found": {"moment": "2020-01-02T00:00:00Z"}}
