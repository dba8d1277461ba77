"""`manage.py rxcache`, and the cache that `migrate` clears."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from django.core.management import CommandError, call_command
from pytest_django import Settings

from rxgraphql.cache import CacheAdmin
from rxgraphql.log import Keys
from tests.services import ROOT
from tests.test_cache import blob, put_by_hand


def rxcache(*arguments: str) -> str:
    out = io.StringIO()
    call_command("rxcache", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def states(redis_url: str, namespace: str) -> Keys:
    """Two rooms and a member."""
    keys = Keys(namespace)
    put_by_hand(redis_url, keys, [("room", "1"), ("room", "22"), ("member", "1")])
    return keys


def test_list(states: Keys) -> None:
    """One line for each state, by channel and key."""
    head, *lines = rxcache("list").splitlines()
    assert head.split() == ["channel", "key", "position", "bytes", "seconds", "left"]
    rows = [line.split() for line in lines]
    assert [row[:4] for row in rows] == [
        ["member", "1", "10", str(len(blob()))],
        ["room", "1", "10", str(len(blob()))],
        ["room", "22", "10", str(len(blob()))],
    ]
    assert all(50 <= int(row[4]) <= 60 for row in rows)


def test_list_of_another_version(states: Keys, redis_url: str) -> None:
    """A state of a format that this version doesn't know is listed too, and says so."""
    with redis.Redis.from_url(redis_url) as client:
        client.set(states.state("room", "3"), b"9 who knows", ex=60)
    assert "of another version" in rxcache("list", "Room", "3")


@pytest.mark.parametrize("name", ["room", "Room", "RoomChannel"])
def test_a_channel_by_any_of_its_names(states: Keys, name: str) -> None:
    """As it is called in GraphQL, in Python or in Redis."""
    assert len(rxcache("list", name).splitlines()) == 3
    assert len(rxcache("list", name, "22").splitlines()) == 2


def test_clear(states: Keys) -> None:
    """One state, a channel's, all; it says how many there were."""
    assert rxcache("clear", "Room", "22") == "Cleared 1 state.\n"
    assert rxcache("clear", "Room", "22") == "Cleared 0 states.\n"
    assert rxcache("clear") == "Cleared 2 states.\n"


def test_expire(states: Keys) -> None:
    """Only what was named."""
    assert rxcache("expire", "Room", "--seconds", "5") == "Expiring 2 states.\n"
    seconds = [int(line.split()[-1]) for line in rxcache("list").splitlines()[1:]]
    assert seconds[0] > 50
    assert all(4 <= left <= 5 for left in seconds[1:])


def test_unknown_channel(states: Keys) -> None:
    """The error names those that there are."""
    with pytest.raises(CommandError, match=r"no channel 'Rom'\. Channels are: .*Room"):
        rxcache("clear", "Rom")
    with pytest.raises(CommandError, match="name the channel"):
        rxcache("clear", "", "22")


@pytest.mark.parametrize(
    ("seconds", "message"), [("0", "rxcache clear"), ("-5", "between 0"), ("nan", "between 0")]
)
def test_bad_seconds(states: Keys, seconds: str, message: str) -> None:
    """A time that is none is refused, and nothing is changed."""
    with pytest.raises(CommandError, match=message):
        rxcache("expire", f"--seconds={seconds}")


def test_no_action() -> None:
    """Nothing is done without being told what."""
    with pytest.raises(CommandError, match="list"):
        rxcache()


def test_redis_is_away(settings: Settings, tmp_path: Path) -> None:
    """It says which setting to look at, and no password."""
    settings.REDIS_URL = f"unix://user:secret@{tmp_path}/none.sock"
    with pytest.raises(
        CommandError, match=r"at REDIS_URL can't be reached.*correct REDIS_URL"
    ) as at:
        rxcache("list")
    assert "secret" not in str(at.value)


def test_no_server_for_development(settings: Settings, tmp_path: Path) -> None:
    """Without REDIS_URL there is a cache only while the server for development runs, and the command starts none."""
    settings.REDIS_URL = None
    settings.BASE_DIR = tmp_path
    with pytest.raises(CommandError, match="isn't running"):
        rxcache("list")


# ------------------------------------------------------------------------------------------------ migrate


def migrate(tmp_path: Path, redis_url: str, *arguments: str) -> str:
    """In a process of its own, on a database of its own, with the migrations of Django's apps."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path}/default.sqlite3",
        "OTHER_DATABASE_URL": f"sqlite:///{tmp_path}/other.sqlite3",
        "REDIS_URL": redis_url,
        "RX_NAMESPACE": "migrating",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.manage", "migrate", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_migrations_clear_the_cache(tmp_path: Path, redis_url: str, settings: Settings) -> None:
    """What a migration writes no signal tells. Where there was nothing to migrate, the states stay."""
    settings.RX_NAMESPACE = "migrating"
    keys = Keys("migrating")
    with CacheAdmin(redis_url) as admin:
        put_by_hand(redis_url, keys, [("room", "1")])
        assert "Applying auth.0001_initial" in migrate(tmp_path, redis_url)
        assert admin.found() == []
        put_by_hand(redis_url, keys, [("room", "1")])
        assert "No migrations to apply" in migrate(tmp_path, redis_url)
        assert len(admin.found()) == 1
        migrate(tmp_path, redis_url, "auth", "0011")
        assert admin.found() == []


def test_migrating_without_redis(tmp_path: Path) -> None:
    """A server that is away fails no migration; it is said, once."""
    said = migrate(tmp_path, f"unix://{tmp_path}/none.sock")
    assert "Applying auth.0001_initial" in said
    assert said.count("The state cache was not cleared") == 1
