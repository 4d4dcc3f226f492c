"""One request or websocket connection, served inside its span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches._http_server import contained, parent_context
from causal_otel.patches._http_server.client_address import peer_attributes
from causal_otel.patches.asgi.exchange import Exchange
from causal_otel.patches.asgi.incoming import headers_of_interest, request_attributes, request_url
from causal_otel.patches.asgi.lifespan import flushing
from causal_otel.patches.asgi.protocol import EXCHANGE, MOUNTED, App, Receive, Scope, Send
from causal_otel.patches.asgi.trace_headers import telling, trace_headers
from causal_otel.statements.urls import span_method

if TYPE_CHECKING:
    from causal_otel.patches.asgi import AsgiOptions

__all__ = ["serve"]

# FastAPI and Starlette's middleware look for these before they trace a request themselves.
_TAKEN = {"fastapi.telemetry": None, "starlette.opentelemetry": True}


async def serve(tracing: Tracing[AsgiOptions], app: App, scope: Scope, receive: Receive, send: Send) -> Any:
    """Call ``app``, inside a span if ``scope`` is that of a request or a websocket."""
    exchange: Exchange | None = None
    running: Running | None = None
    activation: context.Activation | None = None
    marks: dict[str, Any] = {}
    try:
        if scope["type"] == "lifespan":
            marks = {EXCHANGE: None}
            send = flushing(tracing, send)
        elif _is_ours(scope):
            method = scope.get("method", "GET")  # the handshake of a websocket is a GET (RFC 6455)
            headers = headers_of_interest(scope)
            parent = parent_context(headers, tracing.border)
            name = span_method(method)
            options = tracing.options
            asked = scope if options.proxies is None else options.proxies.asked(scope, headers)
            if tracing.excluded is not None and tracing.excluded(request_url(asked, headers)):
                span = tracing.start_excluded(parent)
            else:
                attributes = request_attributes(asked, method, headers)
                if options.proxies is not None:
                    attributes.update(peer_attributes(scope))
                if options.captured_request is not None:
                    attributes.update(options.captured_request.of(scope.get("headers"), tracing.shortened))
                measured = scope["type"] == "http"
                operation = Operation(name, attributes, kind=SpanKind.SERVER, measured=measured)
                running = tracing.entry(operation, (scope,), parent)
                span = running.span
            where = context.with_span(span, parent)
            told = trace_headers(options, span)
            if running is not None and running.is_observed():
                exchange = Exchange(tracing, running, where, scope, name)
                receive, send = exchange.receives(receive), exchange.sends(send, told)
            elif told:
                send = telling(send, told)
            if exchange is not None or span.get_span_context().is_valid:
                marks = {EXCHANGE: exchange, MOUNTED: "", **_TAKEN}
                activation = context.attach(where)
        elif context.is_suppressed(context.current()):
            # FastAPI's own telemetry would begin a context in which nothing is suppressed, and ours inside it.
            marks = {key: value for key, value in _TAKEN.items() if key not in scope}
    except Exception:
        faults.report("asgi: request")
        if running is not None and exchange is None:
            contained("asgi: request", running.end)  # or it would be under way for ever
    scope.update(marks)
    try:
        call = app(scope, receive, send)
        result = await (call if exchange is None else exchange.measured(call))
    except BaseException as error:
        if exchange is not None:
            contained("asgi: outcome", exchange.raised, error)
        raise
    else:
        if exchange is not None:
            contained("asgi: outcome", exchange.returned)
        return result
    finally:
        if activation is not None:
            activation.end()
        for key in marks:
            scope.pop(key, None)


def _is_ours(scope: Scope) -> bool:
    """Whether this is a request or a websocket that nobody else traces and nobody has asked not to trace."""
    return (
        scope["type"] in ("http", "websocket")
        and not scope.get("starlette.opentelemetry")
        and not context.is_suppressed(context.current())
    )
