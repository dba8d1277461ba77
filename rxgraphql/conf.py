"""The settings of rxgraphql: every name, its default and what it means (documented in docs/settings.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings as django_settings

DEFAULTS: Final[dict[str, Any]] = {
    # Address of the Redis or Valkey server. None with DEBUG: a private one is started (extra `embedded`).
    "REDIS_URL": None,
    # Dotted path of the project's own rxgraphql.Schema. None: all channels make the schema.
    "RX_SCHEMA": None,
    # First part of every Redis key and channel. None: the project's package and the database number.
    "RX_NAMESPACE": None,
    # Path under which GraphQL is served, HTTP and WebSocket alike.
    "RX_GRAPHQL_PATH": "/graphql/",
    # GraphiQL at that path. None: as DEBUG.
    "RX_GRAPHIQL": None,
    # Origins besides the site's own that may open sockets and send requests ("http://localhost:5173").
    "RX_ALLOWED_ORIGINS": (),
    # Seconds a client may take from the open socket to `connection_init`.
    "RX_CONNECTION_INIT_TIMEOUT": 10,
    # Subscriptions at one time on one socket.
    "RX_MAX_SUBSCRIPTIONS": 100,
    # Bytes of one message from a client (socket or HTTP body).
    "RX_MAX_MESSAGE_SIZE": 256 * 1024,
    # Limits of a document.
    "RX_MAX_DEPTH": 15,
    "RX_MAX_TOKENS": 2000,
    "RX_MAX_ALIASES": 50,
    # Where `makefrontend` writes the SDL; None: `schema.graphql` beside manage.py.
    "RX_SCHEMA_FILE": None,
    # Folder of the frontend's generated modules.
    "RX_FRONTEND_DIR": None,
    # The socket's address as a JavaScript expression, or a text that starts with ws:, wss:, http:, https: or /.
    "RX_WEBSOCKET_URL": "/graphql/",
    # Entries that the log keeps for catching up.
    "RX_LOG_LENGTH": 10_000,
    # Seconds that an anchor's replica outlives its last subscriber.
    "RX_LINGER": 10.0,
    # Seconds that an anchor's state stays in Redis after the last process that held it. 0 or None: no cache.
    "RX_CACHE_TTL": 60,
    # Events that may wait for one slow client before it gets the newest of each node in one event instead.
    "RX_MAX_PENDING": 64,
    # Seconds after which a client that doesn't take even that is closed.
    "RX_SLOW_TIMEOUT": 30.0,
    # Seconds between two comparisons of a watched instance's state with the database. 0: never.
    "RX_RECONCILE": 300.0,
    # Seconds after which a subscriber's credentials and permission are asked for again. 0: not from time to time.
    "RX_RECHECK": 60.0,
}


class Settings:
    """Attribute access to the settings, the defaults filled in. Read at each use, so that `override_settings` works."""

    def __getattr__(self, name: str) -> Any:
        try:
            default = DEFAULTS[name]
        except KeyError:
            raise AttributeError(f"rxgraphql has no setting {name!r}.") from None
        return getattr(django_settings, name, default)


settings = Settings()

# A year: more is a mistake in the unit, and at some point a number that Redis refuses
MOST_CACHE_SECONDS: Final = 31_536_000


def cache_ttl_problem(value: Any) -> str | None:
    """What is wrong with a value of RX_CACHE_TTL or Meta.cache_ttl, to follow its name."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is {value!r}, which is not a number of seconds."
    if not 0 <= value <= MOST_CACHE_SECONDS:
        return f"is {value!r}; it must be between 0 and {MOST_CACHE_SECONDS} seconds, a year."
    return None


@dataclass(frozen=True, slots=True)
class Number:
    """Which numbers a setting may be."""

    least: float
    kind: type[int] | type[float] = int
    unit: str = ""

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, to follow its name."""
        kinds = int if self.kind is int else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            article = "a whole number" if self.kind is int else "a number"
            return f"is {value!r}, which is not {article}{self.unit}."
        if not self.least <= value < float("inf"):
            return f"is {value!r}; it must be {self.least} or more."
        return None


NUMBERS: Final[dict[str, Number]] = {
    "RX_LOG_LENGTH": Number(1),
    "RX_LINGER": Number(0, float, " of seconds"),
    "RX_RECONCILE": Number(0, float, " of seconds"),
    "RX_RECHECK": Number(0, float, " of seconds"),
    "RX_CONNECTION_INIT_TIMEOUT": Number(0, float, " of seconds"),
    "RX_MAX_SUBSCRIPTIONS": Number(1),
    "RX_MAX_MESSAGE_SIZE": Number(1, int, " of bytes"),
    "RX_MAX_DEPTH": Number(1),
    "RX_MAX_TOKENS": Number(1),
    "RX_MAX_ALIASES": Number(0),
    "RX_MAX_PENDING": Number(1),
    "RX_SLOW_TIMEOUT": Number(0, float, " of seconds"),
}
