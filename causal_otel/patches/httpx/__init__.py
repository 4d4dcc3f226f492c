"""HTTPX, 0.27 and later, and its successor HTTPX2: requests of every client, sync and async, over any transport.

One CLIENT span for each attempt on the wire, so each redirect, each repetition for authentication and each retry of a
transport of your own has its own; those after the first say how many there were before (``http.request.resend_count``).
A transport that reaches no server, such as a cache or a mock, has one span. Each is a child of the current span, and is
never current itself. It lasts until the headers of the response are there and, added to that, as long as its body is
waited for; what you do between two chunks of a streamed response does not count, nor does closing it. It is handed over
when the body has been read, which ``client.get()`` and the like do, or the response is closed; a response that nobody
closes has its span handed over when it is collected, marked ``causal.abandoned``. When httpcore itself tries again to
connect (``retries=``), nothing has been on the wire: that is part of one span.

Where the time went is told by httpcore: ``causal.pool.wait`` (with ``causal.pool.size`` and ``causal.pool.waiting``),
``causal.connect`` with ``causal.connect.dns``, ``.proxy`` (CONNECT, SOCKS) and ``.tls``, ``causal.retry.wait``,
``causal.server`` until the headers of the response are there, the upload included, and ``causal.fetch`` for its body.
Your own ``trace`` extension is told all that it would be without us. Of a transport of your own that does not use
httpx's, only ``causal.fetch`` is known.

The request carries the span's context in its headers (as ``opentelemetry.propagate`` says, W3C by default) in place of
any that were there; not to hosts that the options leave out. What is sent is a copy: the caller's request, headers and
client keep theirs. Outside any span a request begins a trace, and carries it whether or not it is sampled; with
``require_parent=True`` it does neither. Where nothing is recorded the current context is carried, if there is one.
Baggage goes along to allowed hosts only (``baggage_hosts``).

A request that is excluded, by its URL, has no span, and nor has what runs inside it: event hooks, authentication,
transports, redirects. It carries the current trace, if there is one, as not sampled, so that its server does not
record its part.

Span names are methods, ``GET`` (``HTTP`` for unknown ones), and ``GET /users/{id}`` where a template of the URL is
given. Attributes: ``http.request.method``, ``http.request.method_original``, ``http.request.resend_count``,
``http.response.status_code``, ``url.full`` (without credentials, and secret query parameters redacted),
``url.template``, ``server.address``, ``server.port``, ``network.protocol.version`` and ``error.type`` (the status code
from 400 on, or the class of the exception). No header and no body is recorded.

Metrics: ``http.client.request.duration`` of each attempt, as long as its span would be.

Options: :class:`HttpxOptions`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel.instrument.declaration import Patch, Target, Wrap
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
    CAUSAL_RETRY_WAIT,
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
from causal_otel.patches.httpx import lookups, transports
from causal_otel.patches.httpx.options import HttpxOptions
from causal_otel.patches.httpx.sending import wrap_send

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from causal_otel.instrument.calls import Wrapper
    from causal_otel.instrument.tracing import Tracing

__all__ = ["PATCH", "HttpxOptions"]


def _of(library: str, wrap: Callable[[ModuleType, Tracing[Any], Callable[..., Any]], Callable[..., Any]]) -> Wrapper:
    """``wrap``, for ``library`` alone: after ``httpx2.alias_httpx()`` that is patched under its own name."""

    def unless_alias(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        module = sys.modules[library]
        return wrap(module, tracing, original) if module.__name__ == library else original

    return unless_alias


def _targets(library: str, core: str) -> tuple[Target, ...]:
    return (
        Wrap(library, "HTTPTransport.handle_request", _of(library, transports.own)),
        Wrap(library, "AsyncHTTPTransport.handle_async_request", _of(library, transports.own_async)),
        Wrap(library, "Client._transport_for_url", _of(library, transports.choosing)),
        Wrap(library, "AsyncClient._transport_for_url", _of(library, transports.choosing_async)),
        Wrap(library, "Client._send_handling_auth", _of(library, wrap_send), optional=True),
        Wrap(library, "AsyncClient._send_handling_auth", _of(library, wrap_send), optional=True),
        *lookups.targets(core),
    )


PATCH = Patch(
    name="httpx",
    versions={"httpx": ("0.27", "1"), "httpx2": ("2", "3")},
    independent=True,
    options=HttpxOptions,
    targets=(*_targets("httpx", "httpcore"), *_targets("httpx2", "httpcore2")),
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
        CAUSAL_RETRY_WAIT,
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
