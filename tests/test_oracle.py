"""A short run of the oracle, and its checker: each of its rules can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.oracle.checker import Committed, Journal, Told, check, check_links_are_known
from tests.oracle.conductor import unexpected
from tests.oracle.faults import chosen
from tests.oracle.state import SHAPES, State, difference
from tests.services import ROOT

# Seconds for the run, with all that it starts
WALL_TIME = 120


def test_short_run() -> None:
    """Random writers, readers and faults of all kinds for half a minute: every promise is kept."""
    command = [sys.executable, "-m", "tests.oracle", "--seed", "1", "--transactions", "700"]
    done = subprocess.run(
        [*command, "--faults", "all", "--shrink", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WALL_TIME,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    assert done.returncode == 0, "\n".join([*lines[-80:], done.stderr[-3000:]])
    summary = json.loads(lines[-1])
    assert summary["passed"]
    assert summary["resumes without a snapshot"]


# ---------------------------------------------------------------------------------------------- the checker

Event = dict[str, Any]
LISTS = [shape.list_name for shape in SHAPES.values()]


def event(kind: str, sequence: int, **said: Any) -> Event:
    empty: Event = {name: [] for name in ("removed", "lists", *LISTS)}
    return {"kind": kind, "cursor": f"1.epoch.{sequence}.0.digest", **empty, **said}


def moved(node: str, field: str, index: int, inserted: list[str], *removed: str) -> Event:
    change = {"node": node, "field": field, "index": index}
    return {**change, "removed": list(removed), "inserted": inserted}


def card(pk: int, version: int, stamp: str, position: int = 0, **more: Any) -> Event:
    row = {"id": str(pk), "version": version, "stamp": stamp, "column": "1", "hidden": False}
    refers = {"reviewer": "ada:2", "author": {"id": "1"}, "assignee": None}
    return {**row, "position": position, **refers, **more}


def committed() -> Journal:
    """Cards 1 and 2 are edited together, 3 is deleted, 1 loses its label."""

    def row(version: int, stamp: str, **more: Any) -> Event:
        return {"version": version, "stamp": stamp, **more}

    in_column: Event = {"parent": "Column:1", "hidden": False}
    seed = {
        "Board:1": row(1, "seed.1"),
        "Column:1": row(1, "seed.2", parent="Board:1"),
        "Person:1": row(2, "seed.3", name="ada:2"),
        "Label:1": row(1, "seed.4"),
        **{f"Card:{i}": row(1, f"seed.5{i}", **in_column) for i in (1, 2, 3)},
    }
    both = {f"Card:{i}": row(2, f"both.{i}", **in_column) for i in (1, 2)}
    label = ("Card:1", "labels", "Label:1")
    return Journal(
        [
            Committed("old", {"Person:1": row(1, "old.1", name="ada:1")}),
            Committed("seed", seed, links=((*label, True),)),
            Committed("both", both, published=(("epoch", 5),)),
            Committed("gone", {}, deleted=("Card:3",), published=(("epoch", 6),)),
            Committed(
                "bare",
                {"Card:1": row(3, "bare.1", **in_column)},
                links=((*label, False),),
                published=(("epoch", 7),),
            ),
        ]
    )


def history() -> list[Event]:
    """What a client should be told of it."""
    return [
        event(
            "SNAPSHOT",
            4,
            boards=[{"id": "1", "version": 1, "stamp": "seed.1", "pinned": None}],
            columns=[{"id": "1", "version": 1, "stamp": "seed.2", "board": "1", "position": 0}],
            cards=[card(i, 1, f"seed.5{i}") for i in (1, 2, 3)],
            people=[{"id": "1", "version": 2, "stamp": "seed.3", "name": "ada:2"}],
            labels=[{"id": "1", "version": 1, "stamp": "seed.4", "name": "urgent:1"}],
            lists=[
                moved("Board:1", "columns", 0, ["Column:1"]),
                moved("Column:1", "cards", 0, ["Card:1", "Card:2", "Card:3"]),
                moved("Card:1", "labels", 0, ["Label:1"]),
            ],
        ),
        event("CHANGE", 5, cards=[card(1, 2, "both.1"), card(2, 2, "both.2")]),
        event("CHANGE", 6, removed=["Card:3"], lists=[moved("Column:1", "cards", 2, [], "Card:3")]),
        event(
            "CHANGE",
            7,
            removed=["Label:1"],
            cards=[card(1, 3, "bare.1")],
            lists=[moved("Card:1", "labels", 0, [], "Label:1")],
        ),
    ]


def rules(events: list[Event]) -> set[str]:
    told = [Told(one, 1, "server", 0.0) for one in events]
    found = check("client", "Board:1", committed(), told)
    return {one.rule for one in found + check_links_are_known(committed(), [told])}


def test_checker_takes_what_is_right() -> None:
    """A faultless history breaks no rule, and its state is that of the serializer."""
    assert rules(history()) == set()
    state = State()
    for one in history():
        state.fold(one)
    assert [card["id"] for card in state.tree("Board:1")["columns"][0]["cards"]] == ["1", "2"]


def without_snapshot(events: list[Event]) -> None:
    del events[0]


def rolled_back(events: list[Event]) -> None:
    events[1]["cards"][0] = card(1, 2, "never.1")


def rolled_back_name(events: list[Event]) -> None:
    events[1]["cards"][0] = card(1, 2, "both.1", reviewer="ada:9")


def rolled_back_link(events: list[Event]) -> None:
    events[1]["labels"] = [{"id": "1", "version": 1, "stamp": "seed.4", "name": "urgent:1"}]
    events[1]["lists"] = [moved("Card:2", "labels", 0, ["Label:1"])]


def goes_back(events: list[Event]) -> None:
    events[3]["cards"].append(card(2, 1, "seed.52"))


def name_goes_back(events: list[Event]) -> None:
    events[3]["cards"][0] = card(1, 3, "bare.1", reviewer="ada:1")


def lacks_a_row(events: list[Event]) -> None:
    del events[1]["cards"][1]


def snapshot_is_older_than_it_says(events: list[Event]) -> None:
    events[0]["cursor"] = "1.epoch.5.0.digest"


def deleted_row_stays(events: list[Event]) -> None:
    events[2] = event("CHANGE", 6)


def new_row_is_missing(events: list[Event]) -> None:
    events[1]["removed"] = ["Card:2"]
    events[1]["lists"] = [moved("Column:1", "cards", 1, [], "Card:2")]
    del events[1]["cards"][1]


def link_stays(events: list[Event]) -> None:
    events[3]["removed"], events[3]["lists"] = [], []


def list_of_nobody(events: list[Event]) -> None:
    events[2]["removed"].append("Card:2")


def reference_to_nobody(events: list[Event]) -> None:
    events[1]["cards"][0]["assignee"] = {"id": "9"}


def left_and_stays(events: list[Event]) -> None:
    events[3]["removed"] = []


def in_a_foreign_list(events: list[Event]) -> None:
    events[1]["cards"][1]["column"] = "2"


def out_of_order(events: list[Event]) -> None:
    events[0]["lists"][1]["inserted"] = ["Card:2", "Card:1", "Card:3"]


def not_the_same_twice(events: list[Event]) -> None:
    first, second = ["Card:1"], ["Card:2"]
    events[1]["lists"] = [
        moved("Column:1", "cards", 1, first, *first),
        moved("Column:1", "cards", 2, second, *second),
    ]


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (without_snapshot, "beginning"),
        (rolled_back, "committed"),
        (rolled_back_name, "committed"),
        (rolled_back_link, "committed"),
        (goes_back, "back"),
        (name_goes_back, "back"),
        (lacks_a_row, "together"),
        (snapshot_is_older_than_it_says, "together"),
        (deleted_row_stays, "together"),
        (new_row_is_missing, "together"),
        (link_stays, "link"),
        (list_of_nobody, "structure"),
        (reference_to_nobody, "structure"),
        (left_and_stays, "structure"),
        (in_a_foreign_list, "place"),
        (out_of_order, "order"),
        (not_the_same_twice, "twice"),
    ],
)
def test_checker_sees(spoil: Callable[[list[Event]], None], rule: str) -> None:
    """Each rule can fail, on a history that is right but for one thing."""
    events = deepcopy(history())
    spoil(events)
    assert rule in rules(events)


def test_difference() -> None:
    """Two states that differ are told apart by value, by order and by what is missing."""
    one: Any = {"id": "1", "notes": [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}]}
    assert difference(one, deepcopy(one)) is None
    other = deepcopy(one)
    other["notes"][0]["text"] = "c"
    assert difference(one, other) == "notes[1].text: 'a' instead of 'c'"
    other["notes"].reverse()
    assert difference(one, other) == "notes: ids ['1', '2'] instead of ['2', '1']"


def test_unexpected_errors() -> None:
    """An error in a log is told, unless it is one that a fault of the run explains."""
    log = "INFO: started\nERROR rxgraphql.live: Board:1 could not be loaded.\nTraceback\n  boom\n"
    assert unexpected("server", log, {"postgres"}) == []
    (told,) = unexpected("server", log, {"worker-kill"})
    assert "could not be loaded" in told
    assert unexpected("server", "Traceback (most recent call last):\n  boom\n", {"postgres"})


def test_faults() -> None:
    """`all`, `none` and names with commas; a name that isn't known is told."""
    assert chosen("none") == []
    assert chosen("flushall, lapse") == ["flushall", "lapse"]
    assert len(chosen("all")) > 5
    with pytest.raises(ValueError, match="No such fault: flood"):
        chosen("flood")
