"""Settings of the tests, for the test run itself and for the servers and commands that it starts.

Environment: `RX_TEST_DATABASE=postgres` runs the suite on PostgreSQL, started for it; `DATABASE_URL` on a
given database. Without either: SQLite files.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent


def run_directory() -> Path:
    """The folder of this test run's files and sockets, shared with its child processes.

    conftest.py makes and removes it.
    """
    name = os.environ.setdefault("RX_TEST_DIR", f"/tmp/rx-test-{secrets.token_hex(6)}")
    # pytest-xdist: several processes share one run, each with servers and databases of its own
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and not name.endswith(f"-{worker}"):
        name = os.environ["RX_TEST_DIR"] = f"{name}-{worker}"
    return Path(name)


def database(url: str) -> dict[str, Any]:
    """An entry of DATABASES for `sqlite:///path` or `postgres://user:password@host:port/name?host=...`."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        path = parts.path.removeprefix("/")
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": path,
            # A file: a database in memory can't be shared with another process.
            "TEST": {"NAME": f"{path}.test", "MIGRATE": False},
            "OPTIONS": {
                "timeout": 20,
                # Else a transaction that reads and then writes fails at once beside another writer.
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
            },
        }
    if parts.scheme in ("postgres", "postgresql"):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.removeprefix("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parse_qs(parts.query).get("host", [parts.hostname or ""])[0],
            "PORT": str(parts.port or ""),
            # The tests' apps have no migrations, and one without can't refer to one with them.
            "TEST": {"MIGRATE": False},
        }
    raise ValueError(f"DATABASE_URL has an unknown scheme: {parts.scheme!r}.")


RUN_DIR = run_directory()
POSTGRES_DIR = RUN_DIR / "postgres"
VALKEY_DIR = RUN_DIR / "valkey"
START_POSTGRES = (
    os.environ.get("RX_TEST_DATABASE") == "postgres" and "DATABASE_URL" not in os.environ
)

SECRET_KEY = "tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
STATIC_URL = "/static/"
ROOT_URLCONF = "tests.urls"
ASGI_APPLICATION = "tests.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# One round instead of a million: users are made by the hundred.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

DATABASES = {
    "default": database(
        f"postgres://postgres@/rx?host={POSTGRES_DIR}"
        if START_POSTGRES
        else os.environ.get("DATABASE_URL", f"sqlite:///{RUN_DIR}/default.sqlite3")
    ),
    "other": database(os.environ.get("OTHER_DATABASE_URL", f"sqlite:///{RUN_DIR}/other.sqlite3")),
}

REDIS_URL = os.environ.get("REDIS_URL", f"unix://{VALKEY_DIR}/valkey.sock")
RX_NAMESPACE = os.environ.get("RX_NAMESPACE", "tests")


def installed(*modules: str) -> list[str]:
    return [module for module in modules if importlib.util.find_spec(module) is not None]


INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "rest_framework",
    "rest_framework.authtoken",
    *installed("rxgraphql"),
    "django.contrib.staticfiles",
    *installed(
        "tests.values_app", "tests.chat", "tests.clubs", "tests.shelves", "tests.schema_app"
    ),
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
