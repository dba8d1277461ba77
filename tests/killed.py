"""Processes that kill themselves at the worst moment.

python -m tests.killed writer     between its commit and its publish
python -m tests.killed drain      between its append to the log and the deletion from the outbox
python -m tests.killed wander SEED ROUNDS     raw SQL in random transactions; not killed, but nobody in it publishes
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def end(*args: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def writer() -> None:
    from rxgraphql import capture
    from tests.shelves.models import Shelf

    capture.publish = end  # type: ignore[assignment, attr-defined]
    Shelf(id="a", name="last words").save()


def drain() -> None:
    from rxgraphql import outbox

    outbox.Outbox._delete = end  # type: ignore[assignment, method-assign]
    outbox.drain("default")


STATEMENTS = (
    "UPDATE shelves_book SET title = '{n}' WHERE id % 5 = {n} % 5",
    "UPDATE shelves_book SET sold = NOT sold WHERE id % 3 = {n} % 3",
    "UPDATE shelves_book SET position = position + 1 WHERE id % 4 = {n} % 4",
    "UPDATE shelves_book SET shelf_id = CASE shelf_id WHEN 'a' THEN 'b' ELSE 'a' END WHERE id % 6 = {n} % 6",
    "INSERT INTO shelves_book (shelf_id, title, position, sold) VALUES ('a', 'new {n}', {n} % 7, false)",
    "DELETE FROM shelves_shelving WHERE id % 2 = {n} % 2",
    "INSERT INTO shelves_shelving (book_id, genre_id, weight) SELECT b.id, g.id, 0 FROM shelves_book b, "
    "shelves_genre g WHERE b.id % 4 = {n} % 4 ON CONFLICT DO NOTHING",
    "DELETE FROM shelves_book WHERE id % 9 = {n} % 9 AND title LIKE 'new%' "
    "AND NOT EXISTS (SELECT 1 FROM shelves_shelving WHERE book_id = shelves_book.id)",
    "UPDATE shelves_shelf SET name = 'name {n}' WHERE id = 'a'",
)


def wander(seed: str, rounds: str) -> None:
    from django.db import DatabaseError, connection, transaction

    chance = random.Random(int(seed))
    print("ready", flush=True)  # noqa: T201
    sys.stdin.read()
    for number in range(int(rounds)):
        # two of them may wait for each other, or link what the other one deletes
        with (
            contextlib.suppress(DatabaseError),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            for statement in chance.choices(STATEMENTS, k=chance.randint(1, 3)):
                cursor.execute(statement.replace("{n}", str(number + chance.randrange(9))))
            if chance.random() < 0.1:
                transaction.set_rollback(True)


if __name__ == "__main__":
    django.setup()
    work: Any = {"writer": writer, "drain": drain, "wander": wander}[sys.argv[1]]
    work(*sys.argv[2:])
