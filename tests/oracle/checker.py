"""What must hold for every event of every client. Pure: fed with what clients were told and what writers wrote.

A row's key is never used again, each edit raises its `version` under a lock, and the record of a transaction was
committed together with it: so what a client is told can be judged without knowing what happened when.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.state import PARENTS, Event, Key, State, nodes_of, type_of

# (epoch, sequence) of a log's entry
Position = tuple[str, int]
# (holder, field, held) of a many-to-many link
Pair = tuple[Key, str, Key]


@dataclass(frozen=True)
class Violation:
    """A promise that was broken: `rule`, who saw it at which of its events, of which row, in words."""

    rule: str
    client: str
    index: int
    key: Key
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.client}, event {self.index}, {self.key}: {self.text}"


@dataclass(frozen=True)
class Committed:
    """One transaction that was committed, and where in the log its entries are: after a failover there may be two."""

    name: str
    rows: Mapping[Key, Mapping[str, Any]]
    deleted: tuple[Key, ...] = ()
    # by a statement of which only the triggers know: the event of it is another
    raw_deleted: tuple[Key, ...] = ()
    # (holder, field, held, present) under the holder's version
    links: tuple[tuple[Key, str, Key, bool], ...] = ()
    published: tuple[Position, ...] = ()


@dataclass(frozen=True)
class Told:
    """One event as it came: over which connection, after how many seconds."""

    event: Event
    connection: int
    worker: str
    at: float


class Journal:
    """All that was committed."""

    def __init__(self, committed: Iterable[Committed]) -> None:
        self.committed = list(committed)
        self.rows: dict[Key, dict[int, Mapping[str, Any]]] = defaultdict(dict)
        self.deleted: set[Key] = set()
        self.names: set[str] = set()
        # (version, present), by version
        self.links: dict[Pair, list[tuple[int, bool]]] = defaultdict(list)
        by_epoch: dict[str, list[tuple[int, Committed]]] = defaultdict(list)
        for one in self.committed:
            for key, row in one.rows.items():
                self.rows[key][row["version"]] = row
                if "name" in row:
                    self.names.add(row["name"])
            self.deleted.update(one.deleted, one.raw_deleted)
            for holder, name, held, present in one.links:
                self.links[holder, name, held].append((one.rows[holder]["version"], present))
            for epoch, sequence in one.published:
                by_epoch[epoch].append((sequence, one))
        self.last = {key: max(versions) for key, versions in self.rows.items()}
        for toggles in self.links.values():
            toggles.sort()
        self.published = {
            epoch: sorted(entries, key=lambda entry: entry[0])
            for epoch, entries in by_epoch.items()
        }

    def concerning(self, key: Key) -> list[Committed]:
        return [
            one
            for one in self.committed
            if key in one.rows
            or key in (*one.deleted, *one.raw_deleted)
            or any(key in (holder, held) for holder, _, held, _ in one.links)
        ]


def position_of(cursor: str) -> Position | None:
    """(epoch, sequence) of a cursor; None if it says neither."""
    parts = cursor.split(".")
    return (parts[1], int(parts[2])) if len(parts) >= 3 and parts[2].isdigit() else None


@dataclass
class Check:
    """Replays what one client was told."""

    client: str
    root: Key
    journal: Journal
    found: list[Violation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = State()
        self.index = -1
        self.highest: dict[Key, int] = {}
        self.shown_names: dict[tuple[Key, str], int] = {}
        # what no event may fall below any more
        self.floor: dict[Key, int] = {}
        self.must_be_gone: set[Key] = set()
        self.link_floor: dict[Pair, int] = {}
        self._read: dict[str, int] = defaultdict(int)

    def run(self, history: Iterable[Told]) -> list[Violation]:
        connection = None
        for told in history:
            self.index += 1
            event = told.event
            if connection is None and event["kind"] != "SNAPSHOT":
                self.fail("beginning", self.root, "the first event is not a snapshot")
            connection = told.connection
            self.take(event)
            if len(self.found) > 20:
                break
        return self.found

    def fail(self, rule: str, key: Key, text: str) -> None:
        self.found.append(Violation(rule, self.client, self.index, key, text))

    def take(self, event: Event) -> None:
        self.state.fold(event)
        again = self.state.copy()
        again.fold({**event, "kind": "CHANGE"})
        if self.state.differs(again):
            self.fail("twice", self.root, "folding the event a second time changed the state")
        nodes = nodes_of(event)
        for key, node in nodes.items():
            self.check_row(key, node)
        self.check_structure()
        raised = self.raise_floors(event["cursor"])
        whole = event["kind"] == "SNAPSHOT"
        self.check_floors(self.floor.keys() if whole else nodes.keys() | raised)
        self.check_links()

    # -- rows

    def check_row(self, key: Key, node: dict[str, Any]) -> None:
        version = node["version"]
        row = self.journal.rows.get(key, {}).get(version)
        if row is None or row["stamp"] != node["stamp"]:
            self.fail("committed", key, f"{node['stamp']}, version {version}, was never committed")
        if version < self.highest.get(key, 0):
            self.fail("back", key, f"version {self.highest[key]}, then {version}")
        self.highest[key] = max(version, self.highest.get(key, 0))
        # columns and cards show the name of somebody whose row they don't have
        name = node.get("reviewer") or node.get("owner")
        if name is not None:
            who, _, edits = name.partition(":")
            if name not in self.journal.names:
                self.fail("committed", key, f"the name {name} was never committed")
            if int(edits) < self.shown_names.get((key, who), 0):
                before = self.shown_names[key, who]
                self.fail("back", key, f"{who}:{before}, then {name}")
            self.shown_names[key, who] = int(edits)

    # -- the tree in itself

    def check_structure(self) -> None:
        state = self.state
        if self.root not in state.nodes:
            self.fail("structure", self.root, "the anchor is not there")
            return
        for key in state.nodes:
            for name, child in state.children(key):
                if child not in state.nodes:
                    self.fail("structure", key, f"{name} has {child}, which was not sent")
        for key in state.nodes.keys() - state.reachable(self.root):
            self.fail("structure", key, "held, and no path leads to it")
        for (key, name), children in state.lists.items():
            if len(set(children)) != len(children):
                self.fail("structure", key, f"{name} has a key twice")
            if key not in state.nodes and children:
                self.fail("structure", key, f"{name} is a list of what isn't held")
        self.check_places()

    def check_places(self) -> None:
        """A row is where its own column says, or a later version of it, in the order that its position says."""
        state = self.state
        for (parent, name), children in state.lists.items():
            if any(child not in state.nodes for child in children):
                continue
            if name in ("labels", "members"):
                continue
            for child in children:
                node = state.nodes[child]
                column, parent_type, _ = PARENTS[type_of(child)]
                at_home = f"{parent_type}:{node[column]}" == parent and not node.get("hidden")
                if not at_home and not self.will_be(child, node["version"], parent):
                    self.fail("place", child, f"in {name} of {parent}, though it is {node}")
            if children != sorted(children, key=lambda key: order_of(key, state.nodes[key])):
                self.fail("order", parent, f"{name} is not in order: {children}")
        for key, node in state.nodes.items():
            if type_of(key) not in PARENTS or node.get("hidden"):
                continue
            column, parent_type, name = PARENTS[type_of(key)]
            parent = f"{parent_type}:{node[column]}"
            if parent in state.nodes and key not in state.lists.get((parent, name), ()):
                if self.will_leave(key, node["version"], parent):
                    continue
                self.fail("place", key, f"not in {name} of {parent}")

    def will_be(self, key: Key, version: int, parent: Key) -> bool:
        """Whether a list that was read later than the row may have it."""
        return any(
            row["parent"] == parent and not row.get("hidden")
            for later, row in self.journal.rows[key].items()
            if later > version
        )

    def will_leave(self, key: Key, version: int, parent: Key) -> bool:
        """Whether a list that was read later than the row may lack it."""
        return key in self.journal.deleted or any(
            row["parent"] != parent or row.get("hidden")
            for later, row in self.journal.rows[key].items()
            if later > version
        )

    # -- what a commit changed comes together, and stays

    def raise_floors(self, cursor: str) -> set[Key]:
        """What the position of the event promises: all commits whose entries are up to there."""
        position = position_of(cursor)
        if position is None:
            return set()
        epoch, sequence = position
        entries = self.journal.published.get(epoch, [])
        end = bisect_right(entries, sequence, key=lambda entry: entry[0])
        raised: set[Key] = set()
        for _, one in entries[self._read[epoch] : end]:
            for key, row in one.rows.items():
                if row.get("raw"):
                    continue
                self.floor[key] = max(self.floor.get(key, 0), row["version"])
                raised.add(key)
            for key in one.deleted:
                self.must_be_gone.add(key)
                raised.add(key)
            for holder, name, held, _ in one.links:
                pair = (holder, name, held)
                version = one.rows[holder]["version"]
                self.link_floor[pair] = max(self.link_floor.get(pair, 0), version)
        self._read[epoch] = max(end, self._read[epoch])
        return raised

    def check_floors(self, keys: Iterable[Key]) -> None:
        nodes = self.state.nodes
        for key in keys:
            node = nodes.get(key)
            if key in self.must_be_gone:
                if node is not None:
                    self.fail("together", key, "held after the event of its deletion")
                continue
            floor = self.floor.get(key, 0)
            if node is not None:
                if node["version"] < floor:
                    text = f"version {node['version']} after the event of {floor}"
                    self.fail("together", key, text)
            elif floor and self.is_missing(key, floor):
                self.fail("together", key, f"not sent by the event of version {floor}")

    def is_missing(self, key: Key, floor: int) -> bool:
        """Whether a row that isn't held should be: nothing came after, and what holds it is there."""
        if self.journal.last[key] != floor or key in self.journal.deleted:
            return False
        row = self.journal.rows[key][floor]
        parent = row.get("parent")
        if parent is None or row.get("hidden"):
            return False
        return parent in self.state.nodes and parent not in self.must_be_gone

    def check_links(self) -> None:
        """Each link is as it was at some version of its holder, never older than it was shown before."""
        for pair, toggles in self.journal.links.items():
            holder, name, held = pair
            node = self.state.nodes.get(holder)
            if node is None or held in self.journal.deleted:
                continue
            present = held in self.state.lists.get((holder, name), ())
            # a version of the holder before the link was ever made
            low = self.link_floor.get(pair, 0)
            at = bisect_right(toggles, low, key=lambda toggle: toggle[0])
            now = toggles[at - 1][1] if at else False
            if now == present or (not present and holder in self.journal.deleted):
                # the link of a row that is being deleted may be read before the row
                continue
            later = [version for version, is_present in toggles[at:] if is_present == present]
            if later:
                self.link_floor[pair] = later[0]
                continue
            is_there = "there" if present else "not there"
            text = f"{held} is {is_there} in {name}, as before version {low} of {toggles}"
            self.fail("link", holder, text)


def order_of(key: Key, node: dict[str, Any]) -> tuple[int, int]:
    """What the model's `ordering` sorts by."""
    pk = int(key.partition(":")[2])
    match type_of(key):
        case "Card":
            return (-node["position"], pk)
        case "Note":
            return (node["position"], -pk)
        case _:
            return (node["position"], pk)


def check(client: str, root: Key, journal: Journal, history: Iterable[Told]) -> list[Violation]:
    return Check(client, root, journal).run(history)


def check_links_are_known(journal: Journal, histories: Iterable[Iterable[Told]]) -> list[Violation]:
    """A link that was never committed: one that no transaction's record has."""
    known: dict[tuple[Key, str], set[Key]] = defaultdict(set)
    for holder, name, held in journal.links:
        known[holder, name].add(held)
    return [
        Violation("committed", "", index, change["node"], f"{change['field']} never had {key}")
        for history in histories
        for index, told in enumerate(history)
        for change in told.event["lists"]
        if change["field"] in ("labels", "members")
        for key in change["inserted"]
        if key not in known[change["node"], change["field"]]
    ]


def last_events(key: Key, history: list[Told], upto: int, most: int = 12) -> list[str]:
    """The client's last events that tell of the row, one line each, and the next ones."""
    lines = []
    for index, told in enumerate(history):
        event = told.event
        said = []
        if (node := nodes_of(event).get(key)) is not None:
            said.append(" ".join(f"{name}={value}" for name, value in node.items()))
        if key in event["removed"]:
            said.append("removed")
        said += [
            f"{at['node']}.{at['field']}[{at['index']}] -{at['removed']} +{at['inserted']}"
            for at in event["lists"]
            if key == at["node"] or key in (*at["removed"], *at["inserted"])
        ]
        if said or upto - 5 < index <= upto + 1:
            lines.append(
                f"  #{index} at {told.at:.3f} {event['kind']} {event['cursor']} by {told.worker}, "
                f"connection {told.connection}: {'; '.join(said) or 'nothing of it'}"
            )
        if index == upto:
            lines = lines[-most:]
            most += 3
        if index > upto and len(lines) >= most:
            break
    return lines
