"""A hub's lease and ears without the hub: what writers append to the log, and what they ask of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from django.conf import settings as django_settings
from django.db import models

from rxgraphql.channel import registry
from rxgraphql.log import LEASE_MS, WATCH, Entry, Keys, namespace, read
from rxgraphql.relations import label_of
from rxgraphql.rows import Row


def every_label() -> list[str]:
    return sorted({label for channel in registry.channels() for label in channel.tree.labels})


class Listener:
    """Watches all that channels read, from the start or when told to."""

    def __init__(self, url: str | None = None) -> None:
        self.url = url or django_settings.REDIS_URL
        self.keys = Keys(namespace(self.url))
        self.client = redis.Redis.from_url(self.url)
        self._watch: Any = self.client.register_script(WATCH)
        self._seen = 0

    def watch(self, *labels: str) -> list[Any]:
        """Sets or renews the leases of these labels, or of all; gives what the script gives."""
        chosen = list(labels) or every_label()
        keys = [self.keys.epoch, self.keys.counter, self.keys.sequence]
        keys += [self.keys.watch(label) for label in chosen]
        keys += [self.keys.promise(label) for label in chosen]
        reply: list[Any] = self._watch(keys, ["nonce", LEASE_MS])
        return reply

    def subscribe(self) -> Any:
        """The log's pub/sub channel, from now on."""
        pubsub: Any = self.client.pubsub()  # type: ignore[no-untyped-call]
        pubsub.subscribe(self.keys.channel)
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
        return pubsub

    def frames(self) -> list[bytes]:
        stream: Any = self.client.xrange(self.keys.log)
        return [fields[b"f"] for _, fields in stream]

    def entries(self) -> list[Entry]:
        """What was appended since the last look."""
        entries = [entry for frame in self.frames() if (entry := read(frame)) is not None]
        new, self._seen = entries[self._seen :], len(entries)
        return new

    def entry(self) -> Entry:
        """The one entry that was appended since the last look."""
        (entry,) = self.entries()
        return entry

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """The commands that others sent meanwhile, those inside of scripts left out."""
        commands: list[str] = []
        self.client.config_resetstat()
        yield commands
        # ours come last: the connection is there already
        for name, stats in self.client.info("commandstats").items():
            command = name.removeprefix("cmdstat_")
            if command in ("evalsha", "eval", "script|load"):
                commands += [command] * stats["calls"]

    def close(self) -> None:
        self.client.close()


def rows(entry: Entry, model: type[models.Model]) -> dict[str, Row | None]:
    """The rows of a model in an entry, by key; each as the node types of the model have it, in no order."""
    found: dict[str, Row | None] = {}
    for name, by_key in entry.rows.items():
        if registry.node_types()[name].label == label_of(model):
            found |= by_key
    return found


def keys(entry: Entry) -> set[str]:
    """`label:key` of all rows, and a `-` before those that are gone."""
    types = registry.node_types()
    return {
        f"{'-' if row is None else ''}{types[name].label}:{pk}"
        for name, by_key in entry.rows.items()
        for pk, row in by_key.items()
    }


def links(entry: Entry) -> set[tuple[str, str, str, bool]]:
    return {(label, *pair) for label, pairs in entry.links.items() for pair in pairs}


def values(entry: Entry, type_name: str, pk: Any) -> dict[str, Any]:
    """A row's values by the names of its fields."""
    row = entry.rows[type_name][str(pk)]
    assert row is not None
    assert row.values is not None
    fields = registry.node_types()[type_name].fields
    return {field.name: value for field, value in zip(fields, row.values, strict=True)}
