"""Change set -> entry: what a commit touched, read again after its ticket."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db import router

from rxgraphql.changeset import ChangeSet
from rxgraphql.channel import Built
from rxgraphql.log import Entry, Ticket
from rxgraphql.relations import Link
from rxgraphql.rows import Row, project_locale
from rxgraphql.snapshot import other_ends, pairs_present, rows_by_key
from rxgraphql.tree import NodeType


class Entries:
    """The entries of one compilation of the channels: which labels they tell of, and what of each."""

    def __init__(self, built: Built) -> None:
        self.layout = built.layout
        self.types: dict[str, list[NodeType]] = defaultdict(list)
        self.links: dict[str, Link] = {}
        for channel in built.channels:
            for node_type in channel.tree.all_types:
                if node_type not in self.types[node_type.label]:
                    self.types[node_type.label].append(node_type)
            for edge in channel.tree.edges():
                if edge.link is not None:
                    self.links[edge.link.label] = edge.link

    def labels(self, using: str, among: Iterable[str]) -> list[str]:
        """Those whose rows channels read, and from this database."""
        return sorted([label for label in among if self.database(label) == using])

    def database(self, label: str) -> str | None:
        """Where the label's rows are written, and so read; None if no channel reads them."""
        if label in self.links:
            model: Any = self.links[label].through
        elif label in self.types:
            model = self.types[label][0].model
        else:
            return None
        return router.db_for_write(model)

    def read(self, using: str, changes: ChangeSet, ticket: Ticket) -> Entry:
        """What of the changes is watched, as the database has it now. Raises the database's errors."""
        rows: dict[str, dict[str, Row | None]] = {}
        with project_locale():
            for label in changes.rows.keys() & ticket.watched:
                for node_type in self.types.get(label, ()):
                    rows[node_type.name] = rows_by_key(node_type, changes.rows[label], using)
        links = {
            label: self._links(label, changes.links[label], using)
            for label in changes.links.keys() & ticket.watched
            if label in self.links
        }
        return Entry(
            self.layout,
            rows,
            links,
            self._link_sets(changes.link_ends, ticket, using),
            sorted(changes.links_unknown & ticket.watched),
            self._recreated(changes, rows),
            unknown=sorted(changes.unknown & ticket.watched),
            labels=sorted(changes.labels() & ticket.watched),
        )

    def _recreated(
        self, changes: ChangeSet, rows: dict[str, dict[str, Row | None]]
    ) -> dict[str, list[str]]:
        found = {
            node_type.name: [
                key
                for key in sorted(str(node_type.to_python(pk)) for pk in pks)
                if rows.get(node_type.name, {}).get(key)
            ]
            for label, pks in changes.deleted.items()
            for node_type in self.types.get(label, ())
        }
        return {name: pks for name, pks in found.items() if pks}

    def _links(
        self, label: str, pairs: Iterable[tuple[str, str]], using: str
    ) -> list[tuple[str, str, bool]]:
        present = pairs_present(self.links[label], sorted(pairs), using)
        return [(a, b, is_present) for (a, b), is_present in present.items()]

    def _link_sets(
        self, ends: Iterable[tuple[str, bool, str]], ticket: Ticket, using: str
    ) -> list[tuple[str, bool, str, list[str]]]:
        grouped: dict[tuple[str, bool], list[str]] = defaultdict(list)
        for label, is_a, pk in sorted(ends):
            if label in ticket.watched and label in self.links:
                grouped[label, is_a].append(pk)
        return [
            (label, is_a, pk, others)
            for (label, is_a), pks in grouped.items()
            for pk, others in other_ends(self.links[label], is_a, pks, using).items()
        ]
