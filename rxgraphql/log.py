"""The state log in Redis: tickets, entries, leases. The only place where writers and hubs meet.

    writer: begin(labels) -> Ticket | None       after its commit, before it reads
            append(ticket, entry)                 sequence, stream and PUBLISH in one step
    hub:    watch(labels) -> Position             leases renewed, the counter noted
            read(frame) -> Entry                  what pub/sub delivered

Every key carries the namespace as a hash tag, so that all keys of a log live on one node of a cluster.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import msgspec
import redis
from django.conf import settings as django_settings

from rxgraphql.address import Address
from rxgraphql.conf import settings
from rxgraphql.errors import LogUnavailableError
from rxgraphql.rows import Row

FORMAT: Final = b"1"
# How long begin.lua promises that nobody watches, and how long a writer relies on it: less, for clocks that run apart.
PROMISE_MS: Final = 500
PROMISE_RELIED: Final = 0.45
LEASE_MS: Final = 15_000
# A writer waits this long for Redis at most, once; then the breaker opens.
WRITER_TIMEOUT: Final = 0.25
# Whose turn it is then: a thread of its own looks whether the server is back, and no save waits for it. Only where no
# such thread looks, one command in so many seconds does.
BREAKER_SECONDS: Final = 5.0

# Bytes of an entry: more wouldn't reach Redis within WRITER_TIMEOUT over a slow network, and all listeners get it.
MOST_BYTES: Final = 2 * 1024 * 1024

FAILURES = (redis.RedisError, OSError)


class Entry(msgspec.Struct, array_like=True):
    """What one commit left behind in one database, as read after its ticket."""

    layout: str
    # node type -> primary key -> the row, or None: it is gone
    rows: dict[str, dict[str, Row | None]]
    # link label -> (a, b, present)
    links: dict[str, list[tuple[str, str, bool]]] = {}
    # (link label, whether the key is of side a, key, all keys of the other side)
    link_sets: list[tuple[str, bool, str, list[str]]] = []
    # links of which nobody knows what they were before
    links_unknown: list[str] = []
    # node type -> keys of rows that were deleted and made anew: what pointed at the old row may not point at the
    # new one
    recreated: dict[str, list[str]] = {}
    # filled in from the frame
    sequence: int = 0
    epoch: str = ""
    ticket: int = 0
    end: int = 0
    # labels of which rows changed that nobody can name; last, where versions that don't know it never look
    unknown: list[str] = []
    # all labels that it tells of: what a version with another layout can read of it
    labels: list[str] = []


@dataclass(frozen=True, slots=True)
class Ticket:
    epoch: str
    number: int
    watched: frozenset[str]


@dataclass(frozen=True, slots=True)
class Position:
    """Where the log stands: `counter` is the last ticket, `sequence` the last entry, `promised` in seconds."""

    epoch: str
    counter: int
    sequence: int
    promised: float
    generations: dict[str, int]


class Keys:
    """The names of one log in Redis."""

    def __init__(self, namespace: str) -> None:
        self.prefix = f"rx:{{{namespace}}}"
        self.epoch = f"{self.prefix}:epoch"
        self.counter = f"{self.prefix}:counter"
        self.sequence = f"{self.prefix}:sequence"
        self.log = f"{self.prefix}:log"
        self.channel = f"{self.prefix}:log"
        self.states = f"{self.prefix}:state"

    def watch(self, label: str) -> str:
        return f"{self.prefix}:watch:{label}"

    def promise(self, label: str) -> str:
        return f"{self.prefix}:promise:{label}"

    def state(self, channel: str, pk: str) -> str:
        """Of the state cache; `channel` is a channel's field name."""
        return f"{self.states}:{channel}:{pk}"

    def state_lease(self, channel: str, pk: str) -> str:
        return f"{self.prefix}:state-lease:{channel}:{pk}"


def namespace(url: str) -> str:
    """RX_NAMESPACE, or the project's package and the database number: pub/sub knows no database numbers."""
    if settings.RX_NAMESPACE:
        return str(settings.RX_NAMESPACE)
    package = (os.environ.get("DJANGO_SETTINGS_MODULE") or "django").rpartition(".settings")[0]
    package = package or getattr(django_settings, "ROOT_URLCONF", "django").split(".")[0]
    return f"{package}:{Address.parse(url).database}"


def _script(name: str) -> str:
    folder = files("rxgraphql") / "lua"
    return (folder / "epoch.lua").read_text() + (folder / f"{name}.lua").read_text()


BEGIN: Final = _script("begin")
APPEND: Final = _script("append")
WATCH: Final = _script("watch")
LOOK: Final = _script("look")


def nonce() -> str:
    """A new one for each call: an epoch that a process began twice must not look like one."""
    return secrets.token_hex(8)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def read(frame: bytes) -> Entry | None:
    """The entry of a frame; None if it is of another format, which must be reloaded and never guessed."""
    head, _, body = frame.partition(b"\n")
    format_, *rest = head.split(b" ")
    if format_ != FORMAT:
        return None
    sequence, epoch, ticket, end = rest
    try:
        entry = _decoder.decode(body)
    except msgspec.DecodeError:
        return None
    entry.sequence, entry.epoch = int(sequence), epoch.decode()
    entry.ticket, entry.end = int(ticket), int(end)
    return entry


def head(frame: bytes) -> tuple[int, str]:
    """(sequence, epoch) of a frame of any format."""
    _, sequence, epoch, *_ = frame.partition(b"\n")[0].split(b" ")
    return int(sequence), epoch.decode()


class EntryTooLargeError(Exception):
    """The entry has more than MOST_BYTES."""


class BreakerOpenError(LogUnavailableError):
    """Redis did not answer a moment ago, so it wasn't asked."""


class WriterLog:
    """The writers' side: synchronous, fails fast, never waits longer than WRITER_TIMEOUT, used by all threads.

    `on_epoch` is called with the epoch of each ticket and look, before they are given.
    """

    def __init__(self, url: str) -> None:
        self.keys = Keys(namespace(url))
        self.on_epoch: Callable[[str], None] = lambda epoch: None
        self._client = Address.parse(url).client(WRITER_TIMEOUT)
        self._begin = self._client.register_script(BEGIN)
        self._append = self._client.register_script(APPEND)
        self._look = self._client.register_script(LOOK)
        self._unwatched_until: dict[str, float] = {}
        # the same, of promises that ended by a failure
        self._relied_until: dict[str, float] = {}
        self._closed_until = 0.0
        self._failures = 0
        self._lock = threading.Lock()

    def is_away(self, asked: bool = False) -> bool:
        """Whether the server did not answer a moment ago, or, if a thread asks it, has not answered since."""
        return bool(self._failures) and (asked or time.monotonic() < self._closed_until)

    def watched(self, labels: Iterable[str]) -> list[str]:
        """The labels for which no promise holds. Called after the commit: a commit within the promise was seen by
        whoever came to watch, since a hub waits for the promise to end before it notes and loads."""
        now = time.monotonic()
        return [label for label in labels if self._unwatched_until.get(label, 0.0) <= now]

    def relied_on(self, seconds: float) -> set[str]:
        """The labels for which a promise held within the last `seconds`."""
        since = time.monotonic() - seconds
        with self._lock:
            promises = [*self._relied_until.items(), *self._unwatched_until.items()]
        return {label for label, until in promises if until > since}

    def begin(self, labels: Sequence[str]) -> Ticket | None:
        """A ticket, if any of the labels is watched. Raises LogUnavailableError."""
        asked = time.monotonic()
        keys = [self.keys.epoch, self.keys.counter, self.keys.sequence]
        keys += [self.keys.watch(label) for label in labels]
        keys += [self.keys.promise(label) for label in labels]
        arguments: list[Any] = [nonce(), PROMISE_MS]
        reply, number, *flags = self._ask(lambda: self._begin(keys, arguments))
        epoch = reply.decode()
        self.on_epoch(epoch)
        with self._lock:
            for label, flag in zip(labels, flags, strict=True):
                if not flag:
                    self._unwatched_until[label] = asked + PROMISE_RELIED
        if not number:
            return None
        watched = frozenset(label for label, flag in zip(labels, flags, strict=True) if flag)
        return Ticket(epoch, number, watched)

    def append(self, ticket: Ticket, entry: Entry) -> bool:
        """True when it is in the log, False when the epoch has changed: take a new ticket and read again.

        Raises LogUnavailableError, and EntryTooLargeError before anything is sent.
        """
        body = _encoder.encode(entry)
        if len(body) > MOST_BYTES:
            raise EntryTooLargeError
        keys = [self.keys.epoch, self.keys.counter, self.keys.sequence, self.keys.log]
        arguments = [
            nonce(),
            ticket.epoch,
            ticket.number,
            body,
            settings.RX_LOG_LENGTH,
            self.keys.channel,
        ]
        done, _ = self._ask(lambda: self._append(keys, arguments))
        return bool(done)

    def forget(self, labels: Iterable[str]) -> None:
        """Ends the leases of labels of which nobody knows what changed. Called after the commit. Every hub then meets
        a new generation and loads anew what depends on them. Raises LogUnavailableError.

        None can miss it, also one that is loading: it notes the generations before it reads and after. Lease ended
        before the first note: it reads after the commit. Between the notes: the second meets another generation than
        the first, and it loads again. After the second: the next renewal does, two seconds later at most.
        What other writers skip until then, because no lease is there, was committed before that hub's next load, which
        waits for their promises to end.
        """
        keys = [self.keys.watch(label) for label in labels]
        if keys:
            self._ask(lambda: self._client.delete(*keys))

    def new_epoch(self) -> None:
        """Ends the log's history: every hub reloads. Raises LogUnavailableError."""
        self._ask(lambda: self._client.delete(self.keys.epoch))

    def look(self) -> str:
        """The epoch. It is asked for even if the server was gone a moment ago; once it answers, all ask it again.
        Raises LogUnavailableError."""
        keys = [self.keys.epoch, self.keys.counter, self.keys.sequence]
        epoch: str = self._try(lambda: self._look(keys, [nonce()])).decode()
        self.on_epoch(epoch)
        return epoch

    def _ask(self, command: Callable[[], Any]) -> Any:
        if self._failures:
            with self._lock:
                now = time.monotonic()
                if self._failures and now < self._closed_until:
                    raise BreakerOpenError("Redis did not answer a moment ago.")
                # the others don't wait for what this one finds
                self._closed_until = now + BREAKER_SECONDS
        return self._try(command)

    def _try(self, command: Callable[[], Any]) -> Any:
        try:
            reply = command()
        except FAILURES as error:
            raise self._failed(error) from error
        self._failures = 0
        return reply

    def _failed(self, error: Exception) -> LogUnavailableError:
        if isinstance(error, redis.ReadOnlyError) or "READONLY" in str(error):
            # A master that has become a replica: whoever connects anew finds the master that is one now
            self._client.connection_pool.disconnect(inuse_connections=False)
        with self._lock:
            self._relied_until = {**self._relied_until, **self._unwatched_until}
            self._unwatched_until.clear()
            now = time.monotonic()
            known = self._failures > 0
            self._failures += 1
            self._closed_until = now + BREAKER_SECONDS
        message = f"Redis can't be reached: {error}"
        # Told once: threads that waited at the same time, and further attempts, have nothing new to say
        return BreakerOpenError(message) if known else LogUnavailableError(message)

    def close(self) -> None:
        self._client.close()
