"""One request with its response that is being recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel.causality.thread_cpu import ThreadCpu
from causal_otel.engine import outcome
from causal_otel.instrument.errors import error_name
from causal_otel.instrument.operation import Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import CAUSAL_ABANDONED, CAUSAL_CANCELLED, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE
from causal_otel.patches._http_server.bodies import Bodies
from causal_otel.patches._http_server.raised import (
    alone,
    failure_of,
    handled_now,
    reason_of,
    record_late,
    record_raised,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from causal_otel.patches.wsgi import WsgiOptions

__all__ = ["Exchange"]

_EVENT_STREAM = "text/event-stream"


class Exchange(Bodies):
    """What becomes of a request, recorded on its span once.

    Args:
        tracing: the patch's handle.
        running: the operation, with the SERVER span.
        where: the context in which that is current.
        method: the method, as names of spans show it.
        outer: the exception that is being handled around the application, which has nothing to do with it.
        size: what the request says of the length of its body.
    """

    __slots__ = (
        "_began",
        "_cpu",
        "_ended",
        "_escaped",
        "_failure",
        "_gone",
        "_handed",
        "_headers",
        "_method",
        "_operation",
        "_outer",
        "_reason",
        "_route",
        "_running",
        "_status",
        "_tracing",
        "_where",
    )

    def __init__(
        self,
        tracing: Tracing[WsgiOptions],
        running: Running,
        where: Context,
        method: str,
        outer: BaseException | None,
        size: str,
    ) -> None:
        super().__init__()
        self._began = perf_counter_ns()
        self._cpu = ThreadCpu() if running.span.is_recording() and tracing.options.cpu_time else None
        self._tracing = tracing
        self._running = running
        self._where = where
        self._method = method
        self._outer = outer
        self._route: str | None = None
        self._status: int | None = None
        self._headers: Sequence[tuple[str, str]] = ()  # of the response
        self._escaped: Exception | None = None  # what a framework is about to make a response of
        self._reason: Exception | None = None  # what the response was made of
        self._handed = 0  # when the server was given a part of the body which it is sending; 0: it is not
        self._gone = False
        self._ended = False
        self._operation: str | None = None  # what the request has asked for, where the route does not tell
        self._failure: tuple[str, str | None] | None = None  # what the response tells, whatever its status
        self._whole = True
        if size.isdecimal():
            self._bytes_in = int(size)

    def found_route(self, route: str) -> None:
        """A framework's router has found ``route``, with what is before it in the path."""
        self._route = route

    def escaped(self, error: Exception) -> None:
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

    def answered(self, status: str, headers: Sequence[tuple[str, str]], exc_info: Any = None) -> None:
        """The server has taken the status and the headers.

        Args:
            status: with its reason.
            headers: as the application has set them.
            exc_info: the exception of which the application has told the server.
        """
        self._status = int(status[:3])
        self._headers = headers
        if self._status >= 500:
            self._reason = (exc_info[1] if exc_info else None) or handled_now(self._outer) or self._escaped

    def resumes(self) -> None:
        """The server asks for more, or closes: it has sent what it was given."""
        if self._handed:
            self._sending += perf_counter_ns() - self._handed
            self._handed = 0

    def hands_over(self, part: bytes) -> None:
        """The server is given a part of the body."""
        now = perf_counter_ns()
        if part:
            self._bytes_out += len(part)
            self._first_byte = self._first_byte or now
        self._handed = now

    def refused(self) -> None:
        """The server has refused a part of the body, because the client has gone."""
        self._gone = True

    def is_handed_whole(self, result: Any) -> None:
        """The server is given the whole body at once, and the request is over.

        Args:
            result: the parts; None: it is a file, which the server reads.
        """
        self._bytes_out = -1 if result is None else self._bytes_out + sum(map(len, result))
        self.returned(complete=True)

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
        elif self._reason is not None and self._status >= 500:
            reason = reason_of(self._reason)
            record_raised(self._tracing, self._running.span, reason)
            self._finish(*failure_of(reason))
        else:
            self._finish()

    def _is_left_early(self, complete: bool) -> bool:
        # Closing is how a client ends a stream of events. Of a response to HEAD no server need ask for the body.
        return (self._gone or not complete) and self._method != "HEAD" and not _is_event_stream(self._headers)

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
        if complete:
            self.returned(complete)
        if not isinstance(error, Exception):
            if not self._ended:
                if outcome.is_cancellation(error):
                    self._running.learn({CAUSAL_CANCELLED: True})
                self._finish()
            return
        error = alone(error)
        if self._ended:
            record_late(self._tracing, self._where, error)
        elif self._gone:
            self._finish("client_disconnected")
        else:
            if not self._first_byte:
                self._status = None  # nothing of the response is on the wire: the server answers in its own way
            record_raised(self._tracing, self._running.span, error)
            self._finish(error_name(error), type(error).__name__)

    def _finish(self, error_type: str | None = None, description: str | None = None) -> None:
        self._ended = True
        self._outer = self._escaped = self._reason = None  # their tracebacks lead back here
        running, status, route = self._running, self._status, self._route
        try:
            attributes: dict[str, Any] = {}
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
            captured = self._tracing.options.captured_response
            headers = _as_bytes(self._headers) if captured is not None or self._bytes_out < 0 else ()
            self._add_sizes(attributes, headers, has_body=self._method != "HEAD")
            computed = 0 if self._cpu is None else self._cpu.computed()
            self._add_parts(attributes, self._began, perf_counter_ns(), computed)
            if captured is not None:
                attributes.update(captured.of(headers, self._tracing.shortened))
            if attributes:
                running.learn(attributes)
            if error_type is not None:
                running.fail(error_type, description)
        finally:
            running.end(status)


def _as_bytes(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _is_event_stream(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether a response's headers say that it is a stream of server-sent events."""
    return any(name.lower() == "content-type" and value.startswith(_EVENT_STREAM) for name, value in headers)
