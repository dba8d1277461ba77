"""What a client makes of a channel's events, and what it must equal: the serializer's own output.

Shared by the tests that watch a room: a document over all of it, the fold of its payloads, the expectation by DRF.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from rxgraphql import StateChannel
from rxgraphql.audience import Subscriber
from rxgraphql.hub import Hub
from rxgraphql.schema import Schema, get_schema
from rxgraphql.tree import Edge, NodeType


def document(channel: type[StateChannel]) -> str:
    """A subscription that selects everything, each to-many relation through `lists` and also in full, as ids."""
    (argument,) = channel.arguments
    kind = argument.field_type.kind if argument.field_type else "String"
    name = _camel(channel.field_name)
    lists = " ".join(
        f"{_camel(t.list_name)} {{ {_selection(t)} }}" for t in channel.tree.node_types
    )
    changes = "lists { node field index removed inserted }"
    return (
        f"subscription Watch($key: {kind}!) {{ {name}({argument.name}: $key) "
        f"{{ kind cursor removed {changes} {lists} }} }}"
    )


def nested_document(channel: type[StateChannel]) -> str:
    """A live query: the whole tree in each event."""
    (argument,) = channel.arguments
    kind = argument.field_type.kind if argument.field_type else "String"
    return (
        f"subscription Live($key: {kind}!) {{ {_camel(channel.field_name)}({argument.name}: $key) "
        f"{{ kind state {{ {_nested(channel.tree.root)} }} }} }}"
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _selection(node_type: NodeType) -> str:
    edges = [f"{e.graphql_name} {{ id }}" for e in node_type.edges if not e.hidden and not e.many]
    return " ".join(["id", *(f.graphql_name for f in node_type.fields), *edges])


def _nested(node_type: NodeType) -> str:
    edges = [
        f"{edge.graphql_name} {{ {_nested(edge.child)} }}"
        for edge in node_type.edges
        if not edge.hidden
    ]
    return " ".join(["id", *(f.graphql_name for f in node_type.fields), *edges])


class Folded:
    """The state that a client holds after the payloads of `document()`."""

    def __init__(self, channel: type[StateChannel]) -> None:
        self.channel = channel
        self.nodes: dict[str, dict[str, Any]] = {}
        self.lists: dict[tuple[str, str], list[str]] = {}
        self.events = 0
        self.snapshots = 0

    def fold(self, data: dict[str, Any]) -> None:
        event = data[_camel(self.channel.field_name)]
        self.events += 1
        if event["kind"] == "SNAPSHOT":
            self.snapshots += 1
            self.nodes, self.lists = {}, {}
        for key in event["removed"]:
            del self.nodes[key]
            self.lists = {at: keys for at, keys in self.lists.items() if at[0] != key}
        for node_type in self.channel.tree.node_types:
            for node in event[_camel(node_type.list_name)]:
                self.nodes[f"{node_type.name}:{node['id']}"] = node
        # twice: applying a change again must change nothing
        for _ in range(2):
            for change in event["lists"]:
                keys = self.lists.setdefault((change["node"], change["field"]), [])
                keys[:] = [key for key in keys if key not in change["removed"]]
                new = [key for key in change["inserted"] if key not in keys]
                keys[change["index"] : change["index"]] = new

    def tree(self, node_type: NodeType, key: str) -> dict[str, Any]:
        node = dict(self.nodes[key])
        for edge in node_type.edges:
            if edge.hidden:
                continue
            if edge.many:
                keys = self.lists.get((key, edge.graphql_name), [])
                node[edge.graphql_name] = [self.tree(edge.child, child) for child in keys]
            elif (child := node[edge.graphql_name]) is not None:
                node[edge.graphql_name] = self.tree(edge.child, f"{edge.child.name}:{child['id']}")
        return node

    def reachable(self, node_type: NodeType, key: str) -> set[str]:
        found = {key}
        node = self.nodes[key]
        for edge in node_type.edges:
            if edge.hidden:
                continue
            for child in self._children(edge, key, node):
                found |= self.reachable(edge.child, child)
        return found

    def _children(self, edge: Edge, key: str, node: dict[str, Any]) -> list[str]:
        if edge.many:
            return self.lists.get((key, edge.graphql_name), [])
        child = node[edge.graphql_name]
        return [] if child is None else [f"{edge.child.name}:{child['id']}"]


def expected(channel: type[StateChannel], pk: Any) -> dict[str, Any]:
    """What DRF makes of the anchor now, in GraphQL's names and with ids as text."""
    root = channel.tree.root
    instance = root.model._base_manager.get(pk=pk)
    assert root.serializer_class is not None
    return _as_graphql(root, root.serializer_class(instance).data)


def _as_graphql(node_type: NodeType, data: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"id": str(data["id"])}
    for field in node_type.fields:
        value = data[field.name]
        kind = field.type.kind
        out[field.graphql_name] = (
            str(value) if kind in ("ID", "BigInt") and value is not None else value
        )
    for edge in node_type.edges:
        if edge.hidden:
            continue
        value = data[edge.name]
        if edge.many:
            if edge.order is None or (not edge.order.columns and edge.computable):
                # the database promises nothing, we promise the primary key
                value = sorted(value, key=itemgetter("id"))
            out[edge.graphql_name] = [_as_graphql(edge.child, child) for child in value]
        else:
            out[edge.graphql_name] = None if value is None else _as_graphql(edge.child, value)
    return out


class Watcher:
    """One subscriber of a hub, folded."""

    def __init__(self, channel: type[StateChannel], subscriber: Subscriber, pk: Any) -> None:
        self.channel = channel
        self.subscriber = subscriber
        self.pk = pk
        self.folded = Folded(channel)
        self.errors: list[Any] = []
        self.cursor = ""
        self.payload: Any = None

    @classmethod
    async def open(
        cls,
        hub: Hub,
        channel: type[StateChannel],
        key: Any,
        pk: Any,
        schema: Schema | None = None,
        after: str | None = None,
        user: Any = None,
    ) -> Watcher:
        from django.contrib.auth.models import AnonymousUser

        operation: Any = (schema or get_schema()).prepare(
            document(channel), {"key": str(key)}, None
        )
        assert getattr(operation, "projection", None) is not None, operation
        subscriber = await hub.subscribe(
            channel,
            operation.arguments,
            operation.projection,
            operation.audience_key,
            user or AnonymousUser(),
            after,
        )
        watcher = cls(channel, subscriber, pk)
        await watcher.next()
        return watcher

    async def next(self) -> dict[str, Any]:
        self.payload = payload = await anext(self.subscriber)
        self.errors += payload.errors or []
        self.folded.fold(payload.data)
        data: dict[str, Any] = payload.data[_camel(self.channel.field_name)]
        self.cursor = data["cursor"]
        return data

    def state(self) -> dict[str, Any]:
        root = self.channel.tree.root
        key = f"{root.name}:{self.pk}"
        assert set(self.folded.nodes) == self.folded.reachable(root, key)
        return self.folded.tree(root, key)
