"""Web frameworks that this process has imported and whose requests nothing traces, or two do: ``status()`` says so.

FastAPI and Starlette are not among them: their patch traces them without being asked.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterator

from causal_otel.instrument.untraced import instrumentations, version_of

__all__ = ["note_wrapped", "recorded_twice", "unwrapped"]

_WSGI = "application = causal_otel.WsgiMiddleware({})".format
_ASGI = "application = causal_otel.patches.asgi.TracingMiddleware({})".format
_DJANGO = f"{_WSGI('get_wsgi_application()')} in wsgi.py, {_ASGI('get_asgi_application()')} in asgi.py"
_FRAMEWORKS = {
    "blacksheep": ("asgi", _ASGI("application")),
    "bottle": ("wsgi", _WSGI("application")),
    "django": ("wsgi", _DJANGO),
    "falcon": ("wsgi", f"{_WSGI('application')}, or {_ASGI('application')}"),
    "flask": ("wsgi", "app.wsgi_app = causal_otel.WsgiMiddleware(app.wsgi_app)"),
    "litestar": ("asgi", _ASGI("application")),
    "pyramid": ("wsgi", _WSGI("application")),
    "quart": ("asgi", "app.asgi_app = causal_otel.patches.asgi.TracingMiddleware(app.asgi_app)"),
}
"""By module: the patch that its requests need, and the line that makes them traced."""

_wrapped = False


def note_wrapped() -> None:
    """An application was wrapped in a middleware of ours."""
    global _wrapped
    _wrapped = True


def unwrapped(patches: Container[str]) -> Iterator[str]:
    """A sentence for each framework that is imported though no middleware of ours has wrapped an application.

    Args:
        patches: the names of those that were chosen. Whoever has left one out knows why nothing is traced.
    """
    if _wrapped:
        return
    traced: set[str] | None = None
    for name, (patch, line) in _FRAMEWORKS.items():
        module = sys.modules.get(name)
        if module is None or patch not in patches:
            continue
        if traced is None:
            traced, _ = instrumentations()
        if name not in traced:
            framework = " ".join(filter(None, (name, version_of(module))))
            yield f"{framework} is imported, and nothing traces its requests; if this process serves any: {line}"


def recorded_twice() -> Iterator[str]:
    """A sentence for each framework that an instrumentor traces as well, though a middleware of ours is there."""
    if not _wrapped:
        return
    traced, _ = instrumentations()
    for name in sorted(traced & _FRAMEWORKS.keys()):
        yield (
            f"requests of {name} may be recorded twice: a middleware of ours is there, and "
            f"opentelemetry.instrumentation.{name} is at work; take one of them out"
        )
