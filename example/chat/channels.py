from rxgraphql import StateChannel

from chat.models import ChatRoom, User
from chat.serializers import ChatRoomSerializer, ProfileSerializer


class ChatRoomChannel(StateChannel):
    """A room with all that is said in it, for its members."""

    class Meta:
        anchor = ChatRoomSerializer()

    lookup_field = "name"

    def has_permission(self, user: User, chat_room: ChatRoom) -> bool:
        return chat_room.members.filter(pk=user.pk).exists()


class ProfileChannel(StateChannel):
    """Somebody's own account and the rooms they are in."""

    class Meta:
        anchor = ProfileSerializer()

    def has_permission(self, user: User, profile: User) -> bool:
        return profile == user
