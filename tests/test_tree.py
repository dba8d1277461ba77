"""A serializer compiled once: its node types, edges and hidden columns, and what is refused, all of it at once."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import models
from django.test.utils import isolate_apps
from rest_framework import serializers

from rxgraphql.builder import TreeBuilder
from rxgraphql.channel import registry
from rxgraphql.errors import Fault, UnsupportedError
from rxgraphql.tree import NodeType, StateTree, camel, snake
from tests.chat.channels import RoomChannel
from tests.chat.models import Message, Profile, Reaction, Room, Tag, Team
from tests.chat.serializers import MessageSerializer, RoomSerializer, UserSerializer
from tests.clubs.models import Club, FamousClub, PaidClub, Person, Trophy

Serializer = type[serializers.ModelSerializer[Any]]


def serializer(name: str, model: type[models.Model], *fields: str, **attributes: Any) -> Serializer:
    """`class {name}Serializer` over the model; further keywords are declared fields or `meta_...`."""
    meta = {
        key.removeprefix("meta_"): attributes.pop(key)
        for key in list(attributes)
        if key.startswith("meta_")
    }
    names = (*fields, *attributes)
    Meta = type("Meta", (), {"model": model, "fields": names, **meta})  # noqa: N806
    return type(f"{name}Serializer", (serializers.ModelSerializer,), {"Meta": Meta, **attributes})


def compiled(anchor: Serializer) -> StateTree:
    builder = TreeBuilder()
    tree = builder.tree(anchor(), "here")
    assert builder.faults == []
    assert tree is not None
    return tree


def faults(*anchors: Any) -> list[Fault]:
    """All faults of the anchors (serializer classes or instances), compiled together."""
    builder = TreeBuilder()
    for index, anchor in enumerate(anchors):
        known = len(builder.faults)
        tree = builder.tree(anchor() if isinstance(anchor, type) else anchor, f"here{index or ''}")
        assert (tree is None) == (len(builder.faults) > known)
    return builder.faults


def fault(*anchors: Any) -> str:
    (found,) = faults(*anchors)
    assert found.fix
    return str(found)


TagS = serializer("Tag", Tag, "id", "name")
UserS = serializer("User", User, "id", "username")


# ------------------------------------------------------------------------------------------ what is compiled


def test_the_rooms_tree() -> None:
    """Node types come in the order in which the tree reaches them; a type reached twice is one."""
    tree = RoomChannel.tree
    assert [t.name for t in tree.node_types] == [
        "Room",
        "User",
        "Message",
        "Pinned",
        "Profile",
        "Reaction",
        "Tag",
    ]
    assert {t.label for t in tree.all_types} | {"chat.room_members", "chat.message_tags"} == set(
        tree.labels
    )
    user = next(t for t in tree.node_types if t.name == "User")
    assert {f"{e.parent.name}.{e.name}" for e in user.inbound} == {
        "Room.members",
        "Message.author",
        "Reaction.user",
    }


def test_edges() -> None:
    """An edge knows its kind, whether it may be empty, and where in the rows its keys are."""
    tree = RoomChannel.tree
    edges = {f"{edge.parent.name}.{edge.name}": edge for edge in tree.edges()}
    messages, pinned, members = (edges[f"Room.{n}"] for n in ("messages", "pinned", "members"))
    assert (messages.kind, messages.many, messages.nullable) == ("reverse", True, False)
    assert messages.child.hidden[messages.column] == "room_id"
    assert [messages.child.hidden[i] for i in messages.order_columns] == ["position", "created"]
    assert messages.child.visible_annotation is not None
    assert (pinned.kind, pinned.many, pinned.nullable) == ("forward", False, True)
    assert pinned.parent.hidden[pinned.column] == "pinned_id"
    assert (members.kind, members.many, members.column) == ("link", True, -1)
    profile, author = edges["User.profile"], edges["Message.author"]
    assert (profile.kind, profile.many, profile.nullable) == ("reverse", False, True)
    assert (author.kind, author.nullable) == ("forward", False)
    assert [edge.index for edge in messages.parent.edges] == [0, 1, 2]
    for edge in tree.edges():
        assert edge.parent.edges[edge.index] is edge


def test_hidden_edges() -> None:
    """A field that shows another row's data, or points at a row that may vanish, is an edge that GraphQL never sees."""
    message = registry.node_types()["Message"]
    hidden = {edge.name: edge for edge in message.edges if edge.hidden}
    assert {name: edge.shows for name, edge in hidden.items()} == {
        "~editor": "change",
        "~room": "change",
        "~tags": "change",
    }
    assert all(edge.child.name.startswith("~") for edge in hidden.values())
    assert all(not edge.hidden for edge in message.visible_edges())
    club = registry.node_types()["Club"]
    (founder,) = (edge for edge in club.edges if edge.hidden)
    assert (founder.name, founder.shows) == ("~founder", "deletion")
    assert founder.child.is_virtual


def test_paths_are_edges_beneath_each_other() -> None:
    """A dotted source is one hidden edge for each step, so that each row on its way is watched."""
    tree = compiled(
        serializer(
            "Reaction", Reaction, "id", team=serializers.CharField(source="message.room.team.name")
        )
    )
    assert tree.labels == ("chat.message", "chat.reaction", "chat.room", "chat.team")
    assert [t.hidden for t in tree.all_types] == [
        ("message_id",),
        ("room_id",),
        ("team_id",),
        (),
    ]
    assert [t.name for t in tree.node_types] == ["Reaction"]


def test_the_key_is_not_a_field() -> None:
    """`id` is served from the node's key, under whatever column it is stored."""
    assert "id" not in [f.name for f in registry.node_types()["Message"].fields]
    tree = compiled(serializer("Club", Club, "name", id=serializers.CharField(source="code")))
    assert [f.name for f in tree.root.fields] == ["name"]
    assert tree.root.key("chess") == "Club:chess"


def test_write_only_fields_stay_out() -> None:
    """What a serializer only takes is no part of the tree."""
    tree = compiled(
        serializer(
            "User",
            User,
            "id",
            "username",
            password=serializers.CharField(write_only=True),
            secret=serializers.HiddenField(default="x"),
            chat_rooms=serializer("Room", Room, "id", "unknown")(many=True, write_only=True),
        )
    )
    assert [f.name for f in tree.root.fields] == ["username"]
    assert tree.root.edges == []


def test_names() -> None:
    """Types are named after serializers, lists after the model's plural or the type; Meta sets both."""
    types = registry.node_types()
    assert {t.name: t.list_name for t in RoomChannel.tree.node_types} == {
        "Room": "rooms",
        "User": "users",
        "Message": "messages",
        "Pinned": "pinned_messages",
        "Profile": "profiles",
        "Reaction": "reactions",
        "Tag": "tags",
    }
    assert types["Message"].fields[0].graphql_name == "text"
    assert "editorName" in [f.graphql_name for f in types["Message"].fields]
    for name, spelled in (
        ("ChatRoom", "chat_room"),
        ("HTTPRoute", "http_route"),
        ("A", "a"),
        ("PageV2", "page_v2"),
    ):
        assert snake(name) == spelled
    for name, spelled in (("chat_room", "chatRoom"), ("a", "a"), ("line_2", "line2")):
        assert camel(name) == spelled


@isolate_apps("tests.chat")
def test_plurals() -> None:
    """A plural that can't be a name is not taken."""

    def plural(text: str) -> str:
        class Sheep(models.Model):
            class Meta:
                app_label = "chat"
                verbose_name_plural = text

        root = compiled(serializer("Animal", Sheep, "id")).root
        Sheep._meta.apps.all_models["chat"].clear()
        return root.list_name

    assert plural("flock of sheep") == "flock_of_sheep"
    assert plural("Sheep-folds") == "sheep_folds"
    assert plural("Schäfchen") == "animals"
    assert plural("2nd sheep") == "animals"


def test_one_type_for_all_channels() -> None:
    """Two anchors over one serializer share its node type."""
    builder = TreeBuilder()
    rooms, messages = (builder.tree(s(), "here") for s in (RoomSerializer, MessageSerializer))
    assert builder.faults == []
    assert rooms is not None
    assert messages is not None
    assert messages.root in rooms.node_types
    assert len({t.name for t in builder.node_types.values()}) == len(builder.node_types)


def test_the_layout() -> None:
    """Equal serializers have one layout, in every process; another field, type or column has another."""

    def layout(*fields: str, **attributes: Any) -> str:
        builder = TreeBuilder()
        builder.tree(serializer("Message", Message, *fields, **attributes)(), "here")
        assert builder.faults == []
        return builder.layout()

    plain = layout("id", "text")
    assert layout("id", "text") == plain
    different = [
        plain,
        layout("id", "text", "position"),
        layout("id", text=serializers.IntegerField()),
        layout("id", "text", "editor"),
        layout("id", "text", author=UserS()),
    ]
    assert len(set(different)) == len(different)


def test_keys_as_queries_take_them() -> None:
    """A key's text becomes the value that the database compares with, through any number of relations."""
    root = registry.node_types()["Person"]
    text = "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert str(root.to_python(text.upper())) == text
    assert registry.node_types()["Message"].to_python("05") == 5


# ------------------------------------------------------------------------------------------ what is refused


def test_many_roots() -> None:
    """A list as the anchor is not available yet."""
    assert "many=True" in fault(UserS(many=True))


def test_serializers_without_a_model() -> None:
    """Only model serializers have rows."""

    class Plain(serializers.Serializer[Any]):
        name = serializers.CharField()

    class NoMeta(serializers.ModelSerializer[Any]):
        class Meta:
            fields = ("id",)

    assert "Plain is not a ModelSerializer" in fault(Plain)
    assert "no Meta.model" in fault(NoMeta)
    assert "is not a ModelSerializer" in fault(serializer("Room", Room, "id", pinned=Plain()))


def test_serializers_that_drf_refuses() -> None:
    """What DRF itself says of a serializer is a fault like the others, not an exception at start-up."""
    assert "`unknown` is not valid for model `Room`" in fault(
        serializer("Room", Room, "id", "unknown")
    )
    missing = serializer("Room", Room, "id", topic=serializers.CharField())
    missing.Meta.fields = ("id",)
    assert "was declared on serializer" in fault(missing)


def test_recursion() -> None:
    """A serializer beneath itself is refused, also by a detour."""

    class Loop(serializers.ModelSerializer[Any]):
        class Meta:
            model = Person
            fields = ("id", "idols")

        def get_fields(self) -> Any:
            outer: Any = self.parent
            return super().get_fields() | ({} if outer else {"idols": between(many=True)})

    between = serializer("Idol", Person, "id", friends=Loop(many=True))
    assert "appears beneath itself" in fault(Loop)


def test_one_name_for_two_serializers() -> None:
    """Two classes of one name would be one GraphQL type."""
    other = serializer("Tag", Tag, "id")
    found = fault(serializer("Message", Message, "id", tags=TagS(many=True)), other)
    assert "both make the GraphQL type Tag" in found
    assert "Meta.graphql_name" in found
    renamed = serializer("Tag", Tag, "id", meta_graphql_name="Label")
    assert faults(serializer("Message", Message, "id", tags=TagS(many=True)), renamed) == []


def test_fields_that_depend_on_the_instance() -> None:
    """One class has one set of fields."""

    class Chosen(serializers.ModelSerializer[Any]):
        class Meta:
            model = User
            fields = ("id", "username", "email")

        def __init__(self, *args: Any, short: bool = False, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if short:
                self.fields.pop("email")

    anchor = serializer("Message", Message, "id", author=Chosen(), editor=Chosen(short=True))
    assert "other fields here than elsewhere" in fault(anchor)


@pytest.mark.parametrize(
    ("anchor", "why"),
    [
        (serializer("Room", Room, "id", members=UserS()), "is to many rows"),
        (serializer("Message", Message, "id", author=UserS(many=True)), "is to one row"),
        (serializer("Message", Message, "id", author=TagS()), "leads to User"),
        (serializer("Message", Message, "id", who=UserS(source="room.pinned")), "not a relation"),
        (serializer("Message", Message, "id", text=UserS()), "not a relation"),
        (
            serializer("Message", Message, "text", id=serializers.CharField(source="text")),
            "not the primary key",
        ),
        (
            serializer("Message", Message, "text", pk=serializers.CharField(source="text")),
            "not the primary key",
        ),
        (serializer("Paid", PaidClub, "fee"), "multi-table inheritance"),
        (
            serializer(
                "Famous", FamousClub, "name", trophies=serializer("T", Trophy, "id")(many=True)
            ),
            None,
        ),
        (
            serializer(
                "Person", Person, "id", clubs=serializer("F", FamousClub, "name")(many=True)
            ),
            "Set its Meta.model to Club",
        ),
        (
            serializer(
                "Message",
                Message,
                "id",
                made=serializers.SerializerMethodField(),
                get_made=lambda s, m: 1,
                meta_fields=("id", "made"),
            ),
            "annotation",
        ),
    ],
)
def test_fields_that_can_not_be_followed(anchor: Serializer, why: str | None) -> None:
    """A field that can't be followed is named with its serializer, and the fix."""
    if why is None:
        assert faults(anchor) == []
        return
    assert why in fault(anchor)


def test_lists_that_are_made_otherwise() -> None:
    """A list serializer that filters in Python can't be derived."""

    class Some(serializers.ListSerializer[Any]):
        def to_representation(self, data: Any) -> Any:
            return super().to_representation(data)[:3]

    tag = serializer("Tag", Tag, "id", meta_list_serializer_class=Some)
    assert "overrides to_representation of a list" in fault(
        serializer("Message", Message, "id", tags=tag(many=True))
    )


@isolate_apps("tests.chat")
def test_one_table_for_two_links() -> None:
    """A table between that serves two fields with different columns can't be told apart by its name."""

    class Guest(models.Model):
        class Meta:
            app_label = "chat"

    class Party(models.Model):
        guests = models.ManyToManyField(
            Guest, through="Invitation", through_fields=("party", "guest"), related_name="+"
        )
        hosts = models.ManyToManyField(
            Guest, through="Invitation", through_fields=("party", "host"), related_name="hosted"
        )

        class Meta:
            app_label = "chat"

    class Invitation(models.Model):
        party = models.ForeignKey(Party, models.CASCADE)
        guest = models.ForeignKey(Guest, models.CASCADE, related_name="+")
        host = models.ForeignKey(Guest, models.CASCADE, related_name="+")

        class Meta:
            app_label = "chat"
            unique_together = (("party", "guest"), ("party", "host"))

    guest = serializer("Guest", Guest, "id")
    anchor = serializer("Party", Party, "id", guests=guest(many=True), hosts=guest(many=True))
    assert "stands between two pairs" in fault(anchor)
    assert faults(serializer("Party", Party, "id", guests=guest(many=True))) == []


def test_all_faults_at_once() -> None:
    """Compiling goes on after a fault: everything that is wrong is said together, each with its place and fix."""
    message = serializer("Message", Message, "id", author=TagS(), text=UserS())
    anchor = serializer("Room", Room, "id", messages=message(many=True), members=UserS())
    found = faults(anchor, UserS(many=True))
    assert [f.location for f in found] == [
        "here > RoomSerializer.messages > MessageSerializer.author",
        "here > RoomSerializer.messages > MessageSerializer.text",
        "here > RoomSerializer.members",
        "here1",
    ]
    assert all(f.fix.endswith(".") for f in found)


# ------------------------------------------------------------------------------------------ types without a channel


def test_types_that_only_the_schema_shows() -> None:
    """Such a type changes no row of a channel: processes that never make the schema would have other rows."""

    def shapes() -> dict[str, Any]:
        return {
            t.name: (t.hidden, len(t.arrivals), len(t.inbound), t.visible_annotation)
            for channel in registry.channels()
            for t in channel.tree.all_types
        }

    before, layout = shapes(), registry.built.layout
    team = serializer("LoneTeam", Team, "id", "name", rooms=RoomSerializer(many=True))
    profile = serializer("LoneProfile", Profile, "id", user=UserSerializer())
    try:
        made: list[NodeType] = [registry.node_type(one) for one in (team, profile)]
        assert [edge.child.name for edge in made[0].edges] == ["Room"]
        assert made[0].edges[0].order is not None
        assert [edge.child.name for edge in made[1].edges] == ["User"]
        assert registry.node_type(team) is made[0]
        assert (shapes(), registry.built.layout) == (before, layout)
    finally:
        for one in (team, profile):
            registry.built.builder.node_types.pop(
                registry.built.builder.by_serializer.pop(one).name
            )


def test_a_faulty_type_is_refused_each_time() -> None:
    """A type that could not be compiled is not known afterwards, and is no fault of the channels."""
    bad = serializer("LoneMessage", Message, "id", author=TagS())
    for _ in range(2):
        with pytest.raises(
            UnsupportedError, match="LoneMessageSerializer can't be made a GraphQL type"
        ):
            registry.node_type(bad)
    assert "LoneMessage" not in registry.node_types()
    assert registry.faults() == []
