from __future__ import annotations

from typing import Any

from rxgraphql import StateChannel
from tests.oracle.serializers import BoardSerializer


class BoardChannel(StateChannel):
    class Meta:
        anchor = BoardSerializer()

    def has_permission(self, user: Any, board: Any) -> bool:
        return True
