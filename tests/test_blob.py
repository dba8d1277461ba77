"""A replica that went through bytes is the one that it was taken from, and goes on as that one does."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rxgraphql.blob import (
    FORMAT,
    Mark,
    _layouts,
    _source,
    capture,
    layout_of,
    pack,
    read_mark,
    unpack,
)
from rxgraphql.change import Change
from rxgraphql.channel import StateChannel, registry
from rxgraphql.log import Entry
from rxgraphql.publisher import Publisher
from rxgraphql.replica import Replica
from rxgraphql.rows import Row
from rxgraphql.snapshot import Loaded, Wanted, load
from tests import test_orders
from tests.changes import World
from tests.chat.channels import MemberChannel, RoomChannel
from tests.chat.serializers import RoomSerializer
from tests.schemas import Open, own_channels
from tests.services import ROOT
from tests.test_orders import CHANGES, COMING_AND_GOING, HOT, Discipline, play
from tests.test_orders import publisher as publisher

pytestmark = pytest.mark.django_db(transaction=True)


def loaded(channel: StateChannel, pk: Any, start: int = 3, end: int = 5) -> Replica:
    replica = Replica(channel, str(pk))
    assert replica.replace(load(replica.wish()), start, end)
    return replica


def blob_of(replica: Replica) -> bytes:
    captured = capture(replica)
    assert captured is not None
    packed = pack(captured, captured.mark("e-1", 7, 40, 12))
    assert packed is not None
    return packed


def restored(replica: Replica) -> Replica:
    copy = Replica(replica.channel, replica.pk)
    found = unpack(blob_of(replica), copy)
    assert found is not None
    copy.restore(found[1])
    return copy


def everything(replica: Replica) -> dict[str, Any]:
    """All that a replica knows, without its objects. Types are compared too: True is not 1 on the wire."""
    return {
        "nodes": {
            key: (
                *(node.type.name, node.pk, repr(node.row), node.start, node.end),
                [[child.key for child in node.child_nodes(edge)] for edge in node.type.edges],
                {
                    repr(edge): {parent.key for parent in parents}
                    for edge, parents in node.held_by.items()
                },
            )
            for key, node in replica.nodes.items()
        },
        "order": [
            [node.key for node in replica.by_type(node_type)]
            for node_type in replica.tree.all_types
        ],
        "dangling": {
            key: {node.key for node in nodes} for key, nodes in replica._dangling.items() if nodes
        },
        "loaded_end": replica.loaded_end,
        "failed": (replica.stale, replica.broken, replica.must_reload),
    }


def told(change: Change) -> dict[str, Any]:
    return {
        "fields": {node.key: mask for node, mask in change.fields.items()},
        "edges": {node.key: mask for node, mask in change.edges.items()},
        "added": {node.key for node in change.added},
        "removed": sorted(node.key for node in change.removed),
        "lists": sorted(
            (moved.node, moved.edge.name, moved.index, sorted(moved.removed), moved.inserted)
            for moved in change.lists
        ),
        "errors": change.errors,
    }


class Twins:
    """A replica and its copy, made anew between events now and then. Both must answer alike."""

    def __init__(self, replica: Replica, rng: random.Random) -> None:
        self.replica = replica
        self.copy: Replica | None = None
        self.copies = 0
        self.rng = rng

    def __getattr__(self, name: str) -> Any:
        return getattr(self.replica, name)

    def replace(self, loaded: Loaded, start: int, end: int) -> bool:
        self.copy = None
        return self.replica.replace(loaded, start, end)

    def _between_events(self) -> Replica:
        if self.copy is None or self.rng.random() < 0.3:
            self.copy = restored(self.replica)
            self.copies += 1
        assert everything(self.copy) == everything(self.replica)
        return self.copy

    def concerns(self, entry: Entry) -> bool:
        copy = self._between_events()
        answer = self.replica.concerns(entry)
        # a key that nobody points at any more may still be remembered
        assert not copy.concerns(entry) or answer
        return answer

    def apply(self, entry: Entry, fresh: bool) -> Wanted:
        return self._both("apply", entry, fresh)

    def absorb(self, loaded: Loaded, start: int, end: int) -> Wanted:
        return self._both("absorb", loaded, start, end)

    def compare(self, loaded: Loaded, start: int, end: int) -> Wanted:
        self._between_events()
        return self._both("compare", loaded, start, end)

    def _both(self, name: str, *arguments: Any) -> Wanted:
        wanted: Wanted = getattr(self.replica, name)(*arguments)
        assert getattr(self.copy, name)(*arguments) == wanted
        return wanted

    def finish(self) -> Change:
        change = self.replica.finish()
        assert self.copy is not None
        assert told(self.copy.finish()) == told(change)
        return change


@pytest.mark.parametrize(
    ("changes", "messages"),
    [(CHANGES, 4), (HOT, 2), (COMING_AND_GOING, 2)],
    ids=["all", "hot", "coming and going"],
)
def test_a_copy_goes_on_as_the_original_does(
    publisher: Publisher,
    monkeypatch: pytest.MonkeyPatch,
    changes: list[Any],
    messages: int,
) -> None:
    """At any moment between two events, in any order of the writers' steps, the copy equals the original; and it takes
    the entries that come as the original does, wishes for the same and tells the same changes."""
    made: list[Twins] = []

    def twins(channel: StateChannel, pk: str) -> Twins:
        made.append(Twins(Replica(channel, pk), random.Random(len(made))))
        return made[-1]

    monkeypatch.setattr(test_orders, "Replica", twins)
    for seed in range(30):
        try:
            play(publisher, seed, Discipline(), changes, messages)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert sum(each.copies for each in made) > 75


@pytest.fixture
def w(db: None) -> World:
    return World()


@pytest.mark.every_database
def test_the_mark(w: World) -> None:
    """The mark comes back as it was given, with what the replica itself knows; its first bytes are enough."""
    replica = loaded(RoomChannel(), w.room.pk)
    blob = blob_of(replica)
    mark = Mark(layout_of(replica.tree), "e-1", 7, 40, 12, 5)
    found = unpack(blob, replica)
    assert found is not None
    assert found[0] == read_mark(blob) == read_mark(blob[:256]) == mark


@pytest.mark.every_database
def test_a_capture_is_of_its_moment(w: World) -> None:
    """What happens to the replica between capture and pack isn't in the blob."""
    replica = loaded(RoomChannel(), w.room.pk)
    before = everything(replica)
    captured = capture(replica)
    assert captured is not None
    gone: dict[str, Any] = {"Message": {str(w.first.pk): None}}
    assert not replica.apply(Entry("", gone, ticket=9, end=9), True)
    assert replica.finish().lists
    assert everything(replica) != before
    copy = Replica(replica.channel, replica.pk)
    found = unpack(pack(captured, captured.mark("e", 1, 1, 1)) or b"", copy)
    assert found is not None
    copy.restore(found[1])
    assert everything(copy) == before


@pytest.mark.every_database
def test_a_reference_to_a_row_that_is_not_held(w: World) -> None:
    """Who points at a row that isn't held is remembered: when that row comes, it is looked at again."""
    w.room.pinned = w.first
    w.room.save()
    replica = Replica(RoomChannel(), str(w.room.pk))
    found = load(replica.wish())
    del found.rows[f"Pinned:{w.first.pk}"]
    assert replica.replace(found, 3, 5)
    copy = restored(replica)
    assert everything(copy) == everything(replica)
    assert everything(copy)["dangling"] == {f"Pinned:{w.first.pk}": {replica.root_key}}


@pytest.mark.every_database
def test_what_was_there_before(w: World) -> None:
    """A replica that held something else, and had to be loaded anew, is the copy and nothing more."""
    copy = loaded(RoomChannel(), w.room.pk, 8, 9)
    w.first.delete()
    replica = loaded(RoomChannel(), w.room.pk)
    copy.stale["Message:1"] = copy.broken["Message:2"] = "no"
    copy.must_reload = True
    found = unpack(blob_of(replica), copy)
    assert found is not None
    copy.restore(found[1])
    assert everything(copy) == everything(replica)


def test_nothing_unfinished_is_captured(w: World) -> None:
    """No copy is made of a replica that has no root, shows old values of a row or lacks one."""
    empty = Replica(RoomChannel(), str(w.room.pk))
    assert capture(empty) is None
    replica = loaded(RoomChannel(), w.room.pk)
    for failed in (replica.stale, replica.broken):
        failed[replica.root_key] = "no"
        assert capture(replica) is None
        failed.clear()
    replica.must_reload = True
    assert capture(replica) is None
    replica.must_reload = False
    assert capture(replica) is not None


def test_another_anchor(w: World) -> None:
    """A blob is good for its own anchor only: what one may see says nothing of another."""
    blob = blob_of(loaded(RoomChannel(), w.room.pk))
    assert unpack(blob, Replica(RoomChannel(), str(w.room.pk)))
    assert unpack(blob, Replica(RoomChannel(), str(w.other.pk))) is None
    assert unpack(blob, Replica(MemberChannel(), str(w.room.pk))) is None


def test_another_layout(w: World) -> None:
    """A blob of a tree with other relations isn't understood, even if each row looks the same."""

    def replica_of(fields: tuple[str, ...]) -> Replica:
        class Serializer(RoomSerializer):
            class Meta(RoomSerializer.Meta):
                graphql_name = "Room"

        Serializer.Meta.fields = fields  # type: ignore[assignment]
        with own_channels():

            class OwnChannel(Open):
                class Meta:
                    anchor = Serializer()

            assert registry.faults() == []
            return Replica(OwnChannel(), str(w.room.pk))

    fields = RoomSerializer.Meta.fields
    registry.remove(RoomChannel)
    try:
        replica = replica_of(fields)
        again = replica_of(fields)
        other = replica_of(tuple(name for name in fields if name != "members"))
    finally:
        registry.add(RoomChannel)
        registry.late.clear()
    assert replica.replace(load(replica.wish()), 3, 5)
    assert replica.root_key == again.root_key == other.root_key
    assert unpack(blob_of(replica), again)
    assert unpack(blob_of(replica), other) is None


@pytest.fixture
def forget_layouts() -> Iterator[Callable[[], None]]:
    """They are known once for each process."""

    def forget() -> None:
        _source.cache_clear()
        _layouts.clear()

    yield forget
    forget()


@pytest.mark.parametrize(
    ("module", "concerns"),
    [
        ("tests.chat.models", True),
        ("tests.chat.serializers", True),
        ("rest_framework.relations", True),
        ("tests.chat.channels", False),
    ],
)
def test_other_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forget_layouts: Callable[[], None],
    module: str,
    concerns: bool,
) -> None:
    """A layout is of the code too: what a model, a serializer or a field computes, nothing else tells."""
    before = layout_of(RoomChannel.tree)
    imported: Any = sys.modules[module]
    edited = tmp_path / "edited.py"
    edited.write_bytes(Path(imported.__file__).read_bytes() + b"\n# another line\n")
    monkeypatch.setattr(imported, "__file__", str(edited))
    assert layout_of(RoomChannel.tree) == before
    forget_layouts()
    assert (layout_of(RoomChannel.tree) != before) == concerns


def test_the_same_layout_in_every_process() -> None:
    """However a process orders its sets."""
    code = (
        "import django; django.setup(); from rxgraphql.channel import registry; registry.built; "
        "from rxgraphql.blob import layout_of; from tests.chat.channels import RoomChannel; "
        "print(layout_of(RoomChannel.tree))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert registry.built.channels
    assert done.stdout.strip() == layout_of(RoomChannel.tree)


def test_a_number_that_fits_in_no_blob(w: World) -> None:
    """A state that can't be written down isn't, and nothing raises."""
    replica = loaded(RoomChannel(), w.room.pk)
    node = replica.nodes[f"Message:{w.first.pk}"]
    node.row = Row(node.row.values, (2**70, *node.row.hidden[1:]), True)
    captured = capture(replica)
    assert captured is not None
    assert pack(captured, captured.mark("e", 1, 1, 1)) is None


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda b: b"", id="empty"),
        pytest.param(lambda b: b"\n", id="no header"),
        pytest.param(lambda b: b[: b.index(b"\n")], id="header only"),
        pytest.param(lambda b: b[:-7], id="cut off"),
        pytest.param(lambda b: b[:-20] + b"x" + b[-19:], id="one byte changed"),
        pytest.param(lambda b: b.replace(b"\n", b"\ngarbage", 1), id="garbage"),
        pytest.param(lambda b: b"9" + b[len(FORMAT) :], id="format of the future"),
        pytest.param(lambda b: b.replace(b" 40 ", b" forty ", 1), id="no number"),
    ],
)
def test_broken_data(w: World, broken: Any) -> None:
    """What can't be read is as if it weren't there, and never an error."""
    replica = loaded(RoomChannel(), w.room.pk)
    blob = blob_of(replica)
    assert unpack(blob, replica)
    assert broken(blob) != blob
    assert unpack(broken(blob), replica) is None
