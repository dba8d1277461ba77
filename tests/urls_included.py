"""A project that mounts GraphQL itself."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("rxgraphql.urls")),
    path("nested/", include("rxgraphql.urls")),
]
