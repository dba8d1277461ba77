"""What a client holds, folded by the rules of docs/events.md, and nothing else."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

Key = str
Event = dict[str, Any]


class Shape(NamedTuple):
    """A type of node: the event's list of it, its references and its lists, each with the type they lead to."""

    list_name: str
    references: dict[str, str]
    lists: dict[str, str]


SHAPES: Final = {
    "Board": Shape("boards", {"pinned": "Card"}, {"columns": "Column", "members": "Person"}),
    "Column": Shape("columns", {}, {"cards": "Card"}),
    "Card": Shape(
        "cards",
        {"author": "Person", "assignee": "Person"},
        {"labels": "Label", "notes": "Note"},
    ),
    "Note": Shape("notes", {"by": "Person"}, {}),
    "Person": Shape("people", {}, {}),
    "Label": Shape("labels", {}, {}),
}
# child type -> the column with its parent's key, the parent's type and list; how the list is ordered
PARENTS: Final = {
    "Column": ("board", "Board", "columns"),
    "Card": ("column", "Column", "cards"),
    "Note": ("card", "Card", "notes"),
}

DOCUMENT: Final = """
subscription Watch($id: ID!, $after: String) {
  board(id: $id, after: $after) {
    kind cursor removed
    lists { node field index removed inserted }
    boards { id version stamp pinned { id } }
    columns { id version stamp board position owner }
    cards { id version stamp column position hidden reviewer author { id } assignee { id } }
    notes { id version stamp card position by { id } }
    people { id version stamp name }
    labels { id version stamp name }
  }
}
"""


def type_of(key: Key) -> str:
    return key.partition(":")[0]


class State:
    """Nodes by key, lists by (key, field)."""

    def __init__(self) -> None:
        self.nodes: dict[Key, dict[str, Any]] = {}
        self.lists: dict[tuple[Key, str], list[Key]] = {}

    def fold(self, event: Event) -> None:
        if event["kind"] == "SNAPSHOT":
            self.nodes, self.lists = {}, {}
        for key in event["removed"]:
            self.nodes.pop(key, None)
            for field in SHAPES[type_of(key)].lists:
                self.lists.pop((key, field), None)
        for key, node in nodes_of(event).items():
            self.nodes[key] = node
        for change in event["lists"]:
            keys = self.lists.setdefault((change["node"], change["field"]), [])
            keys[:] = [key for key in keys if key not in change["removed"]]
            new = [key for key in change["inserted"] if key not in keys]
            keys[change["index"] : change["index"]] = new

    def copy(self) -> State:
        other = State()
        other.nodes = dict(self.nodes)
        other.lists = {at: list(keys) for at, keys in self.lists.items()}
        return other

    def differs(self, other: State) -> bool:
        mine = {at: keys for at, keys in self.lists.items() if keys}
        theirs = {at: keys for at, keys in other.lists.items() if keys}
        return self.nodes != other.nodes or mine != theirs

    def children(self, key: Key) -> list[tuple[str, Key]]:
        """(field, key) of all that the node refers to or lists."""
        shape, node = SHAPES[type_of(key)], self.nodes[key]
        found = [
            (field, f"{child}:{node[field]['id']}")
            for field, child in shape.references.items()
            if node[field] is not None
        ]
        for field in shape.lists:
            found += [(field, child) for child in self.lists.get((key, field), ())]
        return found

    def reachable(self, root: Key) -> set[Key]:
        found: set[Key] = set()
        pending = [root]
        while pending:
            key = pending.pop()
            if key in found or key not in self.nodes:
                continue
            found.add(key)
            pending += [child for _, child in self.children(key)]
        return found

    def tree(self, key: Key) -> dict[str, Any]:
        """The nested state below a node, as the serializer would give it. KeyError when something is missing."""
        shape, node = SHAPES[type_of(key)], dict(self.nodes[key])
        for field, child in shape.references.items():
            if node[field] is not None:
                node[field] = self.tree(f"{child}:{node[field]['id']}")
        for field in shape.lists:
            node[field] = [self.tree(child) for child in self.lists.get((key, field), ())]
        return node


def nodes_of(event: Event) -> dict[Key, dict[str, Any]]:
    """The nodes of an event by their keys."""
    return {
        f"{name}:{node['id']}": node
        for name, shape in SHAPES.items()
        for node in event[shape.list_name]
    }


def difference(held: Any, wanted: Any, path: str = "") -> str | None:
    """Where two nested states differ first; None if they don't."""
    if isinstance(held, dict) and isinstance(wanted, dict):
        for name in sorted(held.keys() | wanted.keys()):
            below = f"{path}.{name}" if path else name
            if found := difference(held.get(name), wanted.get(name), below):
                return found
        return None
    if isinstance(held, list) and isinstance(wanted, list):
        ids = [[row["id"] for row in rows] for rows in (held, wanted)]
        if ids[0] != ids[1]:
            return f"{path}: ids {ids[0]} instead of {ids[1]}"
        for mine, theirs in zip(held, wanted, strict=True):
            if found := difference(mine, theirs, f"{path}[{mine['id']}]"):
                return found
        return None
    return None if held == wanted else f"{path}: {held!r} instead of {wanted!r}"
