"""One request, served inside its span: the application's call, and each part of the response that it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches._http_server import contained, parent_context
from causal_otel.patches.wsgi.exchange import Exchange
from causal_otel.patches.wsgi.headers import (
    Told,
    captured_of_request,
    peer_attributes,
    telling,
    with_headers,
    without_proxies,
)
from causal_otel.patches.wsgi.incoming import headers_of_interest, request_attributes, request_url
from causal_otel.patches.wsgi.protocol import EXCHANGE, App, Environ, StartResponse
from causal_otel.statements.urls import span_method

if TYPE_CHECKING:
    from opentelemetry.context import Context

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
        name = span_method(method)
        options = tracing.options
        asked = environ if options.proxies is None else without_proxies(options.proxies, environ, headers)
        if tracing.excluded is not None and tracing.excluded(request_url(asked, headers)):
            span = tracing.start_excluded(parent)
        else:
            attributes = request_attributes(asked, method, headers)
            if options.proxies is not None:
                attributes.update(peer_attributes(environ))
            if options.captured_request is not None:
                attributes.update(captured_of_request(options.captured_request, environ, tracing.shortened))
            operation = Operation(name, attributes, kind=SpanKind.SERVER)
            running = tracing.begin(operation, objects=(environ,), parent=parent)
            span = running.span
        where = context.with_span(span, parent)
        if running is not None and running.is_observed():
            exchange = Exchange(tracing, running, where, name)
        found = span.get_span_context()
        environ[EXCHANGE] = exchange
        request = _Request(where, exchange, start_response, telling(options, found))
    except Exception:
        faults.report("wsgi: request")
        if running is not None:
            contained("wsgi: request", running.end)  # or it would be under way for ever
    if request is None:
        return app(environ, start_response)
    result = request.run(app, environ, request.start_response)
    if type(result) in (list, tuple) or _is_file(environ, result):
        # The server is to have these very objects: it sends them at once, or better than we could. So this is the end.
        request.end(complete=True)
        return result
    return SizedBody(request, result) if hasattr(result, "__len__") else Body(request, result)


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

    __slots__ = ("_complete", "_exchange", "_start_response", "_told", "_where")

    def __init__(
        self,
        where: Context,
        exchange: Exchange | None,
        start_response: StartResponse,
        told: Told,
    ) -> None:
        self._where = where
        self._exchange = exchange
        self._start_response = start_response
        self._told = told
        self._complete = False

    def run(self, step: Callable[..., R], *args: Any) -> R:
        """Call ``step`` with ``args``."""
        activation = context.attach(self._where)
        try:
            return step(*args)
        except StopIteration:
            self._complete = True
            raise
        except BaseException as error:
            if self._exchange is not None:
                contained("wsgi: outcome", self._exchange.raised, error, self._complete)
            raise
        finally:
            self._where = context.current()
            activation.end()

    def start_response(self, status: str, headers: Any, *args: Any, **kwargs: Any) -> Any:
        """The server's ``start_response``, with the headers that tell of the trace."""
        told = with_headers(headers, self._told) if self._told else headers
        write = self._start_response(status, told, *args, **kwargs)
        exchange = self._exchange
        if exchange is None:
            return write
        contained("wsgi: response", exchange.answered, status, headers, *args, *kwargs.values())
        return None if write is None else _write(exchange, write)

    def sent(self) -> None:
        """A part of the body goes to the server."""
        if self._exchange is not None:
            self._exchange.sent = True

    def end(self, *, complete: bool = False) -> None:
        """Nothing more of the response will be asked for."""
        if self._exchange is not None:
            contained("wsgi: outcome", self._exchange.returned, complete or self._complete)

    def drop(self) -> None:
        """The response goes without having been closed."""
        if self._exchange is not None:
            if self._complete:
                self.end()
            else:
                contained("wsgi: outcome", self._exchange.abandoned)


def _write(exchange: Exchange, write: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The server's ``write``, watched for the client's departure."""

    def write_(data: bytes) -> Any:
        try:
            result = write(data)
        except OSError:
            exchange.refused()
            raise
        exchange.sent = True
        return result

    return write_


class Body:
    """The body of a response: asks the application for each part of it in the request's context, and tells its end."""

    def __init__(self, request: _Request, result: Any) -> None:
        self._steps = request
        self._result = result
        self._iterator: Iterator[bytes] | None = None
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        self._iterator = self._steps.run(iter, self._result)
        return self

    def __next__(self) -> bytes:
        iterator = self._iterator
        if iterator is None:
            iterator = self._iterator = self._steps.run(iter, self._result)
        part: bytes = self._steps.run(next, iterator)
        if part:
            self._steps.sent()
        return part

    def close(self) -> None:
        """The server's last call, whether it has asked for all parts or not."""
        if self._closed:
            return
        self._closed = True
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
