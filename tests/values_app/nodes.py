from __future__ import annotations

from typing import Any

from rest_framework import serializers

from rxgraphql.fields import field_type, is_output
from rxgraphql.rows import SharedContext
from rxgraphql.tree import NodeField, NodeType


def node_type(serializer_class: type[serializers.ModelSerializer[Any]]) -> NodeType:
    """The serializer's flat fields as the tree has them."""
    model = serializer_class.Meta.model
    node = NodeType(serializer_class.__name__.removesuffix("Serializer"), model, serializer_class)
    node.serializer = serializer_class(context=SharedContext())
    node.fields = tuple(
        NodeField(name, field, field_type(field, model, node.name))
        for name, field in node.serializer.fields.items()
        if is_output(field) and not isinstance(field, serializers.BaseSerializer) and name != "id"
    )
    return node
