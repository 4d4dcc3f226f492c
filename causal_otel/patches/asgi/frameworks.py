"""Starlette and FastAPI: where an application begins, and where its router has found a route."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import get_tracer_provider

from causal_otel.instrument.tracing import Tracing
from causal_otel.patches._http_server import contained
from causal_otel.patches.asgi.protocol import EXCHANGE, Receive, Scope, Send
from causal_otel.patches.asgi.serving import serve

__all__ = ["claim_export", "wrap_application", "wrap_handle", "wrap_relay"]


def wrap_application(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps an application: what is served by it is traced, but once."""

    @functools.wraps(original)
    async def __call__(self: Any, scope: Scope, receive: Receive, send: Send) -> Any:
        if EXCHANGE in scope or not tracing.active:
            return await original(self, scope, receive, send)
        return await serve(tracing, functools.partial(original, self), scope, receive, send)

    return __call__


def wrap_handle(*, mount: bool = False) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """Wraps the method that a router calls on the route it has chosen, to know the route and what it raises.

    Not every version leaves the route in the scope (FastAPI for its own, Starlette since 1.7), and none leaves there
    the paths of mounts but with their parameters filled in.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def handle(self: Any, scope: Scope, receive: Receive, send: Send) -> Any:
            exchange = scope.get(EXCHANGE)
            if exchange is None or exchange.route is self:  # FastAPI's routes call Starlette's
                return await original(self, scope, receive, send)
            contained("asgi: route", exchange.routed, self, scope, mount)
            if exchange.relayed and not mount:
                send = exchange.handles(send)
            try:
                return await original(self, scope, receive, send)
            except Exception as error:
                contained("asgi: exception", exchange.escaped, error)
                raise

        return handle

    return wrap


def wrap_relay(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``BaseHTTPMiddleware``, which has one task make the response and another one send it."""

    @functools.wraps(original)
    async def __call__(self: Any, scope: Scope, receive: Receive, send: Send) -> Any:
        exchange = scope.get(EXCHANGE)
        if exchange is not None:
            exchange.relayed = True
        return await original(self, scope, receive, send)

    return __call__


def claim_export(tracing: Tracing[Any]) -> Callable[[], None]:
    """Keep FastAPI from adding an exporter of its own to our provider: every span would be exported twice.

    FastAPI adds one when an application starts and OTEL_EXPORTER_OTLP_ENDPOINT is set: in the versions around 0.142 by
    itself, later if it is told to. It remembers for which providers it has done so, and is made to remember ours.
    """
    from causal_otel.engine.provider import TracerProvider

    done = getattr(sys.modules["fastapi.telemetry._runtime"], "_configured", None)
    claim = ("TRACES", get_tracer_provider())
    if not isinstance(done, list) or not isinstance(claim[1], TracerProvider) or claim in done:
        return lambda: None
    done.append(claim)
    return lambda: done.remove(claim)
