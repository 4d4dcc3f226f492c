"""One request, served inside its span: the application's call, and each part of the response that it yields."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import context as context_api
from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.w3c import traceparent
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches._http_server import contained, parent_context
from causal_otel.patches._http_server.client_address import peer_attributes
from causal_otel.patches.wsgi.exchange import Exchange
from causal_otel.patches.wsgi.incoming import (
    as_scope,
    headers_of_interest,
    request_attributes,
    request_url,
    without_proxies,
)
from causal_otel.patches.wsgi.protocol import EXCHANGE, App, Environ, StartResponse
from causal_otel.statements.urls import span_method

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causal_otel.patches.wsgi import WsgiOptions

__all__ = ["serve"]

R = TypeVar("R")


def serve(tracing: Tracing[WsgiOptions], app: App, environ: Environ, start_response: StartResponse) -> Any:
    """Call ``app`` inside a span, and have the body of its response made there as well."""
    exchange: Exchange | None = None
    running: Running | None = None
    request: _Request | None = None
    try:
        method = environ.get("REQUEST_METHOD", "GET")
        headers = headers_of_interest(environ)
        parent = parent_context(headers, tracing.border)
        name, options = span_method(method), tracing.options
        scope = as_scope(environ) if options.proxies is not None or options.captured_request is not None else {}
        asked = environ if options.proxies is None else without_proxies(environ, scope, headers, options.proxies)
        if tracing.excluded is not None and tracing.excluded(request_url(asked, headers)):
            span = tracing.start_excluded(parent)
        else:
            attributes = request_attributes(asked, method, headers)
            if options.proxies is not None:
                attributes.update(peer_attributes(scope))
            if options.captured_request is not None:
                attributes.update(options.captured_request.of(scope["headers"], tracing.shortened))
            running = tracing.entry(Operation(name, attributes, kind=SpanKind.SERVER), (environ,), parent)
            span = running.span
        where = context.with_span(span, parent)
        if running is not None and running.is_observed():
            exchange = Exchange(tracing, running, where, name, sys.exception(), environ.get("CONTENT_LENGTH", ""))
        environ[EXCHANGE] = exchange
        request = _Request(where, exchange, start_response, trace_headers(options, span))
    except Exception:
        faults.report("wsgi: request")
        if running is not None:
            contained("wsgi: request", running.end)  # or it would be under way for ever
    if request is None:
        return app(environ, start_response)
    result = request.run(app, environ, request.start_response)
    listed = type(result) in (list, tuple)
    if listed or _is_file(environ, result):
        # The server is to have these very objects: it sends them at once, or better than we could. So this is the end.
        if exchange is not None:
            contained("wsgi: outcome", exchange.is_handed_whole, result if listed else None)
        return result
    return SizedBody(request, result) if hasattr(result, "__len__") else Body(request, result)


def trace_headers(options: WsgiOptions, span: Span) -> list[tuple[str, str]]:
    """The headers by which the response tells its trace, as ``options`` say: see those of ASGI."""
    found = traceparent(span)
    if found is None:
        return []
    headers = [] if options.trace_id_header is None else [(options.trace_id_header, found[3:35])]
    if options.traceresponse:
        headers.append(("traceresponse", found))
    return headers


def _is_file(environ: Environ, result: object) -> bool:
    """Whether ``result`` is what the server has given the application to send a file by."""
    wrapper = environ.get("wsgi.file_wrapper")
    if wrapper is None:
        return False
    return isinstance(result, wrapper) if isinstance(wrapper, type) else hasattr(result, "read")


class _Request:
    """A request's steps, each in the request's context: the application's call, the parts of its response, its end.

    What is current at the end of a step is current again in the next one: that of a generator which yields inside a
    block. Between them it is what the server has there. All steps run in the server's own ``contextvars.Context``, so
    that variables of other libraries are set and reset where they would be without us.
    """

    __slots__ = ("_complete", "_headers", "_start_response", "_where", "exchange")

    def __init__(
        self,
        where: Context,
        exchange: Exchange | None,
        start_response: StartResponse,
        headers: list[tuple[str, str]],
    ) -> None:
        self._where = where
        self.exchange = exchange
        self._start_response = start_response
        self._headers = headers
        self._complete = False

    def run(self, step: Callable[..., R], *args: Any) -> R:
        """Call ``step`` with ``args``."""
        # A step begins and ends in one Context, so that the token can be given whatever is current then.
        variable = context.variable
        if variable is None:  # a runtime context of the user's own (OTEL_PYTHON_CONTEXT)
            token: Any = context_api.attach(self._where)
        else:
            token = variable.set(self._where)
        try:
            return step(*args)
        except StopIteration:
            self._complete = True
            raise
        except BaseException as error:
            if self.exchange is not None:
                contained("wsgi: outcome", self.exchange.raised, error, self._complete)
            raise
        finally:
            self._where = context.current()
            if variable is None:
                context_api.detach(token)
            else:
                variable.reset(token)

    def start_response(self, status: str, headers: Any, *args: Any, **kwargs: Any) -> Any:
        """The server's ``start_response``, with the headers that tell the trace."""
        if self._headers or self.exchange is not None:
            headers = _readable(headers)
        write = self._start_response(status, self._with_ours(headers), *args, **kwargs)
        exchange = self.exchange
        if exchange is None:
            return write
        contained("wsgi: response", exchange.answered, status, headers, *args, *kwargs.values())
        return None if write is None else _write(exchange, write)

    def _with_ours(self, headers: Any) -> Any:
        """A copy of ``headers`` with those of ours that the application has not set itself."""
        if not self._headers:
            return headers
        try:
            names = {name.lower() for name, _ in headers}
            return [*headers, *(header for header in self._headers if header[0].lower() not in names)]
        except Exception:
            faults.report("wsgi: response's header")
            return headers

    def end(self) -> None:
        """Nothing more of the response will be asked for."""
        if self.exchange is not None:
            contained("wsgi: outcome", self.exchange.returned, self._complete)

    def drop(self) -> None:
        """The response goes without having been closed."""
        if self.exchange is not None and not self._complete:
            contained("wsgi: outcome", self.exchange.abandoned)
        else:
            self.end()


def _readable(headers: Any) -> Any:
    """A response's headers, which are read here as well: some servers take an iterator, which can be read but once."""
    return list(headers) if isinstance(headers, Iterator) else headers


def _write(exchange: Exchange, write: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The server's ``write``, watched for what it sends and for the client's departure."""

    def write_(data: bytes) -> Any:
        contained("wsgi: response", exchange.hands_over, data)
        try:
            return write(data)
        except OSError:
            exchange.refused()
            raise
        finally:
            exchange.resumes()

    return write_


class Body:
    """The body of a response: asks the application for each part of it in the request's context, and tells its end."""

    def __init__(self, request: _Request, result: Any) -> None:
        self._steps = request
        self._result = result
        self._iterator: Iterator[bytes] | None = None
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        self._iterator = None
        return self

    def __next__(self) -> bytes:
        iterator, exchange = self._iterator, self._steps.exchange
        if exchange is not None:
            exchange.resumes()
        part: bytes = self._steps.run(self._first) if iterator is None else self._steps.run(next, iterator)
        if exchange is not None:
            contained("wsgi: response", exchange.hands_over, part)
        return part

    def _first(self) -> bytes:
        self._iterator = iterator = iter(self._result)
        part: bytes = next(iterator)
        return part

    def close(self) -> None:
        """The server's last call, whether it has asked for all parts or not."""
        if self._closed:
            return
        self._closed = True
        if self._steps.exchange is not None:
            self._steps.exchange.resumes()
        try:
            close = getattr(self._result, "close", None)
            if close is not None:
                self._steps.run(close)
        finally:
            self._steps.end()

    def __del__(self) -> None:
        if not self._closed:
            self._steps.drop()


class SizedBody(Body):
    """One that knows how many parts it has: servers make a ``Content-Length`` of a single one."""

    def __len__(self) -> int:
        return len(self._result)
