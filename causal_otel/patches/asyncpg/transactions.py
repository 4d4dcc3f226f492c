"""Transactions: beginning and ending them is plumbing, and one that is rolled back is an event."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel.engine import context
from causal_otel.instrument.above import PLUMBING, orm_origin
from causal_otel.instrument.calls import Args, Describe, Kwargs, Wrapper, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.names import CAUSAL_SERVER, CAUSAL_TRANSACTION_ROLLED_BACK, DB_OPERATION_NAME
from causal_otel.patches._postgresql.cursor_span import end_cursors
from causal_otel.patches.asyncpg.operations import endpoint, plumbing
from causal_otel.patches.asyncpg.refused import if_refused
from causal_otel.patches.asyncpg.under_way import Step, step

if TYPE_CHECKING:
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS", "Sent"]


class Sent(Plumbing):
    """A statement under way that is plumbing, such as ``COMMIT;``."""

    __slots__ = ()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The server has answered, or not."""
        self.part(CAUSAL_SERVER, (perf_counter_ns() - self._began) / 1e9)
        super().end(result, error)
        operation = self._describe(*self._arguments)
        name = None if operation is None else operation.attributes.get(DB_OPERATION_NAME)
        if name == "COMMIT":
            # The server answers ROLLBACK where a statement had failed before, and nobody is told otherwise.
            undone = result == "ROLLBACK" if error is None else getattr(error, "sqlstate", None) is not None
        else:
            undone = error is None and name in ("ROLLBACK", "ROLLBACK TO")
        if undone and orm_origin.get() != PLUMBING:  # else the library above tells it
            _rolled_back(str(name))


def _rolled_back(operation: str) -> None:
    """Tell the current span that a transaction was rolled back, or what came after a savepoint."""
    span = context.current_span()
    if span is not None and span.is_recording():
        span.add_event(CAUSAL_TRANSACTION_ROLLED_BACK, {DB_OPERATION_NAME: operation})


def _transition(outer: str, nested: str) -> Describe:
    """The beginning or end of a transaction, or of a savepoint in one."""

    def describe(tracing: Tracing[Any], transaction: Any, args: Args, kwargs: Kwargs) -> Operation:
        operation = nested if getattr(transaction, "_nested", False) else outer
        return plumbing(operation, *endpoint(getattr(transaction, "_connection", None)))

    return describe


_begin = _transition("BEGIN", "SAVEPOINT")
_commit = _transition("COMMIT", "RELEASE SAVEPOINT")
_rollback = _transition("ROLLBACK", "ROLLBACK TO")


def _leave(tracing: Tracing[Any], transaction: Any, args: Args, kwargs: Kwargs) -> Operation | None:
    """``__aexit__``, which rolls back after an exception."""
    return (_rollback if args and args[0] is not None else _commit)(tracing, transaction, args, kwargs)


class _Ending(Step):
    """The end of a transaction, with which its cursors are over."""

    __slots__ = ()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        super().end(result, error)
        _, transaction, _, _ = self._arguments
        if not getattr(transaction, "_nested", False):
            end_cursors(getattr(transaction, "_connection", None))


def _ends(describe: Describe) -> Wrapper:
    def begin(tracing: Tracing[Any], transaction: Any, args: Args, kwargs: Kwargs) -> Step:
        return _Ending(tracing, describe, (tracing, transaction, args, kwargs), CAUSAL_SERVER)

    return traced_call(begin)


def _refused(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Operation:
    return plumbing("BEGIN", *endpoint(connection))


_TRANSACTION = "asyncpg.transaction"

TARGETS = (
    Wrap("asyncpg.connection", "Connection.transaction", if_refused(_refused)),
    Wrap(_TRANSACTION, "Transaction.start", step(_begin)),
    Wrap(_TRANSACTION, "Transaction.commit", _ends(_commit)),
    Wrap(_TRANSACTION, "Transaction.rollback", _ends(_rollback)),
    Wrap(_TRANSACTION, "Transaction.__aexit__", _ends(_leave)),
)
"""The targets."""
