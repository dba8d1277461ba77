from rest_framework import serializers

from chat.models import ChatRoom, Message, Reaction, User


class UserSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ["id", "username", "name", "status", "away"]


class ReactionSerializer(serializers.ModelSerializer[Reaction]):
    user = UserSerializer()

    class Meta:
        model = Reaction
        fields = ["id", "emoji", "user"]


class MessageSerializer(serializers.ModelSerializer[Message]):
    author = UserSerializer()
    reactions = ReactionSerializer(many=True)

    class Meta:
        model = Message
        fields = ["id", "text", "sent_at", "edited_at", "author", "reactions"]


class ChatRoomSerializer(serializers.ModelSerializer[ChatRoom]):
    members = UserSerializer(many=True)
    messages = MessageSerializer(many=True)

    class Meta:
        model = ChatRoom
        fields = ["id", "name", "topic", "members", "messages"]


class RoomLinkSerializer(serializers.ModelSerializer[ChatRoom]):
    class Meta:
        model = ChatRoom
        fields = ["id", "name", "topic"]


class ProfileSerializer(serializers.ModelSerializer[User]):
    rooms = RoomLinkSerializer(many=True)

    class Meta:
        model = User
        fields = ["id", "username", "name", "status", "away", "is_staff", "rooms"]
