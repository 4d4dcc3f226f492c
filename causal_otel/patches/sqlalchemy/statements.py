"""The span of a statement: the driver's, which is told the origin, or one of this patch where no other makes one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.above import orm_origin, with_origin
from causal_otel.instrument.calls import Args, Kwargs, argument, client_call, traced_call
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.options import DatabaseOptions
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.instrument.query_parameters import query_parameters
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import (
    CAUSAL_QUERY_TRUNCATED,
    CAUSAL_SERVER,
    DB_OPERATION_BATCH_SIZE,
    DB_QUERY_SUMMARY,
    DB_QUERY_TEXT,
)
from causal_otel.patches.sqlalchemy.engines import ERRORS, Place, place_of, silent_below, traced_below
from causal_otel.patches.sqlalchemy.origin import origin_of
from causal_otel.patches.sqlalchemy.streams import Stream
from causal_otel.statements import sql
from causal_otel.statements.comment import to_describe, with_traceparent

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from causal_otel.instrument.awaiting import Call

__all__ = ["default", "statement"]

_CACHED = 1024  # statements; a program has few, unless it builds them, and then remembering them is no use


class _Describe:
    """Says what the statement of an ``ExecutionContext`` is.

    Args:
        options: the patch's.
    """

    def __init__(self, options: DatabaseOptions) -> None:
        self._with_text = options.query_text
        self._with_parameters = options.parameters
        self._operation = functools.lru_cache(_CACHED)(self._describe)

    def __call__(self, tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        """For ``Connection._exec_single_context`` and ``_exec_insertmany_context``."""
        context = argument(1, "context", args, kwargs)
        operation = self.of(connection, context.statement, origin_of(context))
        own: dict[str, Any] = {}
        if context.executemany and len(context.parameters) > 1:
            own[DB_OPERATION_BATCH_SIZE] = len(context.parameters)
        elif self._with_parameters and context.parameters:
            own = query_parameters(tracing, _named(context.parameters[0]))
        return operation.of_this_call(own) if own and not operation.plumbing else operation

    def of(self, connection: Any, statement: str, origin: str | None) -> Operation:
        return self._operation(place_of(connection.engine), to_describe(statement), origin)

    def _describe(self, place: Place, statement: str, origin: str | None) -> Operation:
        described = sql.describe(statement, place.sql)
        attributes = dict(place.attributes)
        if self._with_text:
            attributes[DB_QUERY_TEXT] = described.text
            if len(statement) > sql.MAX_TEXT:
                attributes[CAUSAL_QUERY_TRUNCATED] = True
        if described.summary:
            attributes[DB_QUERY_SUMMARY] = described.summary
        operation = Operation(described.summary or place.namespace or place.system, attributes)
        return operation if origin is None else with_origin(operation, origin)


def _named(given: Any) -> Iterable[tuple[Any, Any]]:
    """The parameters of one statement, by name or position."""
    if isinstance(given, Mapping):
        return given.items()
    return enumerate(given) if isinstance(given, Sequence) and not isinstance(given, str | bytes) else ()


def _streams(context: Any) -> bool:
    """Whether a server-side cursor reads the rows as they are asked for."""
    return getattr(context, "_is_server_side", False) is True


_PREPARING = frozenset({"aiosqlite", "asyncpg", "cx_oracle", "oracledb", "pg8000", "psycopg", "pysqlite"})
"""Drivers, as dialects name them, that know a statement again by its text: psycopg until it is told not to."""


def _prepares(connection: Any) -> bool:
    """Whether the driver would prepare each statement anew if each had a comment of its own."""
    driver = connection.dialect.driver
    if driver == "psycopg":
        return getattr(connection.connection.driver_connection, "prepare_threshold", 0) is not None
    return driver in _PREPARING


def _traceparent(span: Span) -> str:
    found = span.get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def _rows(result: Any) -> int | None:
    """How many rows a result has, where the driver has them all and tells."""
    cursor = getattr(result, "cursor", None)
    number = getattr(cursor, "rowcount", None)
    if not isinstance(number, int) or number < 0 or getattr(cursor, "description", None) is None:
        return None
    return number


def statement(tracing: Tracing[DatabaseOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``Connection._exec_single_context`` and ``_exec_insertmany_context``: the whole of one statement's execution.

    Both are given the dialect and the ``ExecutionContext``.
    """
    original = silent_below(original)
    describe = _Describe(tracing.options)
    comments = tracing.options.traceparent

    def begin(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Call | None:
        context = argument(1, "context", args, kwargs)
        operation = describe(tracing, connection, args, kwargs)
        if operation is None or (tracing.excluded is not None and operation.fits(tracing.excluded)):
            return None
        if operation.plumbing:
            return Plumbing(tracing, lambda: operation, (), ERRORS)
        running = tracing.leaf(operation, ERRORS, (connection, args, kwargs))
        if running is None:
            return None
        if comments:
            try:
                if not _prepares(connection):
                    context.statement = with_traceparent(context.statement, _traceparent(running.span))
            except Exception:  # the span has begun
                faults.report("sqlalchemy: traceparent")
        if _streams(context):
            return Stream(running)
        running.rows = _rows
        running.take_notes(CAUSAL_SERVER)
        return running

    call = traced_call(begin)(tracing, original)
    leaf_call = call if comments else client_call(describe, ERRORS, _rows, CAUSAL_SERVER)(tracing, original)
    recorded = tracing.recorded

    @functools.wraps(original)
    def execute(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        context = argument(1, "context", args, kwargs)
        if not traced_below(argument(0, "dialect", args, kwargs)):
            traced = call if _streams(context) else leaf_call
            return traced(self, *args, **kwargs)
        if not recorded():
            return original(self, *args, **kwargs)
        origin = origin_of(context)
        if origin is None:
            return original(self, *args, **kwargs)
        before = orm_origin.get()
        orm_origin.set(origin)
        try:
            return original(self, *args, **kwargs)
        finally:
            # No token: a greenlet that is closed elsewhere ends in another context, where reset() would raise.
            orm_origin.set(before)

    return execute


def default(tracing: Tracing[DatabaseOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``Connection._cursor_execute``, by which a column's default is asked for before a statement."""
    original = silent_below(original)
    describe = _Describe(tracing.options)

    def described(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        text = argument(1, "statement", args, kwargs)
        return describe.of(connection, text, None) if isinstance(text, str) else None

    spanned = client_call(described, ERRORS, None, CAUSAL_SERVER)(tracing, original)

    @functools.wraps(original)
    def execute(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        call = original if traced_below(getattr(self, "dialect", None)) else spanned
        return call(self, *args, **kwargs)

    return execute
