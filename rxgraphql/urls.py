"""GraphQL for projects that mount it themselves: `path("", include("rxgraphql.urls"))`."""

from __future__ import annotations

from django.urls import path

from rxgraphql.conf import settings
from rxgraphql.views import GraphQLView

urlpatterns = [
    path(settings.RX_GRAPHQL_PATH.removeprefix("/"), GraphQLView.as_view(), name="graphql"),
]
