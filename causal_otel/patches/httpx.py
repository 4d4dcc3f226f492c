"""HTTPX, 0.27 and later, and its successor HTTPX2: requests of every client, sync and async, over any transport.

One CLIENT span for each request on the wire, so each redirect and each repetition for authentication has its own. It
is a child of the current span, and is never current itself. It lasts until the headers of the response are there and,
added to that, as long as its body is waited for; what you do between two chunks of a streamed response does not count,
nor does closing it. It is handed over when the body has been read, which ``client.get()`` and the like do, or the
response is closed; a response that nobody closes has its span handed over when it is collected, marked
``causal.abandoned``. Connection retries inside a transport are part of one span.

The request carries the span's context in its headers (as ``opentelemetry.propagate`` says, W3C by default) in place of
any that were there. What is sent is a copy: the caller's request, headers and client keep theirs. Where nothing is
recorded the current context is carried, if there is one. Baggage goes along to allowed hosts only (``baggage_hosts``).

A request that is excluded, by its URL, has no span, and nor has what runs inside it: event hooks, authentication,
transports, redirects. It carries the current trace, if there is one, as not sampled, so that its server does not
record its part.

Span names are methods, ``GET`` (``HTTP`` for unknown ones). Attributes: ``http.request.method``,
``http.request.method_original``, ``http.request.resend_count``, ``http.response.status_code``, ``url.full`` (without
credentials, and secret query parameters redacted), ``server.address``, ``server.port``, ``network.protocol.version``
and ``error.type`` (the status code from 400 on, or the class of the exception). No header and no body is recorded.

Options: :class:`HttpxOptions`.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.trace import SpanKind, StatusCode

from causal_otel.engine import carriers, context, faults
from causal_otel.engine.outcome import CANCELLED
from causal_otel.patches._excluded import url
from causal_otel.patches._layer import Patch, Wrap
from causal_otel.patches._stopwatch import Stopwatch
from causal_otel.patches._tracing import ClientOptions, Tracing, end_failed, mark_failed
from causal_otel.semconv import (
    ABANDONED,
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
from causal_otel.statements.urls import DEFAULT_PORTS, method_attributes, redact_url, span_method

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx import Request, Response
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

__all__ = ["PATCH", "HttpxOptions"]


@dataclass(frozen=True, kw_only=True)
class HttpxOptions(ClientOptions):
    """Options of the httpx patch; see :class:`~causal_otel.patches._tracing.ClientOptions`.

    Args:
        excluded: URLs, such as ``*.example.com/**`` or ``https://example.com:8443/v1/{id}``, or paths on any host,
            such as ``/health``. A port or scheme that is left out is any. Default: the setting ``excluded_urls``.
    """

    by_url = True


_sent: ContextVar[list[int] | None] = ContextVar("causal_otel_httpx_sent", default=None)
"""How many requests the current ``send()`` has put on the wire, as the one item of a list."""


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
    sent = _sent.get()
    if sent is not None:
        if sent[0]:
            attributes[HTTP_REQUEST_RESEND_COUNT] = sent[0]
        sent[0] += 1
    return attributes


def _set_response_attributes(span: Span, response: Response) -> None:
    status = response.status_code
    attributes: dict[str, Any] = {HTTP_RESPONSE_STATUS_CODE: status}
    version = response.extensions.get("http_version")  # as b"HTTP/1.1"; not every transport tells
    if version is not None:
        attributes[NETWORK_PROTOCOL_VERSION] = version.decode("ascii", "replace").rpartition("/")[2]
    if status >= 400:
        attributes[ERROR_TYPE] = str(status)
        span.set_status(StatusCode.ERROR)
    span.set_attributes(attributes)


# -- one request on the wire --------------------------------------------------------------------------------------


class _Attempt:
    """A request on its way: the copy that carries the context, and the span, if it is recorded.

    Args:
        request: what the client was about to send.
        where: the context to carry.
        span: the span of this attempt, not ended yet.
    """

    __slots__ = ("_given", "_request", "_sent", "_stopwatch", "request", "span")

    def __init__(self, request: Request, where: Context, span: Span | None) -> None:
        self._request = self.request = request
        self.span = span
        if span is not None:
            self._stopwatch = Stopwatch()
        carrier: dict[str, str] = {}
        carriers.inject(carrier, where)
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

    def returned(self, outcome: Response | BaseException) -> None:
        """Let the caller find the request where the client put the copy, as the client would have left it."""
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

    def failed(self, error: BaseException) -> None:
        """There will be no response."""
        self.returned(error)
        if self.span is not None:
            end_failed(self.span, error)

    def responded(self, response: Response, body: Callable[[Any, Span, Stopwatch], Any]) -> None:
        """The headers are there; from here on waits for the body count."""
        self.returned(response)
        if self.span is None:
            return
        self._stopwatch.pause()
        try:
            _set_response_attributes(self.span, response)
            if response.is_closed:  # it was made with its body in hand, as MockTransport does
                self.span.end()
            else:
                response.stream = body(response.stream, self.span, self._stopwatch)
        except Exception:
            faults.report("httpx: response")
            self.span.end()


def _items(headers: Any) -> list[tuple[bytes, bytes, bytes]]:
    """A snapshot of what ``headers`` keep, where a version keeps it so: cheaper than through their public face."""
    return list(getattr(headers, "_list", ()))


def _begin(tracing: Tracing[HttpxOptions], request: Request) -> _Attempt | None:
    """The attempt to send ``request``; None if there is nothing to record nor to carry."""
    span = None
    try:
        where = tracing.border.outgoing(context.current(), request.url.host)
        if tracing.recorded():
            span = tracing.start(span_method(request.method), SpanKind.CLIENT, _request_attributes(request))
            return _Attempt(request, context.with_span(span, where), span if span.is_recording() else None)
        current = context.current_span(where) if tracing.active else None
        if current is not None and current.get_span_context().is_valid and not context.suppressed(where):
            return _Attempt(request, where, None)
    except Exception:
        faults.report("httpx: request")
        if span is not None:
            span.end()
    return None


# -- wrappers -----------------------------------------------------------------------------------------------------


def _wrap_send(library: str) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        if sys.modules[library].__name__ != library:
            return original  # httpx2.alias_httpx() has been called: it is patched under its own name
        body = _sync_body(sys.modules[library])

        @functools.wraps(original)
        def _send_single_request(self: Any, request: Request) -> Response:
            attempt = _begin(tracing, request)
            if attempt is None:
                return cast("Response", original(self, request))
            try:
                response: Response = original(self, attempt.request)
            except BaseException as error:
                attempt.failed(error)
                raise
            attempt.responded(response, body)
            return response

        return _unless_excluded(tracing, _send_single_request)

    return wrap


def _wrap_async_send(library: str) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        if sys.modules[library].__name__ != library:
            return original
        body = _async_body(sys.modules[library])

        @functools.wraps(original)
        async def _send_single_request(self: Any, request: Request) -> Response:
            attempt = _begin(tracing, request)
            if attempt is None:
                return cast("Response", await original(self, request))
            try:
                response: Response = await original(self, attempt.request)
            except BaseException as error:
                attempt.failed(error)
                raise
            attempt.responded(response, body)
            return response

        return _unless_excluded(tracing, _send_single_request)

    return wrap


def _wrap_attempts(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Count what one ``send()`` puts on the wire: this method follows redirects and repeats for authentication."""

    @functools.wraps(original)
    def _send_handling_auth(*args: Any, **kwargs: Any) -> Any:
        if not tracing.recorded():
            return original(*args, **kwargs)
        outer = _sent.get()
        _sent.set([0])
        try:
            return original(*args, **kwargs)
        finally:
            _sent.set(outer)

    return _unless_excluded(tracing, _send_handling_auth)


def _wrap_async_attempts(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def _send_handling_auth(*args: Any, **kwargs: Any) -> Any:
        if not tracing.recorded():
            return await original(*args, **kwargs)
        outer = _sent.get()
        _sent.set([0])
        try:
            return await original(*args, **kwargs)
        finally:
            _sent.set(outer)

    return _unless_excluded(tracing, _send_handling_auth)


def _unless_excluded(tracing: Tracing[Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """``call``, a method that takes a request, which is silent with all that is inside it where that is excluded."""
    excluded = tracing.excluded
    if excluded is None:
        return call

    def begin(request: Request) -> context.Activation | None:
        try:
            if tracing.recorded():
                found = request.url
                if excluded(url(found.scheme, found.host, found.port, found.path)):
                    return context.attach(context.with_span(tracing.start_silent()))
        except Exception:
            faults.report("httpx: excluded")
        return None

    if inspect.iscoroutinefunction(call):

        @functools.wraps(call)
        async def async_call(self: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
            activation = begin(request)
            try:
                return await call(self, request, *args, **kwargs)
            finally:
                if activation is not None:
                    activation.end()

        return async_call

    @functools.wraps(call)
    def sync_call(self: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
        activation = begin(request)
        try:
            return call(self, request, *args, **kwargs)
        finally:
            if activation is not None:
                activation.end()

    return sync_call


# -- bodies: the library's own stream, seen through ---------------------------------------------------------------


class _Body:
    """What both kinds of bodies share: the stream behind shows through, and the span ends once."""

    def __init__(self, stream: Any, span: Span, stopwatch: Stopwatch) -> None:
        self._causal_stream = stream
        self._causal_span = span
        self._causal_stopwatch = stopwatch

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_causal_")):  # asked of a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self._causal_stream, name)

    def _causal_end(self, error: BaseException | None = None) -> None:
        span = self._causal_span
        if not span.is_recording():
            return
        if error is not None:
            mark_failed(span, error)
        self._causal_stopwatch.end(span)

    def __del__(self) -> None:
        span = vars(self).get("_causal_span")
        if span is not None and span.is_recording():
            span.set_attribute(ABANDONED, True)
            self._causal_stopwatch.end(span)


@functools.cache
def _sync_body(library: Any) -> type[_Body]:
    class TracedStream(_Body, library.SyncByteStream):  # type: ignore[misc]  # clients check for their own class
        def __iter__(self) -> Iterator[bytes]:
            stopwatch = self._causal_stopwatch
            chunks = iter(self._causal_stream)
            try:
                while True:
                    stopwatch.resume()
                    try:
                        chunk = next(chunks)
                    except StopIteration:
                        break
                    finally:
                        stopwatch.pause()
                    yield chunk
            except GeneratorExit:  # the reader has stopped: the request ends when it is closed
                if isinstance(chunks, Generator):
                    chunks.close()
                raise
            except BaseException as error:
                self._causal_end(error)
                raise
            self._causal_end()

        def close(self) -> None:
            self._causal_stopwatch.stop()
            try:
                self._causal_stream.close()
            except BaseException as error:
                self._causal_end(error)
                raise
            self._causal_end()

    return TracedStream


@functools.cache
def _async_body(library: Any) -> type[_Body]:
    class TracedAsyncStream(_Body, library.AsyncByteStream):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            stopwatch = self._causal_stopwatch
            chunks = self._causal_stream.__aiter__()
            try:
                while True:
                    stopwatch.resume()
                    try:
                        chunk = await anext(chunks)
                    except StopAsyncIteration:
                        break
                    finally:
                        stopwatch.pause()
                    yield chunk
            except GeneratorExit:
                raise
            except BaseException as error:
                self._causal_end(error)
                raise
            finally:
                if isinstance(chunks, AsyncGenerator):
                    await chunks.aclose()
            self._causal_end()

        async def aclose(self) -> None:
            self._causal_stopwatch.stop()
            try:
                await self._causal_stream.aclose()
            except BaseException as error:
                self._causal_end(error)
                raise
            self._causal_end()

    return TracedAsyncStream


PATCH = Patch(
    name="httpx",
    versions={"httpx": ("0.27", "1"), "httpx2": ("2", "3")},
    independent=True,
    options=HttpxOptions,
    targets=tuple(
        target
        for library in ("httpx", "httpx2")
        for target in (
            Wrap(library, "Client._send_single_request", _wrap_send(library)),
            Wrap(library, "AsyncClient._send_single_request", _wrap_async_send(library)),
            Wrap(library, "Client._send_handling_auth", _wrap_attempts, optional=True),
            Wrap(library, "AsyncClient._send_handling_auth", _wrap_async_attempts, optional=True),
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
        CANCELLED,
        ABANDONED,
    ),
    never=(
        "headers, cookies and bodies",
        "user and password in URLs, and parameters whose names say that they are secret (`REDACTED`)",
        "the message of an exception",
    ),
)
