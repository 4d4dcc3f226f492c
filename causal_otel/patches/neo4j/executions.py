"""Calls of the neo4j driver under way: a query whose records come later, and an execution with its attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.instrument.stopwatch import Stopwatch
from causal_otel.names import CAUSAL_NEO4J_ATTEMPTS, DB_NAMESPACE
from causal_otel.patches.neo4j.operations import endpoint_of_session, plumbing
from causal_otel.patches.neo4j.results import ERRORS, Stream, private

if TYPE_CHECKING:
    from causal_otel.instrument.calls import Args
    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["Execution", "Opening", "Query"]

_EXECUTION = create_key("causal-otel-neo4j-execution")


class Query:
    """``run``, which returns before the records arrive."""

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, running: Running) -> None:
        self._running = running
        self._stopwatch = Stopwatch()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """``run`` has returned or raised."""
        if error is None:
            Stream.follow(result, self._running, self._stopwatch)
        else:
            self._running.end(error=error)


class Execution:
    """``execute_read``, ``execute_write`` or ``execute_query``. The context inside knows it.

    Args:
        running: the operation.
        session: whose transactions are its attempts; None: the first that opens one.
        single_span: whether it is one operation to the caller: not current, and nothing inside has a span.
    """

    args: Args | None = None

    def __init__(self, running: Running, session: Any, *, single_span: bool) -> None:
        self.single_span = single_span
        self._running = running
        self._session = session
        self._transaction: Any = None
        self._attempts = 0
        running.rows = _number_of_records
        inside = Context({**context.current(), _EXECUTION: self})
        self.inside: Context | None = inside if single_span else context.with_span(running.span, inside)

    @staticmethod
    def current() -> Execution | None:
        """The innermost one, if any."""
        found = context.current().get(_EXECUTION)
        return found if isinstance(found, Execution) else None

    def attempt(self, session: Any) -> bool:
        """Count an attempt, if a transaction opened by ``session`` is one and not your function's own business."""
        if self._session is None:
            self._session = session
        if self._session is not session:
            return False
        self._attempts += 1
        return True

    def opened(self) -> None:
        """The attempt has got its transaction."""
        self._transaction = private(self._session, "_transaction")

    def excludes(self, transaction: Any) -> bool:
        """Whether ``transaction`` is an attempt of it, and has no spans of its own."""
        return self.single_span and self._transaction is transaction

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The call is over."""
        try:
            self._learn(result)
        except Exception:
            faults.report("neo4j: the end of an execution")
        # Tasks that your function has started keep their context, and so this object. It must match no real session,
        # or it would adopt a later transaction.
        self._session, self._transaction = self, None
        self._running.end(result, error)

    def _learn(self, result: Any) -> None:
        learned: dict[str, Any] = {CAUSAL_NEO4J_ATTEMPTS: self._attempts}
        database = private(self._session, "_config", "database")
        if self.single_span and database is None:
            from neo4j import EagerResult

            database = result.summary.database if isinstance(result, EagerResult) else None
        if isinstance(database, str):
            learned[DB_NAMESPACE] = database
        self._running.learn(learned)


def _number_of_records(result: Any) -> int | None:
    from neo4j import EagerResult

    return len(result.records) if isinstance(result, EagerResult) else None


class Opening(Plumbing):
    """``BEGIN``, perhaps of an attempt of an execution.

    Args:
        tracing: the handle.
        session: which opens the transaction.
        attempt: the execution that it begins an attempt of.
    """

    def __init__(self, tracing: Tracing[Any], session: Any, attempt: Execution | None) -> None:
        super().__init__(tracing, plumbing, ("BEGIN", endpoint_of_session, session), ERRORS)
        self._attempt = attempt

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The transaction is open, or not."""
        if error is None:
            if self._attempt is not None:
                self._attempt.opened()
        elif self._attempt is None or not self._attempt.single_span:
            super().end(result, error)
