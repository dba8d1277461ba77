"""REDIS_URL: what it may be, and the clients of the server that it names.

    redis://[user:password@]host[:port][/database]
    rediss://...                                        the same with TLS; valkey:// and valkeys:// are taken as these
    unix:///path/to.sock[?db=database]
    redis+sentinel://[user:password@]host[:port],host[:port]/service[/database]
    rediss+sentinel://...                               TLS to the Sentinels too

Options of redis-py's connections may follow as a query (`?ssl_ca_certs=/path`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from rxgraphql.errors import ConfigurationError, Fault

__all__ = ["Address"]

SENTINEL_PORT: Final = 26379
SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
    "redis+sentinel": "redis",
    "rediss+sentinel": "rediss",
}
# An address is often shared with a cache or a task queue. These are ours to say: how long a save may wait, and bytes
OURS: Final = {
    "decode_responses",
    "encoding",
    "encoding_errors",
    "health_check_interval",
    "max_connections",
    "retry_on_error",
    "retry_on_timeout",
    "socket_connect_timeout",
    "socket_timeout",
    "timeout",
}
# Commands that an event loop's client sends at one time, each on a connection of its own; the others wait
MOST_COMMANDS: Final = 32
# How long one waits for that at most, in units of how long a command may take: for a thousand cold replicas on a busy
# machine, and not without an end where Redis stands still
MOST_TURNS: Final = 15


class _Pool(redis.sentinel.SentinelConnectionPool):
    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        if inuse_connections:
            # the client is closed, and its Sentinels are known to nobody else
            self.sentinel_manager.close()


class _AsyncPool(redis.asyncio.sentinel.SentinelConnectionPool):
    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()


class _AsyncClient(redis.asyncio.Redis):
    """Lets commands wait for their turn. redis-py refuses those for which its pool has no connection, and a crowd of
    subscribers would be told that Redis is away."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turns = asyncio.Semaphore(MOST_COMMANDS)
        timeout = self.connection_pool.connection_kwargs["socket_timeout"]
        self._patience = None if timeout is None else timeout * MOST_TURNS

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async with asyncio.timeout(self._patience):
            await self._turns.acquire()
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        finally:
            self._turns.release()


@dataclass(frozen=True)
class Address:
    """Where the log is. `database` is the number of the server's database."""

    database: int
    # as redis-py understands it; of a Sentinel address only the scheme, the database and the options mean something
    _url: str = field(repr=False)
    _sentinels: tuple[tuple[str, int], ...] = ()
    _service: str = ""
    # user and password, of the server and of the Sentinels
    _credentials: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    _sentinel_credentials: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @staticmethod
    def parse(url: str) -> Address:
        """Raises ConfigurationError, which never repeats the address: it may have a password in it."""
        if not isinstance(url, str):
            raise _fault(f"is {type(url).__name__}, not text.", 'Write "redis://host:6379/0".')
        return _parsed(url)

    def client(self, timeout: float) -> redis.Redis:
        """A client that tries once and waits for `timeout` seconds, and as long again for all Sentinels together."""
        options: dict[str, Any] = {
            "socket_connect_timeout": timeout,
            "socket_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
        }
        if not self._sentinels:
            return redis.Redis.from_url(self._url, **options)
        sentinel: Any = redis.sentinel.Sentinel(  # type: ignore[no-untyped-call]
            self._sentinels, sentinel_kwargs=self._for_sentinels(timeout, options), **options
        )
        found: redis.Redis = sentinel.master_for(
            self._service, connection_pool_class=_Pool, **self._for_server()
        )
        return found

    def async_client(self, timeout: float, *, listens: bool = False) -> redis.asyncio.Redis:
        """The same for an event loop. One that `listens` waits for answers without an end."""
        options: dict[str, Any] = {
            "socket_connect_timeout": timeout,
            "socket_timeout": None if listens else timeout,
            # Not asyncio's own: that one would subscribe again by itself, and entries would be missed unseen
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
        }
        if listens and not self._url.startswith("unix:"):
            options["socket_keepalive"] = True
        if not self._sentinels:
            return _AsyncClient.from_url(self._url, **options)
        sentinel: Any = redis.asyncio.sentinel.Sentinel(  # type: ignore[no-untyped-call]
            self._sentinels,
            sentinel_kwargs=self._for_sentinels(timeout, options),
            **options,
        )
        found: redis.asyncio.Redis = sentinel.master_for(
            self._service, _AsyncClient, connection_pool_class=_AsyncPool, **self._for_server()
        )
        return found

    def _for_server(self) -> dict[str, Any]:
        options: dict[str, Any] = parse_url(self._url)  # type: ignore[no-untyped-call]
        del options["host"]
        if options.pop("connection_class", None) is not None:
            options["ssl"] = True
        return {**options, **dict(self._credentials)}

    def _for_sentinels(self, timeout: float, options: dict[str, Any]) -> dict[str, Any]:
        # One after the other is asked: those that are gone share the time
        share = timeout / len(self._sentinels)
        tls = {name: v for name, v in self._for_server().items() if name.startswith("ssl")}
        return {
            **tls,
            **options,
            "socket_connect_timeout": share,
            "socket_timeout": share,
            **dict(self._sentinel_credentials),
        }


def _fault(message: str, fix: str) -> ConfigurationError:
    return ConfigurationError([Fault("REDIS_URL", message, fix, "rxgraphql.E010")])


@lru_cache(maxsize=64)
def _parsed(url: str) -> Address:
    address = _parse(url)
    try:
        # Constructed and not connected: an option that no connection knows is found here
        with address.client(1.0) as client:
            client.connection_pool.make_connection()
    except (TypeError, ValueError, redis.RedisError) as error:
        raise _fault(
            f"has an option that can't be used: {error}",
            "Correct or leave out what follows the question mark.",
        ) from error
    return address


def _parse(url: str) -> Address:
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme not in SCHEMES:
        raise _fault(
            f"begins with {scheme}:, which is not known."
            if separator
            else "has no scheme in front of the host.",
            "Write redis://, rediss:// or unix://, for a Valkey server too, or redis+sentinel://.",
        )
    rest, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in OURS & options.keys():
        del options[name]
    if scheme.endswith("+sentinel"):
        return _sentinel(scheme, rest, options)
    if options.keys() & {"sentinel_username", "sentinel_password"}:
        raise _fault("has options of Sentinels.", "Begin it with redis+sentinel://.")
    if scheme == "unix" and not rest.rpartition("@")[2].startswith("/"):
        raise _fault("has no path of a socket.", "Write unix:///path/to.sock, with three slashes.")
    path = "" if scheme == "unix" else rest.partition("/")[2]
    database = _database(options.pop("db", "") or path)
    options["db"] = str(database)
    if scheme != "unix":
        rest = rest.partition("/")[0]
        try:
            parts = urlsplit(f"//{rest}")
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise _fault(
                "has a host or port that is none.", "Write redis://host:6379/0."
            ) from error
        if not host:
            raise _fault("has no host.", "Write redis://host:6379/0.")
    return Address(database, f"{SCHEMES[scheme]}://{rest}?{urlencode(options)}")


def _sentinel(scheme: str, rest: str, options: dict[str, str]) -> Address:
    fix = f"Write {scheme}://host:26379,host:26379,host:26379/service/0."
    place, _, path = rest.partition("/")
    login, _, hosts = place.rpartition("@")
    service, _, number = path.partition("/")
    if not service:
        raise _fault("names no service, the name that the Sentinels have for the master.", fix)
    database = _database(options.pop("db", "") or number)
    sentinels = tuple(_host(part, fix) for part in hosts.split(","))
    username, _, password = login.partition(":")
    of_sentinels = {
        name: options.pop(f"sentinel_{name}")
        for name in ("username", "password")
        if f"sentinel_{name}" in options
    }
    options["db"] = str(database)
    return Address(
        database,
        f"{SCHEMES[scheme]}://{unquote(service)}?{urlencode(options)}",
        sentinels,
        unquote(service),
        tuple(
            (name, unquote(value))
            for name, value in (("username", username), ("password", password))
            if value
        ),
        tuple(of_sentinels.items()),
    )


def _host(text: str, fix: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _fault("has a Sentinel whose host or port is none.", fix) from error
    if not host:
        raise _fault("has a Sentinel without a host.", fix)
    return host, port or SENTINEL_PORT


def _database(text: str) -> int:
    text = text.strip("/")
    if text and not text.isdecimal():
        raise _fault("has a database that is no number.", "End it with a slash and a number: /0.")
    return int(text or 0)
