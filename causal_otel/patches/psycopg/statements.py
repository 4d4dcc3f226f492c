"""Statements: ``execute`` and ``executemany`` of cursors, which those of connections call.

psycopg sends ``BEGIN`` inside of the first statement of a transaction, and prepares one that is executed often: all of
that is part of its span.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import format_span_id, format_trace_id

from causal_otel.instrument.calls import Args, Describe, Kwargs, Wrapper, argument, client_call, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.query_parameters import query_parameters
from causal_otel.names import CAUSAL_SERVER, DB_OPERATION_BATCH_SIZE
from causal_otel.patches._postgresql import ERRORS
from causal_otel.patches.psycopg.operations import BATCHING, described, pipeline_of, queries
from causal_otel.patches.psycopg.transactions import Sent
from causal_otel.statements.comment import with_traceparent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context

    from causal_otel.instrument.operation import Operation, Running
    from causal_otel.instrument.options import DatabaseOptions
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS", "batch", "statement"]

_TUPLES = 2
"""libpq's status of a result that has rows."""


def statement(options: DatabaseOptions) -> Describe:
    """Describes the statement that a method of a cursor is given, with its parameters if they are recorded."""
    known, parameters = queries(text=options.query_text), options.parameters

    def describe(tracing: Tracing[Any], cursor: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        query = args[0] if args else kwargs.get("query")
        operation = described(known, cursor._conn, query)
        if parameters and operation is not None and not operation.plumbing:
            given = query_parameters(tracing, _parameters(argument(1, "params", args, kwargs)))
            return operation.of_this_call(given) if given else operation
        return operation

    return describe


def _parameters(given: Any) -> Iterable[tuple[Any, Any]]:
    """The parameters of one statement, by name or position."""
    if isinstance(given, Mapping):
        return given.items()
    return enumerate(given) if isinstance(given, Sequence) and not isinstance(given, str | bytes) else ()


def batch(options: DatabaseOptions) -> Describe:
    """Describes the statement that ``executemany()`` is given, with the number of its parameters if they have one."""
    known = queries(text=options.query_text)

    def describe(tracing: Tracing[Any], cursor: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        operation = described(known, cursor._conn, argument(0, "query", args, kwargs))
        given = argument(1, "params_seq", args, kwargs)
        size = len(given) if isinstance(given, Sized) else 0
        return operation if operation is None or size < 2 else operation.of_this_call({DB_OPERATION_BATCH_SIZE: size})

    return describe


def _rows(cursor: Any) -> int | None:
    """How many rows there are to be fetched; None: it is no statement that returns any."""
    result = getattr(cursor, "pgresult", None)
    return int(result.ntuples) if result is not None and result.status == _TUPLES else None


def _at_once(describe: Describe) -> Describe:
    """The same, of what is sent at once. In a pipeline a statement is a part of a batch: see ``pipelines.py``."""

    def describe_at_once(tracing: Tracing[Any], cursor: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        return describe(tracing, cursor, args, kwargs) if pipeline_of(cursor._conn) is None else None

    return describe_at_once


def _execute(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``execute()`` of cursors."""
    describe = _at_once(statement(tracing.options))
    if tracing.options.traceparent:
        return _commented(describe)(tracing, original)
    return client_call(describe, ERRORS, _rows, CAUSAL_SERVER, plumbing=Sent)(tracing, original)


class _Batching:
    """``executemany()`` under way."""

    __slots__ = ("_connection", "_running")

    args: Args | None = None
    inside: Context | None = None

    def __init__(self, running: Running, connection: Any) -> None:
        running.take_notes(CAUSAL_SERVER)
        self._running = running
        self._connection = connection
        connection.__dict__[BATCHING] = True

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        self._connection.__dict__.pop(BATCHING, None)
        self._running.end(result, error)


def _executemany(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``executemany()`` of cursors."""
    describe = _at_once(batch(tracing.options))

    def begin(tracing: Tracing[Any], cursor: Any, args: Args, kwargs: Kwargs) -> _Batching | Sent | None:
        operation = describe(tracing, cursor, args, kwargs)
        if operation is None or (tracing.excluded is not None and operation.fits(tracing.excluded)):
            return None
        if operation.plumbing:
            return Sent(tracing, lambda: operation, (), ERRORS)
        running = tracing.leaf(operation, ERRORS, (cursor, args, kwargs))
        return None if running is None else _Batching(running, cursor._conn)

    return traced_call(begin)(tracing, original)


def _commented(describe: Describe) -> Wrapper:
    """The same, with the trace in a comment of each statement that psycopg does not prepare."""

    def begin(tracing: Tracing[Any], cursor: Any, args: Args, kwargs: Kwargs) -> Any:
        operation = describe(tracing, cursor, args, kwargs)
        if operation is None or (tracing.excluded is not None and operation.fits(tracing.excluded)):
            return None
        if operation.plumbing:
            return Sent(tracing, lambda: operation, (), ERRORS)
        running = tracing.leaf(operation, ERRORS, (cursor, args, kwargs))
        if running is None:
            return None
        running.rows = _rows
        running.take_notes(CAUSAL_SERVER)
        return _Commented(running, _with_comment(running, cursor, args, kwargs))

    return traced_call(begin)


class _Commented:
    """A statement under way that may have a comment."""

    __slots__ = ("_running", "args")

    inside: Context | None = None

    def __init__(self, running: Running, args: Args | None) -> None:
        self._running = running
        self.args = args

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        self._running.end(result, error)


def _with_comment(running: Running, cursor: Any, args: Args, kwargs: Kwargs) -> Args | None:
    """The arguments with the trace in the statement; None: as they are.

    psycopg counts how often it has seen a text, and would prepare none, or remember each, if all were different.
    """
    found = running.span.get_span_context()
    query = argument(0, "query", args, kwargs)
    if not isinstance(query, str) or not found.is_valid or _prepares(cursor, kwargs):
        return None
    trace, span = format_trace_id(found.trace_id), format_span_id(found.span_id)
    query = with_traceparent(query, f"00-{trace}-{span}-{found.trace_flags:02x}")
    if args:
        return (query, *args[1:])
    kwargs["query"] = query  # a dict of this call's own
    return None


def _prepares(cursor: Any, kwargs: Kwargs) -> bool:
    """Whether psycopg knows a statement of this cursor again by its text."""
    if kwargs.get("prepare") is False or type(cursor).__name__.endswith("ClientCursor"):
        return False
    return getattr(cursor._conn, "prepare_threshold", 0) is not None


TARGETS = tuple(
    wrap
    for cursor in ("Cursor", "AsyncCursor")
    for wrap in (
        Wrap("psycopg", f"{cursor}.execute", _execute),
        Wrap("psycopg", f"{cursor}.executemany", _executemany),
    )
)
"""The targets."""
