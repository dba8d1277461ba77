from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import connection

from rxgraphql.authorize import authorize
from rxgraphql.workers import Workers
from tests.changes import World
from tests.chat.channels import RoomChannel
from tests.chat.models import Room

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def end_connection() -> None:
    """Ends the connection of this thread at the server, as a restart of the database would."""
    pid = connection.connection.info.backend_pid
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    other.close()


def close_connection() -> None:
    connection.close()


async def test_connection_of_async_code_is_dead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the database an `async` permission check is answered, as one that isn't."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server")

    async def has_permission(channel: RoomChannel, user: Any, room: Room) -> bool:
        return await Room.objects.filter(pk=room.pk).aexists()

    monkeypatch.setattr(RoomChannel, "has_permission", has_permission)
    workers = Workers()
    try:
        for _ in range(2):
            pk = await authorize(RoomChannel(), {"name": world.room.name}, AnonymousUser(), workers)
            assert pk == str(world.room.pk)
            await sync_to_async(end_connection)()
    finally:
        # the thread is that of the tests to come
        await sync_to_async(close_connection)()
        await workers.stop()
