"""One request with its response, or one websocket connection, that is being recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import outcome
from causal_otel.instrument.errors import error_name
from causal_otel.instrument.operation import Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import CAUSAL_CANCELLED, CAUSAL_LOOP_READY_WAIT, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE
from causal_otel.patches._http_server.bodies import LEAST
from causal_otel.patches._http_server.raised import (
    alone,
    failure_of,
    handled_now,
    reason_of,
    record_late,
    record_raised,
    stems_from,
)
from causal_otel.patches.asgi.background import has_failed_in_background
from causal_otel.patches.asgi.connection import Connection
from causal_otel.patches.asgi.long_connections import Websocket
from causal_otel.patches.asgi.protocol import Message, Receive, Scope, Send
from causal_otel.patches.asgi.threadpool import take_wait, waits
from causal_otel.patches.asgi.trace_headers import STARTS, Headers, with_headers

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["Exchange"]

_DEPARTURES = ("ClientDisconnect", "WebSocketDisconnect")  # Starlette's words for a client that has gone
_UNANSWERED = "No response returned."  # what Starlette's BaseHTTPMiddleware raises where the application sends nothing


class Exchange(Connection):
    """What becomes of a request, recorded on its span once.

    The router, the wrapped ``receive`` and ``send``, and the end of the application's call tell it as it happens. The
    server's own ``receive`` and ``send`` alone do not tell how it went: a middleware may send a last message on behalf
    of an application that has sent none. Starlette's ``BaseHTTPMiddleware`` does, both where the client has left and
    where the application has failed in the middle of its response. So the response is complete only if neither
    happened before that message.

    Args:
        tracing: the patch's handle.
        running: the operation, with the SERVER span.
        where: the context in which that is current.
        scope: of the type ``http`` or ``websocket``.
        method: the method, as names of spans show it.

    Attributes:
        relayed: whether a middleware passes the response on to another task (Starlette's ``BaseHTTPMiddleware``): what
            is handled where the response is made is not seen where it is sent.
    """

    __slots__ = (
        "_closing",
        "_error_type",
        "_escaped",
        "_failure",
        "_handled",
        "_operation",
        "_outer",
        "_reason",
        "_receive",
        "_send",
        "_trace_headers",
        "_trailers",
        "relayed",
    )

    def __init__(self, tracing: Tracing[Any], running: Running, where: Context, scope: Scope, method: str) -> None:
        super().__init__(tracing, running, where, scope, method)
        self._trailers = False
        self._closing = False  # the last message of the response is with the server
        self._outer = sys.exception()  # what is being handled around the application, which has nothing to do with it
        self._escaped: Exception | None = None  # what has left the route before the response was over
        self._handled: Exception | None = None  # what a response that is relayed has answered
        self._reason: Exception | None = None  # what the response has answered with 5xx, and the span tells already
        self._error_type: tuple[str | None, str | None] = (None, None)
        self.relayed = False
        self._operation: str | None = None  # what the request has asked for, where the route does not tell
        self._failure: tuple[str, str | None] | None = None  # what the response tells, whatever its status

    def sending(self, message: Message, now: int) -> None:
        """``message`` is about to be sent. From the last one of a response on, a disconnect is how connections end."""
        kind = message["type"]
        if self._over is not None:
            return
        if kind == "http.response.start":
            self._first_byte = now
        elif kind == "http.response.body":
            self._closing = not (self._trailers or message.get("more_body"))
        elif kind == "http.response.pathsend":
            self._closing = True
        elif kind == "http.response.trailers":
            self._closing = not message.get("more_trailers")

    def sent(self, message: Message) -> None:
        """``message`` has been sent."""
        kind = message["type"]
        if kind == "http.response.body":
            self._bytes_out += len(message.get("body", b""))
        elif kind == "http.response.pathsend":
            self._bytes_out = -1
        if self._closing:
            self._complete()
        elif kind == "http.response.body":  # and there is more to come
            self._streamed(len(message.get("body", b"")))
        elif self._socket is not None:
            self._sent_by(self._socket, message)
        elif kind == "http.response.start":
            if self._gone is None:  # else it is nobody's
                self._answer(message["status"])
            self._trailers = message.get("trailers", False)
            self._headers = message.get("headers")

    def _sent_by(self, socket: Websocket, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._status = 101
            self._headers = message.get("headers")
            self._opened(socket)
        elif kind == "websocket.http.response.start":
            self._answer(message["status"])
            self._headers = message.get("headers")
        elif kind == "websocket.close" and self._status is None:
            self._status = 403  # what servers answer where a connection is closed before it was accepted
        else:
            socket.left(message)

    def _answer(self, status: int) -> None:
        """The response has begun, in the middle of whatever has led to it: an exception that is being handled."""
        self._status = status
        if status < 500:
            return
        error = handled_now(self._outer) or self._handled or self._escaped
        if error is not None and not self._is_departure(error):
            self._reason = error
            reason = reason_of(error)
            self._error_type = failure_of(reason)
            record_raised(self._tracing, self._running.span, reason)

    def handles(self, send: Send) -> Send:
        """``send`` of a route, watched for what the application handles there; for a response that is relayed."""

        async def send_(message: Message) -> None:
            if message.get("status", 0) >= 500:
                self._handled = handled_now(self._outer)
            await send(message)

        return send_

    def _complete(self) -> None:
        if self._over is not None:
            return
        self._over = self._now()
        # Otherwise it stays open until the application returns or raises, to learn why.
        if self._reason is not None or (self._answered() and self._escaped is None):
            self._finish(*self._error_type)

    def _answered(self) -> bool:
        """Whether a whole response has reached the client that does not tell of a failure."""
        return self._over is not None and self._gone is None and (self._status is None or self._status < 500)

    def disconnected(self) -> None:
        """The client has gone, perhaps before the end."""
        if self._closing:  # hypercorn on trio says so before the last message is back, which Starlette cancels then
            self._over = self._over or self._now()
        elif self._gone is None:
            self._gone = self._now()

    def refused(self) -> None:
        """The server has refused a message, because the client has gone."""
        self._closing = False
        self.disconnected()

    def escaped(self, error: Exception) -> None:
        """``error`` has left the route; middlewares may turn it into a response, or hide it behind the end of one."""
        if self._over is None:
            self._escaped = error

    def operated(self, name: str, attributes: dict[str, Any]) -> None:
        """The request has asked for an operation that its route does not tell, such as one of GraphQL's.

        Args:
            name: follows the route in the span's name.
            attributes: of the operation.
        """
        if not self._ended:
            self._operation = name
            self._running.learn(attributes)

    def failed(self, error_type: str, description: str | None, exceptions: Iterable[BaseException] = ()) -> None:
        """The response tells of an error, whatever its status; the first one counts."""
        if not self._ended:
            self._failure = self._failure or (error_type, description)
            for error in exceptions:
                self._tracing.record_exception(self._running.span, error)

    def returned(self) -> None:
        """The application has returned."""
        if not self._ended:
            if self._over is None and self._gone is None and self._socket is None:
                self._finish("incomplete_response")
            else:
                self._finish(*self._error_type)
        self._forget()

    def raised(self, error: BaseException) -> None:
        """The application has raised ``error``, perhaps after the response."""
        if isinstance(error, Exception):
            self._raised(alone(error))
        elif not self._ended:
            if outcome.is_cancellation(error) and self._over is None and self._gone is None:
                self._running.learn({CAUSAL_CANCELLED: True})
            self._finish(*self._error_type)
        self._forget()

    def _raised(self, error: Exception) -> None:
        if self._is_departure(error):
            if not self._ended:
                if self._over is None:
                    self.refused()
                self._finish()
            return
        in_background = self._over is not None and has_failed_in_background(error)
        if not self._ended and (in_background or (self._answered() and not stems_from(error, self._escaped))):
            self._finish(*self._error_type)  # what had escaped was turned into this response
        told = self._reason is not None and stems_from(error, self._reason)
        if not self._ended:
            if not told:
                record_raised(self._tracing, self._running.span, error)
                self._error_type = error_name(error), type(error).__name__
            self._finish(*self._error_type)
        elif not (told or in_background):
            record_late(self._tracing, self._where, error, self._over)

    def _forget(self) -> None:
        """Let go of exceptions, whose tracebacks lead back here, so that all of it goes when the request does."""
        self._outer = self._escaped = self._handled = self._reason = None

    def _is_departure(self, error: Exception) -> bool:
        """Whether ``error`` only says that the client has gone."""
        if type(error).__name__ in _DEPARTURES:
            return True
        if self._gone is None:
            return False
        return isinstance(error, OSError) or (isinstance(error, RuntimeError) and str(error) == _UNANSWERED)

    def _finish(self, error_type: str | None = None, description: str | None = None) -> None:
        self._ended = True
        running, status = self._running, self._status
        at = self._gone or self._over
        try:
            # Leaving is how a client ends most websocket connections, and every stream of events.
            left_early = self._gone is not None and self._socket is None and not self._streams_events()
            attributes: dict[str, Any] = {}
            route = self._known_route()
            if route is not None:
                attributes[HTTP_ROUTE] = route
            if self._operation is not None:
                running.span.update_name(" ".join(filter(None, (self._method, route, self._operation))))
            elif route is not None:
                running.span.update_name(f"{self._method} {route}")
            if error_type is None and self._failure is not None:
                error_type, description = self._failure
            if error_type is None and left_early:
                error_type = "client_disconnected"
            if status is not None:
                attributes[HTTP_RESPONSE_STATUS_CODE] = status
                if status >= 500:
                    error_type = error_type or str(status)
            self._add_sizes(attributes, self._headers, has_body=self._method != "HEAD")
            began, ended = self._started - self._clock, (at or self._now()) - self._clock
            waited = int(take_wait(running.span) * 1e9) if waits else 0
            self._add_parts(attributes, began, ended, self._computed(), waited)
            if self._steps is not None and (ready := min(self._steps.waited, ended - began)) >= LEAST:
                attributes[CAUSAL_LOOP_READY_WAIT] = ready / 1e9
            closed_with = self._closed(attributes)
            error_type = error_type or closed_with
            captured = self._tracing.options.captured_response
            if captured is not None:
                attributes.update(captured.of(self._headers, self._tracing.shortened))
            if attributes:
                running.learn(attributes)
            if error_type is not None:
                running.fail(error_type, description)
        finally:
            running.end(status, None, at, None if at is None else at - self._started)

    def receives(self, receive: Receive) -> Receive:
        """``receive``, watched for the body and the client's departure, or for what comes over a websocket."""
        if self._socket is not None:
            return self._socket.receives(receive)
        self._receive = receive
        return self._receive_watched

    async def _receive_watched(self) -> Message:
        began = perf_counter_ns()
        try:
            message = await self._receive()
        finally:
            self._add_received(perf_counter_ns() - began)
        try:
            if message["type"] == "http.disconnect":
                self.disconnected()
            else:
                self._count_received(message)
        except Exception:
            faults.report("asgi: request's body")
        return message

    def sends(self, send: Send, headers: Headers) -> Send:
        """``send``, watched for the course of the response, which tells its trace by ``headers``."""
        self._send = send
        self._trace_headers = headers
        return self._send_watched

    async def _send_watched(self, message: Message) -> None:
        told = message
        began = perf_counter_ns()
        try:
            self.sending(message, began)
            if self._trace_headers and message["type"] in STARTS:
                told = with_headers(message, self._trace_headers)
        except Exception:
            faults.report("asgi: response")
        try:
            await self._send(told)
        except OSError:  # what ASGI 2.4 has servers raise
            self.refused()
            raise
        finally:
            self._sending += perf_counter_ns() - began
        try:
            self.sent(told)
        except Exception:
            faults.report("asgi: response")
