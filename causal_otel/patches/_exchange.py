"""One request with its response, or one websocket connection, that is being recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import StatusCode

from causal_otel.engine import faults, outcome
from causal_otel.patches._tracing import Tracing, error_name
from causal_otel.semconv import ERROR_TYPE, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

__all__ = ["MOUNTED", "App", "Exchange", "Message", "Receive", "Scope", "Send", "contained"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[Any]]

MOUNTED = "causal_otel.mounted"
"""In a scope: the paths of the mounts that led here, with their parameters' names (``root_path`` has the values)."""

_DEPARTURES = ("ClientDisconnect", "WebSocketDisconnect")  # Starlette's words for a client that has gone


def contained(site: str, tell: Callable[..., Any], *args: Any) -> None:
    """Call ``tell``; its failure is ours alone, at ``site``."""
    try:
        tell(*args)
    except Exception:
        faults.report(site)


class Exchange:
    """What becomes of a request, told to its span once.

    The router, the wrapped ``receive`` and ``send``, and the end of the application's call tell it as it happens.

    Args:
        tracing: the patch's handle.
        span: the SERVER span.
        where: the context in which that is current.
        scope: of the type ``http`` or ``websocket``.
        method: the method, as names of spans show it.
    """

    def __init__(self, tracing: Tracing[Any], span: Span, where: Context, scope: Scope, method: str) -> None:
        self._tracing = tracing
        self._span = span
        self._where = where
        self._scope = scope
        self._method = method
        self._websocket = scope["type"] == "websocket"
        self._route: str | None = None
        self._status: int | None = None
        self._trailers = False
        self._over: int | None = None
        self._gone: int | None = None
        self._ended = False
        # Kept for the end: duration by the monotonic clock.
        self._clock = perf_counter_ns()
        self._started: int = getattr(span, "start_time", None) or time_ns()

    def _now(self) -> int:
        return self._started + perf_counter_ns() - self._clock

    def routed(self, route: Any, scope: Scope, mount: bool) -> None:
        """A router has chosen ``route``, whose path is below those of the mounts chosen before."""
        fastapi = scope.get("fastapi")
        if isinstance(fastapi, dict):
            # Since 0.137 a router's prefix is not in the route, which may be included several times, but here.
            included = fastapi.get("effective_route_context")
            if getattr(included, "original_route", None) is route:
                route = included
        path: str | None = getattr(route, "path_format", None)
        if path is not None:
            root: str = scope.get("app_root_path", scope.get("root_path", "")).rstrip("/")
            above: str = scope.get(MOUNTED, "")
            self._route = f"{root}{above}{path}"
            if mount:
                scope[MOUNTED] = above + path.removesuffix("/{path}")

    def sent(self, message: Message) -> None:
        """``message`` has been sent."""
        kind = message["type"]
        if kind == "http.response.body":
            if not (self._trailers or message.get("more_body")):
                self._complete()
        elif kind == "http.response.start":
            self._status = message["status"]
            self._trailers = message.get("trailers", False)
        elif kind == "http.response.pathsend" or (
            kind == "http.response.trailers" and not message.get("more_trailers")
        ):
            self._complete()
        elif kind == "websocket.accept":
            self._status = 101
        elif kind == "websocket.http.response.start":
            self._status = message["status"]
        elif kind == "websocket.close" and self._status is None:
            self._status = 403  # what servers answer where a connection is closed before it was accepted

    def _complete(self) -> None:
        self._over = self._now()
        if self._status is None or self._status < 500:
            self._finish()

    def disconnected(self) -> None:
        """The client has gone, perhaps before the end."""
        if self._gone is None:
            self._gone = self._now()

    def returned(self) -> None:
        """The application has returned."""
        if self._ended:
            return
        if self._over is None and not self._websocket:
            self._finish("incomplete_response" if self._gone is None else "client_disconnected")
        else:
            self._finish()

    def raised(self, error: BaseException) -> None:
        """The application has raised ``error``, perhaps after the response."""
        if not isinstance(error, Exception):
            if not self._ended:
                if outcome.is_cancellation(error) and self._over is None:
                    self._span.set_attribute(outcome.CANCELLED, True)
                self._finish()
            return
        error = _alone(error)
        if type(error).__name__ in _DEPARTURES or (self._gone is not None and isinstance(error, OSError)):
            if not self._ended:
                # How most websocket connections end, while a response is left incomplete.
                self._finish(None if self._websocket else "client_disconnected")
        elif self._ended:
            self._raised_late(error)
        else:
            self._span.record_exception(error)
            self._finish(error_name(error), type(error).__name__)

    def _raised_late(self, error: Exception) -> None:
        span = self._tracing.tracer.start_span(
            "after response", self._where, attributes={ERROR_TYPE: error_name(error)}, start_time=self._over
        )
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, type(error).__name__)
        span.end()

    def _finish(self, error_type: str | None = None, description: str | None = None) -> None:
        self._ended = True
        span, status = self._span, self._status
        try:
            attributes: dict[str, Any] = {}
            route = self._route or getattr(self._scope.get("route"), "path_format", None)
            if route is not None:
                attributes[HTTP_ROUTE] = route
                span.update_name(f"{self._method} {route}")
            if status is not None:
                attributes[HTTP_RESPONSE_STATUS_CODE] = status
                if status >= 500:
                    error_type = error_type or str(status)
            if error_type is not None:
                attributes[ERROR_TYPE] = error_type
                span.set_status(StatusCode.ERROR, description)
            span.set_attributes(attributes)
        finally:
            span.end(self._over or self._gone)

    def receives(self, receive: Receive) -> Receive:
        """``receive``, watched for the client's departure."""
        if self._websocket:
            return receive

        async def receive_() -> Message:
            message = await receive()
            if message.get("type") == "http.disconnect":
                self.disconnected()
            return message

        return receive_

    def sends(self, send: Send) -> Send:
        """``send``, watched for the course of the response."""

        async def send_(message: Message) -> None:
            try:
                await send(message)
            except OSError:  # what ASGI 2.4 has servers raise
                self.disconnected()
                raise
            contained("asgi: response", self.sent, message)

        return send_


def _alone(error: Exception) -> Exception:
    """The exception in a group of one, such as the task group around a streaming response makes of it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
