"""The site for servers of ASGI, such as uvicorn: ``uvicorn library.asgi:application``."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from causal_otel.patches.asgi import TracingMiddleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "library.settings")
application = TracingMiddleware(get_asgi_application())
