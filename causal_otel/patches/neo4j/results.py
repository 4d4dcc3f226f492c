"""Results of the neo4j driver: when all records have arrived, or why they have not.

There are a dozen ways to read a result, and as many to leave it unread. They all end where the driver tells the
result's owner, a session or transaction, that it is closed or has failed. A :class:`Stream` stands in for the owner.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.errors import Errors, error_name
from causal_otel.instrument.stopwatch import Stopwatch
from causal_otel.names import CAUSAL_FETCH, DB_NAMESPACE, DB_RESPONSE_STATUS_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.operation import Running

__all__ = ["ERRORS", "Stream", "private"]


def private(thing: Any, *path: str) -> Any:
    """What the driver keeps to itself, by its path of attributes; None where a version has it elsewhere."""
    for name in path:
        thing = getattr(thing, name, None)
    return thing


def _code(error: BaseException) -> str:
    from neo4j.exceptions import Neo4jError

    found = error.code if isinstance(error, Neo4jError) else None
    return found if isinstance(found, str) else error_name(error)


ERRORS = Errors(_code, DB_RESPONSE_STATUS_CODE)
"""How errors are told: by the Neo4j code, or the class."""


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
    """The same for the asynchronous driver."""

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
    """The records of a result that are on their way, and the span, which is open until they have arrived or failed.

    The span lasts as long as ``run``, and the driver's waits for records while the result is being read: not while the
    application works on them, nor while its session or transaction fetches or discards what nobody has read. So the
    span of a result that nobody reads is as long as ``run`` (semantic conventions for databases, span duration).
    """

    __slots__ = ("_on_closed", "_on_error", "_request", "_result", "_running", "_stopwatch")

    def __init__(
        self,
        result: Any,
        running: Running,
        stopwatch: Stopwatch,
        on_closed: Callable[[], Any],
        on_error: Callable[[Any], Any],
    ) -> None:
        self._running: Running | None = running
        self._result = result
        self._on_closed = on_closed
        self._on_error = on_error
        self._stopwatch = stopwatch
        self._request = stopwatch.total

    @classmethod
    def follow(cls, result: Any, running: Running, stopwatch: Stopwatch) -> None:
        """End ``running`` when it is known how ``result`` went; at once, if it is or if this version cannot tell.

        Args:
            result: what ``run`` has returned.
            running: the operation that ``run`` has begun.
            stopwatch: began with it.
        """
        stopwatch.pause()
        on_closed, on_error = private(result, "_on_closed"), private(result, "_on_error")
        connection = private(result, "_connection")
        known = connection is not None and callable(on_closed) and callable(on_error)
        if known and private(result, "_attached") is True:
            stream = cls(result, running, stopwatch, on_closed, on_error)
            timed = _TimedAsyncConnection if hasattr(type(result), "__aiter__") else _TimedConnection
            result._connection = timed(connection, stopwatch)
            result._on_closed, result._on_error = stream.closed, stream.failed
        else:
            running.end(result)

    @classmethod
    def of(cls, result: Any) -> Stream | None:
        """The stream of a result that :meth:`follow` was told to."""
        owner = private(result, "_on_closed", "__self__")
        return owner if isinstance(owner, cls) else None

    def left(self) -> None:
        """The owner of the result is about to fetch the rest of it, which nobody reads: that time does not count."""
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
        self.end(CancelledError())

    def __del__(self) -> None:
        self.end(GeneratorExit())

    def end(self, error: BaseException | None = None) -> None:
        """End the operation, if it has not ended. Never raises.

        Args:
            error: what the driver raises, or has raised; a cancellation too. ``GeneratorExit``: the result has died.
        """
        try:
            running, result, stopwatch = self._running, self._result, self._stopwatch
            self._running = self._result = None
            if running is None:
                return
            stopwatch.stop()
            running.part(CAUSAL_FETCH, (stopwatch.total - self._request) / 1e9)
            database = private(result, "_database")
            if isinstance(database, str):
                running.learn({DB_NAMESPACE: database})
            running.end(result, error, stopwatch.end_time(running.span), stopwatch.total)
        except Exception:
            faults.report("neo4j: the end of a result")
