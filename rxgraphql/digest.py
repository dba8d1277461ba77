"""One number for all that a replica shows: two replicas that have the same show the same.

It is the XOR of a keyed hash of every visible node with its values and what it leads to, so a change costs as much
as the nodes that it touched. The key is the project's secret: no user can write rows that cancel each other out.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec
from django.conf import settings

if TYPE_CHECKING:
    from rxgraphql.change import Change
    from rxgraphql.graph import Graph, Node

BYTES: Final = 16

_encode = msgspec.msgpack.Encoder().encode


class Digest:
    """Of one graph. Nothing is hashed until someone asks for it."""

    def __init__(self, graph: Graph, seed: str) -> None:
        self._graph = graph
        self._seed = seed.encode()
        self._key = secret()
        self._of: dict[str, int] | None = None
        self._total = 0

    @property
    def is_asked_for(self) -> bool:
        return self._of is not None

    def text(self) -> str:
        """32 hexadecimal digits."""
        if self._of is None:
            self._total = self._hash(self._seed)
            self._of = {}
            for node in self._graph.nodes.values():
                if not node.type.is_hidden:
                    self._of[node.key] = one = self._hash(_content(node))
                    self._total ^= one
        return f"{self._total:032x}"

    def restart(self) -> None:
        """The graph was filled anew."""
        self._of = None

    def update(self, change: Change) -> None:
        """Takes the change that the graph went through."""
        if self._of is None:
            return
        for node in change.removed:
            self._total ^= self._of.pop(node.key, 0)
        for node in change.fields.keys() | change.edges.keys():
            self._total ^= self._of.get(node.key, 0)
            self._of[node.key] = one = self._hash(_content(node))
            self._total ^= one

    def _hash(self, content: bytes) -> int:
        return int.from_bytes(blake2b(content, digest_size=BYTES, key=self._key).digest(), "big")


def secret() -> bytes:
    """The key of digests and cursors, from the project's SECRET_KEY."""
    return _derived(settings.SECRET_KEY)


@lru_cache
def _derived(key: str | bytes) -> bytes:
    data = key.encode() if isinstance(key, str) else key
    return blake2b(data, digest_size=32, person=b"rxgraphql cursor").digest()


def _content(node: Node) -> bytes:
    leads_to = [
        [child.key for child in node.child_nodes(edge)]
        for edge in node.type.edges
        if not edge.hidden
    ]
    return _encode((node.key, node.row.values, leads_to))
