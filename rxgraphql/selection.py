"""A selection set, compiled: what a document asks of each node, as functions without GraphQL in them.

fragments, aliases, directives, merged fields -> NodeSelection: response keys, masks, selections beneath
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graphql import GraphQLObjectType, GraphQLSchema, OperationDefinitionNode, get_named_type
from graphql.execution.collect_fields import (
    FieldDetails,
    FragmentDetails,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues

from rxgraphql.tree import Edge

if TYPE_CHECKING:
    from graphql import FieldNode, FragmentDefinitionNode, GraphQLResolveInfo
    from graphql.execution import Executor

    from rxgraphql.change import Change
    from rxgraphql.graph import Node
    from rxgraphql.tree import NodeType

Project = Callable[["Node"], dict[str, Any]]
Grouped = Mapping[str, list[FieldDetails]]
# response key; the index of a value, an edge, `id` or `__typename`; what is selected beneath an edge
Sources = list[tuple[str, "str | int | Edge", "NodeSelection | None"]]


class Unavailable(Exception):  # noqa: N818 -- control flow: GraphQL's null that travels up to where null may stand
    """A node that can't be shown: its serializer has failed so far, or a reference that must not be null is."""


class Document:
    """Reads selection sets with graphql-core's own rules: one operation of one document, with its variables."""

    def __init__(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDetails],
        variables: VariableValues,
    ) -> None:
        self.schema = schema
        self.operation = operation
        self.fragments = fragments
        self.variables = variables

    @classmethod
    def of_executor(cls, executor: Executor[Any]) -> Document:
        return cls(
            executor.schema, executor.operation, executor.fragments, executor.variable_values
        )

    @classmethod
    def of_info(cls, info: GraphQLResolveInfo[Any]) -> tuple[Document, list[FieldDetails]]:
        """The same from inside a resolver: the document and what was selected of the resolver's own field."""
        definitions: dict[str, FragmentDefinitionNode] = info.fragments
        fragments = {name: FragmentDetails(node) for name, node in definitions.items()}
        values: Any = info.variable_values  # Strawberry hands the plain values on
        variables = values if isinstance(values, VariableValues) else VariableValues({}, values)
        document = cls(info.schema, info.operation, fragments, variables)
        nodes: list[FieldNode] = info.field_nodes
        return document, [FieldDetails(node, None) for node in nodes]

    def root_fields(self, root: GraphQLObjectType) -> Grouped:
        return collect_fields(
            self.schema, self.fragments, self.variables, root, self.operation
        ).grouped_field_set

    def fields(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> Grouped:
        return collect_subfields(
            self.schema, self.fragments, self.variables, self.operation, type_, details
        ).grouped_field_set


class Touched:
    """A change, by node type: asked once for every selection."""

    def __init__(self, change: Change) -> None:
        by_type: dict[NodeType, dict[Node, tuple[int, int]]] = {}
        for node, fields in change.fields.items():
            by_type.setdefault(node.type, {})[node] = (fields, 0)
        for node, edges in change.edges.items():
            masks = by_type.setdefault(node.type, {})
            masks[node] = (masks[node][0] if node in masks else 0, edges)
        for node in change.added:
            by_type.setdefault(node.type, {})[node] = (-1, -1)
        self._by_type = by_type

    def directly(self, node_type: NodeType, fields: int, edges: int) -> dict[Node, None]:
        """The nodes of the type of which one of these fields or edges changed, in the change's order."""
        found: dict[Node, None] = {}
        for node, (changed_fields, changed_edges) in self._by_type.get(node_type, {}).items():
            if changed_fields & fields or changed_edges & edges:
                found[node] = None
        return found


class NodeSelection:
    """What a document selects of one node type at one place."""

    def __init__(self, node_type: NodeType, typename: str, sources: Sources) -> None:
        self.type = node_type
        self.beneath = tuple(
            (source, below) for _, source, below in sources if isinstance(source, Edge) and below
        )
        # an added node counts as changed even where only its id is selected
        self.field_mask = 1 << len(node_type.fields)
        for _, source, _ in sources:
            if isinstance(source, int):
                self.field_mask |= 1 << source
        self.edge_mask = 0
        for edge, _ in self.beneath:
            self.edge_mask |= 1 << edge.index
        # equal selections have equal signatures, however the document was written
        self.signature = _signature(sources)
        self._typename = typename
        self._sources = sources

    @property
    def is_only_id(self) -> bool:
        """Whether it shows that the node is there, and nothing of it."""
        return not self.edge_mask and self.field_mask == 1 << len(self.type.fields)

    @cached_property
    def project(self) -> Project:
        """Node -> dict by response key; compiled at the first use, since an equal projection may be there already."""
        return _projector(self._typename, self._sources)

    def affected(self, touched: Touched) -> dict[Node, None]:
        """The nodes beneath which something selected changed, at any depth."""
        found = touched.directly(self.type, self.field_mask, self.edge_mask)
        for edge, selection in self.beneath:
            for child in selection.affected(touched):
                for parent in child.parents(edge):
                    found[parent] = None
        return found

    def walk(self) -> Iterator[NodeSelection]:
        yield self
        for _, selection in self.beneath:
            yield from selection.walk()


def project_list(project: Project, nodes: list[Node]) -> list[dict[str, Any]]:
    """Each node's projection; what is unavailable is left out."""
    try:
        return [project(node) for node in nodes]
    except Unavailable:
        shown = []
        for node in nodes:
            with suppress(Unavailable):
                shown.append(project(node))
        return shown


class Names:
    """What each field of a node type's GraphQL type stands for, under the schema's way of naming."""

    def __init__(self, graphql_name: Callable[[str, str], str]) -> None:
        self._graphql_name = graphql_name
        self._known: dict[NodeType, dict[str, int | Edge]] = {}

    def of(self, node_type: NodeType) -> dict[str, int | Edge]:
        """GraphQL name -> the index of the value, or the edge; `id` is not among them."""
        known = self._known.get(node_type)
        if known is None:
            known = self._known[node_type] = {}
            for index, field in enumerate(node_type.fields):
                known[self._graphql_name(node_type.name, field.name)] = index
            for edge in node_type.visible_edges():
                known[self._graphql_name(node_type.name, edge.name)] = edge
        return known

    def edge(self, edge: Edge) -> str:
        return self._graphql_name(edge.parent.name, edge.name)


def select(
    document: Document, names: Names, node_type: NodeType, details: list[FieldDetails]
) -> NodeSelection:
    """Compiles what `details` select of a node type."""
    graphql_type = document.schema.type_map[node_type.name]
    assert isinstance(graphql_type, GraphQLObjectType)
    known = names.of(node_type)
    sources: Sources = []
    for key, field_details in document.fields(graphql_type, details).items():
        name = field_details[0].node.name.value
        source = name if name in ("id", "__typename") else known[name]
        below = None
        if isinstance(source, Edge):
            below = select(document, names, source.child, field_details)
        sources.append((key, source, below))
    return NodeSelection(node_type, graphql_type.name, sources)


def _signature(sources: Sources) -> str:
    parts = []
    for key, source, below in sources:
        if isinstance(source, Edge):
            assert below is not None
            parts.append(f"{key}:~{source.index}{below.signature}")
        else:
            parts.append(f"{key}:{source}")
    return "{" + ",".join(parts) + "}"


def _projector(typename: str, sources: Sources) -> Project:
    """Node -> dict by response key, in the document's order.

    Written as source and compiled by Python, as dataclasses do it: three times as fast as any composition of functions.
    The only text of the document in it are response keys, as string literals.
    """
    scope: dict[str, Any] = {"Unavailable": Unavailable}
    items = []
    for position, (key, source, below) in enumerate(sources):
        if isinstance(source, Edge):
            assert below is not None
            scope[f"below{position}"] = _children(source, below.project)
            value = f"below{position}(children[{source.index}])"
        elif isinstance(source, int):
            value = f"values[{source}]"
        else:
            value = "node.pk" if source == "id" else repr(typename)
        items.append(f"{key!r}: {value}")
    code = (
        "def project(node):\n"
        "    values = node.row.values\n"
        "    if values is None:\n"
        "        raise Unavailable\n"
        "    children = node.children\n"
        f"    return {{{', '.join(items)}}}\n"
    )
    exec(compile(code, f"<projection of {typename}>", "exec"), scope)
    project: Project = scope["project"]
    return project


def _children(edge: Edge, project: Project) -> Callable[[Any], Any]:
    """Projects what a node holds through the edge."""
    if edge.many:

        def many(nodes: list[Node]) -> list[dict[str, Any]]:
            return project_list(project, nodes)

        return many

    def required(child: Node | None) -> dict[str, Any]:
        if child is None:
            raise Unavailable
        return project(child)

    def nullable(child: Node | None) -> dict[str, Any] | None:
        try:
            return None if child is None else project(child)
        except Unavailable:
            return None

    return nullable if edge.nullable else required


def named_object(type_: Any) -> GraphQLObjectType:
    found = get_named_type(type_)
    assert isinstance(found, GraphQLObjectType)
    return found
