from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings
from graphql import get_introspection_query

from rxgraphql.document import MAX_CHARACTERS, MAX_DOCUMENTS, Documents
from rxgraphql.schema import (
    Operation,
    PreparedError,
    Schema,
)

WATCH = "subscription Watch($name: String!) { room(name: $name) { kind messages { id text } } }"


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


CODES = [
    ("subscription {", {}, None, "GRAPHQL_PARSE_FAILED"),
    ("", {}, None, "GRAPHQL_PARSE_FAILED"),
    ("subscription { nothing { kind } }", {}, None, "GRAPHQL_VALIDATION_FAILED"),
    ("subscription { room { kind } }", {}, None, "GRAPHQL_VALIDATION_FAILED"),
    ("subscription { room(name: 3) { kind } }", {}, None, "GRAPHQL_VALIDATION_FAILED"),
    (WATCH, {"name": 3}, None, "BAD_USER_INPUT"),
    (WATCH, {}, None, "BAD_USER_INPUT"),
    (WATCH, {"name": "a"}, "Nothing", "BAD_USER_INPUT"),
    (WATCH + " query Q { __typename }", {"name": "a"}, None, "BAD_USER_INPUT"),
]


@pytest.mark.parametrize(("query", "variables", "name", "code"), CODES)
async def test_refused_documents(
    schema: Schema, query: str, variables: dict[str, Any], name: str | None, code: str
) -> None:
    """A document that can't be run gives an error with a code, prepared and through Strawberry alike."""
    prepared = schema.prepare(query, variables, name)
    assert isinstance(prepared, PreparedError)
    assert {error.extensions["code"] for error in prepared.errors if error.extensions} == {code}
    if query and name is None:
        stream: Any = await schema.subscribe(query, variables)
        (result,) = [result async for result in stream]
        assert [error.message for error in result.errors] == [e.message for e in prepared.errors]
        assert {error.extensions["code"] for error in result.errors} == {code}


def limit_of(schema: Schema, query: str) -> str:
    prepared = schema.prepare(query)
    assert isinstance(prepared, PreparedError), "not refused"
    (error,) = prepared.errors
    assert error.extensions == {"code": "LIMIT_EXCEEDED"}
    result = schema.execute_sync(query)
    assert [e.extensions for e in result.errors or ()] == [error.extensions]
    return error.message


def test_introspection_is_no_deep_document(schema: Schema) -> None:
    """GraphiQL's introspection passes the limits."""
    query = get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
    )
    with override_settings(RX_MAX_DEPTH=3):
        assert isinstance(schema.prepare(query), Operation)
        assert schema.execute_sync(query).errors is None


def test_limits(schema: Schema) -> None:
    """A document over a limit is refused before it is validated, and the setting is named."""
    with override_settings(RX_MAX_DEPTH=3):
        nested = 'subscription { room(name: "a") { state { messages { id } } } }'
        assert "RX_MAX_DEPTH" in limit_of(schema, nested)
        spread = (
            'subscription { room(name: "a") { ...A } } fragment A on RoomEvent { state { ...B } } '
            "fragment B on Room { messages { id } }"
        )
        assert "RX_MAX_DEPTH" in limit_of(schema, spread)
    assert isinstance(schema.prepare(nested), Operation)
    aliases = " ".join(f"a{i}: __typename" for i in range(51))
    assert isinstance(schema.prepare(f"{{ {aliases} }}"), Operation)
    aliases = " ".join(f"a{i}: __schema {{ types {{ name }} }}" for i in range(51))
    assert "RX_MAX_ALIASES" in limit_of(schema, f"{{ {aliases} }}")
    aliases = " ".join(f"a{i}: types {{ name }}" for i in range(51))
    assert "RX_MAX_ALIASES" in limit_of(schema, f"{{ __schema {{ {aliases} }} }}")
    aliases = " ".join(f'a{i}: room(name: "a") {{ id }}' for i in range(51))
    assert "RX_MAX_ALIASES" in limit_of(schema, f"{{ {aliases} }}")
    assert "RX_MAX_TOKENS" in limit_of(schema, "{ " + "a " * 2000 + "}")


def test_hostile_documents(schema: Schema) -> None:
    """Deep nesting, fragments that double and repeated fields are refused, and soon."""
    assert "too deeply" in limit_of(schema, "{ a " * 900 + "}" * 900)
    assert "too deeply" in limit_of(schema, "{ room(name: " + "[" * 900 + "]" * 900 + ") { id } }")
    laughs = " ".join(f"fragment A{i} on Room {{ ...A{i + 1} ...A{i + 1} }}" for i in range(100))
    laughs = '{ room(name: "a") { ...A0 } } ' + laughs + " fragment A100 on Room { id }"
    assert "RX_MAX_TOKENS" in limit_of(schema, laughs)
    repeated = '{ room(name: "a") { ' + "members { id } " * 450 + "} }"
    assert "too often" in limit_of(schema, repeated)
    circle = '{ room(name: "a") { ...A } } fragment A on Room { ...B } fragment B on Room { ...A }'
    prepared = schema.prepare(circle)
    assert isinstance(prepared, PreparedError)
    assert prepared.errors[0].extensions == {"code": "GRAPHQL_VALIDATION_FAILED"}


def test_documents_are_kept_within_bounds(schema: Schema) -> None:
    """The cache of documents forgets the least recently used beyond a number of them, and of characters."""
    documents = Documents(schema._schema)
    first = "query Q0 { __typename }"
    kept = documents.load(first)
    for i in range(1, MAX_DOCUMENTS):
        documents.load(f"query Q{i} {{ __typename }}")
    assert documents.load(first) is kept
    documents.load("query More { __typename }")
    assert len(documents) == MAX_DOCUMENTS
    assert documents.load(first) is kept
    documents.load("{ __typename } #" + "." * (MAX_CHARACTERS - 100))
    assert len(documents) < 10
    documents.load("{ nothing }")
    assert len(documents) < 10
