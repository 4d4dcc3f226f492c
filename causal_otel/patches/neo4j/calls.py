"""What the calls of the neo4j driver are, and the wrappers that hear how its results go on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.calls import Args, Kwargs, Wrapper, argument, excluded_call, traced_call
from causal_otel.instrument.operation import Operation
from causal_otel.patches.neo4j.executions import ExecutedQuery, Execution
from causal_otel.patches.neo4j.operations import (
    ERRORS,
    Endpoint,
    connection_attributes,
    endpoint_of_session,
    endpoint_of_transaction,
    parameters,
    private,
    query_operation,
)
from causal_otel.patches.neo4j.plumbing import Ending, Opening, Reaching, is_open, rolled_back
from causal_otel.patches.neo4j.results import Query
from causal_otel.statements import cypher

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.options import DatabaseOptions
    from causal_otel.instrument.tracing import Tracing

__all__ = [
    "beginning",
    "ending",
    "executing",
    "leaving_session",
    "leaving_transaction",
    "managed",
    "reaching_server",
    "result_failed",
    "session_killed",
    "session_run",
    "transaction_run",
]


def _query(
    tracing: Tracing[DatabaseOptions],
    query: Any,
    endpoint: Endpoint,
    objects: tuple[Any, ...],
    given: tuple[Any, ...],
    call: Callable[[Running], Call],
) -> Call | None:
    """The call of a query.

    Args:
        tracing: the handle.
        query: a string or a ``neo4j.Query``; if it is neither, the driver is about to say so.
        endpoint: where it goes.
        objects: the driver's own, for the hooks.
        given: the dicts of its parameters.
        call: makes the call.
    """
    text = getattr(query, "text", query)
    if not isinstance(text, str):
        return None
    options = tracing.options
    if len(text) > cypher.MAX_TEXT:
        operation = query_operation(*endpoint, text[: cypher.MAX_TEXT], True, options.query_text)
    else:
        operation = query_operation(*endpoint, text, False, options.query_text)
    if tracing.excluded is not None and operation.fits(tracing.excluded):
        return excluded_call(tracing)
    if options.parameters:
        operation = operation.of_this_call(parameters(*given))
    running = tracing.leaf(operation, ERRORS, objects)
    return None if running is None else call(running)


def _traceparent(span: Span) -> str | None:
    """What ``span`` is called in W3C Trace Context; None: it is in no trace."""
    found = span.get_span_context()
    if not found.is_valid:
        return None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def _told(metadata: Any, span: Span | None) -> Any:
    """A transaction's metadata, with the trace of ``span`` for the server's own logs; yours go first."""
    found = None if span is None else _traceparent(span)
    return metadata if found is None else {"traceparent": found, **(metadata or {})}


# -- queries ----------------------------------------------------------------------------------------------------------


def _session_run(tracing: Tracing[DatabaseOptions], session: Any, args: Args, kwargs: Kwargs) -> Call | None:
    query = argument(0, "query", args, kwargs)

    def call(running: Running) -> Query:
        if not tracing.options.traceparent:
            return Query(running, session)
        import neo4j

        text, metadata, timeout = (getattr(query, name, None) for name in ("text", "metadata", "timeout"))
        telling = neo4j.Query(text or query, metadata=_told(metadata, running.span), timeout=timeout)
        if args:
            return Query(running, session, (telling, *args[1:]))
        kwargs["query"] = telling
        return Query(running, session)

    given = argument(1, "parameters", args, kwargs), kwargs
    return _query(tracing, query, endpoint_of_session(session), (session, args, kwargs), given, call)


def _transaction_run(tracing: Tracing[DatabaseOptions], transaction: Any, args: Args, kwargs: Kwargs) -> Call | None:
    execution = Execution.current()
    if execution is not None and execution.excludes(transaction):
        return ExecutedQuery(execution, transaction)
    results = private(transaction, "_results")
    if results:
        earlier = Query.of(results[-1])
        if earlier is not None:
            earlier.overtaken()
    query = argument(0, "query", args, kwargs)
    given = argument(1, "parameters", args, kwargs), kwargs
    return _query(
        tracing,
        query,
        endpoint_of_transaction(transaction),
        (transaction, args, kwargs),
        given,
        lambda running: Query(running, transaction),
    )


def _execute_query(tracing: Tracing[DatabaseOptions], driver: Any, args: Args, kwargs: Kwargs) -> Call | None:
    endpoint = private(driver, "_pool", "address"), argument(3, "database_", args, kwargs)
    query = argument(0, "query_", args, kwargs)
    named = {key: value for key, value in kwargs.items() if not key.endswith("_")} if tracing.options.parameters else {}
    given = argument(1, "parameters_", args, kwargs), named
    return _query(
        tracing,
        query,
        endpoint,
        (driver, args, kwargs),
        given,
        lambda running: Execution(tracing, running, None, single_span=True),
    )


# -- transactions -----------------------------------------------------------------------------------------------------


def managed(name: str) -> Wrapper:
    """A wrapper for ``execute_read`` and the like."""

    def begin(tracing: Tracing[DatabaseOptions], session: Any, args: Args, kwargs: Kwargs) -> Call | None:
        if tracing.excluded is not None and tracing.excluded(name):
            return excluded_call(tracing)
        if not tracing.recorded():
            return None  # only its queries are measured
        operation = Operation(name, connection_attributes(*endpoint_of_session(session)), kind=SpanKind.INTERNAL)
        running = tracing.begin(operation, ERRORS, (session, args, kwargs))
        execution = Execution(tracing, running, session, single_span=False)
        execution.given(args, kwargs, is_async=hasattr(type(session), "__aenter__"))
        return execution

    return traced_call(begin)


def _begin(tracing: Tracing[DatabaseOptions], session: Any, args: Args, kwargs: Kwargs) -> Call:
    execution = Execution.current()
    attempt = execution if execution is not None and execution.attempt(session) else None
    if tracing.options.traceparent:
        span = context.current_span() if attempt is None else attempt.span
        kwargs["metadata"] = _told(kwargs.get("metadata"), span)
    return Opening(tracing, session, attempt)


def ending(operation: str) -> Wrapper:
    """A wrapper for ``_commit`` and ``_rollback``."""

    def begin(tracing: Tracing[DatabaseOptions], transaction: Any, args: Args, kwargs: Kwargs) -> Call:
        execution = Execution.current()
        attempt = execution if execution is not None and execution.has(transaction) else None
        return Ending(tracing, transaction, operation, attempt)

    return traced_call(begin)


# -- results ----------------------------------------------------------------------------------------------------------


def result_failed(tracing: Tracing[DatabaseOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """A result hears that its transaction has failed, not necessarily by its own doing."""

    @functools.wraps(original)
    def tx_failure(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        query = Query.of(self)
        if query is not None:
            query.finish(argument(0, "exc", args, kwargs))
        return original(self, *args, **kwargs)

    return tx_failure


def session_killed(tracing: Tracing[DatabaseOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """A session kills its connection, because the task is cancelled or ``cancel()`` is called; results do not hear."""

    @functools.wraps(original)
    def handle_cancellation(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            transaction = private(self, "_transaction")
            for result in (private(self, "_auto_result"), *(private(transaction, "_results") or ())):
                query = Query.of(result)
                if query is not None:
                    query.cancelled()
            if is_open(transaction) and tracing.recorded():
                execution = Execution.current()
                rolled_back(execution if execution is not None and execution.has(transaction) else None)
        except Exception:
            faults.report("neo4j: cancellation")
        return original(self, *args, **kwargs)

    return handle_cancellation


def _leaves(results: Callable[[Any], Iterable[Any]]) -> Wrapper:
    """A wrapper for methods that first fetch or discard the rest of earlier results, which nobody reads any more.

    Args:
        results: those results, from the instance.
    """

    def wrap(tracing: Tracing[DatabaseOptions], original: Callable[..., Any]) -> Callable[..., Any]:
        def leave(instance: Any) -> None:
            try:
                for result in results(instance):
                    query = Query.of(result)
                    if query is not None:
                        query.left()
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


# A session fetches the rest of its result before its next query, and discards it before anything else.
leaving_session = _leaves(lambda session: (private(session, "_auto_result"),))
leaving_transaction = _leaves(lambda result: (result,))

executing = traced_call(_execute_query)
transaction_run = traced_call(_transaction_run)
beginning = traced_call(_begin)
reaching_server = traced_call(lambda tracing, driver, args, kwargs: Reaching(tracing, driver))


def session_run(tracing: Tracing[DatabaseOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``Session.run``."""
    return leaving_session(tracing, traced_call(_session_run)(tracing, original))
