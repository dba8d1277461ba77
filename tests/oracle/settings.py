"""Settings of the oracle's processes. All that is particular to a run comes from its environment."""

from __future__ import annotations

import os

from tests.settings import database

SECRET_KEY = "oracle"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.oracle.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {"default": database(os.environ["DATABASE_URL"])}
DATABASES["default"]["OPTIONS"] = {
    # Of two writers that wait for each other one is to give up soon.
    "options": "-c lock_timeout=1s -c deadlock_timeout=100ms",
    "application_name": os.environ.get("RX_ORACLE_NAME", "conductor"),
}

REDIS_URL = os.environ["REDIS_URL"]
RX_NAMESPACE = os.environ["RX_NAMESPACE"]
# Small, so that a run of a minute gets to the ends of all of them.
RX_LOG_LENGTH = 300
RX_LINGER = 1.0
RX_MAX_PENDING = 8
# Off: what comes right only because it was compared with the database went wrong.
RX_RECONCILE = 0

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rest_framework",
    "rxgraphql",
    "tests.oracle",
]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
