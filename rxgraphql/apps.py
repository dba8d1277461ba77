"""The Django app: finds the channels and connects the capture in every kind of process."""

from __future__ import annotations

from django.apps import AppConfig


class RxGraphQLConfig(AppConfig):
    name = "rxgraphql"
    verbose_name = "rxgraphql"

    def ready(self) -> None:
        # Not above: they need the app registry, which is being filled when this module is imported
        from rxgraphql import checks
        from rxgraphql.capture import Capture
        from rxgraphql.channel import registry

        checks.register()
        registry.discover()
        Capture(registry.built).connect()
