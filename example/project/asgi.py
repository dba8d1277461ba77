import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import rxgraphql

application = rxgraphql.asgi_application()
