"""ASGI servers' side: every Starlette and FastAPI application, and any other one in :class:`TracingMiddleware`.

One SERVER span for each HTTP request and for each websocket connection, current while the application works. Its parent
comes from the request's headers only (as ``opentelemetry.propagate`` says, W3C by default), never from whatever span
the server was started in; baggage of the request is current too. A mounted application adds its part to the route of
the same span. The tracing that FastAPI (0.142 and later) and Starlette's own middleware would do is switched off for
the request. Not traced: messages sent and received, the lifespan.

The span ends with the last message of the response, so background tasks are not in its duration. A response of 500 or
more ends then too, but is kept open until the application returns, to learn why. An exception after any other response
gets a span of its own, ``after response``. A client that goes away before the end is an error,
``client_disconnected``, which ends when the application learned of it; what it answers then reaches nobody, and has no
status code. Not so where a client closes a stream of server-sent events (``text/event-stream``) or a websocket: that is
how they end. An application that returns before it has answered is the error ``incomplete_response``. Middlewares
change none of this.

Every response has its trace id in the header ``X-Trace-Id``, whether the request is recorded or not. At the end of the
lifespan all spans are exported before the server goes on to exit.

A request or connection that is excluded, by its path (``/health``) or its URL, is not recorded, nor is anything inside
it, by whatever library, unless it leaves the trace (``causal_otel.detached()``). What it sends carries its sender's
trace on, or a new one, as not sampled, and baggage as ever; its response has the id of that trace.

Span names are ``{method} {route}``, or the method alone where no route matched. Attributes at the start, for samplers:
``http.request.method``, ``http.request.method_original``, ``url.scheme``, ``url.path``, ``url.query`` (secret
parameters redacted), ``server.address``, ``server.port``, ``client.address``, ``user_agent.original``,
``network.protocol.name`` (``websocket``), ``network.protocol.version``; at the end ``http.route``,
``http.response.status_code`` and ``error.type`` (an exception's class, or the status from 500 on).

Metrics: ``http.server.request.duration`` and ``http.server.active_requests`` of each request. A websocket is none: it
lasts as long as its client likes.

Options: :class:`AsgiOptions`.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from opentelemetry.trace import SpanKind, format_trace_id, get_tracer_provider

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.declaration import Connect, Patch, Wrap
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.options import Options
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.conventions import HTTP_SERVER
from causal_otel.patches._exchange import MOUNTED, App, Exchange, Message, Receive, Scope, Send, contained
from causal_otel.patches._incoming import headers_of_interest, parent_context, request_attributes, request_url
from causal_otel.statements.urls import span_method

__all__ = ["PATCH", "AsgiOptions", "TracingMiddleware"]


@dataclass(frozen=True, kw_only=True)
class AsgiOptions(Options):
    """Options of the asgi patch.

    The hooks are called with the span and the ASGI scope, once for each request and each connection of a websocket:
    ``request_hook`` before the application is, so that its route is not known yet, and ``response_hook`` when the
    response is over, with its status code as well (101 for a websocket that was accepted), None if there is none. Where
    the application raises, the status code is that which its client was sent. They are not called for a span ``after
    response``.

    Args:
        excluded: paths, such as ``/health``, ``/static/**``, ``/users/{id}/avatar``, as ``url.path`` shows them; or
            URLs, such as ``admin.example.com/**``. Default: the setting ``excluded_urls``.
        trace_id_header: the response header that tells the trace's id; None: none.
    """

    by_url = True

    trace_id_header: str | None = "X-Trace-Id"


_FLUSH_SECONDS = 5.0

_MARK = "causal_otel.exchange"
"""In a scope: the request is traced already, by the :class:`Exchange` it holds; None if it is not recorded."""

# FastAPI and Starlette's middleware look for these before they trace a request themselves.
_TAKEN = {"fastapi.telemetry": None, "starlette.opentelemetry": True}


# -- serving ------------------------------------------------------------------------------------------------------


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


async def _serve(tracing: Tracing[AsgiOptions], app: App, scope: Scope, receive: Receive, send: Send) -> Any:
    """Call ``app``, inside a span if ``scope`` is that of a request or a websocket."""
    exchange: Exchange | None = None
    running: Running | None = None
    activation: context.Activation | None = None
    marks: dict[str, Any] = {}
    try:
        if scope["type"] == "lifespan":
            marks = {_MARK: None}
            send = _flushing(tracing, send)
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
                marks = {_MARK: exchange, MOUNTED: "", **_TAKEN}
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


def _flushing(tracing: Tracing[AsgiOptions], send: Send) -> Send:
    """A ``send`` that exports all spans before it says that the application has shut down."""

    async def send_(message: Message) -> None:
        if message.get("type") in ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed"):
            try:
                await _flush(tracing)
            except Exception:
                faults.report("asgi: flush")
        await send(message)

    return send_


async def _flush(tracing: Tracing[AsgiOptions]) -> None:
    """Export, off the event loop, and give up after a while: also where the provider's own flush never ends."""
    try:
        from anyio import sleep  # there with Starlette, and right under asyncio and trio
    except ImportError:
        from asyncio import sleep

    flush = functools.partial(contained, "asgi: flush", tracing.flush, _FLUSH_SECONDS)
    thread = threading.Thread(target=flush, name="causal-otel-flush", daemon=True)
    thread.start()
    deadline = monotonic() + _FLUSH_SECONDS
    while thread.is_alive() and monotonic() < deadline:  # noqa: ASYNC110  # no event that both kinds of loop share
        await sleep(0.005)


# -- where it takes hold ------------------------------------------------------------------------------------------


def _wrap_application(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def __call__(self: Any, scope: Scope, receive: Receive, send: Send) -> Any:
        if _MARK in scope or not tracing.active:
            return await original(self, scope, receive, send)
        return await _serve(tracing, functools.partial(original, self), scope, receive, send)

    return __call__


def _wrap_handle(*, mount: bool = False) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """Wraps the method that a router calls on the route it has chosen, to know the route and what it raises.

    Not every version leaves the route in the scope (FastAPI for its own, Starlette since 1.7), and none leaves there
    the paths of mounts but with their parameters filled in.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def handle(self: Any, scope: Scope, receive: Receive, send: Send) -> Any:
            exchange = scope.get(_MARK)
            if exchange is None:
                return await original(self, scope, receive, send)
            contained("asgi: route", exchange.routed, self, scope, mount)
            try:
                return await original(self, scope, receive, send)
            except Exception as error:
                contained("asgi: exception", exchange.escaped, error)
                raise

        return handle

    return wrap


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI 3)."""
        tracing = self._tracing
        if tracing is None or _MARK in scope or not tracing.active:
            await self.app(scope, receive, send)
        else:
            await _serve(tracing, self.app, scope, receive, send)


def _enable_middleware(tracing: Tracing[Any]) -> Callable[[], None]:
    TracingMiddleware._tracing = tracing

    def disable() -> None:
        if TracingMiddleware._tracing is tracing:
            TracingMiddleware._tracing = None

    return disable


def _claim_export(tracing: Tracing[Any]) -> Callable[[], None]:
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


PATCH = Patch(
    name="asgi",
    versions={"starlette": ("0.36.3", "2"), "fastapi": ("0.110", "1")},
    options=AsgiOptions,
    targets=(
        Connect(__name__, _enable_middleware),
        Wrap("starlette.applications", "Starlette.__call__", _wrap_application),
        Wrap("starlette.routing", "Route.handle", _wrap_handle()),
        Wrap("starlette.routing", "WebSocketRoute.handle", _wrap_handle()),
        Wrap("starlette.routing", "Mount.handle", _wrap_handle(mount=True)),
        Wrap("fastapi.applications", "FastAPI.__call__", _wrap_application),
        Wrap("fastapi.routing", "APIRoute.handle", _wrap_handle()),
        Connect("fastapi.telemetry._runtime", _claim_export),
    ),
    records=(
        names.HTTP_REQUEST_METHOD,
        names.HTTP_REQUEST_METHOD_ORIGINAL,
        names.HTTP_RESPONSE_STATUS_CODE,
        names.HTTP_ROUTE,
        names.URL_SCHEME,
        names.URL_PATH,
        names.URL_QUERY,
        names.SERVER_ADDRESS,
        names.SERVER_PORT,
        names.CLIENT_ADDRESS,
        names.USER_AGENT_ORIGINAL,
        names.NETWORK_PROTOCOL_NAME,
        names.NETWORK_PROTOCOL_VERSION,
        names.ERROR_TYPE,
        names.CAUSAL_CANCELLED,
    ),
    never=(
        "headers other than `Host` and `User-Agent`, and cookies",
        "bodies and messages of websockets",
        "parameters of the query whose names say that they are secret (`REDACTED`)",
        "baggage, which is made current and not recorded",
    ),
    metrics={SpanKind.SERVER: HTTP_SERVER},
)
