"""What a channel says of itself: names, arguments, how it finds its row, and every way to write it wrong."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db import models
from django.test.utils import isolate_apps
from rest_framework import serializers
from rest_framework.serializers import CharField

from rxgraphql import StateChannel
from rxgraphql.channel import Built, Registry, registry
from rxgraphql.errors import Fault
from tests.chat.channels import RoomChannel
from tests.chat.models import Message, Profile, Room
from tests.chat.serializers import MemberSerializer, RoomSerializer, TagSerializer, UserSerializer
from tests.clubs.models import Club, Person
from tests.clubs.serializers import ClubSerializer
from tests.test_tree import serializer

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypes

ChannelClass = type[StateChannel]


class Open(StateChannel):
    """The base of this module's channels: `abstract` keeps them out of the process's registry."""

    abstract = True

    def has_permission(self, user: Any, instance: Any) -> bool:
        return True


def channel(
    anchor: Any, name: str = "RoomChannel", base: type = Open, **attributes: Any
) -> ChannelClass:
    meta = {
        key.removeprefix("meta_"): attributes.pop(key)
        for key in list(attributes)
        if key.startswith("meta_")
    }
    Meta = type("Meta", (), {"anchor": anchor, **meta})  # noqa: N806
    made: ChannelClass = type(name, (base,), {"abstract": True, "Meta": Meta, **attributes})
    return made


def build(*channels: ChannelClass) -> Built:
    return Built([(f"here.{c.__name__}", c) for c in channels])


def good(made: ChannelClass) -> ChannelClass:
    built = build(made)
    assert built.faults == []
    assert built.channels == (made,)
    return made


def faults(*channels: ChannelClass) -> list[Fault]:
    built = build(*channels)
    assert len(built.channels) < len(channels)
    return built.faults


def fault(*channels: ChannelClass) -> str:
    (found,) = faults(*channels)
    assert found.location.startswith("here.")
    assert found.fix.endswith((".", "?"))
    return str(found)


def arguments(made: ChannelClass) -> dict[str, Any]:
    return {
        a.name: a.annotation if a.field_type is None else a.field_type.kind
        for a in good(made).arguments
    }


# ------------------------------------------------------------------------------------------ the registry


def test_channels_are_found() -> None:
    """Every installed app's channels are known as soon as Django is set up, in order of their names."""
    assert [c.field_name for c in registry.channels()] == ["club", "member", "room", "shelf"]
    assert registry.faults() == []


def test_abstract_channels() -> None:
    """An abstract channel is none; what inherits from it is, unless it says so itself."""
    fresh = Registry()
    made = channel(RoomSerializer())
    known = registry.channels()
    assert made not in known

    class Base(StateChannel):
        abstract = True

        def has_permission(self, user: Any, instance: Any) -> bool:
            return True

    class LoneRoomChannel(Base):
        class Meta:
            anchor = RoomSerializer()

    try:
        names = set(registry._classes)
        assert not [name for name in names if name.endswith("Base")]
        (name,) = (name for name in names if name.endswith("LoneRoomChannel"))
        fresh._discovered = fresh._discovering = True
        fresh.add(LoneRoomChannel)
        assert [c.field_name for c in fresh.channels()] == ["lone_room"]
        fresh.add(LoneRoomChannel)
        assert len(fresh.channels()) == 1
        fresh.remove(LoneRoomChannel)
        assert fresh.channels() == ()
        assert name in registry._classes
    finally:
        registry._classes.pop(name)


def test_the_order_of_imports_changes_nothing() -> None:
    """Processes that import channels in another order have the same layout, or each would reload at others' entries."""
    layouts = set()
    classes = [
        channel(serializer(name, Message, "id", **{name.lower(): CharField(source=source)})(), name)
        for name, source in (("Team", "room.team.name"), ("Pinned", "room.pinned.text"))
    ]
    for order in (classes, classes[::-1]):
        fresh = Registry()
        fresh._discovered = fresh._discovering = True
        for one in order:
            fresh.add(one)
        assert fresh.faults() == []
        layouts.add(fresh.built.layout)
    assert len(layouts) == 1


# ------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("name", "meta", "graphql_name", "field_name"),
    [
        ("RoomChannel", None, "Room", "room"),
        ("ChatRoomChannel", None, "ChatRoom", "chat_room"),
        ("HTTPRoomChannel", None, "HTTPRoom", "http_room"),
        ("Rooms", None, "Rooms", "rooms"),
        ("RoomChannel", "Lobby", "Lobby", "lobby"),
    ],
)
def test_names(name: str, meta: str | None, graphql_name: str, field_name: str) -> None:
    """A channel is named after its class without `Channel`, or as Meta.graphql_name says."""
    made = good(channel(RoomSerializer(), name, meta_graphql_name=meta))
    assert (made.graphql_name, made.field_name) == (graphql_name, field_name)
    assert made.event_name == f"{graphql_name}Event"


def test_two_channels_of_one_name() -> None:
    """Two channels can't be one field; Meta.graphql_name tells them apart."""
    first, second = channel(RoomSerializer()), channel(MemberSerializer())
    text = fault(first, second)
    assert "the GraphQL name Room too" in text
    assert "Set Meta.graphql_name" in text
    second = channel(MemberSerializer(), meta_graphql_name="Mate")
    assert [c.field_name for c in build(first, second).channels] == ["mate", "room"]


# ------------------------------------------------------------------------------------------ arguments


def test_the_argument_of_a_key() -> None:
    """`lookup_field` is "pk", which GraphQL calls `id`."""
    assert arguments(channel(RoomSerializer())) == {"id": "ID"}
    assert arguments(channel(ClubSerializer())) == {"id": "ID"}
    assert arguments(channel(ClubSerializer(), lookup_field="code")) == {"code": "ID"}
    assert arguments(channel(RoomSerializer(), lookup_field="id")) == {"id": "ID"}


@isolate_apps("tests.chat")
def test_the_argument_of_a_unique_field() -> None:
    """Another field gives its own type; it is never null."""

    class Parcel(models.Model):
        number = models.IntegerField(unique=True)
        token = models.UUIDField(unique=True)
        slug = models.SlugField()
        kind = models.CharField(max_length=9, unique=True, choices=[("a", "A"), ("b", "B")])
        maybe = models.BigIntegerField(null=True)

        class Meta:
            app_label = "chat"
            constraints = [
                models.UniqueConstraint(fields=("slug",), name="slug"),
                models.UniqueConstraint(fields=("maybe",), name="maybe"),
            ]

    anchor = serializer("Parcel", Parcel, "id", "number")()
    for name, kind in (
        ("number", "Int"),
        ("token", "UUID"),
        ("slug", "String"),
        ("kind", "String"),
        ("maybe", "BigInt"),
    ):
        made = channel(anchor, lookup_field=name)
        assert arguments(made) == {name: kind}
        (argument,) = made.arguments
        assert argument.field_type is not None
        assert not argument.field_type.nullable


def test_the_arguments_of_get_object() -> None:
    """The annotated parameters of an overridden get_object() are the arguments."""

    def get_object(self: Any, name: str, number: int = 1, *, key: uuid.UUID | None = None) -> Room:
        return Room.objects.get(name=name)

    made = channel(RoomSerializer(), get_object=get_object)
    assert arguments(made) == {
        "name": str,
        "number": int,
        "key": uuid.UUID | None,
    }

    defaults = {argument.name: argument.default for argument in good(made).arguments}
    assert defaults == {"name": inspect.Parameter.empty, "number": 1, "key": None}

    async def nothing(self: Any) -> Room | None:
        return await Room.objects.afirst()

    assert arguments(channel(RoomSerializer(), get_object=nothing)) == {}


@isolate_apps("tests.chat")
@pytest.mark.parametrize(
    ("lookup", "why"),
    [
        ("topic", "is not unique"),
        ("nothing", "is not a field"),
        ("team__name", "is not a field"),
        ("team", "is a relation"),
        ("messages", "is a relation"),
        ("members", "is a relation"),
    ],
)
def test_fields_that_find_no_one_row(lookup: str, why: str) -> None:
    """A lookup_field that may find several rows, or none ever, is refused."""
    text = fault(channel(RoomSerializer(), lookup_field=lookup))
    assert why in text
    assert "get_object()" in text


def test_one_to_one_is_no_argument() -> None:
    """A one-to-one key is unique, but what would be given is a row."""
    anchor = serializer("Profile", Profile, "id", "color")()
    assert "is a relation" in fault(channel(anchor, lookup_field="user"))


@isolate_apps("tests.chat")
def test_unique_under_a_condition() -> None:
    """A constraint that holds for some rows, or for several fields together, makes no field unique."""

    class Seat(models.Model):
        row = models.IntegerField()
        place = models.IntegerField()

        class Meta:
            app_label = "chat"
            constraints = [
                models.UniqueConstraint(fields=("row", "place"), name="seat"),
                models.UniqueConstraint(fields=("row",), condition=models.Q(place=1), name="first"),
            ]

    anchor = serializer("Seat", Seat, "id")()
    assert "is not unique" in fault(channel(anchor, lookup_field="row"))


def unannotated(self, name):  # type: ignore[no-untyped-def]
    return None


def starred(self: Any, *names: str) -> Any:
    return None


def double_starred(self: Any, **names: str) -> Any:
    return None


def positional(self: Any, name: str, /) -> Any:
    return None


def reserved(self: Any, after: str) -> Any:
    return None


def unknown(self: Any, price: OnlyForTypes) -> Any:
    return None


@pytest.mark.parametrize(
    ("get_object", "why"),
    [
        (
            unannotated,
            "'name' of get_object() has no annotation. Annotate it, for example `name: str`",
        ),
        (starred, "*names"),
        (double_starred, "**names"),
        (positional, "name: 'str'"),
        (reserved, "the cursor's argument"),
        (unknown, "'OnlyForTypes' is not defined"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_parameters_that_are_no_arguments(get_object: Any, why: str) -> None:
    """A parameter that can't become a GraphQL argument is refused when the channel is compiled."""
    assert why in fault(channel(RoomSerializer(), get_object=get_object))


# ------------------------------------------------------------------------------------------ faults


def test_permission_is_required() -> None:
    """No channel is open by omission."""
    text = fault(channel(RoomSerializer(), base=StateChannel))
    assert "has_permission() is missing" in text
    assert "Define has_permission(self, user, instance)" in text


def test_permission_takes_a_user_and_an_instance() -> None:
    """A check that can't be called is a fault at the start, not an error for each subscriber."""

    def has_permission(self: Any, user: Any) -> bool:
        return True

    text = fault(channel(RoomSerializer(), has_permission=has_permission))
    assert "Write has_permission(self, user, instance)" in text


@pytest.mark.parametrize(
    ("anchor", "why"),
    [
        (None, "Meta.anchor is missing"),
        (RoomSerializer, "Make an instance: anchor = RoomSerializer()"),
        (serializers.Serializer, "Make an instance"),
        (Room, "Make an instance"),
        ("RoomSerializer", "Meta.anchor is missing"),
        (RoomSerializer(many=True), "many=True"),
        (serializers.ListSerializer(child=RoomSerializer()), "many=True"),
        (serializers.CharField(), "Meta.anchor is missing"),
    ],
)
def test_anchors_that_are_none(anchor: Any, why: str) -> None:
    """The anchor is an instance of a model serializer, of one row."""
    assert why in fault(channel(anchor))


def test_no_meta() -> None:
    """A channel without Meta is told what to write."""
    made: ChannelClass = type("LostChannel", (Open,), {"abstract": True})
    assert "Set anchor = YourSerializer()" in fault(made)


def test_per_viewer() -> None:
    """What is not available yet is refused."""
    assert "per_viewer is not available yet" in fault(
        channel(RoomSerializer(), meta_per_viewer=True)
    )


def test_all_faults_at_once() -> None:
    """Every fault of every channel is said together; channels without one are compiled."""
    letter = serializer("Letter", Message, "id", author=TagSerializer())
    bad = channel(letter(), "BadChannel", base=StateChannel, meta_per_viewer=True)
    worse = channel(UserSerializer, "WorseChannel", base=StateChannel)
    lookup = channel(
        serializer("Somebody", User, "id")(), "LookupChannel", lookup_field="first_name"
    )
    fine = channel(RoomSerializer())
    built = build(bad, worse, lookup, fine)
    assert built.channels == (fine,)
    assert [f.location for f in built.faults] == [
        "here.BadChannel",
        "here.BadChannel",
        "here.BadChannel > LetterSerializer.author",
        "here.WorseChannel",
        "here.WorseChannel",
        "here.LookupChannel",
    ]
    assert all(f.message and f.fix for f in built.faults)


# ------------------------------------------------------------------------------------------ how a row is found


@pytest.mark.django_db
def test_get_object() -> None:
    """The row is looked up by lookup_field, among those that the default manager lets through."""
    room = Room.objects.create(name="lobby")
    assert RoomChannel().get_object(name="lobby") == room
    with pytest.raises(Room.DoesNotExist):
        RoomChannel().get_object(name="attic")
    by_key = good(channel(RoomSerializer()))
    assert by_key().get_object(id=str(room.pk)) == room
    club = Club.objects.create(code="chess")
    assert good(channel(ClubSerializer(), lookup_field="code"))().get_object(code="chess") == club
    ada = User.objects.create(username="ada")
    hidden = Message.everything.create(room=room, author=ada, hidden=True)
    messages = good(channel(serializer("Message", Message, "id")(), "MessageChannel"))
    with pytest.raises(Message.DoesNotExist):
        messages().get_object(id=str(hidden.pk))
    with pytest.raises(Person.DoesNotExist):
        good(channel(serializer("Person", Person, "id")()))().get_object(id=str(uuid.uuid4()))


def test_permission_of_the_base() -> None:
    """The base class opens nothing."""
    with pytest.raises(NotImplementedError):
        StateChannel().has_permission(None, None)
    assert not asyncio.iscoroutinefunction(StateChannel.has_permission)


def test_channel_that_other_processes_do_not_find() -> None:
    """A channel that is made after every app's `channels` was imported is a fault: writers would be silent for it."""
    try:

        class LateChannel(StateChannel):
            class Meta:
                anchor = RoomSerializer()
                graphql_name = "Late"

            def has_permission(self, user: Any, instance: Any) -> bool:
                return True

        (found,) = [f for f in registry.faults() if "LateChannel" in f.location]
    finally:
        registry.remove(LateChannel)
    assert "`channels` module of an installed app" in found.fix
    assert registry.faults() == []
