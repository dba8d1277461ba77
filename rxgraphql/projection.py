"""A channel's selection set compiled to functions from nodes to the event's data and its bytes.

Projection.snapshot(replica, cursor)       -> Payload
Projection.change(change, replica, cursor) -> Payload, or None when nothing selected was touched
Projection.interruption(error)             -> Payload that tells an error and ends nothing
Projection.state(replica)                  -> Payload of the tree alone, for `Query`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from graphql import GraphQLError
from graphql.execution.collect_fields import FieldDetails

from rxgraphql.errors import ChannelError, ErrorCode
from rxgraphql.messages import encode
from rxgraphql.selection import (
    Document,
    Names,
    NodeSelection,
    Touched,
    Unavailable,
    named_object,
    project_list,
    select,
)

if TYPE_CHECKING:
    from graphql import GraphQLObjectType

    from rxgraphql.change import Change
    from rxgraphql.channel import StateChannel
    from rxgraphql.graph import Node
    from rxgraphql.replica import Replica
    from rxgraphql.tree import Edge, NodeType

SNAPSHOT = "SNAPSHOT"
CHANGE = "CHANGE"
STALE_NODE = ErrorCode.STALE_NODE.value
# The exception's own text is in the log: it may tell what a client must not know.
NOT_SERIALIZED = "The row could not be serialized: it is shown as it was before, or left out."

FormattedError = dict[str, Any]
NodesByType = dict["NodeType", list["Node"]]
# Asked only where a document selects the cursor: it costs a hash of what changed
CursorText = Callable[[], str]


class EventData(dict[str, Any]):
    """What a resolver hands to graphql-core: data by response key, and the errors that belong into the result."""

    __slots__ = ("errors",)

    def __init__(self, data: dict[str, Any], errors: list[FormattedError]) -> None:
        super().__init__(data)
        self.errors = errors


class Payload:
    """One event for one audience. `body` is the JSON of the whole result, encoded at the first use."""

    __slots__ = ("_body", "_key", "data", "errors")

    def __init__(self, key: str, value: Any, errors: list[FormattedError]) -> None:
        self._key = key
        self._body: bytes | None = None
        self.data: dict[str, Any] = {key: value}
        self.errors = errors

    @property
    def body(self) -> bytes:
        if self._body is None:
            self._body = encode(self.result())
        return self._body

    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = {"data": self.data}
        if self.errors:
            result["errors"] = self.errors
        return result

    @property
    def field(self) -> EventData | GraphQLError | None:
        """The value of the root field, as a resolver returns it."""
        value = self.data[self._key]
        return None if value is None else EventData(value, self.errors)


class Interruption(Payload):
    """An event of which only the error can be told."""

    __slots__ = ("_error",)

    def __init__(self, key: str, error: ChannelError) -> None:
        # with its path: graphql-core leaves such an error as it is
        self._error = GraphQLError(error.message, path=[key], extensions={"code": error.code.value})
        super().__init__(key, None, [dict(self._error.formatted)])

    def result(self) -> dict[str, Any]:
        return {"data": None, "errors": self.errors}

    @property
    def field(self) -> GraphQLError:
        return self._error


class Projection:
    """What one document selects of one channel. Equal selections have equal `signature`s and share one projection."""

    def __init__(
        self,
        key: str,
        selections: Sequence[NodeSelection],
        parts: list[_Part],
        state: NodeSelection | None,
        signature: str,
    ) -> None:
        self.key = key
        self.signature = signature
        self._parts = parts
        self._state = state
        self._types = {selection.type.name for selection in selections}
        # of which it shows more than that they are there
        self._shown = {selection.type.name for selection in selections if not selection.is_only_id}

    def snapshot(self, replica: Replica, cursor: CursorText) -> Payload:
        nodes: NodesByType = {}
        for node in replica.nodes.values():
            nodes.setdefault(node.type, []).append(node)
        value = {key: part.snapshot(replica, nodes, cursor) for key, part in self._parts}
        return Payload(self.key, value, self._errors(replica, _failed(replica)))

    def change(
        self, change: Change, replica: Replica, cursor: CursorText, resumed: bool = False
    ) -> Payload | None:
        """`resumed`: the reader was away. It is told in any case, and of all rows that can't be serialized now."""
        touched = Touched(change)
        value: dict[str, Any] = {}
        happened = False
        for key, part in self._parts:
            found, shown = part.change(change, touched, replica, cursor)
            happened = happened or found
            value[key] = shown
        failed = _failed(replica) if resumed else [key for key, _ in change.errors]
        errors = self._errors(replica, failed)
        return Payload(self.key, value, errors) if happened or errors or resumed else None

    def interruption(self, error: ChannelError) -> Payload:
        """What tells an error in the middle of a subscription that goes on."""
        return Interruption(self.key, error)

    def state(self, replica: Replica) -> Payload:
        assert self._state is not None
        value = _root(self._state, replica)
        return Payload(self.key, value, self._errors(replica, _failed(replica)))

    def _errors(self, replica: Replica, failed: Iterable[str]) -> list[FormattedError]:
        """Of the keys of rows that could not be serialized, those that still can't and that are shown here."""
        return [
            {"message": NOT_SERIALIZED, "extensions": {"code": STALE_NODE, "key": key}}
            for key in failed
            if (key in replica.stale and key.partition(":")[0] in self._shown)
            or (key in replica.broken and key.partition(":")[0] in self._types)
        ]


def _failed(replica: Replica) -> Iterable[str]:
    """Keys of the rows whose serializer failed when they were last read."""
    return (*replica.stale, *replica.broken)


# ---------------------------------------------------------------------------------- parts of an event


class _Constant:
    """`__typename`, and `kind` by event."""

    def __init__(self, in_snapshot: str, in_change: str) -> None:
        self._in_snapshot = in_snapshot
        self._in_change = in_change

    def snapshot(self, replica: Replica, nodes: NodesByType, cursor: CursorText) -> Any:
        return self._in_snapshot

    def change(
        self, change: Change, touched: Touched, replica: Replica, cursor: CursorText
    ) -> tuple[bool, Any]:
        return False, self._in_change


class _Cursor:
    def snapshot(self, replica: Replica, nodes: NodesByType, cursor: CursorText) -> Any:
        return cursor()

    def change(
        self, change: Change, touched: Touched, replica: Replica, cursor: CursorText
    ) -> tuple[bool, Any]:
        return False, cursor()


class _NodeList:
    """`messages`: all nodes of a type, or those beneath which something changed."""

    def __init__(self, selection: NodeSelection) -> None:
        self._selection = selection

    def snapshot(self, replica: Replica, nodes: NodesByType, cursor: CursorText) -> Any:
        return project_list(self._selection.project, nodes.get(self._selection.type, []))

    def change(
        self, change: Change, touched: Touched, replica: Replica, cursor: CursorText
    ) -> tuple[bool, Any]:
        affected = self._selection.affected(touched)
        if not affected:
            return False, []
        nodes = replica.nodes
        held = [node for node in affected if nodes.get(node.key) is node]
        shown = project_list(self._selection.project, held)
        return bool(shown), shown


class _State:
    """The nested tree, where something in it changed."""

    def __init__(self, selection: NodeSelection) -> None:
        self._selection = selection

    def snapshot(self, replica: Replica, nodes: NodesByType, cursor: CursorText) -> Any:
        return _root(self._selection, replica)

    def change(
        self, change: Change, touched: Touched, replica: Replica, cursor: CursorText
    ) -> tuple[bool, Any]:
        if replica.root not in self._selection.affected(touched):
            return False, None
        return True, _root(self._selection, replica)


def _root(selection: NodeSelection, replica: Replica) -> dict[str, Any] | None:
    try:
        return None if replica.root is None else selection.project(replica.root)
    except Unavailable:
        return None


class _Removed:
    """`removed`: keys of the types that the document shows anywhere."""

    def __init__(self, node_types: Iterable[NodeType]) -> None:
        self._types = frozenset(node_types)

    def snapshot(self, replica: Replica, nodes: NodesByType, cursor: CursorText) -> Any:
        return []

    def change(
        self, change: Change, touched: Touched, replica: Replica, cursor: CursorText
    ) -> tuple[bool, Any]:
        shown = [node.key for node in change.removed if node.type in self._types]
        return bool(shown), shown


class _Lists:
    """`lists`: what moved in the lists that the client holds; in a snapshot their whole content."""

    def __init__(self, edges: Sequence[Edge], names: Names, show: ShowListChange) -> None:
        self._show = show
        self._names = {edge: names.edge(edge) for edge in edges}
        self._by_parent: dict[NodeType, list[Edge]] = {}
        for edge in edges:
            self._by_parent.setdefault(edge.parent, []).append(edge)

    def snapshot(self, replica: Replica, nodes: NodesByType, cursor: CursorText) -> Any:
        return [
            self._show(node.key, self._names[edge], 0, [], [child.key for child in children])
            for parent, edges in self._by_parent.items()
            for node in nodes.get(parent, ())
            for edge in edges
            if (children := node.children[edge.index])
        ]

    def change(
        self, change: Change, touched: Touched, replica: Replica, cursor: CursorText
    ) -> tuple[bool, Any]:
        names = self._names
        shown = [
            self._show(moved.node, name, moved.index, list(moved.removed), list(moved.inserted))
            for moved in change.lists
            if (name := names.get(moved.edge)) is not None
        ]
        return bool(shown), shown


_Part = tuple[str, _Constant | _Cursor | _NodeList | _State | _Removed | _Lists]
ShowListChange = Callable[[str, str, int, list[str], list[str]], dict[str, Any]]


# ------------------------------------------------------------------------------------------- compiling


def compile_projection(
    document: Document,
    names: Names,
    channel: type[StateChannel],
    event: GraphQLObjectType,
    details: list[FieldDetails],
    python_names: dict[str, str],
) -> Projection:
    """Compiles the selection set under a channel's subscription field.

    `event` is the channel's event type and `python_names` tells which of its fields is which.
    """
    tree = channel.tree
    lists = {node_type.list_name: node_type for node_type in tree.node_types}
    key = response_key(details)
    grouped = document.fields(event, details)
    selections: dict[str, NodeSelection] = {}
    for response, field in grouped.items():
        name = python_names.get(field[0].node.name.value, "")
        node_type = tree.root if name == "state" else lists.get(name)
        if node_type is not None:
            selections[response] = select(document, names, node_type, field)
    listed = {
        lists[python_names[grouped[response][0].node.name.value]]
        for response in selections
        if python_names[grouped[response][0].node.name.value] != "state"
    }
    everywhere = [below for selection in selections.values() for below in selection.walk()]
    shown = list(dict.fromkeys(selection.type for selection in everywhere))
    nested = {edge for selection in everywhere for edge, _ in selection.beneath}
    reported = [
        edge
        for node_type in tree.node_types
        for edge in node_type.visible_edges()
        if edge.many and (edge in nested or edge.child in listed)
    ]
    parts: list[_Part] = []
    signature: list[str] = []
    for response, field in grouped.items():
        graphql_name = field[0].node.name.value
        name = python_names.get(graphql_name, graphql_name)
        beneath = ""
        if response in selections:
            selection = selections[response]
            beneath = selection.signature
            part: Any = _State(selection) if name == "state" else _NodeList(selection)
        elif name == "__typename":
            part = _Constant(event.name, event.name)
        elif name == "kind":
            part = _Constant(SNAPSHOT, CHANGE)
        elif name == "cursor":
            part = _Cursor()
        elif name == "removed":
            part = _Removed(shown)
        else:
            assert name == "lists"
            show, beneath = _list_change(document, event, graphql_name, field)
            part = _Lists(reported, names, show)
        parts.append((response, part))
        signature.append(f"{response}:{name}{beneath}")
    return Projection(
        key, everywhere, parts, None, f"{key}:{channel.field_name}{{{','.join(signature)}}}"
    )


def compile_state(
    document: Document, names: Names, channel: type[StateChannel], details: list[FieldDetails]
) -> Projection:
    """Compiles the selection set under a channel's query field."""
    key = response_key(details)
    selection = select(document, names, channel.tree.root, details)
    everywhere = list(selection.walk())
    return Projection(
        key, everywhere, [], selection, f"{key}:{channel.field_name}:state{selection.signature}"
    )


def response_key(details: list[FieldDetails]) -> str:
    node = details[0].node
    return node.alias.value if node.alias else node.name.value


def _list_change(
    document: Document, event: GraphQLObjectType, name: str, details: list[FieldDetails]
) -> tuple[ShowListChange, str]:
    list_change = named_object(event.fields[name].type)
    positions = {"node": 0, "field": 1, "index": 2, "removed": 3, "inserted": 4, "__typename": 5}
    chosen = [
        (key, positions[field[0].node.name.value])
        for key, field in document.fields(list_change, details).items()
    ]

    def show(
        node: str, field: str, index: int, removed: list[str], inserted: list[str]
    ) -> dict[str, Any]:
        values = (node, field, index, removed, inserted, list_change.name)
        return {key: values[position] for key, position in chosen}

    return show, "{" + ",".join(f"{key}:{position}" for key, position in chosen) + "}"
