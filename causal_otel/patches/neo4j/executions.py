"""Managed transactions of the neo4j driver, which it tries again if they fail in a way that may pass."""

from __future__ import annotations

import functools
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key
from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.outcome import is_cancellation
from causal_otel.instrument.errors import mark_failed
from causal_otel.instrument.stopwatch import unix_time
from causal_otel.names import CAUSAL_ATTEMPTS, CAUSAL_RETRY_WAIT, DB_NAMESPACE
from causal_otel.patches.neo4j.internals import endpoint_of_session, private
from causal_otel.patches.neo4j.operations import ERRORS, connection_attributes
from causal_otel.patches.neo4j.results import AsyncQuery, Query

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from causal_otel.instrument.calls import Args, Kwargs
    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["Execution", "executed"]

_EXECUTION = create_key("causal-otel-neo4j-execution")


class Execution:
    """``execute_read``, ``execute_write`` or ``execute_query``. The context inside knows it.

    Args:
        tracing: the handle.
        running: the operation.
        session: whose transactions are its attempts; None: the first that opens one.
        single_span: whether it is one operation to the caller: not current, and nothing inside has a span.
        args: the positional arguments that the driver is given; None: the caller's.
    """

    def __init__(
        self, tracing: Tracing[Any], running: Running, session: Any, *, single_span: bool, args: Args | None = None
    ) -> None:
        self.single_span = single_span
        self.running = running
        self.args = args
        self._tracing = tracing
        self._session = session
        self._transaction: Any = None
        self._attempts = 0
        self._span: Span | None = None  # of the attempt under way, from the second on
        self._attempt_began = perf_counter_ns()
        self._failed_at = 0  # when the last attempt had failed; 0: it has not
        self._failure: BaseException | None = None
        running.rows = _number_of_records
        inside = Context({**context.current(), _EXECUTION: self})
        self.inside: Context | None = inside if single_span else context.with_span(running.span, inside)

    @staticmethod
    def current() -> Execution | None:
        """The innermost one, if any."""
        found = context.current().get(_EXECUTION)
        return found if isinstance(found, Execution) else None

    def has(self, transaction: Any) -> bool:
        """Whether ``transaction`` is an attempt of it."""
        return self._transaction is transaction

    def excludes(self, transaction: Any) -> bool:
        """Whether ``transaction`` is an attempt of it, and has no spans of its own."""
        return self.single_span and self._transaction is transaction

    # -- attempts -----------------------------------------------------------------------------------------------------

    def attempt(self, session: Any) -> bool:
        """Begin an attempt, if a transaction opened by ``session`` is one and not your function's own business."""
        if self._session is None:
            self._session = session
        if self._session is not session:
            return False
        if self._attempts:
            self._paused()
        self._attempts += 1
        self._attempt_began = perf_counter_ns()
        if self._attempts > 1 and not self.single_span:
            self._span = self._start()
        return True

    @property
    def span(self) -> Span:
        """The span of the attempt under way, or else of the whole."""
        return self.running.span if self._span is None else self._span

    def opened(self) -> None:
        """The attempt has got its transaction."""
        self._transaction = private(self._session, "_transaction")

    def activate(self) -> context.Activation | None:
        """Make the span of the attempt current; None: it has none, or this is not inside the call."""
        span = self._span
        return None if span is None else context.attach(context.with_span(span))

    def failed(self, error: BaseException) -> None:
        """The attempt has failed, in your function or by the driver's doing."""
        self._failure = error
        self._failed_at = perf_counter_ns()

    def gave_up(self) -> None:
        """The attempt has been rolled back."""
        self._failed_at = perf_counter_ns()

    def committed(self) -> None:
        """The attempt has gone well."""
        self._failed_at = 0
        self._failure = None
        self._end_attempt(perf_counter_ns())

    def _was_cancelled(self) -> bool:
        return self._failure is not None and is_cancellation(self._failure)

    def _paused(self) -> None:
        """The driver has paused after an attempt, until now."""
        if self._failed_at:
            self.running.part(CAUSAL_RETRY_WAIT, (perf_counter_ns() - self._failed_at) / 1e9)
        self._end_attempt(self._failed_at or perf_counter_ns())
        self._failed_at = 0

    def _start(self, at: int | None = None) -> Span:
        attributes = connection_attributes(*endpoint_of_session(self._session))
        return self._tracing.start("neo4j.attempt", SpanKind.INTERNAL, attributes, self.inside, at)

    def _end_attempt(self, at: int) -> None:
        """End the span of the last attempt. The first has none until it has failed and is followed by another."""
        if self.single_span:
            return
        failure, self._failure = self._failure, None
        span, self._span = self._span, None
        if span is None:
            if failure is None:
                return
            span = self._start(unix_time(self.running.span, self._attempt_began))
        if failure is not None:
            mark_failed(span, failure, ERRORS)
        span.end(unix_time(self.running.span, at))

    # -- its end ------------------------------------------------------------------------------------------------------

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The call is over."""
        try:
            if self._failed_at and error is not None and is_cancellation(error) and not self._was_cancelled():
                self._paused()  # which was cancelled
            if self._span is not None:
                self._end_attempt(self._failed_at or perf_counter_ns())
            self._learn(result)
        except Exception:
            faults.report("neo4j: the end of an execution")
        # Tasks that your function has started keep their context, and so this object. It must match no real session,
        # or it would adopt a later transaction.
        self._session, self._transaction = self, None
        self.running.end(result, error)

    def _learn(self, result: Any) -> None:
        learned: dict[str, Any] = {CAUSAL_ATTEMPTS: self._attempts}
        database = private(self._session, "_config", "database")
        if self.single_span and database is None:
            from neo4j import EagerResult

            database = result.summary.database if isinstance(result, EagerResult) else None
        if isinstance(database, str):
            learned[DB_NAMESPACE] = database
        self.running.learn(learned)

    # -- your function ------------------------------------------------------------------------------------------------

    def work(self, function: Callable[..., Any], *, is_async: bool) -> Callable[..., Any]:
        """``function``, for the driver to call: in the span of each attempt that has one."""

        async def async_work(*args: Any, **kwargs: Any) -> Any:
            activation = self.activate()
            try:
                return await function(*args, **kwargs)
            except BaseException as error:
                self.failed(error)
                raise
            finally:
                if activation is not None:
                    activation.end()

        def sync_work(*args: Any, **kwargs: Any) -> Any:
            activation = self.activate()
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                self.failed(error)
                raise
            finally:
                if activation is not None:
                    activation.end()

        work: Any = async_work if is_async else sync_work
        functools.update_wrapper(work, function)
        for name in ("metadata", "timeout"):  # the driver reads what neo4j.unit_of_work() has set
            if hasattr(function, name):
                setattr(work, name, getattr(function, name))
        return work  # type: ignore[no-any-return]

    def given(self, args: Args, kwargs: Kwargs, *, is_async: bool) -> None:
        """Have the driver call :meth:`work` of the function in the arguments of a call."""
        name = "transaction_function"
        if args and callable(args[0]):
            self.args = (self.work(args[0], is_async=is_async), *args[1:])
        elif callable(kwargs.get(name)):
            kwargs[name] = self.work(kwargs[name], is_async=is_async)


class _Inside(Query):
    """A query inside ``execute_query``, which tells its parts, and what the server says of it, to that one."""

    __slots__ = ()

    tells_rows = False

    def _expect(self) -> None:
        """It is read at once, or by your transformer."""

    def number_of_records(self, result: Any) -> int | None:
        """As the result of ``execute_query`` says, or as many as have come."""
        found = _number_of_records(result)
        return super().number_of_records(result) if found is None else found

    def _over(self, running: Running, result: Any, error: BaseException | None, seconds: float) -> None:
        """The operation goes on: the driver commits, or tries again."""


class _AsyncInside(_Inside, AsyncQuery):
    __slots__ = ()

    _fetch_message = AsyncQuery._fetch_message


def executed(execution: Execution, *, is_async: bool) -> Query:
    """The query of an ``execute_query``."""
    query = (_AsyncInside if is_async else _Inside)(execution.running)
    execution.running.rows = query.number_of_records
    return query


def _number_of_records(result: Any) -> int | None:
    from neo4j import EagerResult

    return len(result.records) if isinstance(result, EagerResult) else None
