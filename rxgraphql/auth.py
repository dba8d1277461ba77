"""Who is asking: the user of Django's session cookie, or of a token of Django REST framework. As a Viewer, who can be
asked for again.

The functions that end in `_user` query the database and block; the serving code runs them in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final, cast

from django.apps import apps
from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import CSRFCheck, TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.settings import api_settings

from rxgraphql import origins
from rxgraphql.errors import ErrorCode, RefusedError
from rxgraphql.viewer import Viewer, same_user

__all__ = [
    "CsrfCheck",
    "RefusedError",
    "params_token",
    "request_viewer",
    "session_viewer",
    "token_viewer",
    "viewer_of",
]


# Where a request, or whatever else a context has, keeps its viewer.
VIEWER: Final = "rxgraphql_viewer"
# Visible ASCII: a database may refuse the rest with an error of its own.
TOKEN = re.compile(r"[!-~]+")


class CsrfCheck(CSRFCheck):
    """Django's CSRF check, with the origins that RX_ALLOWED_ORIGINS trusts."""

    def __init__(self) -> None:
        super().__init__(lambda request: HttpResponse())

    def refusal(self, request: HttpRequest) -> str | None:
        """Why the request is refused, if it is."""
        self.process_request(request)
        # a view that isn't exempt
        reason: Any = self.process_view(request, lambda request: HttpResponse(), (), {})
        return None if reason is None else str(reason)

    def _origin_verified(self, request: HttpRequest) -> bool:
        verified: bool = super()._origin_verified(request)  # type: ignore[misc]
        return verified or origins.listed(request.META["HTTP_ORIGIN"])


def viewer_of(context: Any) -> Viewer:
    """The viewer behind a resolver's `info.context`, over HTTP, SSE or a WebSocket.

    A context without a request (a test that executes the schema itself) may have a `user`; else nobody is known.
    """
    for holder in (context, _get(context, "request")):
        viewer = _get(holder, VIEWER)
        if viewer is not None:
            return cast(Viewer, viewer)
        user = _get(holder, "user")
        if user is not None:
            return Viewer(user)
    return Viewer(AnonymousUser())


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def request_viewer(request: HttpRequest) -> Viewer:
    """Who sends an HTTP request. Raises RefusedError for a bad token, or a session without its CSRF token."""
    if token := header_token(request.headers.get("Authorization", "")):
        return token_viewer(token)
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not user.is_active:
        return Viewer(AnonymousUser())
    if reason := CsrfCheck().refusal(request):
        raise RefusedError(403, ErrorCode.PERMISSION_ERROR, f"CSRF Failed: {reason}")
    return session_viewer(user, getattr(request, "session", None))


def session_viewer(user: Any, session: Any) -> Viewer:
    """Somebody known by a session; somebody whom a middleware of the project's own has let in may have none."""
    if not user.is_authenticated or session is None or SESSION_KEY not in session:
        return Viewer(user)
    # another store for each look: this one has read its data and would not read it again
    store, key = session.__class__, session.session_key

    def ask() -> Any:
        check_session(store(key))
        return same_user(user)

    return Viewer(user, ask)


def check_session(session: Any) -> None:
    """Raises RefusedError unless somebody is logged in, with the password of now. Django's own get_user() may write: it
    gives a session whose key was rotated another one, which the browser of a socket would never hear of.
    """
    model: Any = get_user_model()
    try:
        pk = model._meta.pk.to_python(session[SESSION_KEY])
        path = session[BACKEND_SESSION_KEY]
    except (KeyError, ValidationError):
        path = None
    user = load_backend(path).get_user(pk) if path in settings.AUTHENTICATION_BACKENDS else None
    if user is not None:
        hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
        known = session.get(HASH_SESSION_KEY, "")
        if any(constant_time_compare(known, one) for one in hashes):
            return
    raise RefusedError(401, ErrorCode.UNAUTHENTICATED, "The session has ended. Log in again.")


def token_viewer(token: str) -> Viewer:
    """Whoever the token belongs to. Raises RefusedError."""
    return Viewer(token_user(token), partial(token_user, token))


def token_user(token: str) -> Any:
    """The active user that the token belongs to. Raises RefusedError."""
    if not apps.is_installed("rest_framework.authtoken"):
        raise RefusedError(401, ErrorCode.UNAUTHENTICATED, "Tokens are not used here.")
    try:
        user, _ = authenticator().authenticate_credentials(token)
    except AuthenticationFailed as error:
        raise RefusedError(401, ErrorCode.UNAUTHENTICATED, str(error.detail)) from error
    return user


def header_token(authorization: str) -> str | None:
    """The token of an Authorization header, None if it is of another scheme. Raises RefusedError if it has none."""
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != authenticator().keyword.lower():
        return None
    return _checked(token.strip())


def params_token(params: Mapping[str, Any]) -> str | None:
    """The token of `connection_init`: `{"token": "..."}` or `{"Authorization": "Token ..."}`. Raises RefusedError.

    A client that has no token yet may send null or an empty text.
    """
    if token := params.get("token"):
        return _checked(token)
    for name, value in params.items():
        if name.lower() == "authorization" and value:
            if isinstance(value, str) and (token := header_token(value)):
                return token
            keyword = authenticator().keyword
            raise RefusedError(
                401, ErrorCode.UNAUTHENTICATED, f'Authorization must be "{keyword} ...".'
            )
    return None


def _checked(token: Any) -> str:
    if isinstance(token, str) and TOKEN.fullmatch(token):
        return token
    raise RefusedError(401, ErrorCode.UNAUTHENTICATED, "Invalid token.")


def authenticator() -> TokenAuthentication:
    """The project's own TokenAuthentication, if DEFAULT_AUTHENTICATION_CLASSES has one, or else DRF's."""
    classes: Iterable[Any] = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    for cls in classes:
        if issubclass(cls, TokenAuthentication):
            return cast(TokenAuthentication, cls())
    return TokenAuthentication()
