"""A cold process at an anchor that another one holds: its blob, beside a load of 10,000 nodes from the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rxgraphql.blob import Captured, Mark, capture, pack, unpack
from rxgraphql.channel import StateChannel, registry
from rxgraphql.replica import Replica
from rxgraphql.snapshot import load
from tests.bench.case import Case
from tests.bench.snapshot import filled, plain_channel
from tests.chat.channels import RoomChannel


def cases() -> Iterable[Case]:
    for name, make in (("plain", plain_channel), ("method fields, tags", lambda: RoomChannel)):
        warm = Warm(make)
        for part, function in (
            ("unpack and restore", warm.restored),
            ("capture", warm.capture),
            ("pack", warm.pack),
            ("unpack", warm.unpack),
        ):
            yield Case(
                f"state cache, {name}: {part}",
                function,
                warm.loaded,
                environment=warm.ready,
                rounds=5,
                every_database=True,
            )


class Warm:
    """What another process has put away, beside a load of the 10,000 nodes."""

    def __init__(self, make: Callable[[], type[StateChannel]]) -> None:
        self._make = make

    @contextmanager
    def ready(self) -> Iterator[None]:
        self._pk = str(filled())
        self._channel = self._make()
        if self._channel is not RoomChannel:
            registry.add(self._channel)
            # there is no other process that would have to find it
            registry.late.clear()
        try:
            assert registry.built.channels
            self._replica = self._load()
            self._captured, self._mark = self._take()
            self._blob = pack(self._captured, self._mark) or b""
            yield
        finally:
            if self._channel is not RoomChannel:
                registry.remove(self._channel)

    def _empty(self) -> Replica:
        return Replica(self._channel(), self._pk)

    def _load(self) -> Replica:
        replica = self._empty()
        assert replica.replace(load(replica.wish()), 0, 1)
        return replica

    def _take(self) -> tuple[Captured, Mark]:
        captured = capture(self._replica)
        assert captured is not None
        return captured, captured.mark("epoch", 1, 1, 1)

    def loaded(self) -> None:
        self._load()

    def capture(self) -> None:
        self._take()

    def pack(self) -> None:
        pack(self._captured, self._mark)

    def unpack(self) -> None:
        assert unpack(self._blob, self._replica)

    def restored(self) -> None:
        replica = self._empty()
        found = unpack(self._blob, replica)
        assert found is not None
        replica.restore(found[1])
        assert replica.root is not None
