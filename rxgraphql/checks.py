"""What `manage.py check` says about rxgraphql: every fault of every channel, and settings with which it can't serve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.core import checks

from rxgraphql.address import Address
from rxgraphql.channel import registry
from rxgraphql.conf import DEFAULTS, NUMBERS, cache_ttl_problem, settings
from rxgraphql.errors import ConfigurationError, Fault

__all__ = ["register", "settings_faults"]

TAG = "rxgraphql"


def register() -> None:
    checks.register(check_channels, TAG)
    checks.register(check_settings, TAG)


def check_channels(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    registry.discover()
    return [
        checks.Error(f"{fault.location}: {fault.message}", hint=fault.fix, id=fault.id)
        for fault in registry.faults()
    ]


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    return [
        checks.Error(f"{fault.location}: {fault.message}", hint=fault.fix, id=fault.id)
        for fault in (*settings_faults(), *_command_faults())
    ] + list(_warnings())


def settings_faults() -> Iterable[Fault]:
    """Settings with which no server may start."""
    if not settings.REDIS_URL and not django_settings.DEBUG:
        yield Fault(
            "REDIS_URL",
            "is not set. Only with DEBUG is a server started by itself: two machines with a log each would diverge.",
            'Set REDIS_URL = "redis://host:6379/0".',
            "rxgraphql.E010",
        )
    if settings.REDIS_URL:
        try:
            Address.parse(settings.REDIS_URL)
        except ConfigurationError as error:
            yield from error.faults
    path = settings.RX_GRAPHQL_PATH
    if not isinstance(path, str) or not path.startswith("/"):
        yield Fault(
            "RX_GRAPHQL_PATH",
            f"is {path!r}, which is not a path.",
            'Begin it with a slash: "/graphql/".',
            "rxgraphql.E011",
        )
    if problem := cache_ttl_problem(settings.RX_CACHE_TTL):
        yield Fault(
            "RX_CACHE_TTL",
            problem,
            "Set RX_CACHE_TTL = 60; 0 for no cache.",
            "rxgraphql.E015",
        )
    for name, number in NUMBERS.items():
        if problem := number.problem(getattr(settings, name)):
            yield Fault(
                name,
                problem,
                f"Leave it out, or set {name} = {DEFAULTS[name]!r}, the default.",
                "rxgraphql.E016",
            )
    if problem := _origins_problem(settings.RX_ALLOWED_ORIGINS):
        yield Fault(
            "RX_ALLOWED_ORIGINS",
            problem,
            'List origins without a path: ["https://app.example.com", "http://localhost:5173"].',
            "rxgraphql.E012",
        )


def _command_faults() -> Iterable[Fault]:
    if _runserver_is_djangos():
        yield Fault(
            "INSTALLED_APPS",
            "has django.contrib.staticfiles before rxgraphql, so runserver would be Django's own, without WebSockets.",
            "Move rxgraphql before django.contrib.staticfiles.",
            "rxgraphql.E013",
        )


def _warnings() -> Iterable[checks.CheckMessage]:
    if not getattr(django_settings, "ASGI_APPLICATION", None):
        yield checks.Warning(
            "ASGI_APPLICATION is not set: runserver serves rxgraphql.asgi_application(), not your project's asgi.py.",
            hint='Set ASGI_APPLICATION = "project.asgi.application".',
            id="rxgraphql.W014",
        )


def _origins_problem(origins: Any) -> str | None:
    if not origins:
        return None
    # Here, since Strawberry takes a while to import and a process that only writes needs none of it.
    from strawberry.http.websocket_origin import normalize_allowed_origins

    if not isinstance(origins, list | tuple | set | frozenset):
        return f"is {origins!r}, which is not a list."
    if "*" in origins:
        return "has '*': any page could act with the cookies of your users."
    try:
        normalize_allowed_origins(origins)
    except (AttributeError, TypeError, ValueError) as error:
        return f"is not a list of origins: {error}"
    return None


def _runserver_is_djangos() -> bool:
    """Of two apps with a command of one name, the one that is installed first wins."""
    names = [config.name for config in apps.get_app_configs()]
    return "django.contrib.staticfiles" in names and names.index(
        "django.contrib.staticfiles"
    ) < names.index("rxgraphql")
