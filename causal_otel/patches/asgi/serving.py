"""One request or websocket connection, served inside its span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, format_trace_id

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches._http_server import contained, parent_context
from causal_otel.patches.asgi.exchange import Exchange
from causal_otel.patches.asgi.incoming import headers_of_interest, request_attributes, request_url
from causal_otel.patches.asgi.lifespan import flushing
from causal_otel.patches.asgi.protocol import EXCHANGE, MOUNTED, App, Message, Receive, Scope, Send
from causal_otel.statements.urls import span_method

if TYPE_CHECKING:
    from causal_otel.patches.asgi import AsgiOptions

__all__ = ["serve"]

# FastAPI and Starlette's middleware look for these before they trace a request themselves.
_TAKEN = {"fastapi.telemetry": None, "starlette.opentelemetry": True}


def _telling(send: Send, header: str, trace_id: int) -> Send:
    """A ``send`` that adds a header to the first message of a response of any kind."""
    name, value = header.lower().encode("latin-1"), format_trace_id(trace_id).encode("latin-1")

    async def send_(message: Message) -> None:
        if message.get("type") in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            message = _with_header(message, name, value)
        await send(message)

    return send_


def _with_header(message: Message, name: bytes, value: bytes) -> Message:
    """A copy of ``message`` with a header, unless the application has set that itself.

    Neither the message nor its headers are ours to change: the same response object may be sent many times.
    """
    try:
        headers: list[tuple[bytes, bytes]] = list(message.get("headers") or ())
        if all(given.lower() != name for given, _ in headers):
            headers.append((name, value))
        return {**message, "headers": headers}
    except Exception:
        faults.report("asgi: response's header")
        return message


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
            if tracing.excluded is not None and tracing.excluded(request_url(scope, headers)):
                span = tracing.start_excluded(parent)
            else:
                attributes = request_attributes(scope, method, headers)
                measured = scope["type"] == "http"
                operation = Operation(name, attributes, kind=SpanKind.SERVER, measured=measured)
                running = tracing.begin(operation, objects=(scope,), parent=parent)
                span = running.span
            where = context.with_span(span, parent)
            if running is not None and running.is_observed():
                exchange = Exchange(tracing, running, where, scope, name)
                receive, send = exchange.receives(receive), exchange.sends(send)
            found = span.get_span_context()
            if found.is_valid or exchange is not None:
                header = tracing.options.trace_id_header
                if header is not None and found.is_valid:
                    send = _telling(send, header, found.trace_id)
                marks = {EXCHANGE: exchange, MOUNTED: "", **_TAKEN}
                activation = context.attach(where)
    except Exception:
        faults.report("asgi: request")
        if running is not None and exchange is None:
            contained("asgi: request", running.end)  # or it would be under way for ever
    scope.update(marks)
    try:
        result = await app(scope, receive, send)
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
