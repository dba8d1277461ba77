"""A serving process of the oracle."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.oracle.settings")

import rxgraphql
from tests.oracle import sabotage

application = rxgraphql.asgi_application()
sabotage.shorten_leases()
sabotage.note_late()
sabotage.apply("server")
