"""Who is asking: the user of Django's session cookie, or of a token of Django REST framework.

The functions that end in `_user` query the database and block; the serving code runs them in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import CSRFCheck, TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.settings import api_settings

from rxgraphql import origins
from rxgraphql.errors import ErrorCode, RxError

__all__ = ["CsrfCheck", "RefusedError", "params_token", "request_user", "token_user", "user_of"]


# Visible ASCII: a database may refuse the rest with an error of its own.
TOKEN = re.compile(r"[!-~]+")


class RefusedError(RxError):
    """The request isn't answered: `status` is HTTP's, `code` and the message are what the client sees."""

    def __init__(self, status: int, code: ErrorCode, message: str) -> None:
        self.status = status
        self.code = code
        super().__init__(message)


class CsrfCheck(CSRFCheck):
    """Django's CSRF check, with the origins that RX_ALLOWED_ORIGINS trusts."""

    def __init__(self) -> None:
        super().__init__(lambda request: HttpResponse())

    def refusal(self, request: HttpRequest) -> str | None:
        """Why the request is refused, if it is."""
        self.process_request(request)
        reason: Any = self.process_view(request, request_user, (), {})
        return None if reason is None else str(reason)

    def _origin_verified(self, request: HttpRequest) -> bool:
        verified: bool = super()._origin_verified(request)  # type: ignore[misc]
        return verified or origins.listed(request.META["HTTP_ORIGIN"])


def user_of(context: Any) -> Any:
    """The user behind a resolver's `info.context`, over HTTP, SSE or a WebSocket.

    A context without a request (a test that executes the schema itself) may have a `user`; else nobody is known.
    """
    for holder in (context, _get(context, "request")):
        user = _get(holder, "user")
        if user is not None:
            return user
    return AnonymousUser()


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def request_user(request: HttpRequest) -> Any:
    """The user of an HTTP request. Raises RefusedError for a bad token, or a session without its CSRF token."""
    if token := header_token(request.headers.get("Authorization", "")):
        return token_user(token)
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not user.is_active:
        return AnonymousUser()
    if reason := CsrfCheck().refusal(request):
        raise RefusedError(403, ErrorCode.PERMISSION_ERROR, f"CSRF Failed: {reason}")
    return user


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
