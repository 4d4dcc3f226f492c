"""aiohttp's client, 3.10 and later: requests of every ``ClientSession``. Its server, ``aiohttp.web``, is not traced.

One CLIENT span for each attempt on the wire, so each redirect, each repetition after a lost connection and each retry
of a middleware has its own; those after the first say how many there were before (``http.request.resend_count``). What
a middleware answers by itself has none. Each is a child of the current span, and is never current itself. It lasts
until the headers of the response are there and, added to that, as long as its body is waited for; what you do between
two chunks does not count, nor does closing it. It is handed over when the body has arrived or the response is closed,
which ``async with`` does; a response that nobody closes has its span handed over when it is collected, marked
``causal.abandoned``. Of a websocket the handshake is a span, and an ERROR if the server answers with anything but an
upgrade; what follows may last for hours. A timeout is an ERROR with the exception that your code is given, and a
cancellation is marked ``causal.cancelled``.

Where the time went: ``causal.pool.wait`` for a place in the connector (with ``causal.pool.size`` and
``causal.pool.waiting``), ``causal.connect`` with ``causal.connect.dns``, ``.proxy`` (CONNECT) and ``.tls``,
``causal.server`` until the headers of the response are there, the upload included, and ``causal.fetch`` for its body.
Your own ``trace_configs`` and middlewares are told and called as they would be without us.

The request carries the span's context in its headers (as ``opentelemetry.propagate`` says, W3C by default) in place of
any that were there; not to hosts that the options leave out. What you give a session stays as it is. Outside any span a
request begins a trace, and carries it whether or not it is sampled; with ``require_parent=True`` it does neither. Where
nothing is recorded the current context is carried, if there is one. Baggage goes along to allowed hosts only
(``baggage_hosts``).

A request that is excluded, by its URL, has no span, and nor has what runs inside it: middlewares, callbacks, redirects.
It carries the current trace, if there is one, as not sampled, so that its server does not record its part.

Span names are methods, ``GET`` (``HTTP`` for unknown ones), and ``GET /users/{id}`` where a template of the URL is
given. Attributes: ``http.request.method``, ``http.request.method_original``, ``http.request.resend_count``,
``http.response.status_code``, ``url.full`` (without credentials, and secret query parameters redacted),
``url.template``, ``server.address``, ``server.port``, ``network.protocol.version`` and ``error.type`` (the status code
from 400 on, or the class of the exception). No header and no body is recorded.

Metrics: ``http.client.request.duration`` of each attempt, as long as its span would be.

Options: :class:`AiohttpOptions`.
"""

from __future__ import annotations

from opentelemetry.trace import SpanKind

from causal_otel.instrument.declaration import Patch
from causal_otel.metrics.conventions import HTTP_CLIENT
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_CANCELLED,
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_PROXY,
    CAUSAL_CONNECT_TLS,
    CAUSAL_FETCH,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_SERVER,
    ERROR_TYPE,
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_REQUEST_RESEND_COUNT,
    HTTP_RESPONSE_STATUS_CODE,
    NETWORK_PROTOCOL_VERSION,
    SERVER_ADDRESS,
    SERVER_PORT,
    URL_FULL,
    URL_TEMPLATE,
)
from causal_otel.patches.aiohttp import connections, requests
from causal_otel.patches.aiohttp.options import AiohttpOptions

__all__ = ["PATCH", "AiohttpOptions"]

PATCH = Patch(
    name="aiohttp",
    versions={"aiohttp": ("3.10", "4")},
    options=AiohttpOptions,
    targets=(*requests.TARGETS, *connections.TARGETS),
    records=(
        HTTP_REQUEST_METHOD,
        HTTP_REQUEST_METHOD_ORIGINAL,
        HTTP_REQUEST_RESEND_COUNT,
        HTTP_RESPONSE_STATUS_CODE,
        URL_FULL,
        URL_TEMPLATE,
        SERVER_ADDRESS,
        SERVER_PORT,
        NETWORK_PROTOCOL_VERSION,
        ERROR_TYPE,
        CAUSAL_CANCELLED,
        CAUSAL_ABANDONED,
        CAUSAL_POOL_WAIT,
        CAUSAL_POOL_SIZE,
        CAUSAL_POOL_WAITING,
        CAUSAL_CONNECT,
        CAUSAL_CONNECT_DNS,
        CAUSAL_CONNECT_PROXY,
        CAUSAL_CONNECT_TLS,
        CAUSAL_SERVER,
        CAUSAL_FETCH,
    ),
    never=(
        "headers, cookies and bodies",
        "user and password in URLs, and parameters whose names say that they are secret (`REDACTED`)",
        "the message of an exception",
    ),
    metrics={SpanKind.CLIENT: HTTP_CLIENT},
)
