"""What a user wraps a WSGI application in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from causal_otel.engine import context
from causal_otel.instrument import frameworks
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.wsgi.protocol import EXCHANGE, App, Environ, StartResponse
from causal_otel.patches.wsgi.serving import serve

__all__ = ["WsgiMiddleware", "enable_middleware"]


class WsgiMiddleware:
    """Traces a WSGI application (PEP 3333) of any framework, once ``causal_otel.install()`` is called.

        app.wsgi_app = causal_otel.WsgiMiddleware(app.wsgi_app)  # Flask
        application = causal_otel.WsgiMiddleware(get_wsgi_application())  # Django

    Inside another one, or below an ASGI application that is traced, it changes nothing.

    Args:
        app: the application.
    """

    _tracing: Tracing[Any] | None = None

    def __init__(self, app: App) -> None:
        self.app = app
        frameworks.note_wrapped()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        tracing = self._tracing
        if tracing is None or not tracing.active or _is_traced(environ) or context.is_suppressed(context.current()):
            return self.app(environ, start_response)
        result: Iterable[bytes] = serve(tracing, self.app, environ, start_response)
        return result


def _is_traced(environ: Environ) -> bool:
    """Whether the request is ours already, also as that of an ASGI server (``a2wsgi`` leaves its scope there)."""
    return EXCHANGE in environ or EXCHANGE in environ.get("asgi.scope", ())


def enable_middleware(tracing: Tracing[Any]) -> Callable[[], None]:
    """Have all :class:`WsgiMiddleware` trace, until what this returns is called."""
    WsgiMiddleware._tracing = tracing

    def disable() -> None:
        if WsgiMiddleware._tracing is tracing:
            WsgiMiddleware._tracing = None

    return disable
