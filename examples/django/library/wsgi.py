"""The site for servers of WSGI, such as gunicorn: ``gunicorn library.wsgi``."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

import causal_otel

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "library.settings")
application = causal_otel.WsgiMiddleware(get_wsgi_application())
