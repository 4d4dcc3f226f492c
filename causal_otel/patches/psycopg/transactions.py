"""Transactions: beginning and ending them is plumbing, and one that is rolled back is an event."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel.engine import context
from causal_otel.instrument.above import PLUMBING, orm_origin
from causal_otel.instrument.calls import Args, Kwargs, Wrapper, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.names import CAUSAL_SERVER, CAUSAL_TRANSACTION_ROLLED_BACK, DB_OPERATION_NAME
from causal_otel.patches._postgresql import ERRORS
from causal_otel.patches._postgresql.cursor_span import end_cursors
from causal_otel.patches.psycopg.operations import place, plumbing

if TYPE_CHECKING:
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS", "Sent"]

_IN_TRANSACTION, _FAILED = 2, 3  # libpq's status of a connection's transaction


class Sent(Plumbing):
    """Plumbing that the server does, such as ``COMMIT``."""

    __slots__ = ()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The server has answered, or not."""
        self.part(CAUSAL_SERVER, (perf_counter_ns() - self._began) / 1e9)
        super().end(result, error)


class _Ending(Sent):
    """The end of a transaction, with which its cursors are over, or of a savepoint.

    Args:
        tracing: the handle.
        name: what the server is told: ``COMMIT``, ``ROLLBACK``, ``RELEASE SAVEPOINT`` or ``ROLLBACK TO``.
        connection: the connection.
    """

    __slots__ = ("_connection", "_name", "_status")

    def __init__(self, tracing: Tracing[Any], name: str, connection: Any) -> None:
        super().__init__(tracing, lambda: plumbing(name, *place(connection)), (), ERRORS)
        self._name = name
        self._connection = connection
        self._status = getattr(getattr(connection, "pgconn", None), "transaction_status", None)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        super().end(result, error)
        if self._is_undone(error) and orm_origin.get() != PLUMBING:  # else the library above tells it
            span = context.current_span()
            if span is not None and span.is_recording():
                span.add_event(CAUSAL_TRANSACTION_ROLLED_BACK, {DB_OPERATION_NAME: self._name})
        if self._name in ("COMMIT", "ROLLBACK"):
            end_cursors(self._connection)

    def _is_undone(self, error: BaseException | None) -> bool:
        """Whether what was done is undone. After a statement that has failed the server answers a COMMIT so."""
        if self._name == "COMMIT":
            return getattr(error, "sqlstate", None) is not None if error is not None else self._status == _FAILED
        if self._name == "RELEASE SAVEPOINT":
            return False
        return error is None and self._status in (_IN_TRANSACTION, _FAILED)


def _of_connection(name: str) -> Wrapper:
    """A wrapper for a method of a connection that ends a transaction."""

    def begin(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> _Ending:
        return _Ending(tracing, name, connection)

    return traced_call(begin)


def _step(name: Callable[[Any], str]) -> Wrapper:
    """A wrapper for what is sent and ends nothing.

    Args:
        name: what it is, from the connection, or the transaction, that is asked.
    """

    def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Sent:
        connection = getattr(instance, "_conn", instance)
        return Sent(tracing, lambda: plumbing(name(instance), *place(connection)), (), ERRORS)

    return traced_call(begin)


def _entered(transaction: Any) -> str:
    return "BEGIN" if getattr(transaction, "_outer_transaction", True) else "SAVEPOINT"


def _begin_leaving(tracing: Tracing[Any], transaction: Any, args: Args, kwargs: Kwargs) -> _Ending:
    outer = getattr(transaction, "_outer_transaction", True)
    if (args and args[0] is not None) or getattr(transaction, "force_rollback", False):
        name = "ROLLBACK" if outer else "ROLLBACK TO"
    else:
        name = "COMMIT" if outer else "RELEASE SAVEPOINT"
    return _Ending(tracing, name, getattr(transaction, "_conn", None))


TARGETS = (
    *(
        wrap
        for connection in ("Connection", "AsyncConnection")
        for wrap in (
            Wrap("psycopg", f"{connection}.commit", _of_connection("COMMIT")),
            Wrap("psycopg", f"{connection}.rollback", _of_connection("ROLLBACK")),
            Wrap("psycopg", f"{connection}.tpc_prepare", _step(lambda connection: "PREPARE TRANSACTION")),
            Wrap("psycopg", f"{connection}.tpc_commit", _step(lambda connection: "COMMIT PREPARED")),
            Wrap("psycopg", f"{connection}.tpc_rollback", _step(lambda connection: "ROLLBACK PREPARED")),
        )
    ),
    Wrap("psycopg", "Transaction.__enter__", _step(_entered)),
    Wrap("psycopg", "Transaction.__exit__", traced_call(_begin_leaving)),
    Wrap("psycopg", "AsyncTransaction.__aenter__", _step(_entered)),
    Wrap("psycopg", "AsyncTransaction.__aexit__", traced_call(_begin_leaving)),
)
"""The targets."""
