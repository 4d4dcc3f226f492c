"""``BEGIN``, ``COMMIT`` and ``ROLLBACK`` of the neo4j driver, and what came of a transaction."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from causal_otel.instrument.parts import LEAST, together
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.names import CAUSAL_SERVER, CAUSAL_TRANSACTION_ROLLED_BACK
from causal_otel.patches.neo4j.connections import pool_facts, take
from causal_otel.patches.neo4j.internals import endpoint_of_session, endpoint_of_transaction, private
from causal_otel.patches.neo4j.operations import ERRORS, plumbing

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.calls import Args
    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.neo4j.executions import Execution
    from causal_otel.patches.neo4j.internals import Endpoint

__all__ = ["Calling", "Ending", "Opening", "is_open", "rolled_back"]

_COMMITTING = "_causal_otel_committing"


class Calling(Plumbing):
    """A call of a driver or a session that is no query: is the server there, close.

    What it has to do for that, such as a ``ROLLBACK``, is inside it.

    Args:
        tracing: the handle.
        operation: what is called.
        endpoint: tells where ``instance`` goes.
        instance: the driver or the session.
    """

    __slots__ = ("_since",)

    def __init__(
        self, tracing: Tracing[Any], operation: str, endpoint: Callable[[Any], Endpoint], instance: Any
    ) -> None:
        super().__init__(tracing, plumbing, (operation, endpoint, instance), ERRORS, nests=True)
        self._since = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        _tell(self, self._since)
        super().end(result, error)


class Opening(Plumbing):
    """``BEGIN``, perhaps of an attempt of an execution.

    Args:
        tracing: the handle.
        session: which opens the transaction.
        attempt: the execution that it begins an attempt of.
    """

    __slots__ = ("_attempt", "_since")

    def __init__(self, tracing: Tracing[Any], session: Any, attempt: Execution | None) -> None:
        super().__init__(tracing, plumbing, ("BEGIN", endpoint_of_session, session), ERRORS)
        self._attempt = attempt
        self._since = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The transaction is open, or not."""
        attempt = self._attempt
        told = attempt.running if attempt is not None and attempt.single_span else self
        facts = pool_facts(_tell(told, self._since))
        if facts:
            told.learn(facts)
        if attempt is None:
            super().end(result, error)
            return
        if told is self:
            _inside(attempt, super().end, result, error)
        if error is None:
            attempt.opened()
        else:
            attempt.failed(error)


class Ending(Plumbing):
    """``COMMIT`` or ``ROLLBACK``.

    Args:
        tracing: the handle.
        transaction: which ends.
        operation: which of the two.
        attempt: the execution that the transaction is an attempt of.
    """

    __slots__ = ("_attempt", "_is_rollback", "_since", "_transaction")

    args: Args | None = None

    def __init__(self, tracing: Tracing[Any], transaction: Any, operation: str, attempt: Execution | None) -> None:
        super().__init__(tracing, plumbing, (operation, endpoint_of_transaction, transaction), ERRORS)
        self._attempt = attempt
        self._transaction = transaction
        self._is_rollback = operation == "ROLLBACK"
        if not self._is_rollback:
            vars(transaction)[_COMMITTING] = True
        self._since = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The transaction is over, or that has failed."""
        attempt = self._attempt
        told = attempt.running if attempt is not None and attempt.single_span else self
        told.part(CAUSAL_SERVER, perf_counter() - self._since)
        if attempt is None:
            self._end(result, error)
            return
        _inside(attempt, self._end, result, error)
        if self._is_rollback:
            attempt.gave_up()
        elif error is None:
            attempt.committed()
        else:
            attempt.failed(error)

    def _end(self, result: Any, error: BaseException | None) -> None:
        if self._is_undone(error):
            rolled_back(self._attempt)
        if self._attempt is None or not self._attempt.single_span:
            super().end(result, error)

    def _is_undone(self, error: BaseException | None) -> bool:
        """Whether the transaction is rolled back for sure: it was asked for, or the server refuses to commit it."""
        if error is None:
            return self._is_rollback
        from neo4j.exceptions import Neo4jError

        return not self._is_rollback and isinstance(error, Neo4jError) and isinstance(error.code, str)


def _inside(attempt: Execution, end: Any, result: Any, error: BaseException | None) -> None:
    """Call ``end`` where the span of ``attempt`` is current, if it has one."""
    activation = attempt.activate()
    try:
        end(result, error)
    finally:
        if activation is not None:
            activation.end()


def _tell(told: Any, since: float) -> dict[str, float]:
    """Tell the parts of a call that has needed a connection; returns them."""
    seconds = perf_counter() - since
    if seconds < LEAST:
        return {}
    parts = take(since) or {}
    parts[CAUSAL_SERVER] = seconds - together(parts)
    for key, value in parts.items():
        told.part(key, value)
    return parts


def is_open(transaction: Any) -> bool:
    """Whether a transaction is neither over nor about to be committed, so that losing its connection undoes it."""
    if transaction is None or private(transaction, "_closed_flag") is not False:
        return False
    return _COMMITTING not in vars(transaction)


def rolled_back(attempt: Execution | None = None) -> None:
    """Tell the span that is current, or the one operation that ``attempt`` is, that a transaction was rolled back."""
    span = attempt.running.span if attempt is not None and attempt.single_span else trace.get_current_span()
    span.add_event(CAUSAL_TRANSACTION_ROLLED_BACK)
