from __future__ import annotations

from typing import Any

from rxgraphql import StateChannel
from tests.clubs.serializers import ClubSerializer


class ClubChannel(StateChannel):
    class Meta:
        anchor = ClubSerializer()

    def has_permission(self, user: Any, club: Any) -> bool:
        return True
