from __future__ import annotations

from typing import Any

from rxgraphql import StateChannel
from tests.shelves.serializers import ShelfSerializer


class ShelfChannel(StateChannel):
    class Meta:
        anchor = ShelfSerializer()

    def has_permission(self, user: Any, shelf: Any) -> bool:
        return True
