"""What the calls of the neo4j driver are, and the wrappers that hear how its results go on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.calls import Args, Inside, Kwargs, Wrapper, argument, excluded_call, traced_call
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.query_parameters import query_parameters
from causal_otel.patches.neo4j.executions import Execution, executed
from causal_otel.patches.neo4j.internals import (
    Endpoint,
    auto_result,
    endpoint_of_driver,
    endpoint_of_session,
    endpoint_of_transaction,
    private,
)
from causal_otel.patches.neo4j.operations import ERRORS, connection_attributes, query_operation
from causal_otel.patches.neo4j.plumbing import Calling, Ending, Opening, is_open, rolled_back
from causal_otel.patches.neo4j.results import AsyncQuery, Query
from causal_otel.statements import cypher

if TYPE_CHECKING:
    from typing import LiteralString

    from opentelemetry.trace import Span

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.options import DatabaseOptions
    from causal_otel.instrument.tracing import Tracing

__all__ = [
    "beginning",
    "closing_driver",
    "closing_session",
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
    objects: tuple[Any, Args, Kwargs],
    given: str = "parameters",
) -> Running | Inside | None:
    """The operation that a query is, begun; or the call instead: None if there is none.

    Args:
        tracing: the handle.
        query: a string or a ``neo4j.Query``; if it is neither, the driver is about to say so.
        endpoint: where it goes.
        objects: the driver's own, for the hooks.
        given: the name of the argument that has its parameters.
    """
    text = query if type(query) is str else getattr(query, "text", query)
    if not isinstance(text, str):
        return None
    options = tracing.options
    truncated = len(text) > cypher.MAX_TEXT
    if truncated:
        text = text[: cypher.MAX_TEXT]
    operation = query_operation(*endpoint, text, truncated, options.query_text)
    if tracing.excluded is not None and operation.fits(tracing.excluded):
        return excluded_call(tracing)
    if options.parameters:
        _, args, kwargs = objects
        named = {key: value for key, value in kwargs.items() if not (given.endswith("_") and key.endswith("_"))}
        named.pop("query", None)
        own = named.pop(given, None)
        first = args[1] if len(args) > 1 else own
        if isinstance(first, Mapping):  # else the driver is about to refuse it
            named = {**first, **named}
        operation = operation.of_this_call(query_parameters(tracing, named.items()))
    return tracing.leaf(operation, ERRORS, objects)


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


def session_run(*, is_async: bool) -> Wrapper:
    """A wrapper for ``Session.run``.

    Args:
        is_async: whether it is the asynchronous driver's.
    """
    new = AsyncQuery if is_async else Query

    def begin(tracing: Tracing[DatabaseOptions], session: Any, args: Args, kwargs: Kwargs) -> Call | None:
        query = args[0] if args else kwargs.get("query")
        earlier = auto_result(session)
        if earlier is not None:  # the driver is about to fetch the rest of it, which nobody reads
            _leave(earlier)
        running = _query(tracing, query, endpoint_of_session(session), (session, args, kwargs))
        if not isinstance(running, Running):
            return running
        if not tracing.options.traceparent:
            return new(running)
        import neo4j

        text, metadata, timeout = (getattr(query, name, None) for name in ("text", "metadata", "timeout"))
        telling = neo4j.Query(
            text or cast("LiteralString", query), metadata=_told(metadata, running.span), timeout=timeout
        )
        if args:
            return new(running, (telling, *args[1:]))
        kwargs["query"] = telling
        return new(running)

    return traced_call(begin)


def transaction_run(*, is_async: bool) -> Wrapper:
    """A wrapper for ``Transaction.run``.

    Args:
        is_async: whether it is the asynchronous driver's.
    """
    new = AsyncQuery if is_async else Query

    def begin(tracing: Tracing[DatabaseOptions], transaction: Any, args: Args, kwargs: Kwargs) -> Call | None:
        execution = Execution.current()
        if execution is not None and execution.excludes(transaction):
            return executed(execution, is_async=is_async)
        results = private(transaction, "_results")
        if results:
            earlier = Query.of(results[-1])
            if earlier is not None:
                earlier.overtaken()
        query = args[0] if args else kwargs.get("query")
        running = _query(tracing, query, endpoint_of_transaction(transaction), (transaction, args, kwargs))
        return new(running) if isinstance(running, Running) else running

    return traced_call(begin)


def _execute_query(tracing: Tracing[DatabaseOptions], driver: Any, args: Args, kwargs: Kwargs) -> Call | None:
    endpoint = private(driver, "_pool", "address"), argument(3, "database_", args, kwargs)
    query = argument(0, "query_", args, kwargs)
    running = _query(tracing, query, endpoint, (driver, args, kwargs), "parameters_")
    return Execution(tracing, running, None, single_span=True) if isinstance(running, Running) else running


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


def _leaves(result_of: Callable[[Any], Any]) -> Wrapper:
    """A wrapper for methods that first fetch or discard the rest of an earlier result, which nobody reads any more.

    Args:
        result_of: that result, from the instance; None: there is none.
    """

    def wrap(tracing: Tracing[DatabaseOptions], original: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
                result = result_of(self)
                if result is not None:
                    _leave(result)
                return await original(self, *args, **kwargs)

            return async_call

        @functools.wraps(original)
        def sync_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            result = result_of(self)
            if result is not None:
                _leave(result)
            return original(self, *args, **kwargs)

        return sync_call

    return wrap


def _leave(result: Any) -> None:
    try:
        query = Query.of(result)
        if query is not None:
            query.left()
    except Exception:
        faults.report("neo4j: a result that is left")


# A session fetches the rest of its result before its next query, and discards it before anything else.
leaving_session = _leaves(auto_result)
leaving_transaction = _leaves(lambda result: result)

executing = traced_call(_execute_query)
beginning = traced_call(_begin)


def _calling(operation: str, endpoint: Callable[[Any], Endpoint]) -> Wrapper:
    def begin(tracing: Tracing[DatabaseOptions], instance: Any, args: Args, kwargs: Kwargs) -> Call | None:
        execution = Execution.current()
        if execution is not None and execution.single_span:
            return None  # the session is the driver's own
        return Calling(tracing, operation, endpoint, instance)

    return traced_call(begin)


_closing_session = _calling("CLOSE", endpoint_of_session)


def closing_session(tracing: Tracing[DatabaseOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``Session.close``."""
    return _closing_session(tracing, leaving_session(tracing, original))


closing_driver = _calling("CLOSE", endpoint_of_driver)
reaching_server = _calling("CONNECT", endpoint_of_driver)
