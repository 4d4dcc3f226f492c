"""A span for the requests of an HTTP client that no patch knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.trace import INVALID_SPAN, SpanKind

from causal_otel._internal import faults
from causal_otel.engine import carriers, context
from causal_otel.engine.contained import users_span
from causal_otel.engine.foreign import global_tracer
from causal_otel.installation import installation
from causal_otel.instrument.declaration import Patch
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.conventions import HTTP_CLIENT
from causal_otel.names import HTTP_RESPONSE_STATUS_CODE, URL_FULL
from causal_otel.statements.urls import client_attributes, redact_url, span_method

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.trace import Span

__all__ = ["ClientSpan", "client_span"]

_CALLS = Patch("client_span", {}, ClientOptions, (), metrics={SpanKind.CLIENT: HTTP_CLIENT})
"""How such requests are measured: as those of the clients that are patched."""


class ClientSpan:
    """A request under way; see :func:`client_span`.

    Attributes:
        headers: what the request is to carry, so that its server goes on with the trace; empty outside the block.
    """

    def __init__(self, method: str, url: str, name: str | None, attributes: Mapping[str, Any] | None) -> None:
        self.headers: dict[str, str] = {}
        self._method = method
        self._url = url
        self._name = name
        self._attributes = attributes
        self._running: Running | None = None
        self._failed = False

    @property
    def span(self) -> Span:
        """The span, for attributes of your own; one that is not recorded where nothing is."""
        return INVALID_SPAN if self._running is None else users_span(self._running.span)

    def status(self, code: int) -> None:
        """Say which status the server has answered: from 400 on the request has failed (semantic conventions).

        Args:
            code: the status.
        """
        running = self._running
        if running is None:
            return
        try:
            running.learn({HTTP_RESPONSE_STATUS_CODE: code})
            if code >= 400:
                self.fail(str(code))
        except Exception:
            faults.report("client_span: status")

    def fail(self, error_type: str) -> None:
        """Say that the request has failed where neither a status nor an exception does, as gRPC's codes.

        An exception that leaves the block after that, or after a status that is a failure, tells of the same failure,
        and changes nothing.

        Args:
            error_type: the attribute ``error.type``: low in cardinality, and without anything of this request alone.
        """
        if self._running is not None:
            self._failed = True
            self._running.fail(error_type)

    def __enter__(self) -> ClientSpan:
        try:
            self._begin()
        except Exception:
            faults.report("client_span")
        return self

    def _begin(self) -> None:
        installed = installation()
        tracing: Tracing[Any]
        if installed is None:
            tracing = Tracing(global_tracer(), ClientOptions(), lambda seconds: True)
        else:
            tracing = installed.tracing(_CALLS)
        method = self._method.upper()
        scheme, host, port = _server(self._url)
        where = tracing.border.outgoing(context.current(), host)
        traced = tracing.recorded() or tracing.starts_trace()
        if traced or tracing.measurable():
            attributes = client_attributes(method, scheme, host, port)
            name = self._name or span_method(method)
            span: Span = INVALID_SPAN
            if traced:
                own = {**attributes, URL_FULL: redact_url(self._url), **(self._attributes or {})}
                span = tracing.start(name, SpanKind.CLIENT, own)
                where = context.with_span(span, where)
            self._running = Running(Operation(name, attributes), span, metrics=tracing.metrics)
        if not context.is_suppressed(where):
            self.headers = carriers.injected(where)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        running, self._running = self._running, None
        self.headers = {}
        if running is None:
            return
        try:
            running.end(error=None if self._failed and isinstance(error, Exception) else error)
        except Exception:
            faults.report("client_span: end")


def client_span(
    method: str, url: str, *, name: str | None = None, attributes: Mapping[str, Any] | None = None
) -> ClientSpan:
    """Trace a request of an HTTP client that no patch knows, such as ``requests``.

    ::

        with causal_otel.client_span("GET", url) as call:
            response = requests.get(url, headers=call.headers)
            call.status(response.status_code)

    It is one CLIENT span, with the attributes of the conventions for HTTP, and one measurement of
    ``http.client.request.duration``. It lasts as long as the block, and is not current inside, as the spans of clients
    that are patched are not. An exception that leaves the block is its error; a cancellation is marked
    ``causal.cancelled`` and is none. The block may be in a coroutine: no ``async with`` is needed.

    Args:
        method: of the request.
        url: all of it. Credentials and secret parameters are not recorded.
        name: of the span; default: the method.
        attributes: more of them, known at the start.
    """
    return ClientSpan(method, url, name, attributes)


def _server(url: str) -> tuple[str, str, int | None]:
    """The scheme, host and port of a URL; what it does not say well is left out."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "", "", None
    try:
        return parts.scheme, host, parts.port
    except ValueError:
        return parts.scheme, host, None
