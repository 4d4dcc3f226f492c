"""ASGI servers' side: every Starlette and FastAPI application, and any other one in :class:`TracingMiddleware`.

One SERVER span for each HTTP request and for each websocket connection, current while the application works. Its parent
comes from the request's headers only (as ``opentelemetry.propagate`` says, W3C by default), never from whatever span
the server was started in; baggage of the request is current too. A mounted application adds its part to the route of
the same span. The tracing that FastAPI (0.142 and later) and Starlette's own middleware would do is switched off for
the request. Not traced: messages sent and received, the lifespan.

The span ends with the last message of the response. An exception after that gets a span of its own, ``after
response``. A client that goes away before the end is an error, ``client_disconnected``, which ends when the application
learned of it; what it answers then reaches nobody, and has no status code. Servers tell only those who ask: an
application that works on and answers in one piece never learns of it, and its request is no error. Nor is it where a
client closes a stream of server-sent events (``text/event-stream``) or a websocket: that is how they end. An
application that returns before it has answered is the error ``incomplete_response``. Middlewares change none of this.

An exception that the application does not handle is recorded, and so is one that it answers with 5xx: by a handler of
its class or of a status, by ``HTTPException`` (of that, what it was raised from, or while handling), or in an
``except`` of a middleware. It gives ``error.type``; an ``HTTPException`` that has no cause leaves that to the status.
An exception group is one event for each exception in it, the first eight. An exception that is answered with anything
else is no error, and not recorded.

Where the time went, in seconds, if it is a millisecond or more: ``causal.receive`` (waiting for the body of the
request, until the response begins), ``causal.send`` (waiting until the server took what was sent, which is a client
that reads slowly) and ``causal.threadpool.wait`` (until anyio had a free thread, of forty, for synchronous endpoints,
dependencies, generators and background tasks, on whose span it is; waits that overlap count once). The rest is the
application's. ``causal.first_byte`` is the moment when the response began, if it went on for a millisecond. A server
buffers: what it has taken may not be on the wire yet. ``http.request.body.size``, of a body that the application has
read to its end, and ``http.response.body.size`` count bytes as the server has them, so compressed ones.

A background task of Starlette's or FastAPI's is an INTERNAL span, named as its function, with ``code.function.name``: a
child of the request, linked to it, and no part of its time. What it raises is recorded there only. It is current in
its thread too, if it is synchronous.

The request's span is current in every piece of a synchronous generator, of a streaming response or a dependency of
FastAPI's. All pieces of one run in the same context, so that a span around a ``yield`` stays current in it.

A websocket has ``causal.messages.received`` and ``.sent``, ``causal.bytes.received`` and ``.sent``, and, as far as they
are known, ``causal.websocket.close_code`` and ``causal.websocket.closed_by`` (``server`` or ``client``). It is an error
if the application raises, or closes it with 1011, 1013 or 1014, whatever the client says or does. A stream of events
has what was sent, in chunks. A websocket or a streamed response that stays open shows up meanwhile: by INTERNAL spans
below its own, ``{method} {route} open``, the first after ten seconds and then one a minute, with what each has seen and
``causal.open``.

Every response has its trace id in the header ``X-Trace-Id``, and ``traceresponse`` of W3C Trace Context (Level 2),
whether the request is recorded or not; not what a server answers by itself, nor the acceptance of a websocket by
Granian, which sends no headers with that. At the end of the lifespan all spans are exported before the server goes on
to exit.

A request or connection that is excluded, by its path (``/health``) or its URL, is not recorded, nor is anything inside
it, by whatever library, unless it leaves the trace (``causal_otel.detached()``). What it sends carries its sender's
trace on, or a new one, as not sampled, and baggage as ever; its response has the id of that trace.

Span names are ``{method} {route}``, or the method alone where no route matched. Attributes at the start, for samplers:
``http.request.method``, ``http.request.method_original``, ``url.scheme``, ``url.path``, ``url.query`` (secret
parameters redacted), ``server.address``, ``server.port``, ``client.address``, ``user_agent.original``,
``network.protocol.name`` (``websocket``), ``network.protocol.version``; at the end ``http.route``,
``http.response.status_code``, the sizes and ``error.type`` (an exception's class, or the status from 500 on). Headers
that an option names are ``http.request.header.<name>`` and ``http.response.header.<name>``, lists of values. Behind
proxies that an option trusts, ``client.address`` and the like are what these say, and ``network.peer.address`` and
``.port`` are the nearest proxy's.

Metrics: ``http.server.request.duration`` and ``http.server.active_requests`` of each request. A websocket is none: it
lasts as long as its client likes.

Options: :class:`AsgiOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from causal_otel import names
from causal_otel._internal.setting_types import SECONDS
from causal_otel.instrument.declaration import Connect, Patch, Wrap
from causal_otel.metrics.conventions import HTTP_SERVER
from causal_otel.patches._http_server.options import HttpServerOptions
from causal_otel.patches.asgi.background import wrap_background_task
from causal_otel.patches.asgi.frameworks import claim_export, wrap_application, wrap_handle, wrap_relay
from causal_otel.patches.asgi.middleware import TracingMiddleware, enable_middleware
from causal_otel.patches.asgi.one_context import wrap_context_manager, wrap_iterate
from causal_otel.patches.asgi.threadpool import wrap_run_sync

__all__ = ["PATCH", "AsgiOptions", "TracingMiddleware"]


@dataclass(frozen=True, kw_only=True)
class AsgiOptions(HttpServerOptions):
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
        traceresponse: whether responses have the header ``traceresponse`` of W3C Trace Context, too.
        request_headers: the headers of requests that are recorded, such as ``("x-tenant",)``, each as a list of its
            values, cut to 1024 characters. None: what the setting ``request_headers`` says, and none where it does not.
            Those whose names say that they are secret are refused.
        response_headers: likewise of responses, as the application has set them.
        trusted_proxies: addresses and networks of proxies, such as ``("10.0.0.0/8",)``, and ``unix`` for one that
            connects to a Unix socket. If the connection is one of theirs, ``client.address``, ``url.scheme``,
            ``server.address`` and ``server.port`` are what they say. None: what the setting ``trusted_proxies`` says,
            and nobody where it does not.
        progress_interval: seconds. A websocket or a streamed response that is open for longer shows up by a span for
            each such time; for the first ten seconds there is one as well. None: only when it is over.
    """

    progress_interval: float | None = 60.0

    def mistake(self) -> str | None:
        """What is not allowed in them, and what would be."""
        interval = self.progress_interval
        if not (interval is None or SECONDS.accepts(interval)):
            return f"progress_interval={interval!r} is not allowed; it must be {SECONDS.allowed}, or None"
        return super().mistake()


PATCH = Patch(
    name="asgi",
    versions={"starlette": ("0.36.3", "2"), "fastapi": ("0.110", "1")},
    options=AsgiOptions,
    targets=(
        Connect(__name__, enable_middleware),
        Wrap("starlette.applications", "Starlette.__call__", wrap_application),
        Wrap("starlette.routing", "Route.handle", wrap_handle()),
        Wrap("starlette.routing", "WebSocketRoute.handle", wrap_handle()),
        Wrap("starlette.routing", "Mount.handle", wrap_handle(mount=True)),
        Wrap("fastapi.applications", "FastAPI.__call__", wrap_application),
        Wrap("fastapi.routing", "APIRoute.handle", wrap_handle()),
        Wrap("starlette.middleware.base", "BaseHTTPMiddleware.__call__", wrap_relay),
        Wrap("starlette.background", "BackgroundTask.__call__", wrap_background_task),
        Wrap("starlette.responses", "iterate_in_threadpool", wrap_iterate, optional=True),
        Wrap("fastapi.routing", "iterate_in_threadpool", wrap_iterate, optional=True),
        Wrap("fastapi.dependencies.utils", "contextmanager_in_threadpool", wrap_context_manager, optional=True),
        Wrap("starlette.concurrency", "anyio.to_thread.run_sync", wrap_run_sync, optional=True),
        Connect("fastapi.telemetry._runtime", claim_export),
    ),
    records=(
        names.HTTP_REQUEST_BODY_SIZE,
        names.HTTP_REQUEST_METHOD,
        names.HTTP_REQUEST_METHOD_ORIGINAL,
        names.HTTP_RESPONSE_BODY_SIZE,
        names.HTTP_REQUEST_HEADER,
        names.HTTP_RESPONSE_HEADER,
        names.HTTP_RESPONSE_STATUS_CODE,
        names.HTTP_ROUTE,
        names.URL_SCHEME,
        names.URL_PATH,
        names.URL_QUERY,
        names.SERVER_ADDRESS,
        names.SERVER_PORT,
        names.CLIENT_ADDRESS,
        names.NETWORK_PEER_ADDRESS,
        names.NETWORK_PEER_PORT,
        names.USER_AGENT_ORIGINAL,
        names.NETWORK_PROTOCOL_NAME,
        names.NETWORK_PROTOCOL_VERSION,
        names.GRAPHQL_OPERATION_NAME,
        names.GRAPHQL_OPERATION_TYPE,
        names.ERROR_TYPE,
        names.CAUSAL_BYTES_RECEIVED,
        names.CAUSAL_BYTES_SENT,
        names.CAUSAL_CANCELLED,
        names.CAUSAL_CPU,
        names.CAUSAL_FIRST_BYTE,
        names.CAUSAL_RECEIVE,
        names.CAUSAL_SEND,
        names.CAUSAL_THREADPOOL_WAIT,
        names.CODE_FUNCTION_NAME,
        names.CAUSAL_MESSAGES_RECEIVED,
        names.CAUSAL_MESSAGES_SENT,
        names.CAUSAL_OPEN,
        names.CAUSAL_WEBSOCKET_CLOSE_CODE,
        names.CAUSAL_WEBSOCKET_CLOSED_BY,
    ),
    never=(
        "headers other than `Host`, `User-Agent` and those that are allowed by name; credentials and cookies cannot be",
        "bodies and messages of websockets",
        "parameters of the query whose names say that they are secret (`REDACTED`)",
        "baggage, which is made current and not recorded",
    ),
    metrics={SpanKind.SERVER: HTTP_SERVER},
)
