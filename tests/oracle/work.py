"""One transaction of a writer: its steps, and the record of what they wrote, which is committed with them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, models, transaction
from django.db.models import F, signals

import rxgraphql
from tests.oracle.models import Board, Card, Column, Label, Note, Person, Transaction
from tests.oracle.state import PARENTS

MODELS: dict[str, Any] = {m.__name__: m for m in (Board, Column, Card, Note, Person, Label)}
# links made only in what is rolled back: nobody may ever see one
NEVER = "never"
MOST = {"Column": 8, "Card": 24, "Note": 50, "Person": 10, "Label": 8}


class OnPurposeError(Exception):
    """Rolls back."""


def every(model: Any) -> Any:
    """All rows, whatever the model's manager hides."""
    return getattr(model, "everything", model._default_manager)


def key_of(row: Any) -> str:
    return f"{type(row).__name__}:{row.pk}"


@dataclass
class Record:
    """What a transaction has written so far."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    # by statements of which only the triggers know
    raw_deleted: list[str] = field(default_factory=list)
    links: dict[tuple[str, str, str], bool] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        gone = {*self.deleted, *self.raw_deleted}
        return {
            "rows": {key: row for key, row in self.rows.items() if key not in gone},
            "deleted": self.deleted,
            "raw_deleted": self.raw_deleted,
            "links": [
                [*pair, present]
                for pair, present in self.links.items()
                if not gone & {pair[0], pair[2]}
            ],
        }


class Work:
    """The steps of one transaction, each with a stamp of its own."""

    def __init__(self, name: str, rng: random.Random, outbox: bool = False) -> None:
        self.name = name
        self.rng = rng
        self.outbox = outbox
        self.record = Record()
        self._steps = 0

    @contextmanager
    def committed(self) -> Iterator[None]:
        """The transaction. What was written in it is committed with it."""
        signals.post_delete.connect(self._note_deleted)
        try:
            with transaction.atomic():
                yield
                Transaction.objects.create(name=self.name, record=self.record.as_json())
        finally:
            signals.post_delete.disconnect(self._note_deleted)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A savepoint: when it is rolled back, so is the record."""
        before = copy.deepcopy(self.record)
        try:
            with transaction.atomic():
                yield
        except BaseException:
            self.record = before
            raise

    def _note_deleted(self, sender: Any, instance: Any, **_: Any) -> None:
        if sender in MODELS.values():
            self.record.deleted.append(key_of(instance))

    # ------------------------------------------------------------------------------------------ rows

    def next_stamp(self) -> str:
        self._steps += 1
        return f"{self.name}.{self._steps}"

    def note(self, row: Any) -> None:
        fact: dict[str, Any] = {"version": row.version, "stamp": row.stamp}
        model = type(row)
        if model is Person:
            fact["name"] = row.name
        elif model.__name__ in PARENTS:
            column, parent, _ = PARENTS[model.__name__]
            fact["parent"] = f"{parent}:{getattr(row, column + '_id')}"
            fact["hidden"] = getattr(row, "hidden", False)
        self.record.rows[key_of(row)] = fact

    def pick(self, model: Any, **where: Any) -> Any:
        """Some row, locked; None if there is none, or another writer has it and this one doesn't wait."""
        rows = every(model).filter(**where).exclude(stamp__startswith=NEVER).order_by("pk")
        pks = list(rows.values_list("pk", flat=True))
        if not pks:
            return None
        return self.lock(model, self.rng.choice(pks))

    def pick_many(self, model: Any) -> list[Any]:
        """Up to three rows, locked in the order of their keys."""
        pks = list(every(model).order_by("pk").values_list("pk", flat=True))
        chosen = self.rng.sample(pks, min(3, len(pks)))
        locked = every(model).select_for_update(skip_locked=True, of=("self",))
        return list(locked.filter(pk__in=chosen).order_by("pk"))

    def note_many(self, rows: list[Any], stamp: str, position: int) -> None:
        """Rows that a statement has changed."""
        for row in rows:
            row.version, row.stamp, row.position = row.version + 1, stamp, position
            self.note(row)

    def lock(self, model: Any, pk: Any) -> Any:
        rows = every(model).select_for_update(skip_locked=self.rng.random() < 0.5, of=("self",))
        return rows.filter(pk=pk).first()

    def some(self, model: Any) -> Any:
        """Some row, not locked: to be pointed at."""
        rows = every(model).exclude(stamp__startswith=NEVER).order_by("pk")
        return self.rng.choice(list(rows) or [None])

    def create(self, model: Any, **fields: Any) -> Any:
        row = model(version=1, stamp=self.next_stamp(), **fields)
        if isinstance(row, Person | Label):
            row.name = f"{self.name}-{self._steps}:1"
        row.save(force_insert=True)
        self.note(row)
        return row

    def edit(self, row: Any, **fields: Any) -> None:
        """Raises the version of a locked row, half of the time by an expression."""
        for name, value in fields.items():
            setattr(row, name, value)
        row.stamp = self.next_stamp()
        version = row.version + 1
        if isinstance(row, Person | Label):
            row.name = f"{row.name.partition(':')[0]}:{version}"
        row.version = F("version") + 1 if self.rng.random() < 0.5 else version
        names = None
        if self.rng.random() < 0.5:
            names = ["version", "stamp", *fields]
            names += ["name"] if isinstance(row, Person | Label) else []
        row.save(update_fields=names)
        row.version = version
        self.note(row)

    def link(self, row: Any, name: str, others: list[Any], how: str) -> None:
        """Changes a locked row's links, under a new version of it."""
        manager = getattr(row, name)
        before = set(manager.values_list("pk", flat=True))
        match how:
            case "add":
                manager.add(*others)
            case "remove":
                manager.remove(*others)
            case "set":
                manager.set(others)
            case "clear":
                manager.clear()
            case "reverse":
                for other in others:
                    getattr(other, "cards" if name == "labels" else "boards").add(row)
        after = set(manager.values_list("pk", flat=True))
        child = manager.model.__name__
        for pk in before ^ after:
            self.record.links[key_of(row), name, f"{child}:{pk}"] = pk in after
        self.edit(row)


Step = Callable[[Work], None]


def create_card(work: Work) -> None:
    column, author = work.some(Column), work.some(Person)
    if column is None or author is None or every(Card).count() >= MOST["Card"]:
        return
    card = work.create(
        Card,
        column=column,
        author=author,
        assignee=work.some(Person) if work.rng.random() < 0.5 else None,
        reviewer=work.some(Person) if work.rng.random() < 0.5 else None,
        position=work.rng.randrange(5),
        hidden=work.rng.random() < 0.2,
    )
    for _ in range(work.rng.randrange(3)):
        work.create(Note, card=card, by=work.some(Person), position=work.rng.randrange(3))
    if work.rng.random() < 0.5 and (label := work.some(Label)) is not None:
        work.link(card, "labels", [label], "add")


def create_note(work: Work) -> None:
    card = work.some(Card)
    if card is not None and Note.objects.count() < MOST["Note"]:
        by = work.some(Person) if work.rng.random() < 0.7 else None
        work.create(Note, card=card, by=by, position=work.rng.randrange(3))


def create_column(work: Work) -> None:
    if Column.objects.count() < MOST["Column"]:
        board = work.some(Board)
        owner = work.some(Person) if work.rng.random() < 0.7 else None
        work.create(Column, board=board, owner=owner, position=work.rng.randrange(5))


def create_person(work: Work) -> None:
    if Person.objects.count() < MOST["Person"]:
        person = work.create(Person)
        if (board := work.pick(Board)) is not None:
            work.link(board, "members", [person], "add")


def create_label(work: Work) -> None:
    if Label.objects.count() < MOST["Label"]:
        label = work.create(Label)
        if (card := work.pick(Card)) is not None:
            work.link(card, "labels", [label], "reverse")


def edit_any(work: Work) -> None:
    model = work.rng.choice([Card, Card, Card, Note, Note, Column, Person, Label, Board])
    if (row := work.pick(model)) is not None:
        work.edit(row)


def edit_hot(work: Work) -> None:
    """Everyone meets at the first card and the first person."""
    model = work.rng.choice([Card, Person])
    first = every(model).order_by("pk").first()
    if first is not None and (row := work.lock(model, first.pk)) is not None:
        work.edit(row)


def edit_together(work: Work) -> None:
    """Rows of all levels in one transaction."""
    for model in (Card, Note, Person, Label, Note, Card):
        if (row := work.pick(model)) is not None:
            work.edit(row)


def edit_twice(work: Work) -> None:
    """The version between is nobody's to see."""
    if (row := work.pick(Card)) is not None:
        work.edit(row)
        work.edit(row, position=work.rng.randrange(5))


def reorder(work: Work) -> None:
    model = work.rng.choice([Card, Card, Note, Column])
    for _ in range(2):
        if (row := work.pick(model)) is not None:
            work.edit(row, position=work.rng.randrange(5))


def move_card(work: Work) -> None:
    if (card := work.pick(Card)) is not None and (column := work.some(Column)) is not None:
        work.edit(card, column=column)


def move_note(work: Work) -> None:
    if (note := work.pick(Note)) is not None and (card := work.some(Card)) is not None:
        work.edit(note, card=card)


def move_column(work: Work) -> None:
    if (column := work.pick(Column)) is not None:
        work.edit(column, board=work.some(Board))


def hide(work: Work) -> None:
    if (card := work.pick(Card)) is not None:
        work.edit(card, hidden=not card.hidden)


def assign(work: Work) -> None:
    if (card := work.pick(Card)) is not None:
        name = work.rng.choice(["assignee", "reviewer", "author"])
        person = work.some(Person)
        if name != "author" and work.rng.random() < 0.3:
            person = None
        if person is not None or name != "author":
            work.edit(card, **{name: person})


def own(work: Work) -> None:
    if (column := work.pick(Column)) is not None:
        work.edit(column, owner=work.some(Person))


def sign(work: Work) -> None:
    if (note := work.pick(Note)) is not None:
        work.edit(note, by=work.some(Person))


def pin(work: Work) -> None:
    if (board := work.pick(Board)) is not None:
        work.edit(board, pinned=work.some(Card) if work.rng.random() < 0.8 else None)


def tag(work: Work) -> None:
    if (card := work.pick(Card)) is not None:
        labels = [found for _ in range(2) if (found := work.some(Label)) is not None]
        how = work.rng.choice(["add", "add", "remove", "set", "clear", "reverse"])
        work.link(card, "labels", labels, how)


def join(work: Work) -> None:
    if (board := work.pick(Board)) is not None:
        people = [found for _ in range(2) if (found := work.some(Person)) is not None]
        how = work.rng.choice(["add", "add", "remove", "set", "clear", "reverse"])
        work.link(board, "members", people, how)


def delete(model: Any, least: int) -> Step:
    def step(work: Work) -> None:
        if every(model).count() > least and (row := work.pick(model)) is not None:
            row.delete()

    step.__name__ = f"delete_{model.__name__.lower()}"
    return step


def create_and_delete(work: Work) -> None:
    card, column, author = work.pick(Card), work.some(Column), work.some(Person)
    if card is not None and column is not None and author is not None:
        work.create(Card, column=column, author=author).delete()
        work.edit(card)


def delete_whom_others_show(work: Work) -> None:
    """SET_NULL sends no signal: an assignee, a reviewer and a note's author go."""
    people = Person.objects.filter(boards=None)
    pks = list(people.order_by("pk").values_list("pk", flat=True))
    if pks and Person.objects.count() > 4:
        person = work.lock(Person, work.rng.choice(pks))
        if person is not None and not every(Card).filter(author=person).exists():
            person.delete()


# ---------------------------------------------------------------------------------------------- in bulk


def update_many(work: Work) -> None:
    """LiveQuerySet.update()."""
    model = work.rng.choice([Card, Note])
    rows, stamp = work.pick_many(model), work.next_stamp()
    position = work.rng.randrange(5)
    found = every(model).filter(pk__in=[row.pk for row in rows])
    found.update(version=F("version") + 1, stamp=stamp, position=position)
    work.note_many(rows, stamp, position)


def bulk_create_notes(work: Work) -> None:
    if (card := work.some(Card)) is None or Note.objects.count() >= MOST["Note"]:
        return
    stamp = work.next_stamp()
    notes = [Note(card=card, by=work.some(Person), position=i, stamp=stamp) for i in range(2)]
    for note in Note.objects.bulk_create(notes):
        work.note(note)


def bulk_update_cards(work: Work) -> None:
    cards, stamp = work.pick_many(Card), work.next_stamp()
    column = work.some(Column)
    if column is None:
        return
    for card in cards:
        card.version, card.stamp, card.column = card.version + 1, stamp, column
    every(Card).bulk_update(cards, ["version", "stamp", "column"])
    for card in cards:
        work.note(card)


def add_to_reverse(work: Work) -> None:
    """The base manager's update()."""
    note, card, stamp = work.pick(Note), work.some(Card), work.next_stamp()
    if note is not None and card is not None:
        models.QuerySet(Note).filter(pk=note.pk).update(version=F("version") + 1, stamp=stamp)
        card.notes.add(note)
        note.version, note.stamp, note.card = note.version + 1, stamp, card
        work.note(note)


def touch_after(work: Work) -> None:
    """A statement that nobody sees, and `touch()`: of the query set or of the instances."""
    model = work.rng.choice([Card, Note, Column])
    rows, stamp, position = work.pick_many(model), work.next_stamp(), work.rng.randrange(5)
    found: Any = models.QuerySet(model).filter(pk__in=[row.pk for row in rows])
    found.update(version=F("version") + 1, stamp=stamp, position=position)
    rxgraphql.touch(found.all() if work.rng.random() < 0.5 else rows)
    work.note_many(rows, stamp, position)


def raw_sql(work: Work) -> None:
    """A statement that nobody sees but the triggers, where they are installed."""
    if not work.outbox:
        return
    card = work.pick(Card)
    if card is None:
        return
    stamp, position = work.next_stamp(), work.rng.randrange(5)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE oracle_card SET version = version + 1, stamp = %s, position = %s WHERE id = %s",
            [stamp, position, card.pk],
        )
    work.note_many([card], stamp, position)
    work.record.rows[key_of(card)]["raw"] = True


def raw_delete(work: Work) -> None:
    note = work.pick(Note)
    if work.outbox and note is not None and Note.objects.count() > 8:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM oracle_note WHERE id = %s", [note.pk])
        work.record.raw_deleted.append(key_of(note))


def in_savepoint(work: Work) -> None:
    """Something is done and undone, by its own error or by the database's, and the transaction goes on."""
    try:
        with work.savepoint():
            STEPS[work.rng.randrange(len(STEPS) - 1)](work)
            spoil(work)
            raise OnPurposeError
    except OnPurposeError:
        pass


def spoil(work: Work) -> None:
    """Links that are never committed."""
    card = work.pick(Card)
    label = Label.objects.filter(stamp__startswith=NEVER).first()
    if card is not None and label is not None:
        work.link(card, "labels", [label], "add")


STEPS: list[Step] = [
    *(edit_any, edit_any, edit_hot, edit_hot, edit_hot, edit_together, edit_twice),
    *(create_card, create_card, create_note, create_note, create_note),
    *(create_column, create_person, create_label),
    *(reorder, move_card, move_card, move_note, move_note, move_column, hide, hide),
    *(assign, assign, own, own, sign, pin, pin, tag, tag, join),
    *(delete(Card, 6), delete(Note, 8), delete(Label, 3), delete(Column, 4), delete(Person, 5)),
    *(update_many, bulk_create_notes, bulk_update_cards, add_to_reverse, touch_after),
    *(raw_sql, raw_sql, raw_delete),
    *(create_and_delete, delete_whom_others_show, delete_whom_others_show),
    in_savepoint,
]


def seed_world(name: str) -> list[int]:
    """The world at the start, as the work of a first transaction; gives the boards' keys."""
    work = Work(name, random.Random(0))
    with work.committed():
        people = [work.create(Person) for _ in range(5)]
        labels = [work.create(Label) for _ in range(4)]
        boards = [work.create(Board) for _ in range(2)]
        for board in boards:
            work.link(board, "members", people[:3], "set")
        columns = [
            work.create(Column, board=boards[i % 2], owner=people[i], position=i) for i in range(5)
        ]
        for i in range(12):
            author, assignee = people[i % 3], people[i % 5]
            fields = {"position": i % 5, "hidden": i % 6 == 5, "assignee": assignee}
            card = work.create(Card, column=columns[i % 5], author=author, **fields)
            for j in range(i % 3):
                work.create(Note, card=card, by=people[j], position=j)
            work.link(card, "labels", [labels[i % 4]], "add")
    Label.objects.create(stamp=NEVER, name=NEVER)
    return [board.pk for board in boards]
