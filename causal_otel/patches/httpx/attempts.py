"""A request on the wire: its span, and the parts of its time as httpcore tells them.

httpcore tells of each step through the ``trace`` extension of a request. An attempt stands there itself until the
request is sent, and gives the place back then: what follows is timed without it, by who waits for the response.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.errors import BY_CLASS
from causal_otel.instrument.operation import Running
from causal_otel.instrument.parts import LEAST
from causal_otel.instrument.stopwatch import moment_of
from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_PROXY,
    CAUSAL_CONNECT_TLS,
    CAUSAL_FETCH,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SERVER,
    HTTP_RESPONSE_STATUS_CODE,
    NETWORK_PROTOCOL_VERSION,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from causal_otel.instrument.measured import OperationMetrics
    from causal_otel.instrument.operation import Observation, Operation

__all__ = ["AsyncAttempt", "Attempt", "opening"]

_LEAST = int(LEAST * 1e9)
_MOST_OUTCOMES = 256

opening: ContextVar[Attempt | None] = ContextVar("causal_otel_httpx_opening", default=None)
"""The attempt that a connection is being opened for in this task or thread."""

_outcomes: dict[tuple[int, bytes | None], dict[str, Any]] = {}


def _outcome(status: int, version: bytes | None) -> dict[str, Any]:
    """What a response says of its request, in a dict that all of its kind share.

    Args:
        status: its code.
        version: of the protocol, such as ``b"HTTP/1.1"``; not every transport tells.
    """
    found = _outcomes.get((status, version))
    if found is None:
        found = {HTTP_RESPONSE_STATUS_CODE: status}
        if version is not None:
            found[NETWORK_PROTOCOL_VERSION] = version.decode("ascii", "replace").rpartition("/")[2]
        if len(_outcomes) < _MOST_OUTCOMES:
            _outcomes[status, version] = found
    return found


class Attempt(Running):
    """A request on its way, of a synchronous client.

    Its time is counted in nanoseconds of the monotonic clock: until the headers of the response are there and, added to
    that, as long as the body is waited for.

    Args:
        operation: what it is.
        span: its span.
        attributes: those that the span has been started with.
        observation: for observers; None: there are none.
        metrics: what measures it; None: nothing does.
        pool: httpcore's pool of connections; None: there is none, or it is not known.
    """

    __slots__ = (
        "_attributes",
        "_began",
        "_first",
        "_head",
        "_pool",
        "_sent",
        "_step",
        "_theirs",
        "_waiting",
        "_waits",
        "waited",
    )

    def __init__(
        self,
        operation: Operation,
        span: Span,
        attributes: dict[str, Any],
        observation: Observation | None,
        metrics: OperationMetrics | None,
    ) -> None:
        super().__init__(operation, span, BY_CLASS, None, observation, metrics)
        self._attributes = attributes
        self._theirs: Callable[..., Any] | None = None
        self._pool: Any = None
        self._waits = False  # whether it may have to wait for a connection
        self._waiting = 0  # how many others do
        self._first = 0  # when a connection was had, or began to be opened
        self._sent = 0  # when the request began to be sent
        self._step = 0  # when the step began that is under way
        self._head = 0  # how long the headers of the response were waited for
        self.waited = 0
        self._began = perf_counter_ns()

    # -- httpcore's events --------------------------------------------------------------------------------------------

    def listen(self, pool: Any, theirs: Callable[..., Any] | None) -> None:
        """It is handed to httpcore, with itself as the ``trace`` extension.

        Args:
            pool: the pool of connections that it is sent through.
            theirs: the extension that the caller has given; it is told all that it would have been.
        """
        self._theirs = theirs
        self._pool = pool
        requests = getattr(pool, "_requests", ())
        if len(requests) >= getattr(pool, "_max_connections", math.inf):
            self._waits = True
            self._waiting = sum(getattr(request, "connection", self) is None for request in requests)
        elif requests and getattr(pool, "_http2", False):
            self._waits = True  # perhaps: for a connection that is being opened for another request

    def __call__(self, name: str, info: dict[str, Any]) -> Any:
        """Be told of a step of the request by httpcore, as the caller's own extension would be."""
        self._note(name, info)
        return None if self._theirs is None else self._theirs(name, info)

    def _note(self, name: str, info: dict[str, Any]) -> None:
        note = _EVENTS.get(name)
        if note is not None:
            try:
                note(self, info)
            except Exception:
                faults.report("httpx: trace extension")

    def _connects(self, info: dict[str, Any]) -> None:
        self._begins(info)
        opening.set(self)

    def _connected(self, info: dict[str, Any]) -> None:
        opening.set(None)

    def _begins(self, info: dict[str, Any]) -> None:
        self._step = perf_counter_ns()
        self._first = self._first or self._step

    def _secured(self, info: dict[str, Any]) -> None:
        self._took(CAUSAL_CONNECT_TLS)

    def _tunnelled(self, info: dict[str, Any]) -> None:
        self._took(CAUSAL_CONNECT_PROXY)

    def _paused(self, info: dict[str, Any]) -> None:
        self._took(CAUSAL_RETRY_WAIT)

    def _sends(self, info: dict[str, Any]) -> None:
        request = info["request"]
        if request.method == b"CONNECT" and self.operation.name != "CONNECT":  # of a proxy, which answers it
            self._begins(info)
            return
        self._sent = perf_counter_ns()
        self._first = self._first or self._sent
        self._step = 0
        extensions = request.extensions  # a dict of ours: see the transports
        if extensions.get("trace") is self:
            if self._theirs is None:
                del extensions["trace"]
            else:
                extensions["trace"] = self._theirs

    def _took(self, key: str) -> None:
        if self._step:
            self.part(key, (perf_counter_ns() - self._step) / 1e9)
            self._step = 0

    # -- its end ------------------------------------------------------------------------------------------------------

    def learn_url(self, attributes: dict[str, Any]) -> None:
        """A transport sends it elsewhere than the client has said."""
        self._attributes = {**self._attributes, **attributes}
        self.learn(attributes)

    def answered(self, response: Any) -> None:
        """The headers of the response are there."""
        self.waited = self._head = perf_counter_ns() - self._began
        status = response.status_code
        learned = _outcome(status, response.extensions.get("http_version"))
        share = getattr(self.span, "share", None)  # a leaf of ours has it
        if share is None or not share(self._attributes, {**self._attributes, **learned}):
            self.span.set_attributes(learned)
        self.note(learned)
        if status >= 400:
            self.fail(str(status))

    def over(self, response: Any, error: BaseException | None = None) -> None:
        """It is over: its body has been read, or nobody reads it any more, or there is no response.

        Args:
            response: None: there is none.
            error: what has happened to it.
        """
        if not self._head:
            self.waited = perf_counter_ns() - self._began
        if self.waited >= _LEAST:
            self._tell_parts()
        self.end(response, error, moment_of(self.span, self._began, self.waited), self.waited)

    def _tell_parts(self) -> None:
        began, first, sent = self._began, self._first, self._sent
        headers = began + (self._head or self.waited)
        if self._pool is not None:
            first = first or headers
            if self._waits and first - began >= _LEAST:
                self.part(CAUSAL_POOL_WAIT, (first - began) / 1e9)
                self.part(CAUSAL_POOL_SIZE, getattr(self._pool, "_max_connections", 0))
                self.part(CAUSAL_POOL_WAITING, self._waiting)
            paused = 0.0 if self._parts is None else self._parts.get(CAUSAL_RETRY_WAIT, 0.0)
            self.part(CAUSAL_CONNECT, max(((sent or headers) - first) / 1e9 - paused, 0.0))
            if sent:
                self.part(CAUSAL_SERVER, (headers - sent) / 1e9)
        if self._head:
            self.part(CAUSAL_FETCH, (self.waited - self._head) / 1e9)


class AsyncAttempt(Attempt):
    """A request on its way, of an asynchronous client: httpcore awaits what it is told there."""

    __slots__ = ()

    def __call__(self, name: str, info: dict[str, Any]) -> Any:
        """Be told of a step of the request by httpcore, as the caller's own extension would be."""
        self._note(name, info)
        return _nothing() if self._theirs is None else self._theirs(name, info)


async def _nothing() -> None:
    """What is awaited where the caller has given no extension."""


_EVENTS: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "connection.connect_tcp.started": Attempt._connects,
    "connection.connect_tcp.complete": Attempt._connected,
    "connection.connect_tcp.failed": Attempt._connected,
    "connection.connect_unix_socket.started": Attempt._begins,
    "connection.retry.started": Attempt._begins,
    "connection.retry.complete": Attempt._paused,
    "connection.retry.failed": Attempt._paused,
    "connection.start_tls.started": Attempt._begins,
    "connection.start_tls.complete": Attempt._secured,
    "connection.start_tls.failed": Attempt._secured,
    "proxy.start_tls.started": Attempt._begins,
    "proxy.start_tls.complete": Attempt._secured,
    "proxy.start_tls.failed": Attempt._secured,
    "socks.connect_tcp.started": Attempt._connects,
    "socks.connect_tcp.complete": Attempt._connected,
    "socks.connect_tcp.failed": Attempt._connected,
    "socks.setup_socks5_connection.started": Attempt._begins,
    "socks.setup_socks5_connection.complete": Attempt._tunnelled,
    "socks.setup_socks5_connection.failed": Attempt._tunnelled,
    "socks.start_tls.started": Attempt._begins,
    "socks.start_tls.complete": Attempt._secured,
    "socks.start_tls.failed": Attempt._secured,
    "http11.send_request_headers.started": Attempt._sends,
    "http2.send_request_headers.started": Attempt._sends,
    "http11.receive_response_headers.complete": Attempt._tunnelled,  # only a proxy's answer is told to us
    "http11.receive_response_headers.failed": Attempt._tunnelled,
}
