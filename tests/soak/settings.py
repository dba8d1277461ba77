"""Settings of the soak's processes. All that is particular to a run comes from its environment."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403

INSTALLED_APPS = [
    app
    for app in INSTALLED_APPS  # noqa: F405
    if not app.startswith("tests.") or app == "tests.chat"
]
# The tests' apps have none, and one without can't refer to one with them.
MIGRATION_MODULES = {app.rpartition(".")[2]: None for app in INSTALLED_APPS}

RX_LINGER = float(os.environ.get("RX_SOAK_LINGER", "10"))
RX_CACHE_TTL = float(os.environ.get("RX_SOAK_CACHE_TTL", "60"))
RX_LOG_LENGTH = int(os.environ.get("RX_SOAK_LOG_LENGTH", "10000"))
# Off: what comes right only because it was compared with the database went wrong.
RX_RECONCILE = 0

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
