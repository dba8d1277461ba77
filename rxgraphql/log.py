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
from urllib.parse import parse_qs, urlsplit

import msgspec
import redis
from django.conf import settings as django_settings
from redis.backoff import NoBackoff
from redis.retry import Retry

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
BREAKER_SECONDS: Final = (0.5, 1.0, 2.0, 5.0)

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

    def watch(self, label: str) -> str:
        return f"{self.prefix}:watch:{label}"

    def promise(self, label: str) -> str:
        return f"{self.prefix}:promise:{label}"


def namespace(url: str) -> str:
    """RX_NAMESPACE, or the project's package and the database number: pub/sub knows no database numbers."""
    if settings.RX_NAMESPACE:
        return str(settings.RX_NAMESPACE)
    package = (os.environ.get("DJANGO_SETTINGS_MODULE") or "django").rpartition(".settings")[0]
    package = package or getattr(django_settings, "ROOT_URLCONF", "django").split(".")[0]
    parts = urlsplit(url)
    database = parse_qs(parts.query).get("db", [""])[0]
    if not database and parts.scheme in ("redis", "rediss", "valkey", "valkeys"):
        database = parts.path.strip("/")
    return f"{package}:{database or '0'}"


def _script(name: str) -> str:
    folder = files("rxgraphql") / "lua"
    return (folder / "epoch.lua").read_text() + (folder / f"{name}.lua").read_text()


BEGIN: Final = _script("begin")
APPEND: Final = _script("append")
WATCH: Final = _script("watch")


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


class BreakerOpenError(LogUnavailableError):
    """Redis did not answer a moment ago, so it wasn't asked."""


class WriterLog:
    """The writers' side: synchronous, fails fast, never waits longer than WRITER_TIMEOUT, used by all threads."""

    def __init__(self, url: str) -> None:
        self.keys = Keys(namespace(url))
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=WRITER_TIMEOUT,
            socket_connect_timeout=WRITER_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        self._begin = self._client.register_script(BEGIN)
        self._append = self._client.register_script(APPEND)
        self._unwatched_until: dict[str, float] = {}
        self._closed_until = 0.0
        self._failures = 0
        self._lock = threading.Lock()

    def watched(self, labels: Iterable[str]) -> list[str]:
        """The labels for which no promise holds. Called after the commit: a commit within the promise was seen by
        whoever came to watch, since a hub waits for the promise to end before it notes and loads."""
        now = time.monotonic()
        return [label for label in labels if self._unwatched_until.get(label, 0.0) <= now]

    def begin(self, labels: Sequence[str]) -> Ticket | None:
        """A ticket, if any of the labels is watched. Raises LogUnavailableError."""
        asked = time.monotonic()
        keys = [self.keys.epoch, self.keys.counter, self.keys.sequence]
        keys += [self.keys.watch(label) for label in labels]
        keys += [self.keys.promise(label) for label in labels]
        arguments: list[Any] = [nonce(), PROMISE_MS]
        epoch, number, *flags = self._ask(lambda: self._begin(keys, arguments))
        for label, flag in zip(labels, flags, strict=True):
            if not flag:
                self._unwatched_until[label] = asked + PROMISE_RELIED
        if not number:
            return None
        watched = frozenset(label for label, flag in zip(labels, flags, strict=True) if flag)
        return Ticket(epoch.decode(), number, watched)

    def append(self, ticket: Ticket, entry: Entry) -> bool:
        """True when it is in the log, False when the epoch has changed: take a new ticket and read again.

        Raises LogUnavailableError.
        """
        keys = [self.keys.epoch, self.keys.counter, self.keys.sequence, self.keys.log]
        arguments = [
            nonce(),
            ticket.epoch,
            ticket.number,
            _encoder.encode(entry),
            settings.RX_LOG_LENGTH,
            self.keys.channel,
        ]
        done, _ = self._ask(lambda: self._append(keys, arguments))
        return bool(done)

    def new_epoch(self) -> None:
        """Ends the log's history: every hub reloads. Raises LogUnavailableError."""
        self._ask(lambda: self._client.delete(self.keys.epoch))

    def _ask(self, command: Callable[[], Any]) -> Any:
        if time.monotonic() < self._closed_until:
            raise BreakerOpenError("Redis did not answer a moment ago; it is asked again shortly.")
        try:
            reply = command()
        except FAILURES as error:
            self._unwatched_until.clear()
            with self._lock:
                now = time.monotonic()
                if now < self._closed_until:
                    # another thread, which waited at the same time, has counted it
                    raise BreakerOpenError(f"Redis can't be reached: {error}") from error
                pause = BREAKER_SECONDS[min(self._failures, len(BREAKER_SECONDS) - 1)]
                self._failures += 1
                self._closed_until = now + pause
            raise LogUnavailableError(f"Redis can't be reached: {error}") from error
        self._failures = 0
        return reply

    def close(self) -> None:
        self._client.close()
