"""Results of the neo4j driver: telling when all the records have arrived, and how that went.

There are a dozen ways to read a result, and as many to leave it unread. They all end where the driver tells the
result's owner, a session or transaction, that it is closed or has failed. A :class:`Stream` stands in for the owner.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel.engine import faults, outcome
from causal_otel.patches import _tracing
from causal_otel.semconv import ABANDONED, DB_NAMESPACE, DB_RESPONSE_STATUS_CODE, FETCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

__all__ = ["Stream", "end_failed", "private"]


def private(thing: Any, *path: str) -> Any:
    """What the driver keeps to itself, by its path of attributes; None where a version has it elsewhere."""
    for name in path:
        thing = getattr(thing, name, None)
    return thing


def _code(error: BaseException) -> str:
    from neo4j.exceptions import Neo4jError

    code = error.code if isinstance(error, Neo4jError) else None
    return code if isinstance(code, str) else _tracing.error_name(error)


def end_failed(span: Span, error: BaseException) -> None:
    """End ``span`` as ended by ``error``, with the Neo4j code."""
    _tracing.end_failed(span, error, _code, DB_RESPONSE_STATUS_CODE)


class Stream:
    """The records of a result on their way, and the span that lasts until they are here."""

    __slots__ = ("_began", "_on_closed", "_on_error", "_result", "_span")

    def __init__(self, result: Any, span: Span, on_closed: Callable[[], Any], on_error: Callable[[Any], Any]) -> None:
        self._span: Span | None = span
        self._result = result
        self._on_closed = on_closed
        self._on_error = on_error
        self._began = perf_counter()

    @classmethod
    def follow(cls, result: Any, span: Span) -> None:
        """End ``span`` when all of ``result`` has arrived; at once, if it has or if this version cannot tell."""
        on_closed, on_error = private(result, "_on_closed"), private(result, "_on_error")
        if private(result, "_attached") is True and callable(on_closed) and callable(on_error):
            stream = cls(result, span, on_closed, on_error)
            result._on_closed, result._on_error = stream.closed, stream.failed
        else:
            span.end()

    @classmethod
    def of(cls, result: Any) -> Stream | None:
        """The stream of a result that :meth:`follow` was told to."""
        owner = private(result, "_on_closed", "__self__")
        return owner if isinstance(owner, cls) else None

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
            learned: dict[str, Any] = {FETCH: perf_counter() - self._began}
            if mark:
                learned[mark] = True
            database = private(result, "_database")
            if isinstance(database, str):
                learned[DB_NAMESPACE] = database
            span.set_attributes(learned)
            if error is None:
                span.end()
            else:
                end_failed(span, error)
        except Exception:
            faults.report("neo4j: the end of a result")
