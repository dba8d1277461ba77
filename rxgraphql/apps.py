"""The Django app: finds the channels and connects the capture in every kind of process."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RxGraphQLConfig(AppConfig):
    name = "rxgraphql"
    verbose_name = "rxgraphql"
    _last_plan: Any = None

    def ready(self) -> None:
        # Not above: they need the app registry, which is being filled when this module is imported
        from rxgraphql import checks
        from rxgraphql.capture import Capture
        from rxgraphql.channel import registry

        checks.register()
        registry.discover()
        Capture(registry.built).connect()
        post_migrate.connect(self._migrated, dispatch_uid="rxgraphql")

    def _migrated(self, using: str, plan: Any = None, **kwargs: Any) -> None:
        """Django calls this once for each app, all with the same plan, which is empty when nothing was to do."""
        from rxgraphql.cache import clear_after_migrate
        from rxgraphql.triggers import renew

        if plan and plan is not self._last_plan:
            self._last_plan = plan
            clear_after_migrate()
            renew(using)
