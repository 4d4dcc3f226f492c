"""One request with its response that is being recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel.engine import outcome
from causal_otel.instrument.errors import error_name
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import CAUSAL_ABANDONED, CAUSAL_CANCELLED, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE
from causal_otel.patches.wsgi.headers import captured_of_response

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from causal_otel.patches.wsgi import WsgiOptions

__all__ = ["Exchange"]

_EVENT_STREAM = "text/event-stream"


class Exchange:
    """What becomes of a request, recorded on its span once.

    Args:
        tracing: the patch's handle.
        running: the operation, with the SERVER span.
        where: the context in which that is current.
        method: the method, as names of spans show it.

    Attributes:
        sent: whether a part of the body is with the server. Before that, the server has sent no status either.
    """

    def __init__(self, tracing: Tracing[WsgiOptions], running: Running, where: Context, method: str) -> None:
        self._tracing = tracing
        self._running = running
        self._where = where
        self._method = method
        self._route: str | None = None
        self._status: int | None = None
        self._captured: dict[str, Any] = {}  # headers of the response
        self._operation: str | None = None  # what the request has asked for, where the route does not tell
        self._failure: tuple[str, str | None] | None = None  # what the response tells, whatever its status
        self._is_stream_of_events = False
        self._escaped: BaseException | None = None  # what a framework has made a response of
        self._gone = False
        self._ended = False
        self.sent = False

    def found_route(self, route: str) -> None:
        """A framework's router has found ``route``, with what is before it in the path."""
        self._route = route

    def escaped(self, error: BaseException) -> None:
        """``error`` has left a view, and a framework is about to make a response of it."""
        self._escaped = error

    def operated(self, name: str, attributes: dict[str, Any]) -> None:
        """The request has asked for an operation that its route does not tell: see the exchange of ASGI."""
        if not self._ended:
            self._operation = name
            self._running.learn(attributes)

    def failed(self, error_type: str, description: str | None, exceptions: Iterable[BaseException] = ()) -> None:
        """The response tells of an error, whatever its status; the first one counts."""
        if not self._ended:
            self._failure = self._failure or (error_type, description)
            for error in exceptions:
                self._tracing.record_exception(self._running.span, error)

    def answered(self, status: str, headers: Any, exc_info: Any = None) -> None:
        """The server has taken the status and the headers, and been told of an exception, if ``exc_info`` is one."""
        if exc_info:
            self.escaped(exc_info[1])
        self._status = int(status[:3])
        captured = self._tracing.options.captured_response
        if captured is not None:
            self._captured = captured_of_response(captured, headers, self._tracing.shortened)
        self._is_stream_of_events = any(
            name.lower() == "content-type" and value.startswith(_EVENT_STREAM) for name, value in headers
        )

    def refused(self) -> None:
        """The server has refused a part of the body, because the client has gone."""
        self._gone = True

    def returned(self, complete: bool) -> None:
        """Nothing more of the response will be asked for.

        Args:
            complete: whether all of it was.
        """
        if self._ended:
            return
        if self._status is None:
            self._finish("incomplete_response")
        elif self._is_left_early(complete):
            self._finish("client_disconnected")
        elif self._status >= 500 and self._escaped is not None:
            self._fail(self._escaped)
        else:
            self._finish()

    def _is_left_early(self, complete: bool) -> bool:
        # Closing is how a client ends a stream of events. Of a response to HEAD no server need ask for the body.
        return (self._gone or not complete) and not self._is_stream_of_events and self._method != "HEAD"

    def abandoned(self) -> None:
        """The server has dropped the response without closing it, before its end."""
        if not self._ended:
            self._running.learn({CAUSAL_ABANDONED: True})
            self._finish()

    def raised(self, error: BaseException, complete: bool) -> None:
        """The application has raised ``error``.

        Args:
            error: what it has raised.
            complete: whether all of the response had been asked for.
        """
        if complete and not self._ended:
            self.returned(complete)
        if self._ended:
            if isinstance(error, Exception):
                self._raised_late(error)
        elif not isinstance(error, Exception):
            if outcome.is_cancellation(error):
                self._running.learn({CAUSAL_CANCELLED: True})
            self._finish()
        elif self._gone:
            self._finish("client_disconnected")
        else:
            if not self.sent:
                self._status = None  # the server answers in its own way
            self._fail(error)

    def _raised_late(self, error: Exception) -> None:
        """Record an exception raised after the response. It is no request, so no observer is told of it."""
        operation = Operation("after response", {}, kind=SpanKind.INTERNAL)
        span = self._tracing.start(operation.name, operation.kind, operation.attributes, self._where)
        self._tracing.record_exception(span, error)
        running = Running(operation, span)
        running.fail(error_name(error), type(error).__name__)
        running.end()

    def _fail(self, error: BaseException) -> None:
        self._tracing.record_exception(self._running.span, error)
        self._finish(error_name(error), type(error).__name__)

    def _finish(self, error_type: str | None = None, description: str | None = None) -> None:
        self._ended = True
        running, status, route = self._running, self._status, self._route
        try:
            attributes = dict(self._captured)
            if route is not None:
                attributes[HTTP_ROUTE] = route
            name = " ".join(filter(None, (self._method, route, self._operation)))
            if name != self._method:
                running.span.update_name(name)
            if error_type is None and self._failure is not None:
                error_type, description = self._failure
            if status is not None:
                attributes[HTTP_RESPONSE_STATUS_CODE] = status
                if status >= 500:
                    error_type = error_type or str(status)
            if attributes:
                running.learn(attributes)
            if error_type is not None:
                running.fail(error_type, description)
        finally:
            running.end(status)
