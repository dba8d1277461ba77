"""What `manage.py check` finds."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core import checks

from rxgraphql.channel import StateChannel
from rxgraphql.conf import DEFAULTS, NUMBERS
from tests.chat.channels import RoomChannel
from tests.schemas import own_channels


def found() -> dict[str | None, checks.CheckMessage]:
    return {message.id: message for message in checks.run_checks(tags=["rxgraphql"])}


def test_nothing() -> None:
    """A sound project has nothing to be told."""
    assert found() == {}


def test_faulty_channel() -> None:
    """Each fault of a channel is an error that names the channel and the fix."""

    with own_channels():

        class OpenChannel(StateChannel):
            class Meta(RoomChannel.Meta):
                graphql_name = "Open"

        (error,) = found().values()
    assert error.level == checks.ERROR
    assert "OpenChannel" in error.msg
    assert "has_permission" in str(error.hint)


def test_redis_url(settings: Any) -> None:
    """Without REDIS_URL, only DEBUG can serve."""
    settings.REDIS_URL = None
    assert "REDIS_URL" in found()["rxgraphql.E010"].msg
    settings.DEBUG = True
    assert found() == {}


@pytest.mark.parametrize("url", ["memcached://:secret@host:6379/0", "host:6379", "http://host"])
def test_redis_url_of_another_kind(settings: Any, url: str) -> None:
    """An address that the Redis client doesn't know is said before it serves, and never with its password."""
    settings.REDIS_URL = url
    error = found()["rxgraphql.E010"]
    assert "redis://, rediss:// or unix://" in str(error.hint)
    assert "secret" not in error.msg


@pytest.mark.parametrize("path", ["graphql/", "", None, 5])
def test_path(settings: Any, path: Any) -> None:
    """RX_GRAPHQL_PATH begins with a slash."""
    settings.RX_GRAPHQL_PATH = path
    assert list(found()) == ["rxgraphql.E011"]


@pytest.mark.parametrize(
    "origins", ["http://a.example", ["*"], ["a.example"], ["http://a.example/path"], [5], 5]
)
def test_origins(settings: Any, origins: Any) -> None:
    """RX_ALLOWED_ORIGINS is a list of origins, and never everyone."""
    settings.RX_ALLOWED_ORIGINS = origins
    assert list(found()) == ["rxgraphql.E012"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, None, "many", True, float("nan"), float("inf")])
def test_numbers(settings: Any, name: str, value: Any) -> None:
    """What isn't a number, or can't be one of these, is said with the setting's name and a number that can."""
    setattr(settings, name, value)
    ((code, error),) = found().items()
    assert code == "rxgraphql.E016"
    assert error.msg.startswith(f"{name}: is {value!r}")
    assert f"{name} = {DEFAULTS[name]}" in str(error.hint)


def test_numbers_of_all_settings() -> None:
    """Each setting whose default is a number is checked."""
    numbers = {name for name, value in DEFAULTS.items() if isinstance(value, int | float)}
    assert numbers == {*NUMBERS, "RX_CACHE_TTL"}


def test_order_of_apps(settings: Any) -> None:
    """After staticfiles, rxgraphql would silently not have its runserver."""
    apps = [app for app in django_settings.INSTALLED_APPS if "staticfiles" not in app]
    settings.INSTALLED_APPS = ["django.contrib.staticfiles", *apps]
    assert list(found()) == ["rxgraphql.E013"]
    settings.INSTALLED_APPS = apps
    assert found() == {}


def test_asgi_application(settings: Any) -> None:
    """Without ASGI_APPLICATION, runserver can't know the project's own application."""
    settings.ASGI_APPLICATION = None
    warning = found()["rxgraphql.W014"]
    assert warning.level == checks.WARNING
