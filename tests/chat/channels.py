from __future__ import annotations

from typing import Any

from rxgraphql import StateChannel
from tests.chat.serializers import MemberSerializer, RoomSerializer


class RoomChannel(StateChannel):
    class Meta:
        anchor = RoomSerializer()

    lookup_field = "name"

    def has_permission(self, user: Any, room: Any) -> bool:
        if room.name == "broken":
            raise RuntimeError("the permission check itself fails")
        return bool(room.name != "secret")


class MemberChannel(StateChannel):
    class Meta:
        anchor = MemberSerializer()

    async def has_permission(self, user: Any, member: Any) -> bool:
        return True
