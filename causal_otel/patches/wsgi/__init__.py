"""WSGI servers' side: any application in :class:`WsgiMiddleware`; and what Django and Flask know of a request.

One SERVER span for each HTTP request, current while the application works, and whenever it is asked for a part of its
response. Its parent comes from the request's headers only (as ``opentelemetry.propagate`` says, W3C by default), never
from whatever span the server was started in; baggage of the request is current too. Django and Flask tell the route;
Django's is known behind ``TracingMiddleware`` under ASGI as well.

The span ends when the server has closed the response. A response that is a list or a tuple, or the server's own
``wsgi.file_wrapper``, reaches the server as the very object that it was: then the span ends when the application
returns. A client that goes away before the end is an error, ``client_disconnected``, unless it closes a stream of
server-sent events (``text/event-stream``); of a list or a file nobody can tell. An application that never called
``start_response`` is the error ``incomplete_response``.

An exception that leaves the application is recorded, and so is one that it answers with 5xx: Django, Flask or an error
handler of theirs, an ``HTTPException`` of Werkzeug's (of that, what it was raised from, or while handling), or an
``except`` in which ``start_response`` is called. One that is raised by ``close()`` after the whole response gets a span
of its own, ``after response``.

Where the time went, in seconds, if it is a millisecond or more: ``causal.send`` (from when the server was given a part
of the response until it asked for the next one, so that a client reads slowly); the rest is the application's, with
what it waited for the body of the request.
``causal.first_byte`` is the moment when the response began, if it went on for a millisecond. ``http.request.body.size``
is what the request says of it, ``http.response.body.size`` counts the bytes that the server was given.

Every response has its trace id in the header ``X-Trace-Id``, and ``traceresponse``, whether the request is recorded or
not. A request that is excluded, by its path (``/health``) or its URL, is not recorded, nor is anything inside it, by
whatever library, unless it leaves the trace (``causal_otel.detached()``).

Span names are ``{method} {route}``, or the method alone where no route is known. Attributes at the start, for samplers:
``http.request.method``, ``http.request.method_original``, ``url.scheme``, ``url.path``, ``url.query`` (secret
parameters redacted), ``server.address``, ``server.port``, ``client.address``, ``user_agent.original``,
``network.protocol.version``; at the end ``http.route``, ``http.response.status_code``, the sizes and ``error.type`` (an
exception's class, or the status from 500 on).

Metrics: ``http.server.request.duration`` and ``http.server.active_requests`` of each request.

Options: :class:`WsgiOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from causal_otel import names
from causal_otel.instrument.declaration import Connect, Patch, Wrap
from causal_otel.metrics.conventions import HTTP_SERVER
from causal_otel.patches._http_server.options import HttpServerOptions
from causal_otel.patches.wsgi.frameworks import (
    wrap_django_exception,
    wrap_django_resolve,
    wrap_flask_dispatch,
    wrap_flask_exception,
)
from causal_otel.patches.wsgi.middleware import WsgiMiddleware, enable_middleware

__all__ = ["PATCH", "WsgiMiddleware", "WsgiOptions"]


@dataclass(frozen=True, kw_only=True)
class WsgiOptions(HttpServerOptions):
    """Options of the wsgi patch.

    The hooks are called with the span and the WSGI environ, once for each request: ``request_hook`` before the
    application is, so that its route is not known yet, and ``response_hook`` when the response is over, with its status
    code as well, None if there is none. They are not called for a span ``after response``.

    Args:
        excluded: paths, such as ``/health``, ``/static/**``, ``/users/{id}/avatar``, as ``url.path`` shows them; or
            URLs, such as ``admin.example.com/**``. Default: the setting ``excluded_urls``.
        trace_id_header: the response header that tells the trace's id; None: none.
        traceresponse: whether responses have the header ``traceresponse`` of W3C Trace Context, too.
        request_headers: the headers of requests that are recorded, such as ``("x-tenant",)``: see ``AsgiOptions``.
        response_headers: likewise of responses, as the application has set them.
        trusted_proxies: addresses and networks of proxies that are believed: see ``AsgiOptions``.
    """


PATCH = Patch(
    name="wsgi",
    versions={"flask": ("2.3", "4"), "django": ("4.2", "7")},
    options=WsgiOptions,
    targets=(
        Connect(__name__, enable_middleware),
        Wrap("flask.app", "Flask.full_dispatch_request", wrap_flask_dispatch),
        Wrap("flask.app", "Flask.handle_user_exception", wrap_flask_exception),
        Wrap("flask.app", "Flask.handle_exception", wrap_flask_exception),
        Wrap("django.core.handlers.base", "BaseHandler.resolve_request", wrap_django_resolve),
        Wrap("django.core.handlers.exception", "response_for_exception", wrap_django_exception),
    ),
    independent=True,
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
        names.NETWORK_PROTOCOL_VERSION,
        names.GRAPHQL_OPERATION_NAME,
        names.GRAPHQL_OPERATION_TYPE,
        names.ERROR_TYPE,
        names.CAUSAL_ABANDONED,
        names.CAUSAL_CANCELLED,
        names.CAUSAL_CPU,
        names.CAUSAL_FIRST_BYTE,
        names.CAUSAL_SEND,
    ),
    never=(
        "headers other than `Host`, `User-Agent` and those that are allowed by name; credentials and cookies cannot be",
        "bodies",
        "parameters of the query whose names say that they are secret (`REDACTED`)",
        "baggage, which is made current and not recorded",
    ),
    metrics={SpanKind.SERVER: HTTP_SERVER},
)
