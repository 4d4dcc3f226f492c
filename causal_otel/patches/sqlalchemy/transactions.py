"""COMMIT and ROLLBACK where no patch of a driver sees them, and the event of a transaction that is rolled back.

DBAPI drivers have no BEGIN: they begin with the first statement.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.above import PLUMBING, orm_origin
from causal_otel.instrument.calls import Wrapper
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import CAUSAL_SERVER, CAUSAL_TRANSACTION_ROLLED_BACK, DB_OPERATION_NAME
from causal_otel.patches.sqlalchemy.engines import place_of, traced_below
from causal_otel.patches.sqlalchemy.plumbing import Late, late_plumbing, plumbing

__all__ = ["rollback", "told", "transition"]


def _undone(operation: str) -> None:
    """Tell the current span that a transaction was rolled back, by that operation."""
    span = context.current_span()
    if span is not None and span.is_recording():
        span.add_event(CAUSAL_TRANSACTION_ROLLED_BACK, {DB_OPERATION_NAME: operation})


def transition(operation: str) -> Wrapper:
    """For a method of a connection that ends a transaction.

    A COMMIT that the server refuses undoes it: SQLAlchemy takes it for over, and calls no ``rollback()`` that it would
    take for one. What became of it where the connection was lost, nobody knows.
    """

    def of_the_server(late: Late, error: BaseException | None) -> bool:
        late.part(CAUSAL_SERVER, perf_counter() - late.since)
        if operation == "COMMIT" and getattr(error, "connection_invalidated", True) is False:
            _undone(operation)
        return True

    call = late_plumbing(lambda connection: plumbing(operation, place_of(connection.engine)), of_the_server)

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        plumbed = call(tracing, original)

        @functools.wraps(original)
        def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            chosen = original if traced_below(getattr(self, "dialect", None)) else plumbed
            return chosen(self, *args, **kwargs)

        return method

    return wrap


def rollback(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``Transaction.rollback``: the program has asked for it, or an exception has left a block.

    Not so ``close()``, which ends a transaction in which nothing was to be kept, nor what a pool does with connections
    that are given back. A savepoint is no transaction.
    """

    @functools.wraps(original)
    def rollback(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        active = tracing.active and getattr(self, "is_active", False) and not hasattr(self, "_savepoint")
        try:
            return original(self, *args, **kwargs)
        finally:
            if active:
                try:
                    _undone("ROLLBACK")
                except Exception:
                    faults.report("sqlalchemy: a rollback")

    return rollback


def told(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the adapter's method through which all rollbacks reach a driver whose patch would tell them too."""

    @functools.wraps(original)
    def rollback(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not tracing.active:
            return original(self, *args, **kwargs)
        before = orm_origin.get()
        orm_origin.set(PLUMBING)
        try:
            return original(self, *args, **kwargs)
        finally:
            orm_origin.set(before)

    return rollback
