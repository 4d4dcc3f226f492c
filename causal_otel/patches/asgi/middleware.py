"""Applications of no framework that the patch knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from causal_otel.instrument import frameworks
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.asgi.protocol import EXCHANGE, App, Receive, Scope, Send
from causal_otel.patches.asgi.serving import serve

if TYPE_CHECKING:
    from causal_otel.patches.asgi import AsgiOptions

__all__ = ["TracingMiddleware", "enable_middleware"]


class TracingMiddleware:
    """Traces an ASGI application that is neither Starlette's nor FastAPI's, once ``causal_otel.install()`` is called.

        app = TracingMiddleware(app)

    Around one that is traced anyway it changes nothing but that its own place is where the span begins.

    Args:
        app: the application.
    """

    _tracing: Tracing[AsgiOptions] | None = None

    def __init__(self, app: App) -> None:
        self.app = app
        frameworks.note_wrapped()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI 3)."""
        tracing = self._tracing
        if tracing is None or EXCHANGE in scope or not tracing.active:
            await self.app(scope, receive, send)
        else:
            await serve(tracing, self.app, scope, receive, send)


def enable_middleware(tracing: Tracing[Any]) -> Callable[[], None]:
    """Have all :class:`TracingMiddleware` trace, until what this returns is called."""
    TracingMiddleware._tracing = tracing

    def disable() -> None:
        if TracingMiddleware._tracing is tracing:
            TracingMiddleware._tracing = None

    return disable
