"""The documents that the client makes of a schema fit it: graphql-js, graphql-core and the server agree."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from graphql import parse, validate
from rest_framework import serializers
from strawberry.schema.config import StrawberryConfig

from rxgraphql.schema import Operation, Schema, get_schema, print_sdl
from tests.chat.models import Message, Reaction, Room
from tests.schemas import Open, own_channels
from tests.services import ROOT

SCRIPT = ROOT / "tests" / "client" / "documents.mjs"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (ROOT / "client-codegen" / "dist" / "flatten.js").is_file(),
    reason="needs Node.js and `make setup`",
)
VARIABLES = {"zone": "a", "lookup": True, "id": "1", "name": "a"}
STATES = [("open", "Open"), ("true_", "True"), ("closed", "Closed")]


class MateSerializer(serializers.ModelSerializer[User]):
    """Under every name another type than in the room's own rows."""

    name = serializers.SerializerMethodField()
    state = serializers.SerializerMethodField()
    constructor = serializers.CharField(source="username")
    text = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ("id", "name", "state", "constructor", "text")

    def get_name(self, user: User) -> int | None: ...

    def get_state(self, user: User) -> list[str | None] | None: ...

    def get_text(self, user: User) -> float:
        return 1.5


class EmojiSerializer(serializers.ModelSerializer[Reaction]):
    text = MateSerializer(source="user")
    name = serializers.CharField(source="emoji", allow_null=True)

    class Meta:
        model = Reaction
        fields = ("id", "text", "name")


class StringSerializer(serializers.ModelSerializer[Message]):
    """Called as a type of TypeScript."""

    state = serializers.ChoiceField(STATES, source="text", allow_null=True)
    name = MateSerializer(source="author")
    edges = EmojiSerializer(source="reactions", many=True)

    class Meta:
        model = Message
        fields = ("id", "text", "state", "name", "edges")
        graphql_name = "string"


class HallSerializer(serializers.ModelSerializer[Room]):
    """A field `state` that is an enum, `HallState`, in a type whose channel has a `state`."""

    state = serializers.ChoiceField(STATES, source="name")
    states = serializers.MultipleChoiceField(choices=STATES, source="name")
    lists_ = StringSerializer(source="messages", many=True)
    members = MateSerializer(many=True)

    class Meta:
        model = Room
        fields = ("id", "name", "state", "states", "lists_", "members")


@pytest.fixture
def clashing() -> Iterator[Schema]:
    with own_channels():

        class HallChannel(Open):
            class Meta:
                anchor = HallSerializer()

            def get_object(  # type: ignore[override]
                self, zone: str, lookup: bool, query: list[int] | None = None
            ) -> Any: ...

        class MateChannel(Open):
            class Meta:
                anchor = MateSerializer()
                graphql_name = "mate"

        yield Schema(channels=[HallChannel, MateChannel])


def check(schema: Schema) -> list[str]:
    """The fields of the channels whose documents were checked."""
    done = subprocess.run(
        ["node", str(SCRIPT)],
        input=print_sdl(schema),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    documents = json.loads(done.stdout)["documents"]
    for document in documents:
        text = document["text"]
        assert document["faults"] == [], text
        assert validate(schema._schema, parse(text)) == [], text
        assert isinstance(schema.prepare(text, VARIABLES), Operation), text
    return [document["field"] for document in documents]


def test_of_the_project() -> None:
    """All channels of all apps."""
    assert set(check(get_schema())) == {"club", "member", "room", "shelf"}


def test_with_names_of_python() -> None:
    """Without camel case the fields' names are Python's."""
    assert "room" in check(Schema(config=StrawberryConfig(auto_camel_case=False)))


def test_of_names_that_clash(clashing: Schema) -> None:
    """One name with another type, nullability or enum in each node type, and names that are words elsewhere."""
    assert set(check(clashing)) == {"hall", "mate"}
