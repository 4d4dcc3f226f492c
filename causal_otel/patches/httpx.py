"""HTTPX, 0.27 and later, and its successor HTTPX2: requests of every client, sync and async, over any transport.

One CLIENT span for each request on the wire, so each redirect and each repetition for authentication has its own. It
is a child of the current span, and is never current itself. It lasts until the headers of the response are there and,
added to that, as long as its body is waited for; what you do between two chunks of a streamed response does not count,
nor does closing it. It is handed over when the body has been read, which ``client.get()`` and the like do, or the
response is closed; a response that nobody closes has its span handed over when it is collected, marked
``causal.abandoned``. Connection retries inside a transport are part of one span.

The request carries the span's context in its headers (as ``opentelemetry.propagate`` says, W3C by default) in place of
any that were there. What is sent is a copy: the caller's request, headers and client keep theirs. Outside any span a
request begins a trace, and carries it whether or not it is sampled; with ``require_parent=True`` it does neither. Where
nothing is recorded the current context is carried, if there is one. Baggage goes along to allowed hosts only
(``baggage_hosts``).

A request that is excluded, by its URL, has no span, and nor has what runs inside it: event hooks, authentication,
transports, redirects. It carries the current trace, if there is one, as not sampled, so that its server does not
record its part.

Span names are methods, ``GET`` (``HTTP`` for unknown ones). Attributes: ``http.request.method``,
``http.request.method_original``, ``http.request.resend_count``, ``http.response.status_code``, ``url.full`` (without
credentials, and secret query parameters redacted), ``server.address``, ``server.port``, ``network.protocol.version``
and ``error.type`` (the status code from 400 on, or the class of the exception). No header and no body is recorded.

Metrics: ``http.client.request.duration`` of each request on the wire, as long as its span would be.

Options: :class:`HttpxOptions`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key
from opentelemetry.trace import INVALID_SPAN, SpanKind

from causal_otel._internal import faults
from causal_otel.engine import carriers, context
from causal_otel.instrument.calls import Args, Inside, Kwargs, Wrapper, argument, excluded_call, traced_call
from causal_otel.instrument.declaration import Patch, Wrap
from causal_otel.instrument.exclusion import canonical_url
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.stopwatch import Stopwatch
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.conventions import HTTP_CLIENT
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_CANCELLED,
    ERROR_TYPE,
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_REQUEST_RESEND_COUNT,
    HTTP_RESPONSE_STATUS_CODE,
    NETWORK_PROTOCOL_VERSION,
    SERVER_ADDRESS,
    SERVER_PORT,
    URL_FULL,
)
from causal_otel.patches._httpx_bodies import async_body, sync_body
from causal_otel.statements.urls import DEFAULT_PORTS, method_attributes, redact_url, span_method

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx import Request, Response

    from causal_otel.instrument.awaiting import Call

__all__ = ["PATCH", "HttpxOptions"]


@dataclass(frozen=True, kw_only=True)
class HttpxOptions(ClientOptions):
    """Options of the httpx patch; see :class:`~causal_otel.instrument.options.ClientOptions`.

    The hooks are called with the span and the ``Request`` that the client has made, once for each request on the wire.
    ``response_hook`` is called when the body has arrived, or the response is closed before, with the ``Response`` as
    well, of which it can read all but the body: that is the application's. Or it is given the exception.

    Args:
        excluded: URLs, such as ``*.example.com/**`` or ``https://example.com:8443/v1/{id}``, or paths on any host,
            such as ``/health``. A port or scheme that is left out is any. Default: the setting ``excluded_urls``.
    """

    by_url = True


_SENT = create_key("causal-otel-httpx-sent")
"""Under this key: how many requests the current ``send()`` has put on the wire, as the one item of a list."""


# -- attributes ---------------------------------------------------------------------------------------------------


def _request_attributes(request: Request) -> dict[str, Any]:
    url = request.url
    attributes: dict[str, Any] = {
        **method_attributes(request.method),
        URL_FULL: redact_url(str(url)),
        SERVER_ADDRESS: url.host,
    }
    port = url.port or DEFAULT_PORTS.get(url.scheme)
    if port is not None:
        attributes[SERVER_PORT] = port
    sent = context.current().get(_SENT)
    if isinstance(sent, list):
        if sent[0]:
            attributes[HTTP_REQUEST_RESEND_COUNT] = sent[0]
        sent[0] += 1
    return attributes


def _learn_response(running: Running, response: Response) -> None:
    status = response.status_code
    attributes: dict[str, Any] = {HTTP_RESPONSE_STATUS_CODE: status}
    version = response.extensions.get("http_version")  # as b"HTTP/1.1"; not every transport tells
    if version is not None:
        attributes[NETWORK_PROTOCOL_VERSION] = version.decode("ascii", "replace").rpartition("/")[2]
    running.learn(attributes)
    if status >= 400:
        running.fail(str(status))


# -- one request on the wire --------------------------------------------------------------------------------------


class _Attempt:
    """A request on its way: the copy that carries the context, and the operation, if anybody wants to know of it.

    Args:
        request: what the client was about to send.
        where: the context to carry.
        running: the operation; None: the request only carries a context.
        body: the class of the library's bodies as we see through them.
        inside: what is to be current meanwhile; None: what is.
    """

    __slots__ = ("_body", "_given", "_request", "_running", "_sent", "_stopwatch", "args", "inside", "request")

    def __init__(
        self,
        request: Request,
        where: Context,
        running: Running | None,
        body: Callable[..., Any],
        inside: Context | None = None,
    ) -> None:
        self._request = self.request = request
        self._running = running
        self._body = body
        self.inside = inside
        self.args: Args | None = None
        if running is not None:
            self._stopwatch = Stopwatch()
        carrier = carriers.injected(where)
        if not carrier:
            return
        self._given = given = request.headers
        headers = type(given)(given, encoding=getattr(given, "_encoding", None))
        if "traceparent" in carrier:
            headers.pop("tracestate", None)  # it belongs to a traceparent that is replaced
        for name, value in carrier.items():
            headers[name] = value
        self._sent = _items(headers)
        # Not copy.copy(): the state that a request gives for copying leaves its body out.
        self.request = object.__new__(type(request))
        vars(self.request).update(vars(request), headers=headers)
        self.args = (self.request,)

    def _returned(self, outcome: Response | BaseException) -> None:
        """Put the caller's request where the client has put the copy, with whatever the client has changed of it."""
        try:
            if self.request is not self._request:
                self._hand_back(outcome)
        except Exception:
            faults.report("httpx: request")

    def _hand_back(self, outcome: Any) -> None:
        state = dict(vars(self.request))
        headers = state.pop("headers")
        vars(self._request).update(state)
        if _items(headers) != self._sent:
            # A transport has changed headers. That stays, while what we put there goes.
            given = self._given.raw
            ours = {(name, value) for name, _, value in self._sent}.difference(given)
            replaced = {name.lower() for name, _ in ours}
            kept = [item for item in headers.raw if item not in ours]
            kept += [item for item in given if item[0].lower() in replaced]
            self._request.headers = type(self._given)(kept, encoding=getattr(self._given, "_encoding", None))
        if getattr(outcome, "_request", None) is self.request:
            outcome.request = self._request

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The headers of the response have arrived, and only waits for the body count now; or there is no response."""
        self._returned(error or result)
        running = self._running
        if running is None:
            return
        if error is not None:
            running.end(error=error)
            return
        stopwatch = self._stopwatch
        stopwatch.pause()
        try:
            _learn_response(running, result)
            if not result.is_closed:  # else it was made with its body in hand, as MockTransport does
                result.stream = self._body(result, running, stopwatch)
                return
        except Exception:
            faults.report("httpx: response")
        running.end(result)


def _items(headers: Any) -> list[tuple[bytes, bytes, bytes]]:
    """A snapshot of the headers: of a private list, which costs less than public methods; empty if there is none."""
    return list(getattr(headers, "_list", ()))


# -- wrappers -----------------------------------------------------------------------------------------------------


def _is_excluded(tracing: Tracing[HttpxOptions], request: Request) -> bool:
    if tracing.excluded is None or not tracing.wanted():
        return False
    found = request.url
    return tracing.excluded(canonical_url(found.scheme, found.host, found.port, found.path))


def _attempt(tracing: Tracing[HttpxOptions], request: Request, body: Callable[..., Any]) -> _Attempt | None:
    """One request on the wire; None if there is nothing to record nor to carry."""
    if _is_excluded(tracing, request):
        inside = context.with_span(tracing.start_excluded())
        return _Attempt(request, tracing.border.outgoing(inside, request.url.host), None, body, inside)
    where = tracing.border.outgoing(context.current(), request.url.host)
    running = None
    traced = tracing.recorded() or tracing.starts_trace()
    if traced or tracing.wanted():
        operation = Operation(span_method(request.method), _request_attributes(request))
        if traced:
            running = tracing.begin(operation, objects=(request,))
            where = context.with_span(running.span, where)
        else:
            running = tracing.running(operation, INVALID_SPAN, objects=(request,))
            if not context.in_trace():
                where = Context()  # there is nothing to carry
    elif not context.in_trace() or context.is_suppressed(where):
        return None
    try:
        followed = running is not None and running.is_observed()
        return _Attempt(request, where, running if followed else None, body)
    except Exception:
        if running is not None:
            running.end()
        raise


def _wrap_send(library: str, body: Callable[[Any], Callable[..., Any]]) -> Wrapper:
    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        if sys.modules[library].__name__ != library:
            return original  # httpx2.alias_httpx() has been called: it is patched under its own name
        kind = body(sys.modules[library])

        def begin(tracing: Tracing[Any], client: Any, args: Args, kwargs: Kwargs) -> Call | None:
            return _attempt(tracing, args[0], kind) if args else None  # as every version gives it

        return traced_call(begin, carries=True)(tracing, original)

    return wrap


def _begin_send(tracing: Tracing[HttpxOptions], client: Any, args: Args, kwargs: Kwargs) -> Call:
    """Count what one ``send()`` puts on the wire: this method follows redirects and repeats for authentication."""
    if _is_excluded(tracing, argument(0, "request", args, kwargs)):
        return excluded_call(tracing)
    return Inside(Context({**context.current(), _SENT: [0]}))


_wrap_attempts = traced_call(_begin_send)


PATCH = Patch(
    name="httpx",
    versions={"httpx": ("0.27", "1"), "httpx2": ("2", "3")},
    independent=True,
    options=HttpxOptions,
    targets=tuple(
        target
        for library in ("httpx", "httpx2")
        for target in (
            Wrap(library, "Client._send_single_request", _wrap_send(library, sync_body)),
            Wrap(library, "AsyncClient._send_single_request", _wrap_send(library, async_body)),
            Wrap(library, "Client._send_handling_auth", _wrap_attempts, optional=True),
            Wrap(library, "AsyncClient._send_handling_auth", _wrap_attempts, optional=True),
        )
    ),
    records=(
        HTTP_REQUEST_METHOD,
        HTTP_REQUEST_METHOD_ORIGINAL,
        HTTP_REQUEST_RESEND_COUNT,
        HTTP_RESPONSE_STATUS_CODE,
        URL_FULL,
        SERVER_ADDRESS,
        SERVER_PORT,
        NETWORK_PROTOCOL_VERSION,
        ERROR_TYPE,
        CAUSAL_CANCELLED,
        CAUSAL_ABANDONED,
    ),
    never=(
        "headers, cookies and bodies",
        "user and password in URLs, and parameters whose names say that they are secret (`REDACTED`)",
        "the message of an exception",
    ),
    metrics={SpanKind.CLIENT: HTTP_CLIENT},
)
