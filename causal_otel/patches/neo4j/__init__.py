"""neo4j: queries, managed transactions and ``execute_query``, of the synchronous and the asynchronous driver alike.

========================================  ===========================================================================
``Session.run``, ``Transaction.run``      A CLIENT span each, as long as the call and, added to that, each wait for
                                          records while you read the result. What you do between two records does not
                                          count, nor what the driver fetches or discards because you have not read it:
                                          before the session's next query, or when the session or transaction closes.
                                          So the span of a result that nobody reads is as long as ``run``. It is handed
                                          over when it is known how the result went: all of it has arrived, it failed
                                          or was cancelled; or it died before that, marked ``causal.abandoned``.
``Driver.execute_query``                  One CLIENT span; session, transaction and query inside it have none.
``Session.execute_read``,                 An INTERNAL span, current while your function runs, with the queries of every
``Session.execute_write``                 attempt in it. It is an error if the call fails, not if a retry succeeds.
``BEGIN``, ``COMMIT``, ``ROLLBACK``;      A CLIENT span only where they fail or are cancelled; the last is that of
``CONNECT``                               ``verify_connectivity``, ``verify_authentication`` and ``get_server_info``.
========================================  ===========================================================================

Outside any span each of these is a trace of its own.

A failure in a transaction is the end of all its unfinished results, and their spans end with that same error.
Not traced: pool, connections, ``HELLO``, ``LOGON``, ``RESET``, ``ROUTE``, bookmarks, whose failures are those of the
call that needs them, and statements that are excluded. A managed transaction that is excluded is not recorded, nor is
anything inside it.

Span names are query summaries, ``MATCH Person``; else ``neo4j.execute_write``, ``COMMIT orders``. Attributes:
``db.system.name``, ``db.namespace``, ``db.query.summary``, ``db.query.text`` (every string and number as ``?``,
parameters never), ``db.operation.name`` (of ``BEGIN`` and so on; nothing is parsed into it),
``server.address`` and ``server.port`` (those the driver was given, in a cluster too), ``causal.fetch`` (seconds that
were waited for records after ``run``), ``causal.neo4j.attempts``, and on failure ``db.response.status_code``
and ``error.type`` (the Neo4j code). The server's message is not recorded: it repeats values. A database that the
server chose is known, if at all, when the span ends.

Metrics: ``db.client.operation.duration`` of each query, in a managed transaction too, and
``db.client.response.returned_rows`` of an ``execute_query`` that returns an ``EagerResult``.

Options: :class:`Neo4jOptions`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.instrument.calls import Args, Kwargs, Wrapper, argument, excluded_call, plumbing_call, traced_call
from causal_otel.instrument.declaration import Patch, Wrap
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.conventions import DATABASE_CLIENT
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_CANCELLED,
    CAUSAL_FETCH,
    CAUSAL_NEO4J_ATTEMPTS,
    DB_NAMESPACE,
    DB_OPERATION_NAME,
    DB_QUERY_SUMMARY,
    DB_QUERY_TEXT,
    DB_RESPONSE_RETURNED_ROWS,
    DB_RESPONSE_STATUS_CODE,
    DB_SYSTEM_NAME,
    ERROR_TYPE,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.patches.neo4j.executions import Execution, Opening, Query
from causal_otel.patches.neo4j.operations import (
    Endpoint,
    connection_attributes,
    endpoint_of_driver,
    endpoint_of_session,
    endpoint_of_transaction,
    plumbing,
    query_operation,
)
from causal_otel.patches.neo4j.results import ERRORS, Stream, private
from causal_otel.statements import cypher

if TYPE_CHECKING:
    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.calls import Begin

__all__ = ["PATCH", "Neo4jOptions"]


@dataclass(frozen=True, kw_only=True)
class Neo4jOptions(ClientOptions):
    """Options of the neo4j patch; see :class:`~causal_otel.instrument.options.ClientOptions`.

    The hooks are called with the span, the session, transaction or driver, and the positional and keyword arguments of
    its ``run()``, ``execute_query()``, ``execute_read()`` or ``execute_write()``. For ``run()``, ``response_hook`` is
    called when all records have arrived, or nobody will read them, with the ``Result``, of which it should read nothing
    but ``keys()``: the records are the application's. For the others it is called when they return, with what they do.

    Args:
        excluded: names, such as ``MATCH Heartbeat`` or ``neo4j.execute_read`` (with all that is inside), or texts, such
            as ``CALL dbms.*``; both as a trace shows them, in any case.
    """


def _query(
    tracing: Tracing[Neo4jOptions],
    query: Any,
    endpoint: Endpoint,
    objects: tuple[Any, ...],
    call: Callable[[Running], Call],
) -> Call | None:
    """The call of a query, a string or a ``neo4j.Query``; None if it is neither, as the driver is about to say."""
    text = getattr(query, "text", query)
    if not isinstance(text, str):
        return None
    operation = query_operation(*endpoint, text[: cypher.MAX_TEXT])
    if tracing.excluded is not None and operation.fits(tracing.excluded):
        return excluded_call(tracing)
    running = tracing.leaf(operation, ERRORS, objects)
    return None if running is None else call(running)


# -- what a call is -----------------------------------------------------------------------------------------------


def _session_run(tracing: Tracing[Neo4jOptions], session: Any, args: Args, kwargs: Kwargs) -> Call | None:
    query = argument(0, "query", args, kwargs)
    return _query(tracing, query, endpoint_of_session(session), (session, args, kwargs), Query)


def _transaction_run(tracing: Tracing[Neo4jOptions], transaction: Any, args: Args, kwargs: Kwargs) -> Call | None:
    execution = Execution.current()
    if execution is not None and execution.excludes(transaction):
        return None
    query = argument(0, "query", args, kwargs)
    return _query(tracing, query, endpoint_of_transaction(transaction), (transaction, args, kwargs), Query)


def _execute_query(tracing: Tracing[Neo4jOptions], driver: Any, args: Args, kwargs: Kwargs) -> Call | None:
    endpoint = private(driver, "_pool", "address"), argument(3, "database_", args, kwargs)
    query = argument(0, "query_", args, kwargs)
    return _query(
        tracing, query, endpoint, (driver, args, kwargs), lambda running: Execution(running, None, single_span=True)
    )


def _managed(name: str) -> Begin:
    def describe(tracing: Tracing[Neo4jOptions], session: Any, args: Args, kwargs: Kwargs) -> Call | None:
        if tracing.excluded is not None and tracing.excluded(name):
            return excluded_call(tracing)
        if not tracing.recorded():
            return None  # only its queries are measured
        operation = Operation(name, connection_attributes(*endpoint_of_session(session)), kind=SpanKind.INTERNAL)
        running = tracing.begin(operation, ERRORS, (session, args, kwargs))
        return Execution(running, session, single_span=False)

    return describe


def _begin(tracing: Tracing[Neo4jOptions], session: Any, args: Args, kwargs: Kwargs) -> Call:
    execution = Execution.current()
    attempt = execution if execution is not None and execution.attempt(session) else None
    return Opening(tracing, session, attempt)


def _ending(operation: str) -> Begin:
    def describe(tracing: Tracing[Neo4jOptions], transaction: Any, args: Args, kwargs: Kwargs) -> Call | None:
        execution = Execution.current()
        if execution is not None and execution.excludes(transaction):
            return None
        return Plumbing(tracing, plumbing, (operation, endpoint_of_transaction, transaction), ERRORS)

    return describe


# -- wrappers -----------------------------------------------------------------------------------------------------


def _result_failed(tracing: Tracing[Neo4jOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """A result hears that its transaction has failed, not necessarily by its own doing."""

    @functools.wraps(original)
    def tx_failure(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        stream = Stream.of(self)
        if stream is not None:
            stream.end(argument(0, "exc", args, kwargs))
        return original(self, *args, **kwargs)

    return tx_failure


def _session_killed(tracing: Tracing[Neo4jOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """A session kills its connection, because the task is cancelled or ``cancel()`` is called; results do not hear."""

    @functools.wraps(original)
    def handle_cancellation(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            for result in (private(self, "_auto_result"), *(private(self, "_transaction", "_results") or ())):
                stream = Stream.of(result)
                if stream is not None:
                    stream.cancelled()
        except Exception:
            faults.report("neo4j: cancellation")
        return original(self, *args, **kwargs)

    return handle_cancellation


def _leaves(results: Callable[[Any], Iterable[Any]]) -> Wrapper:
    """A wrapper for methods that first fetch or discard the rest of earlier results, which nobody reads any more.

    Args:
        results: those results, from the instance.
    """

    def wrap(tracing: Tracing[Neo4jOptions], original: Callable[..., Any]) -> Callable[..., Any]:
        def leave(instance: Any) -> None:
            try:
                for result in results(instance):
                    stream = Stream.of(result)
                    if stream is not None:
                        stream.left()
            except Exception:
                faults.report("neo4j: a result that is left")

        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
                leave(self)
                return await original(self, *args, **kwargs)

            return async_call

        @functools.wraps(original)
        def sync_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            leave(self)
            return original(self, *args, **kwargs)

        return sync_call

    return wrap


def _both(outer: Wrapper, inner: Wrapper) -> Wrapper:
    return lambda tracing, original: outer(tracing, inner(tracing, original))


_connecting = plumbing_call(
    lambda tracing, driver, args, kwargs: plumbing("CONNECT", endpoint_of_driver, driver), ERRORS, nests=True
)

# A session fetches the rest of its result before its next query, and discards it before anything else.
_leaves_session = _leaves(lambda session: (private(session, "_auto_result"),))
_leaves_transaction = _leaves(lambda result: (result,))


def _targets(prefix: str) -> tuple[Wrap, ...]:
    """The targets of one of the two drivers, whose classes are public under names that differ by a prefix."""

    def wrap(attribute: str, wrapper: Wrapper) -> Wrap:
        return Wrap("neo4j", prefix + attribute, wrapper)

    return (
        wrap("Driver.execute_query", traced_call(_execute_query)),
        wrap("Driver.verify_connectivity", _connecting),
        wrap("Driver.verify_authentication", _connecting),
        wrap("Driver.get_server_info", _connecting),
        wrap("Session.run", _both(_leaves_session, traced_call(_session_run))),
        wrap("Session.begin_transaction", _leaves_session),
        wrap("Session.last_bookmarks", _leaves_session),
        wrap("Session.close", _leaves_session),
        wrap("Session.execute_read", traced_call(_managed("neo4j.execute_read"))),
        wrap("Session.execute_write", traced_call(_managed("neo4j.execute_write"))),
        wrap("Session._open_transaction", traced_call(_begin)),
        wrap("Transaction.run", traced_call(_transaction_run)),
        wrap("Transaction._commit", traced_call(_ending("COMMIT"))),
        wrap("Transaction._rollback", traced_call(_ending("ROLLBACK"))),
        wrap("ManagedTransaction.run", traced_call(_transaction_run)),
        wrap("ManagedTransaction._commit", traced_call(_ending("COMMIT"))),
        wrap("ManagedTransaction._rollback", traced_call(_ending("ROLLBACK"))),
        wrap("Result._tx_end", _leaves_transaction),
        wrap("Result._tx_failure", _result_failed),
    )


PATCH = Patch(
    name="neo4j",
    versions={"neo4j": ("5.20", "7")},
    options=Neo4jOptions,
    targets=(
        *_targets(""),
        *_targets("Async"),
        Wrap("neo4j", "AsyncSession._handle_cancellation", _session_killed),
    ),
    records=(
        DB_SYSTEM_NAME,
        DB_NAMESPACE,
        DB_QUERY_SUMMARY,
        DB_QUERY_TEXT,
        DB_OPERATION_NAME,
        DB_RESPONSE_RETURNED_ROWS,
        DB_RESPONSE_STATUS_CODE,
        SERVER_ADDRESS,
        SERVER_PORT,
        CAUSAL_FETCH,
        CAUSAL_NEO4J_ATTEMPTS,
        ERROR_TYPE,
        CAUSAL_CANCELLED,
        CAUSAL_ABANDONED,
    ),
    never=(
        "values in statements (each string and number is `?`, in maps too) and comments",
        "parameters",
        "records",
        "the user, the password and tokens",
        "the server's error message (its code is recorded)",
    ),
    metrics={SpanKind.CLIENT: DATABASE_CLIENT},
)
