"""What writers mark, and when it is published: every way in which Django commits, rolls back and links."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import InterfaceError, connection, connections, models, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from rxgraphql import capture
from rxgraphql import publish as publishing
from rxgraphql.changeset import ChangeSet
from tests.chat.models import Message, Profile, Reaction, Room, Tag, Team
from tests.clubs.models import Club, FamousClub, Membership, PaidClub, Person, Trophy
from tests.listening import Listener, keys, links, rows, values

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.every_database,
]

MEMBERS = "chat.room_members"
MEMBERSHIP = "clubs.membership"
FRIENDS = "clubs.person_friends"
IDOLS = "clubs.person_idols"


class RolledError(Exception):
    """What a test's transaction is rolled back with."""


@contextmanager
def rolled_back(using: str = "default") -> Iterator[None]:
    with suppress(RolledError), transaction.atomic(using):
        yield
        raise RolledError


@pytest.fixture
def ada(log: Listener) -> User:
    user = User.objects.create(username="ada")
    log.entries()
    return user


@pytest.fixture
def room(log: Listener) -> Room:
    room = Room.objects.create(name="lobby")
    log.entries()
    return room


@pytest.fixture
def message(log: Listener, room: Room, ada: User) -> Message:
    message: Message = Message.objects.create(room=room, author=ada, text="hello")
    log.entries()
    return message


def ours(using: str = "default") -> list[Any]:
    return [e for e in connections[using].run_on_commit if type(e[1]) is capture.CommitHook]


# ------------------------------------------------------------------------------------------ marks


def verbs(change: Callable[[], object]) -> list[str]:
    """The kinds of statements that the change sends until it is about to commit."""
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        change()
        sent = [query["sql"].split()[0] for query in queries.captured_queries]
    return [verb for verb in sent if verb not in ("BEGIN", "SAVEPOINT", "RELEASE")]


def test_marks_ask_nothing(log: Listener, message: Message, ada: User) -> None:
    """Until it commits, a marked change sends Django's own statements and no other."""
    room, eve = message.room, User.objects.create(username="eve")
    club, person = Club.objects.create(code="chess"), Person.objects.create(name="Ada")
    room.members.add(eve)
    Reaction.objects.create(message=message, user=eve)
    assert verbs(message.save) == ["UPDATE"]
    assert verbs(lambda: Message.objects.create(room=room, author=ada)) == ["INSERT"]
    assert verbs(lambda: Reaction.objects.all().delete()) == ["SELECT", "DELETE"]
    assert verbs(lambda: room.members.add(ada)) == ["SELECT", "INSERT"]
    assert verbs(lambda: room.members.remove(ada)) == ["DELETE"]
    assert verbs(lambda: room.members.clear()) == ["DELETE"]
    assert verbs(Membership(club=club, person=person).save) == ["INSERT"]
    assert verbs(Membership.objects.defer("club", "person").get) == ["SELECT"]
    membership = Membership.objects.defer("club", "person").get()
    membership.role = "boss"
    assert verbs(membership.save) == ["UPDATE"]
    assert verbs(membership.delete) == ["DELETE"]


def test_nothing_before_the_commit(log: Listener, message: Message) -> None:
    """An entry comes with the commit and not a moment before."""
    with transaction.atomic():
        message.text = "edited"
        message.save()
        assert log.entries() == []
    assert values(log.entry(), "Message", message.pk)["text"] == "edited"


def test_one_entry_for_one_commit(log: Listener, room: Room, ada: User) -> None:
    """Several rows of several models and links of one transaction are one entry."""
    with transaction.atomic():
        first = Message.objects.create(room=room, author=ada, text="one")
        with transaction.atomic():
            second = Message.objects.create(room=room, author=ada, text="two")
        room.topic = "all of it"
        room.save()
        room.members.add(ada)
    entry = log.entry()
    assert keys(entry) == {
        f"chat.message:{first.pk}",
        f"chat.message:{second.pk}",
        f"chat.room:{room.pk}",
    }
    assert links(entry) == {(MEMBERS, str(room.pk), str(ada.pk), True)}


def test_a_rollback_is_silent(log: Listener, message: Message) -> None:
    """A transaction that was rolled back leaves no entry and no hook."""
    with rolled_back():
        message.save()
    assert log.entries() == []
    assert connection.run_on_commit == []


def test_the_next_transaction_after_a_savepoint_rollback(log: Listener, message: Message) -> None:
    """The classic bug: a hook that was dropped with a savepoint silenced the next transaction."""
    with transaction.atomic(), rolled_back():
        message.save()
    log.entries()
    message.text = "after"
    with transaction.atomic():
        message.save()
    assert values(log.entry(), "Message", message.pk)["text"] == "after"


def test_a_mark_after_a_savepoint_rollback(log: Listener, room: Room, message: Message) -> None:
    """What follows a rolled back savepoint in the same transaction is published with it, as it is in the database."""
    with transaction.atomic():
        with rolled_back():
            message.text = "never"
            message.save()
        room.topic = "kept"
        room.save()
    entry = log.entry()
    assert values(entry, "Room", room.pk)["topic"] == "kept"
    assert values(entry, "Message", message.pk)["text"] == "hello"


def test_created_in_a_rolled_back_savepoint(log: Listener, room: Room, ada: User) -> None:
    """A row that a savepoint took back is in the entry as gone, however it was marked."""
    with transaction.atomic():
        room.save()
        with rolled_back():
            lost = Message.objects.create(room=room, author=ada, text="never")
    assert keys(log.entry()) == {f"chat.room:{room.pk}", f"-chat.message:{lost.pk}"}


# ------------------------------------------------------------------------------------------ the hook


def test_the_hook_is_first_and_of_no_savepoint(log: Listener, message: Message) -> None:
    """Django's run_on_commit is a list of (savepoint ids, function, robust), ours the first, in no savepoint."""
    with transaction.atomic():
        transaction.on_commit(str)
        with transaction.atomic():
            message.save()
            message.save()
            transaction.on_commit(dict)
        hooks: list[Any] = list(connection.run_on_commit)
    (savepoints, hook, robust), *others = hooks
    assert type(hook) is capture.CommitHook
    assert (savepoints, robust) == (set(), False)
    assert [entry[1] for entry in others] == [str, dict]
    assert all(type(entry[0]) is set for entry in others)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_other_hooks_that_raise(moment: str, log: Listener, message: Message) -> None:
    """A hook of the user's that raises does not take ours with it, wherever it was registered."""

    def fail() -> None:
        raise RolledError

    with suppress(RolledError), transaction.atomic():
        if moment == "before":
            transaction.on_commit(fail)
        message.save()
        if moment == "after":
            transaction.on_commit(fail)
    assert keys(log.entry()) == {f"chat.message:{message.pk}"}


def test_saves_in_hooks(log: Listener, room: Room, message: Message) -> None:
    """A save in a commit hook of the user's is an entry of its own."""
    with transaction.atomic():
        transaction.on_commit(room.save)
        message.save()
    first, second = log.entries()
    assert keys(first) == {f"chat.message:{message.pk}"}
    assert keys(second) == {f"chat.room:{room.pk}"}


def test_a_lost_connection_forgets(log: Listener, message: Message) -> None:
    """What a closed connection never committed is not published by the next transaction."""
    with suppress(InterfaceError), transaction.atomic():
        message.save()
        connection.close()
    with transaction.atomic():
        Tag.objects.create(name="next")
    assert len(rows(log.entry(), Message)) == 0


# ------------------------------------------------------------------------------------------ transactions


def test_durable(log: Listener, message: Message) -> None:
    """A durable block is published like any other."""
    with transaction.atomic(durable=True):
        message.save()
        assert log.entries() == []
    log.entry()


def test_autocommit(log: Listener, message: Message) -> None:
    """Without a transaction each save is published at once."""
    message.save()
    log.entry()
    message.save()
    log.entry()
    assert connection.run_on_commit == []


def test_many_statements_of_one_call(log: Listener, room: Room, ada: User) -> None:
    """`set()` and a cascading `delete()` are transactions of Django's own: one entry each."""
    room.members.add(ada)
    log.entries()
    eve = User.objects.create(username="eve")
    log.entries()
    room.members.set([eve])
    assert links(log.entry()) == {
        (MEMBERS, str(room.pk), str(ada.pk), False),
        (MEMBERS, str(room.pk), str(eve.pk), True),
    }


@pytest.fixture
def by_hand() -> Iterator[None]:
    """Autocommit is off, and on again afterwards: that fails where a transaction has been left open."""
    transaction.set_autocommit(False)
    try:
        yield
        transaction.set_autocommit(True)
    finally:
        connection.close()


def test_commit_by_hand(log: Listener, message: Message, by_hand: None) -> None:
    """With autocommit off, commit() publishes, and leaves no transaction open."""
    message.text = "by hand"
    message.save()
    message.room.save()
    assert log.entries() == []
    transaction.commit()
    entry = log.entry()
    assert keys(entry) == {f"chat.message:{message.pk}", f"chat.room:{message.room_id}"}
    assert values(entry, "Message", message.pk)["text"] == "by hand"


def test_rollback_by_hand(log: Listener, message: Message, by_hand: None) -> None:
    """With autocommit off, rollback() forgets, and a later commit() publishes only what came after."""
    message.save()
    transaction.rollback()
    room = message.room
    room.save()
    transaction.commit()
    assert keys(log.entry()) == {f"chat.room:{room.pk}"}
    transaction.commit()
    assert log.entries() == []


def test_atomic_blocks_by_hand(log: Listener, message: Message, by_hand: None) -> None:
    """With autocommit off, an atomic block is a savepoint: commit() publishes."""
    with transaction.atomic():
        message.save()
    assert log.entries() == []
    transaction.commit()
    log.entry()


def test_atomic_after_commits_by_hand(
    log: Listener, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that once was committed by hand publishes atomic blocks as before: when autocommit is on again."""
    transaction.set_autocommit(False)
    message.save()
    transaction.commit()
    transaction.set_autocommit(True)
    log.entry()
    published: list[bool] = []
    publish = publishing.publish

    def noted(using: str, changes: ChangeSet) -> None:
        published.append(connection.get_autocommit())
        publish(using, changes)

    monkeypatch.setattr(capture, "publish", noted)
    with transaction.atomic():
        message.save()
        assert log.entries() == []
    log.entry()
    message.save()
    log.entry()
    assert published == [True, True]


def test_the_users_hooks_by_hand(log: Listener, message: Message) -> None:
    """commit() by hand runs our hook alone; Django runs the others when autocommit is on again."""
    ran: list[str] = []
    transaction.set_autocommit(False)
    with transaction.atomic():
        message.save()
        transaction.on_commit(lambda: ran.append("theirs"))
    transaction.commit()
    log.entry()
    assert ran == []
    transaction.set_autocommit(True)
    assert ran == ["theirs"]


async def test_async_saves(log: Listener) -> None:
    """asave(), acreate(), aupdate_or_create() and adelete() are published like the others."""
    tag = await Tag.objects.acreate(name="a")
    log.entry()
    tag.name = "b"
    await tag.asave()
    assert values(log.entry(), "Tag", tag.pk)["name"] == "b"
    await Tag.objects.aupdate_or_create(pk=tag.pk, defaults={"name": "c"})
    assert values(log.entry(), "Tag", tag.pk)["name"] == "c"
    pk = tag.pk
    await tag.adelete()
    assert keys(log.entry()) == {f"-chat.tag:{pk}"}


def test_threads(log: Listener, message: Message) -> None:
    """Each thread's connection has its own change set."""
    tag = Tag.objects.create(name="a")
    log.entries()

    def other() -> None:
        assert capture.pending("default") is None
        connections.close_all()

    with transaction.atomic():
        tag.save()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert len(ours()) == 1
    log.entry()


# ------------------------------------------------------------------------------------------ databases


class TagsElsewhere:
    """Tags live in the other database."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        return "other" if model is Tag else None

    db_for_write = db_for_read

    def allow_relation(self, *objects: Any, **hints: Any) -> bool:
        return True


def test_other_databases_are_not_heard(log: Listener) -> None:
    """A row that is written to a database that the channels don't read is none of theirs."""
    Tag.objects.using("other").create(name="copy")
    with transaction.atomic("other"):
        Room.objects.using("other").create(name="copy")
    assert log.entries() == []
    with transaction.atomic(), transaction.atomic("other"):
        Tag.objects.using("other").create(name="copy")
        room = Room.objects.create(name="lobby")
    assert keys(log.entry()) == {f"chat.room:{room.pk}"}


def test_one_entry_for_each_database(log: Listener, settings: Settings) -> None:
    """Two databases commit by themselves, so each has its own entry, with its own rows."""
    settings.DATABASE_ROUTERS = [TagsElsewhere()]
    with transaction.atomic(), transaction.atomic("other"):
        tag = Tag.objects.create(name="routed")
        room = Room.objects.create(name="lobby")
    inner, outer = log.entries()
    assert keys(inner) == {f"chat.tag:{tag.pk}"}
    assert values(inner, "Tag", tag.pk)["name"] == "routed"
    assert keys(outer) == {f"chat.room:{room.pk}"}


def test_one_database_rolls_back(log: Listener, settings: Settings) -> None:
    """What one database took back does not silence the other."""
    settings.DATABASE_ROUTERS = [TagsElsewhere()]
    with transaction.atomic():
        with rolled_back("other"):
            Tag.objects.create(name="never")
        room = Room.objects.create(name="lobby")
    assert keys(log.entry()) == {f"chat.room:{room.pk}"}


# ------------------------------------------------------------------------------------------ deletes


def test_a_delete_knows_its_key(log: Listener, message: Message) -> None:
    """Django sets the instance's key to None before the transaction commits."""
    pk = message.pk
    with transaction.atomic():
        message.delete()
        assert not message.pk
    assert keys(log.entry()) == {f"-chat.message:{pk}"}


def test_a_cascade_marks_every_child(log: Listener, message: Message, ada: User) -> None:
    """A deleted parent takes its children with it, each in the same entry; those of no channel's stay out."""
    reaction = Reaction.objects.create(message=message, user=ada, emoji="+1")
    log.entries()
    room_pk = message.room_id
    message.room.delete()
    assert keys(log.entry()) == {
        f"-chat.room:{room_pk}",
        f"-chat.message:{message.pk}",
        f"-chat.reaction:{reaction.pk}",
    }


def test_a_queryset_deletes(log: Listener, message: Message) -> None:
    """QuerySet.delete() marks each row."""
    Message.objects.all().delete()
    assert keys(log.entry()) == {f"-chat.message:{message.pk}"}


def test_links_go_with_a_deleted_end(log: Listener, room: Room, ada: User) -> None:
    """The rows of a many-to-many table vanish without a signal: the entry says that the end has no links any more."""
    room.members.add(ada)
    log.entries()
    pk = str(ada.pk)
    ada.delete()
    entry = log.entry()
    assert (MEMBERS, False, pk, []) in entry.link_sets


def test_set_null(log: Listener, message: Message, ada: User) -> None:
    """SET_NULL sends no signal for the row that pointed: the entry has the deleted row, which tells replicas."""
    eve = User.objects.create(username="eve")
    message.editor = eve
    message.save()
    log.entries()
    pk = eve.pk
    eve.delete()
    assert f"-auth.user:{pk}" in keys(log.entry())
    message.refresh_from_db()
    assert message.editor_id is None


def test_deleted_and_made_anew(log: Listener, message: Message) -> None:
    """A row that is deleted and made again under its key, within one commit, is said to be another."""
    with transaction.atomic():
        pk = message.pk
        message.delete()
        message.pk = pk
        message.save(force_insert=True)
    entry = log.entry()
    assert keys(entry) == {f"chat.message:{pk}"}
    assert entry.recreated["Message"] == [str(pk)]


# ------------------------------------------------------------------------------------------ links


@pytest.mark.parametrize("end", ["room", "user"])
def test_links_from_both_ends(end: str, log: Listener, room: Room, ada: User) -> None:
    """add(), remove(), set() and clear() say the same of a link, from whichever end they are called."""
    manager: Any = room.members if end == "room" else ada.chat_rooms
    target: Any = ada if end == "room" else room
    present, absent = ((MEMBERS, str(room.pk), str(ada.pk), is_there) for is_there in (True, False))
    manager.add(target)
    assert links(log.entry()) == {present}
    manager.add(target)
    assert log.entries() == []
    manager.remove(target)
    assert links(log.entry()) == {absent}
    manager.set([target])
    assert links(log.entry()) == {present}
    manager.clear()
    entry = log.entry()
    pk = str(room.pk if end == "room" else ada.pk)
    assert entry.link_sets == [(MEMBERS, end == "room", pk, [])]
    manager.set([])
    assert log.entries() == []


def test_a_link_that_came_back(log: Listener, room: Room, ada: User) -> None:
    """Links are facts read after the commit: removed and added again in one transaction is present."""
    room.members.add(ada)
    log.entries()
    with transaction.atomic():
        room.members.clear()
        room.members.add(ada)
    entry = log.entry()
    assert entry.link_sets == [(MEMBERS, True, str(room.pk), [str(ada.pk)])]
    assert links(entry) == {(MEMBERS, str(room.pk), str(ada.pk), True)}


def test_symmetrical_links(log: Listener) -> None:
    """A friend's friend: both rows of a symmetrical link are in the entry, though Django signals one."""
    ada, eve = (Person.objects.create(name=name) for name in ("Ada", "Eve"))
    log.entries()
    pairs = [(str(ada.pk), str(eve.pk)), (str(eve.pk), str(ada.pk))]
    ada.friends.add(eve)
    assert links(log.entry()) == {(FRIENDS, *pair, True) for pair in pairs}
    eve.friends.remove(ada)
    assert links(log.entry()) == {(FRIENDS, *pair, False) for pair in pairs}
    ada.friends.add(eve)
    log.entries()
    ada.friends.clear()
    assert sorted(log.entry().link_sets) == [
        (FRIENDS, False, str(ada.pk), []),
        (FRIENDS, True, str(ada.pk), []),
    ]


def test_links_of_a_model_to_itself(log: Listener) -> None:
    """A link that has a direction keeps it."""
    ada, eve = (Person.objects.create(name=name) for name in ("Ada", "Eve"))
    log.entries()
    ada.idols.add(eve)
    assert links(log.entry()) == {(IDOLS, str(ada.pk), str(eve.pk), True)}
    eve.fans.remove(ada)
    assert links(log.entry()) == {(IDOLS, str(ada.pk), str(eve.pk), False)}


@pytest.fixture
def club(log: Listener) -> Club:
    club = Club.objects.create(code="chess", name="Chess")
    log.entries()
    return club


@pytest.fixture
def person(log: Listener) -> Person:
    person = Person.objects.create(name="Ada")
    log.entries()
    return person


def test_a_through_model(log: Listener, club: Club, person: Person) -> None:
    """The rows of a table that stands between are links, however they are written."""
    pair = (MEMBERSHIP, club.pk, str(person.pk))
    membership = Membership.objects.create(club=club, person=person)
    entry = log.entry()
    assert links(entry) == {(*pair, True)}
    assert entry.links_unknown == []
    membership.delete()
    assert links(log.entry()) == {(*pair, False)}
    club.people.add(person, through_defaults={"role": "boss"})
    assert links(log.entry()) == {(*pair, True)}
    person.clubs.clear()
    assert log.entry().link_sets == [(MEMBERSHIP, False, str(person.pk), [])]


def test_a_through_row_that_moves(log: Listener, club: Club, person: Person) -> None:
    """Only the old row could tell which link is gone, and nobody reads it: the links are said to be unknown."""
    membership = Membership.objects.create(club=club, person=person)
    other = Club.objects.create(code="go")
    log.entries()
    membership.club = other
    membership.save()
    entry = log.entry()
    assert links(entry) == {(MEMBERSHIP, "go", str(person.pk), True)}
    assert entry.links_unknown == [MEMBERSHIP]


def test_a_through_row_without_its_ends(log: Listener, club: Club, person: Person) -> None:
    """A row that was fetched without its keys is not asked for them: of a deleted one that would raise."""
    Membership.objects.create(club=club, person=person)
    log.entries()
    membership = Membership.objects.only("pk").get()
    membership.delete()
    entry = log.entry()
    assert entry.links_unknown == [MEMBERSHIP]
    assert links(entry) == set()


def test_a_cascade_over_a_through_model(log: Listener, club: Club, person: Person) -> None:
    """The links of a deleted end are gone, each by name."""
    Membership.objects.create(club=club, person=person)
    log.entries()
    club.delete()
    entry = log.entry()
    assert links(entry) == {(MEMBERSHIP, "chess", str(person.pk), False)}
    assert (MEMBERSHIP, True, "chess", []) in entry.link_sets


# ------------------------------------------------------------------------------------------ keys and tables


@pytest.mark.parametrize("spelling", [str, lambda key: str(key).upper(), lambda key: key.hex])
def test_uuid_keys_given_as_text(spelling: Callable[[Any], str], log: Listener, club: Club) -> None:
    """Whatever a key looked like when it was saved, rows, links and deletions are named as the database has it."""
    person = Person.objects.create(name="Ada")
    log.entries()
    key = str(person.pk)
    other: Any = Person(pk=spelling(person.pk), name="Augusta")
    other.save(force_update=True)
    assert values(log.entry(), "Person", key)["name"] == "Augusta"
    Membership(club=club, person_id=spelling(person.pk)).save()
    assert links(log.entry()) == {(MEMBERSHIP, "chess", key, True)}
    other.delete()
    entry = log.entry()
    assert f"-clubs.person:{key}" in keys(entry)
    assert (MEMBERSHIP, False, key, []) in entry.link_sets
    assert not any(key != pk for _, _, pk, _ in entry.link_sets)


def test_numbers_given_as_text(log: Listener, message: Message) -> None:
    """A key of "5", " 5" or "05" is 5."""
    for text in (str(message.pk), f" {message.pk}", f"0{message.pk}"):
        again: Any = Message(
            pk=text, room_id=str(message.room_id), author_id=str(message.author_id)
        )
        again.created = message.created
        again.save()
        assert keys(log.entry()) == {f"chat.message:{message.pk}"}


def test_keys_of_text(log: Listener) -> None:
    """A key is any text: quotes, spaces and signs included."""
    for code in ("a b", "x:y", '"', "'", "ü-☃", "100%", "%s", "{1}", "~"):
        club = Club.objects.create(code=code)
        assert keys(log.entry()) == {f"clubs.club:{code}"}
        trophy = Trophy.objects.create(club=club, name="cup")
        row = log.entry().rows["Trophy"][str(trophy.pk)]
        assert row is not None
        assert row.hidden[0] == code
        club.delete()
        assert f"-clubs.club:{code}" in keys(log.entry())


def test_proxies(log: Listener, club: Club) -> None:
    """A row saved or deleted by a proxy is the row."""
    famous = FamousClub.objects.get()
    famous.name = "Famous"
    famous.save()
    assert values(log.entry(), "Club", "chess")["name"] == "Famous"
    famous.delete()
    assert "-clubs.club:chess" in keys(log.entry())


def test_tables_that_inherit(log: Listener) -> None:
    """Saving a child of a model's table changes the parent's row, for which Django sends no signal."""
    paid = PaidClub.objects.create(code="golf", name="Golf")
    assert keys(log.entry()) == {"clubs.club:golf"}
    paid.name = "Minigolf"
    paid.save()
    assert values(log.entry(), "Club", "golf")["name"] == "Minigolf"
    paid.delete()
    assert "-clubs.club:golf" in keys(log.entry())


def test_fixtures(log: Listener, tmp_path: Path) -> None:
    """loaddata saves raw, and is heard."""
    fixture = tmp_path / "club.json"
    fixture.write_text(
        '[{"model": "clubs.person", "pk": "0f8fad5b-d9cb-469f-a165-70867728950e", "fields": {"name": "Ada"}},'
        ' {"model": "clubs.club", "pk": "chess", "fields": {"name": "Chess"}},'
        ' {"model": "clubs.membership", "pk": 7, "fields": '
        '{"club": "chess", "person": "0f8fad5b-d9cb-469f-a165-70867728950e"}}]'
    )
    call_command("loaddata", str(fixture), verbosity=0)
    entry = log.entry()
    assert {"clubs.club:chess", "clubs.person:0f8fad5b-d9cb-469f-a165-70867728950e"} == keys(entry)
    assert links(entry) == {(MEMBERSHIP, "chess", "0f8fad5b-d9cb-469f-a165-70867728950e", True)}


def test_expressions(log: Listener, message: Message) -> None:
    """The entry has what the database made of an expression, not what the instance holds."""
    message.position = F("position") + 5
    message.save()
    assert values(log.entry(), "Message", message.pk)["position"] == 5


def test_models_of_no_channel(log: Listener) -> None:
    """A model that no channel reads has no receiver, which would cost it Django's fast delete, and no hook."""
    assert not models.signals.post_save.has_listeners(Team)
    assert not models.signals.post_delete.has_listeners(Team)
    with log.counting() as commands, transaction.atomic():
        Team.objects.create(name="red")
        assert ours() == []
    assert commands == []


def test_profile_of_one_to_one(log: Listener, ada: User) -> None:
    """A row behind a one-to-one relation is marked as itself."""
    profile = Profile.objects.create(user=ada)
    assert keys(log.entry()) == {f"chat.profile:{profile.pk}"}
