"""The span of a request or a websocket: its clock, its route, and how it shows up while it is open."""

from __future__ import annotations

from time import perf_counter_ns, time_ns
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel.causality.own_steps import OwnSteps
from causal_otel.engine.local_trace import local_trace_of
from causal_otel.instrument.operation import Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import CAUSAL_OPEN, HTTP_ROUTE
from causal_otel.patches._http_server.bodies import Bodies
from causal_otel.patches.asgi.long_connections import OpenConnection, Websocket
from causal_otel.patches.asgi.protocol import MOUNTED, Scope
from causal_otel.patches.asgi.threadpool import computed, take_computed

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["Connection"]

_EVENT_STREAM = b"text/event-stream"


class Connection(Bodies):
    """What is known of a request, or of a websocket, until it is over; what came of it is an exchange's to say.

    Args:
        tracing: the patch's handle.
        running: the operation, with the SERVER span.
        where: the context in which that is current.
        scope: of the type ``http`` or ``websocket``.
        method: the method, as names of spans show it.

    Attributes:
        route: what a router has chosen last.
    """

    __slots__ = (
        "_clock",
        "_ended",
        "_gone",
        "_headers",
        "_method",
        "_over",
        "_route",
        "_running",
        "_scope",
        "_socket",
        "_started",
        "_status",
        "_steps",
        "_stream",
        "_told",
        "_tracing",
        "_where",
        "route",
    )

    def __init__(self, tracing: Tracing[Any], running: Running, where: Context, scope: Scope, method: str) -> None:
        super().__init__()
        self._tracing = tracing
        self._running = running
        self._where = where
        self._scope = scope
        self._method = method
        self._route: str | None = None
        self._status: int | None = None
        self._headers: Any = ()  # of the response
        self._over: int | None = None
        self._gone: int | None = None
        self._ended = False
        self.route: Any = None
        self._socket = Websocket() if scope["type"] == "websocket" else None
        self._stream: OpenConnection | None = None  # a response in several pieces
        self._told = 0  # of the connection, until when
        self._steps: OwnSteps[Any] | None = None  # of the application's call
        # The end is told by the clock of the span's own trace. Counted from here, it would lack the time since the
        # span's start (a slow span processor, a busy machine), and come before the ends of the spans inside.
        local = local_trace_of(running.span)
        self._clock: int = 0 if local is None else local.clock
        if not self._clock:  # of a trace that is not recorded
            self._clock = time_ns() - perf_counter_ns()
        self._started: int = getattr(running.span, "start_time", None) or time_ns()

    def measured(self, call: Any) -> Any:
        """What to await in place of the application's ``call``, so that what it computes is known."""
        if (
            type(call) is not CoroutineType
            or not self._tracing.options.cpu_time
            or not self._running.span.is_recording()
        ):
            return call
        self._steps = steps = OwnSteps(call)
        return steps

    def _computed(self) -> int:
        """Nanoseconds that have been computed for the request: in its own task, and in threads."""
        threads = take_computed(self._running.span) if computed else 0
        return 0 if self._steps is None else self._steps.computed() + threads

    def _now(self) -> int:
        return perf_counter_ns() + self._clock

    def routed(self, route: Any, scope: Scope, mount: bool) -> None:
        """A router has chosen ``route``, whose path is below those of the mounts chosen before."""
        self.route = route
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

    def found_route(self, route: str) -> None:
        """A framework that is not Starlette has found ``route``, with what is before it in the path."""
        self._route = route

    def _known_route(self) -> str | None:
        route: str | None = self._route or getattr(self._scope.get("route"), "path_format", None)
        return route

    def _streamed(self, size: int) -> None:
        """A piece of the response has been sent, and there are more to come."""
        if self._stream is None:
            self._stream = OpenConnection()
            self._opened(self._stream)
        self._stream.sent(size)

    def _opened(self, connection: OpenConnection) -> None:
        """It may stay open for long, and shows up meanwhile if its span is one that will be exported."""
        self._told = self._started
        span = self._running.span
        if span.is_recording() and span.get_span_context().trace_flags.sampled:
            connection.opened(self._progress, self._tracing.options.progress_interval)

    def _progress(self, attributes: dict[str, Any]) -> bool:
        """Make a span of the time that the connection has been open since the one before; False: it is over."""
        now = self._now()  # before it is asked whether it is over: so it ends after this
        if self._ended or self._over is not None or self._gone is not None or not self._tracing.active:
            return False
        if self._socket is not None and self._socket.code is not None:
            return False
        since, self._told = self._told, now
        attributes[CAUSAL_OPEN] = True
        route = self._known_route()
        if route is not None:
            attributes[HTTP_ROUTE] = route
        name = " ".join(filter(None, (self._method, route, "open")))
        self._tracing.start(name, SpanKind.INTERNAL, attributes, self._where, since).end(self._told)
        return True

    def _closed(self, attributes: dict[str, Any]) -> str | None:
        """Add what has gone over a websocket or a stream of events, and tell with which error it was closed."""
        if self._socket is not None and self._status == 101:
            self._socket.closed()
            attributes.update(self._socket.counts(), **self._socket.ending())
            return self._socket.failure()
        if self._stream is not None:
            self._stream.closed()
            if self._streams_events():
                attributes.update(self._stream.counts())
        return None

    def _streams_events(self) -> bool:
        """Whether the response's headers say that it is a stream of server-sent events."""
        headers = self._headers
        if not isinstance(headers, list | tuple):  # an iterator is the server's to read
            return False
        return any(name.lower() == b"content-type" and value.startswith(_EVENT_STREAM) for name, value in headers)
