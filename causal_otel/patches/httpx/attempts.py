"""A request on the wire: its span, and the parts of its time as httpcore tells them.

httpcore tells of each step through the ``trace`` extension of a request. An attempt stands there itself until the
request is sent, and gives the place back then: what follows is timed without it, by who waits for the response.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from functools import lru_cache
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
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
)
from causal_otel.patches._http_client.attempts import LEAST_NS, HttpAttempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from causal_otel.instrument.measured import OperationMetrics
    from causal_otel.instrument.operation import Observation, Operation

__all__ = ["AsyncAttempt", "Attempt", "opening"]

opening: ContextVar[Attempt | None] = ContextVar("causal_otel_httpx_opening", default=None)
"""The attempt that a connection is being opened for in this task or thread."""


@lru_cache(16)
def _version(protocol: bytes) -> str:
    """``1.1``, of ``b"HTTP/1.1"``."""
    return protocol.decode("ascii", "replace").rpartition("/")[2]


class Attempt(HttpAttempt):
    """A request on its way, of a synchronous client; its arguments are those of an :class:`HttpAttempt`."""

    __slots__ = ("_first", "_pool", "_sent", "_step", "_theirs", "_waiting", "_waits")

    def __init__(
        self,
        operation: Operation,
        span: Span,
        attributes: dict[str, Any],
        observation: Observation | None,
        metrics: OperationMetrics | None,
    ) -> None:
        super().__init__(operation, span, attributes, observation, metrics)
        self._theirs: Callable[..., Any] | None = None
        self._pool: Any = None  # httpcore's; None: there is none, or it is not known
        self._waits = False  # whether it may have to wait for a connection
        self._waiting = 0  # how many others do
        self._first = 0  # when a connection was had, or began to be opened
        self._sent = 0  # when the request began to be sent
        self._step = 0  # when the step began that is under way

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
        version: bytes | None = response.extensions.get("http_version")
        self.has_headers(response.status_code, None if version is None else _version(version))

    def tell_parts(self) -> None:
        """As far as httpcore has told of them."""
        began, first, sent = self._began, self._first, self._sent
        headers = began + (self._head or self.waited)
        if self._pool is not None:
            first = first or headers
            if self._waits and first - began >= LEAST_NS:
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
