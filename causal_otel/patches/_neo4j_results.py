"""Results of the neo4j driver: telling when all the records have arrived, and how that went.

There are a dozen ways to read a result, and as many to leave it unread. They all end where the driver tells the
result's owner, a session or transaction, that it is closed or has failed. A :class:`Stream` stands in for the owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.engine import faults, outcome
from causal_otel.patches import _tracing
from causal_otel.patches._stopwatch import Stopwatch
from causal_otel.semconv import ABANDONED, DB_NAMESPACE, DB_RESPONSE_STATUS_CODE, FETCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

__all__ = ["Stream", "code", "end_failed", "mark_failed", "private"]


def private(thing: Any, *path: str) -> Any:
    """What the driver keeps to itself, by its path of attributes; None where a version has it elsewhere."""
    for name in path:
        thing = getattr(thing, name, None)
    return thing


def code(error: BaseException) -> str:
    """How errors are told: by the Neo4j code, or the class."""
    from neo4j.exceptions import Neo4jError

    found = error.code if isinstance(error, Neo4jError) else None
    return found if isinstance(found, str) else _tracing.error_name(error)


def mark_failed(span: Span, error: BaseException) -> None:
    """Tell ``span`` that ``error`` is how it went, with the Neo4j code."""
    _tracing.mark_failed(span, error, code, DB_RESPONSE_STATUS_CODE)


def end_failed(span: Span, error: BaseException) -> None:
    """End ``span`` as :func:`mark_failed` by ``error``."""
    mark_failed(span, error)
    span.end()


class _TimedConnection:
    """The connection of a result, which tells the stopwatch how long its answers are waited for."""

    def __init__(self, connection: Any, stopwatch: Stopwatch) -> None:
        vars(self).update(_causal_connection=connection, _causal_stopwatch=stopwatch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._causal_connection, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._causal_connection, name, value)

    def send_all(self) -> None:
        self._causal_stopwatch.resume()
        try:
            self._causal_connection.send_all()
        finally:
            self._causal_stopwatch.pause()

    def fetch_message(self) -> None:
        self._causal_stopwatch.resume()
        try:
            self._causal_connection.fetch_message()
        finally:
            self._causal_stopwatch.pause()


class _TimedAsyncConnection(_TimedConnection):
    """The same of the asynchronous driver."""

    async def send_all(self) -> None:  # type: ignore[override]
        self._causal_stopwatch.resume()
        try:
            await self._causal_connection.send_all()
        finally:
            self._causal_stopwatch.pause()

    async def fetch_message(self) -> None:  # type: ignore[override]
        self._causal_stopwatch.resume()
        try:
            await self._causal_connection.fetch_message()
        finally:
            self._causal_stopwatch.pause()


class Stream:
    """The records of a result on their way, and the span that is open until it is known how that went.

    The span lasts as long as ``run``, and the driver's waits for records while the result is being read: not while the
    application works on them, nor while its session or transaction fetches or discards what nobody has read. So the
    span of a result that nobody reads is as long as ``run`` (semantic conventions for databases, span duration).
    """

    __slots__ = ("_on_closed", "_on_error", "_request", "_result", "_span", "_stopwatch")

    def __init__(
        self,
        result: Any,
        span: Span,
        stopwatch: Stopwatch,
        on_closed: Callable[[], Any],
        on_error: Callable[[Any], Any],
    ) -> None:
        self._span: Span | None = span
        self._result = result
        self._on_closed = on_closed
        self._on_error = on_error
        self._stopwatch = stopwatch
        self._request = stopwatch.total

    @classmethod
    def follow(cls, result: Any, span: Span, stopwatch: Stopwatch) -> None:
        """End ``span`` when it is known how ``result`` went; at once, if it is or if this version cannot tell.

        Args:
            result: what ``run`` has returned.
            span: the span of ``run``.
            stopwatch: began with the span.
        """
        stopwatch.pause()
        on_closed, on_error = private(result, "_on_closed"), private(result, "_on_error")
        connection = private(result, "_connection")
        known = connection is not None and callable(on_closed) and callable(on_error)
        if known and private(result, "_attached") is True:
            stream = cls(result, span, stopwatch, on_closed, on_error)
            timed = _TimedAsyncConnection if hasattr(type(result), "__aiter__") else _TimedConnection
            result._connection = timed(connection, stopwatch)
            result._on_closed, result._on_error = stream.closed, stream.failed
        else:
            span.end()

    @classmethod
    def of(cls, result: Any) -> Stream | None:
        """The stream of a result that :meth:`follow` was told to."""
        owner = private(result, "_on_closed", "__self__")
        return owner if isinstance(owner, cls) else None

    def left(self) -> None:
        """Whoever owns the result is about to fetch the rest of it: nobody is reading that."""
        self._stopwatch.stop()

    def closed(self) -> Any:
        """Stands in for the owner's ``on_closed``; what that returns may be awaitable."""
        # After a failure the driver says closed too, but before it says failed, and while it still is streaming.
        if private(self._result, "_streaming") is not True:
            self.end()
        return self._on_closed()

    def failed(self, error: Any) -> Any:
        """Stands in for the owner's ``on_error``; what that returns may be awaitable."""
        self.end(error)
        return self._on_error(error)

    def cancelled(self) -> None:
        """The connection has been killed in the middle of it."""
        self.end(mark=outcome.CANCELLED)

    def __del__(self) -> None:
        self.end(mark=ABANDONED)

    def end(self, error: BaseException | None = None, mark: str = "") -> None:
        """End the span, if it has not ended. Never raises.

        Args:
            error: what the driver raises, or has raised.
            mark: an attribute to set to true.
        """
        try:
            span, result = self._span, self._result
            self._span = self._result = None
            if span is None:
                return
            self._stopwatch.stop()
            learned: dict[str, Any] = {FETCH: (self._stopwatch.total - self._request) / 1e9}
            if mark:
                learned[mark] = True
            database = private(result, "_database")
            if isinstance(database, str):
                learned[DB_NAMESPACE] = database
            span.set_attributes(learned)
            if error is not None:
                mark_failed(span, error)
            self._stopwatch.end(span)
        except Exception:
            faults.report("neo4j: the end of a result")
