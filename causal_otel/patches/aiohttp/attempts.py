"""A request on the wire: its span, and the parts of its time.

aiohttp tells whoever is in its list of traces of each step until a request is sent. An attempt puts a listener of its
own there, beside those of the user's ``trace_configs``. From then on it is told by who waits for the response.
"""

from __future__ import annotations

import asyncio
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_FETCH,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_SERVER,
)
from causal_otel.patches._http_client.attempts import LEAST_NS, HttpAttempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import BaseConnector, ClientResponse
    from opentelemetry.trace import Span

    from causal_otel.instrument.measured import OperationMetrics
    from causal_otel.instrument.operation import Observation, Operation

__all__ = ["Attempt", "Listener"]

_REFUSED_UPGRADE = "aiohttp.client_exceptions.WSServerHandshakeError"


class Attempt(HttpAttempt):
    """A request on its way; its arguments are those of an :class:`HttpAttempt`."""

    __slots__ = ("_error", "_over", "_pool_size", "_queued", "_sent", "_since", "_waiting")

    def __init__(
        self,
        operation: Operation,
        span: Span,
        attributes: dict[str, Any],
        observation: Observation | None,
        metrics: OperationMetrics | None,
    ) -> None:
        super().__init__(operation, span, attributes, observation, metrics)
        self._error: BaseException | None = None  # what a wait for it has raised
        self._over = False
        self._pool_size = 0
        self._queued = 0  # how long a place in the pool was waited for
        self._waiting = 0  # how many others did
        self._sent = 0  # when the request began to be sent
        self._since = 0  # when the wait for the body began that is under way

    # -- until the request is sent ------------------------------------------------------------------------------------

    def queued(self, connector: BaseConnector) -> None:
        """It waits for a place in the pool from now on."""
        if not self._pool_size:
            per_host, limit = connector.limit_per_host, connector.limit
            full = limit and len(getattr(connector, "_acquired", ())) >= limit
            self._pool_size = limit if full or not per_host else per_host
            waiters: dict[Any, Any] = getattr(connector, "_waiters", {})
            self._waiting = max(sum(map(len, waiters.values())) - 1, 0)

    def waited_in_queue(self, nanoseconds: int) -> None:
        """It has waited for a place in the pool."""
        self._queued += nanoseconds

    def sends(self) -> None:
        """It has a connection, and is sent from now on."""
        self._sent = perf_counter_ns()

    def stops(self, error: BaseException) -> None:
        """No response will come: ``error`` was raised, which the caller may be given as another one."""
        self._error = error
        self.waited = perf_counter_ns() - self._began

    def raised(self, error: BaseException) -> None:
        """The caller is given ``error`` in place of a response, if this attempt has none. Never raises."""
        noted = self._error
        if self._head:  # its response ends it
            return
        if noted is None or isinstance(noted, asyncio.CancelledError) or error.__cause__ is noted:
            noted = error  # a timeout is a cancellation at first
        self.finish(None, noted)

    # -- the response -------------------------------------------------------------------------------------------------

    def answered(self, response: ClientResponse) -> None:
        """The headers of the response are there. Never raises."""
        try:
            version, status = response.version, response.status
            self.has_headers(status, None if version is None else f"{version.major}.{version.minor}")
            if status < 300 and status != 101 and "Sec-WebSocket-Key" in response.request_info.headers:
                self.fail(_REFUSED_UPGRADE)
            content: Any = response.content
            content.on_eof(lambda: self.finish(response))  # at once, if the body is there already, or there is none
            if status == 101:
                self.finish(response)
            if not self._over:
                content._timer = _Timer(self, content._timer)
                vars(response)["_causal_unread"] = _Unread(self)
        except Exception:
            faults.report("aiohttp: response")
            self.finish(response)

    def waits(self) -> None:
        """The body is waited for from now on."""
        self._error = None
        self._since = perf_counter_ns()

    def pauses(self, error: BaseException | None = None) -> None:
        """The body is waited for no longer.

        Args:
            error: what the reader gets instead. It may try again, so this is not the end.
        """
        since, self._since = self._since, 0
        if since and not self._over:
            self.waited += perf_counter_ns() - since
            self._error = error

    def closed(self, response: ClientResponse) -> None:
        """The response is closed. Never raises."""
        if self._head and not self._over:
            self.finish(response, self._error or response.content.exception())

    def finish(self, response: ClientResponse | None = None, error: BaseException | None = None) -> None:
        """It is over; only the first time counts. Never raises.

        Args:
            response: None: there is none.
            error: what has happened to it.
        """
        if self._over:
            return
        try:
            self.pauses()
            self._over = True
            self._error = None  # whose traceback refers to this attempt
            self.over(response, error)
        except Exception:
            faults.report("aiohttp: the end of a request")

    def abandoned(self) -> None:
        """Nobody has read its response to the end, nor closed it."""
        self.finish(None, self._error or GeneratorExit())

    def give_up(self) -> None:
        """Another attempt follows: this one is over, unless there is a response, which ends it."""
        if not self._head:
            self.finish(None, self._error)

    def tell_parts(self) -> None:
        """As far as they are known."""
        if self._queued >= LEAST_NS:
            self.part(CAUSAL_POOL_WAIT, self._queued / 1e9)
            self.part(CAUSAL_POOL_SIZE, self._pool_size)
            self.part(CAUSAL_POOL_WAITING, self._waiting)
        if self._sent:
            self.part(CAUSAL_SERVER, ((self._head or self.waited) - (self._sent - self._began)) / 1e9)
        if self._head:
            self.part(CAUSAL_FETCH, (self.waited - self._head) / 1e9)


class Listener:
    """Stands in the list of traces that aiohttp tells of each step of one attempt. No method of it raises.

    Args:
        attempt: the attempt.
        connector: the pool of its connection.
    """

    __slots__ = ("_attempt", "_connector", "_ends", "_step")

    def __init__(self, attempt: Attempt, connector: BaseConnector) -> None:
        self._attempt = attempt
        self._connector = connector
        self._step = 0  # when the step began that is under way
        self._ends: Callable[[int], None] | None = None  # what is told how long that has taken

    async def send_connection_queued_start(self) -> None:
        """It waits for a place in the pool."""
        try:
            self._attempt.queued(self._connector)
        except Exception:
            faults.report("aiohttp: pool")
        self._begin(self._attempt.waited_in_queue)

    async def send_connection_queued_end(self) -> None:
        """It waits no longer."""
        self.end()

    async def send_connection_create_start(self) -> None:
        """A connection is opened."""
        self._begin(self._connected)

    async def send_connection_create_end(self) -> None:
        """That is done."""
        self.end()

    def __getattr__(self, name: str) -> Any:
        return _nothing  # a step that we need not know of, or that a newer aiohttp tells

    def _begin(self, ends: Callable[[int], None]) -> None:
        self._ends = ends
        self._step = perf_counter_ns()

    def _connected(self, nanoseconds: int) -> None:
        self._attempt.part(CAUSAL_CONNECT, nanoseconds / 1e9)

    def end(self) -> None:
        """The step that is under way has ended, if there is one."""
        ends, self._ends = self._ends, None
        if ends is not None:
            ends(perf_counter_ns() - self._step)


async def _nothing(*args: Any, **kwargs: Any) -> None:
    """A step that nobody wants to know of."""


class _Timer:
    """The timer of a body: aiohttp enters it whenever, and only while, the body is waited for.

    Args:
        attempt: is told so.
        timer: aiohttp's own, which does what it would do without us.
    """

    __slots__ = ("_attempt", "_timer")

    def __init__(self, attempt: Attempt, timer: Any) -> None:
        self._attempt = attempt
        self._timer = timer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._timer, name)

    def __enter__(self) -> _Timer:
        self._timer.__enter__()
        self._attempt.waits()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> Any:
        try:
            suppressed = self._timer.__exit__(kind, error, traceback)
        except BaseException as raised:  # a timeout, in place of a cancellation
            self._attempt.pauses(raised)
            raise
        self._attempt.pauses(error)
        return suppressed


class _Unread:
    """Goes with a response: what is still not over then is abandoned.

    Args:
        attempt: the request.
    """

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def __del__(self) -> None:
        self._attempt.abandoned()
