from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import rxgraphql

application = rxgraphql.asgi_application()
