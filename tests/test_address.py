"""REDIS_URL: every kind of address is understood, and a bad one is told before anything is served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

import rxgraphql
from rxgraphql.address import MOST_COMMANDS, Address
from rxgraphql.errors import ConfigurationError
from rxgraphql.log import namespace


def options(url: str) -> dict[str, Any]:
    """Of a connection to the server that the address names."""
    with Address.parse(url).client(1.0) as client:
        found: dict[str, Any] = client.connection_pool.connection_kwargs
        return found


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host", {"host": "host", "db": 0}),
        ("redis://host:7000/3", {"host": "host", "port": 7000, "db": 3}),
        ("valkey://:pass@host/4", {"host": "host", "password": "pass", "db": 4}),
        ("valkeys://u:p%40ss@host", {"username": "u", "password": "p@ss", "host": "host"}),
        ("rediss://host/?ssl_ca_certs=/ca.pem", {"ssl_ca_certs": "/ca.pem"}),
        ("unix:///run/r.sock?db=2", {"path": "/run/r.sock", "db": 2}),
        ("unix://user:pw@/run/r.sock", {"path": "/run/r.sock", "username": "user"}),
        ("redis://[::1]:7000/1", {"host": "::1", "port": 7000, "db": 1}),
    ],
)
def test_addresses_of_one_server(url: str, expected: dict[str, Any]) -> None:
    """Host, credentials, database and options reach the connection; Valkey's schemes are Redis' own."""
    assert expected.items() <= options(url).items()


def test_a_sentinel_address() -> None:
    """Several hosts, the service's name, the database, and credentials of both kinds of server."""
    address = Address.parse(
        "rediss+sentinel://app:s%2Fcret@a:1,b,[::1]:3/my%20master/5"
        "?sentinel_username=watch&sentinel_password=o&ssl_ca_certs=/ca.pem"
    )
    assert address.database == 5
    with address.client(0.3) as client:
        pool: Any = client.connection_pool
        assert pool.service_name == "my master"
        server = pool.connection_kwargs
        assert (server["username"], server["password"], server["db"]) == ("app", "s/cret", 5)
        assert server["ssl_ca_certs"] == "/ca.pem"
        assert issubclass(pool.connection_class, redis.SSLConnection)
        sentinels = [s.connection_pool.connection_kwargs for s in pool.sentinel_manager.sentinels]
    assert [(s["host"], s["port"]) for s in sentinels] == [("a", 1), ("b", 26379), ("::1", 3)]
    for sentinel in sentinels:
        assert (sentinel["username"], sentinel["password"]) == ("watch", "o")
        assert sentinel["ssl_ca_certs"] == "/ca.pem"
        # those that are gone share the time that one server has
        assert sentinel["socket_timeout"] == pytest.approx(0.1)
        assert "db" not in sentinel or sentinel["db"] == 0


@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "unix"])
async def test_waits_are_ours_to_say(scheme: str) -> None:
    """An address that a cache shares can't make saves wait for longer, nor change bytes to text."""
    rest = {"redis": "host", "redis+sentinel": "host/service", "unix": "/r.sock"}[scheme]
    url = f"{scheme}://{rest}?socket_timeout=30&max_connections=1&decode_responses=true&timeout=20"
    found = options(url)
    assert found["socket_timeout"] == found["socket_connect_timeout"] == 1.0
    assert not found.get("decode_responses")
    client = Address.parse(url).async_client(2.0)
    listener = Address.parse(url).async_client(2.0, listens=True)
    assert client.connection_pool.connection_kwargs["socket_timeout"] == 2.0
    assert listener.connection_pool.connection_kwargs["socket_timeout"] is None
    assert listener.connection_pool.connection_kwargs["socket_connect_timeout"] == 2.0
    await client.aclose()
    await listener.aclose()


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("redis+sentinel://a,b/service", 0),
        ("redis+sentinel://a,b/service/7", 7),
        ("redis+sentinel://a,b/service?db=8", 8),
        ("valkey://host/9", 9),
    ],
)
def test_the_namespace_has_the_database(url: str, database: int, settings: Settings) -> None:
    """Whatever the address, two databases of one server are two logs."""
    settings.RX_NAMESPACE = None
    assert namespace(url) == f"tests:{database}"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("host:6379", "has no scheme"),
        ("http://:secret@host", "begins with http:"),
        ("redis://:secret@", "no host"),
        ("redis://:secret@host:port", "host or port"),
        ("redis://:secret@host:99999", "host or port"),
        ("redis://:secret@host/name", "database that is no number"),
        ("redis://:secret@host?unheard_of=1", "option that can't be used"),
        ("redis://:secret@host?socket_read_size=x", "option that can't be used"),
        ("redis://:secret@host?sentinel_password=secret", "options of Sentinels"),
        ("unix:run/r.sock", "has no scheme"),
        ("unix://run/r.sock", "no path"),
        ("redis+sentinel://:secret@a,b", "names no service"),
        ("redis+sentinel://:secret@a,,b/service", "without a host"),
        ("redis+sentinel://:secret@a:port/service", "host or port is none"),
        ("redis+sentinel://:secret@a/service/name", "database that is no number"),
    ],
)
def test_a_bad_address(url: str, message: str, settings: Settings) -> None:
    """It is an error of the check and keeps a server from starting, names the mistake and the fix, and no password."""
    settings.REDIS_URL = url
    (error,) = checks.run_checks(tags=["rxgraphql"])
    assert error.id == "rxgraphql.E010"
    assert message in error.msg
    assert error.hint
    assert "secret" not in error.msg + error.hint
    with pytest.raises((ConfigurationError, ImproperlyConfigured)) as raised:
        rxgraphql.asgi_application()
    assert message in str(raised.value)


def test_an_address_that_is_no_text(settings: Settings) -> None:
    """A list of hosts, as other libraries have it, is refused too."""
    settings.REDIS_URL = ["redis://host"]
    (error,) = checks.run_checks(tags=["rxgraphql"])
    assert "is list, not text" in error.msg


async def test_a_crowd_of_commands(redis_url: str) -> None:
    """More commands at one time than there are connections: they wait for each other, and none is refused, also when
    some of those that wait are cancelled."""
    client: Any = Address.parse(redis_url).async_client(2.0)
    try:
        tasks = [asyncio.create_task(client.echo(str(i))) for i in range(1000)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [one for i, one in enumerate(found) if i % 3] == [
            str(i).encode() for i in range(1000) if i % 3
        ]
        assert await client.echo("after") == b"after"
        assert len(client.connection_pool._available_connections) <= MOST_COMMANDS
    finally:
        await client.aclose()
