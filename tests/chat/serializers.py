from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.formats import date_format
from rest_framework import serializers

from tests.chat.models import Message, Profile, Reaction, Room, Tag


class ProfileSerializer(serializers.ModelSerializer[Profile]):
    class Meta:
        model = Profile
        fields = ("id", "color")


class UserSerializer(serializers.ModelSerializer[User]):
    profile = ProfileSerializer(read_only=True)

    class Meta:
        model = User
        fields = ("id", "username", "first_name", "profile")


class TagSerializer(serializers.ModelSerializer[Tag]):
    class Meta:
        model = Tag
        fields = ("id", "name")


class ReactionSerializer(serializers.ModelSerializer[Reaction]):
    user = UserSerializer()

    class Meta:
        model = Reaction
        fields = ("id", "emoji", "user")


class MessageSerializer(serializers.ModelSerializer[Message]):
    author = UserSerializer()
    reactions = ReactionSerializer(many=True)
    tags = TagSerializer(many=True)
    room_name = serializers.CharField(source="room.name")
    editor_name: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        source="editor", slug_field="username", read_only=True
    )
    tag_names: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        source="tags", slug_field="name", many=True, read_only=True
    )
    shout = serializers.SerializerMethodField()
    day = serializers.SerializerMethodField()

    class Meta:
        model = Message
        fields = (
            "id",
            "text",
            "position",
            "created",
            "author",
            "editor",
            "editor_name",
            "room_name",
            "reactions",
            "tags",
            "tag_names",
            "shout",
            "day",
        )

    def get_shout(self, message: Message) -> str:
        return message.text.upper()

    def get_day(self, message: Message) -> str:
        """In the words of the language and by the clock of the time zone that are active."""
        return date_format(timezone.localtime(message.created), "l H:i")


class PinnedSerializer(serializers.ModelSerializer[Message]):
    """The same rows as MessageSerializer, as another type."""

    class Meta:
        model = Message
        fields = ("id", "text")
        graphql_name = "Pinned"
        graphql_list_name = "pinned_messages"


class RoomSerializer(serializers.ModelSerializer[Room]):
    """A room with all that is said in it."""

    members = UserSerializer(many=True)
    messages = MessageSerializer(many=True)
    pinned = PinnedSerializer()

    class Meta:
        model = Room
        fields = ("id", "name", "topic", "members", "messages", "pinned")


class RoomOfMemberSerializer(serializers.ModelSerializer[Room]):
    class Meta:
        model = Room
        fields = ("id", "name", "topic")
        graphql_name = "RoomOfMember"


class MemberSerializer(serializers.ModelSerializer[User]):
    """The same tables from the other end of the link."""

    chat_rooms = RoomOfMemberSerializer(many=True)

    class Meta:
        model = User
        fields = ("id", "username", "email", "chat_rooms")
        graphql_name = "Member"
        graphql_list_name = "members"
