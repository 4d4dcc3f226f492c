"""Statements: the methods that run one, of connections, prepared statements and pools, and COPY."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.context import Context, create_key
from opentelemetry.trace import format_span_id, format_trace_id

from causal_otel.engine import context
from causal_otel.instrument.above import orm_origin, with_origin
from causal_otel.instrument.calls import Args, Describe, Inside, Kwargs, Wrapper, argument, client_call, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.options import DatabaseOptions
from causal_otel.instrument.query_parameters import query_parameters
from causal_otel.names import CAUSAL_SERVER, DB_OPERATION_BATCH_SIZE
from causal_otel.patches.asyncpg.leases import lease_of, leases
from causal_otel.patches.asyncpg.operations import ERRORS, copy_operation, endpoint, of_query, queries
from causal_otel.patches.asyncpg.transactions import Sent
from causal_otel.patches.asyncpg.under_way import KEY, around, step
from causal_otel.statements.comment import to_describe, with_traceparent

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["POOL_METHODS", "TARGETS", "Method", "begin_operation", "described", "of_statement", "query_of_connection"]

Place = Callable[[Any], tuple[Any, str]]
"""Tells address and database of what a method is called on."""

Make = Callable[[DatabaseOptions, Place], Describe]
"""Makes what says which operation a call is."""


# -- what a call is -----------------------------------------------------------------------------------------------


def described(known: Callable[[Any, str, str], Operation], place: tuple[Any, str], query: Any) -> Operation | None:
    """What running ``query`` there is."""
    if not isinstance(query, str):
        return None  # the driver is about to say so
    operation = known(*place, to_describe(query))
    origin = orm_origin.get()
    return operation if origin is None else with_origin(operation, origin)


def _with_values(describe: Describe, values: Callable[[Args], Args]) -> Describe:
    """The same, with the parameters, which ``values`` picks from the arguments."""

    def with_values(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        operation = describe(tracing, instance, args, kwargs)
        found = values(args)
        if operation is None or operation.plumbing or not found:
            return operation
        return operation.of_this_call(query_parameters(tracing, enumerate(found)))

    return with_values


def _query(options: DatabaseOptions, place: Place) -> Describe:
    known = queries(text=options.query_text).sent

    def describe(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        return described(known, place(connection), args[0] if args else kwargs.get("query"))

    return _with_values(describe, lambda args: args[1:]) if options.parameters else describe


def query_of_connection(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Operation | None:
    """A query that a cursor is made for."""
    known = queries(text=tracing.options.query_text).query
    return described(known, endpoint(connection), argument(0, "query", args, kwargs))


def _batch(name: str) -> Make:
    """A method whose statement is called ``name``."""

    def make(options: DatabaseOptions, place: Place) -> Describe:
        known = queries(text=options.query_text).query

        def describe(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Operation | None:
            operation = described(known, place(connection), argument(0, name, args, kwargs))
            return _of_many(operation, argument(1, "args", args, kwargs))

        return describe

    return make


def _of_many(operation: Operation | None, args: Any) -> Operation | None:
    size = len(args) if isinstance(args, Sized) else 0
    if operation is None or size < 2:
        return operation
    return operation.of_this_call({DB_OPERATION_BATCH_SIZE: size})


def of_statement(options: DatabaseOptions, place: Place = endpoint) -> Describe:
    """A prepared statement or a cursor: both know their connection and query."""
    known = queries(text=options.query_text).query

    def describe(tracing: Tracing[Any], statement: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        place_ = place(getattr(statement, "_connection", None))
        return described(known, place_, getattr(statement, "_query", None))

    return describe


def _prepared(options: DatabaseOptions, place: Place) -> Describe:
    describe = of_statement(options, place)
    return _with_values(describe, lambda args: args) if options.parameters else describe


def _prepared_batch(options: DatabaseOptions, place: Place) -> Describe:
    statement = of_statement(options, place)
    return lambda tracing, instance, args, kwargs: _of_many(
        statement(tracing, instance, args, kwargs), argument(0, "args", args, kwargs)
    )


def _copy_query(options: DatabaseOptions, place: Place) -> Describe:
    known = queries(text=options.query_text).query
    return lambda tracing, connection, args, kwargs: of_query(
        "COPY", described(known, place(connection), argument(0, "query", args, kwargs))
    )


def _copy_table(options: DatabaseOptions, place: Place) -> Describe:
    def describe(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        table = argument(0, "table_name", args, kwargs)
        if not isinstance(table, str):
            return None
        schema = kwargs.get("schema_name")
        return copy_operation(*place(connection), f"{schema}.{table}" if schema else table)

    return describe


_COPYING = create_key("causal-otel-asyncpg-copying")


def _prepare(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Operation | None:
    if context.current().get(_COPYING) is connection:
        return None  # 0.31 prepares a query of its own to know the columns; COPY says that it failed
    known = queries(text=tracing.options.query_text).query
    return of_query("PREPARE", described(known, endpoint(connection), argument(0, "query", args, kwargs)))


# -- the methods --------------------------------------------------------------------------------------------------


def _number(result: Any) -> int | None:
    """How many rows a list of them is."""
    return len(result) if isinstance(result, list) else None


def _one_or_none(result: Any) -> int:
    return 0 if result is None else 1


class Method(NamedTuple):
    """A method that runs a statement.

    Args:
        describe: makes what says which operation it is.
        rows: how many rows it has returned; None: it does not tell.
        optional: whether some supported versions lack it.
    """

    describe: Make
    rows: Callable[[Any], int | None] | None = None
    optional: bool = False


POOL_METHODS = {
    "execute": Method(_query),
    "fetch": Method(_query, _number),
    "fetchval": Method(_query),
    "fetchrow": Method(_query, _one_or_none),
    "executemany": Method(_batch("command")),
    "fetchmany": Method(_batch("query"), _number, optional=True),  # since 0.30
    "copy_from_query": Method(_copy_query),
    "copy_from_table": Method(_copy_table),
    "copy_to_table": Method(_copy_table),
    "copy_records_to_table": Method(_copy_table),
}
"""Those that pools have as well as connections."""

_OF_STATEMENTS = {
    "fetch": Method(_prepared, _number),
    "fetchval": Method(_prepared),
    "fetchrow": Method(_prepared, _one_or_none),
    "fetchmany": Method(_prepared_batch, _number, optional=True),  # since 0.30
    "executemany": Method(_prepared_batch),
}


# -- wrappers -----------------------------------------------------------------------------------------------------


def _inside(describe: Describe) -> Describe:
    """The same, where a connection may be in use by something that tells of its statements."""
    current = context.current

    def describe_inside(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Operation | None:
        if leases and lease_of(instance) is not None:
            return None  # a method of its pool tells of it
        outer = None if current().get(KEY) is None else around()  # nearly always: asking around() costs twice as much
        if outer is None:
            return describe(tracing, instance, args, kwargs)
        if outer.hooks:  # it is the driver's own statement, or one of a pool's hooks
            operation = describe(tracing, instance, args, kwargs)
            if operation is None or operation.plumbing:
                return operation
            background = outer.tells and outer.pool is None
            return Operation(operation.name, operation.attributes, operation.own, plumbing=True, background=background)
        if outer.connection is instance:
            return None  # a method of its pool tells of it
        return describe(tracing, instance, args, kwargs)

    return describe_inside


def _traced(method: Method, name: str = "") -> Wrapper:
    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        describe = _inside(method.describe(tracing.options, endpoint))
        rest = None if name.startswith("copy_") else CAUSAL_SERVER  # COPY waits for what it reads and writes, too
        if name == "execute" and tracing.options.traceparent:
            return _commented(describe)(tracing, original)
        return client_call(describe, ERRORS, method.rows, rest, plumbing=Sent)(tracing, original)

    return wrap


def begin_operation(
    tracing: Tracing[Any], describe: Describe, instance: Any, args: Args, kwargs: Kwargs
) -> tuple[Any, Args | None]:
    """Begin the operation that ``describe`` tells of; with the arguments to use in place of the caller's, if any."""
    operation = describe(tracing, instance, args, kwargs)
    if operation is None or operation.plumbing or (tracing.excluded is not None and operation.fits(tracing.excluded)):
        return None, None  # a pool's plumbing is seen to where its connection's method is called
    running = tracing.leaf(operation, ERRORS, (instance, args, kwargs))
    if running is None or not tracing.options.traceparent:
        return running, None
    return running, _with_comment(running, args, kwargs)


class _Commented:
    """An operation whose statement has a comment."""

    __slots__ = ("_running", "args")

    inside: Context | None = None

    def __init__(self, running: Running, args: Args) -> None:
        running.take_notes(CAUSAL_SERVER)
        self._running = running
        self.args = args

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""
        self._running.end(result, error)


def _commented(describe: Describe) -> Wrapper:
    def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        operation = describe(tracing, instance, args, kwargs)
        if operation is not None and operation.plumbing:
            return Sent(tracing, lambda: operation, (), ERRORS)
        running, commented = begin_operation(tracing, lambda *call: operation, instance, args, kwargs)
        return None if running is None else _Commented(running, args if commented is None else commented)

    return traced_call(begin)


def _with_comment(running: Running, args: Args, kwargs: Kwargs) -> Args | None:
    """The arguments with the trace in the statement; None: as they are.

    Only a statement without parameters, which goes to the server as it is. One with parameters is prepared, and asyncpg
    would prepare it anew for each trace.
    """
    found = running.span.get_span_context()
    query = argument(0, "query", args, kwargs)
    if len(args) > 1 or not isinstance(query, str) or not found.is_valid:
        return None
    trace, span = format_trace_id(found.trace_id), format_span_id(found.span_id)
    query = with_traceparent(query, f"00-{trace}-{span}-{found.trace_flags:02x}")
    if args:
        return (query,)
    kwargs["query"] = query  # a dict of this call's own
    return None


def _copy_records(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    def begin(tracing: Tracing[Any], connection: Any, args: Args, kwargs: Kwargs) -> Inside:
        return Inside(Context({**context.current(), _COPYING: connection}))

    name = "copy_records_to_table"
    return _traced(POOL_METHODS[name], name)(tracing, traced_call(begin)(tracing, original))


_CONNECTION, _STATEMENT = "asyncpg.connection", "asyncpg.prepared_stmt"

TARGETS = (
    *(
        Wrap(
            _CONNECTION,
            f"Connection.{name}",
            _copy_records if name == "copy_records_to_table" else _traced(method, name),
            method.optional,
        )
        for name, method in POOL_METHODS.items()
    ),
    *(
        Wrap(_STATEMENT, f"PreparedStatement.{name}", _traced(method), method.optional)
        for name, method in _OF_STATEMENTS.items()
    ),
    Wrap(_CONNECTION, "Connection.prepare", step(_prepare)),
)
"""The targets."""
