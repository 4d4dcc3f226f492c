"""One GraphQL operation: whose it is, and what is told of it when it is over."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.strawberry.described import Described, describe

if TYPE_CHECKING:
    from causal_otel.patches.strawberry import StrawberryOptions

__all__ = ["OwnSpan", "Teller", "begin_own", "end_telling", "is_excluded", "teller", "wrap_runner"]


class Teller(Protocol):
    """Whose the operations are that run in this context: an HTTP request's, or a stream's of results.

    Attributes:
        streams: whether it is a stream's, which has begun what there is to begin.
    """

    streams: bool

    def tell(self, described: Described) -> None:
        """An operation is over."""

    def has_spans(self) -> bool:
        """Whether its operations are spans of their own."""


teller: ContextVar[Teller | None] = ContextVar("causal_otel_graphql", default=None)


def end_telling(token: Token[Teller | None]) -> None:
    """What was told before is told again."""
    with suppress(ValueError):  # a coroutine that was never awaited to its end goes in another Context
        teller.reset(token)


class OwnSpan:
    """An operation that is a span of its own."""

    def __init__(self, tracing: Tracing[Any], running: Running) -> None:
        self._tracing = tracing
        self._running = running
        self._failed = False
        self.where = context.with_span(running.span)

    def tell(self, described: Described) -> None:
        """What it was, and how it has failed."""
        running, failure = self._running, described.failure
        running.span.update_name(described.name)
        running.learn(described.attributes)
        if failure is not None:
            self._failed = True
            for error in failure.exceptions:
                self._tracing.record_exception(running.span, error)
            running.fail(failure.error_type, failure.description)

    def end(self, error: BaseException | None = None) -> None:
        """It is over; ``error``: a cancellation, or what else ended it without a result."""
        self._running.end(None, None if self._failed else error)


def begin_own(tracing: Tracing[Any], execution: Any) -> OwnSpan | None:
    """Begin a span for an operation; None: nobody wants to know of it."""
    if not tracing.recorded():
        return None
    operation = Operation("GraphQL Operation", {}, kind=SpanKind.INTERNAL, measured=False)
    return OwnSpan(tracing, tracing.begin(operation, objects=(execution,)))


def is_excluded(tracing: Tracing[StrawberryOptions], name: object) -> bool:
    """Whether an operation is excluded by the name that the request gives it."""
    return tracing.excluded is not None and isinstance(name, str) and tracing.excluded(name)


class _Execution:
    """One execution, from the beginning of ``on_operation`` to its end."""

    def __init__(self, tracing: Tracing[StrawberryOptions], execution: Any) -> None:
        self._execution = execution
        self._own: OwnSpan | None = None
        self._activation: context.Activation | None = None
        self._teller = told = teller.get()
        if told is not None and told.streams:
            return
        if is_excluded(tracing, execution.operation_name):  # no document is parsed yet: as the request says
            self._teller = None
            self._activation = context.attach(context.with_span(tracing.start_excluded()))
        elif told is None or told.has_spans():
            self._own = begin_own(tracing, execution)
            if self._own is not None:
                self._activation = context.attach(self._own.where)

    def end(self, error: BaseException | None) -> None:
        """It is over; ``error``: what has left it."""
        try:
            if self._own is not None or self._teller is not None:
                described = describe(self._execution, error)
                if self._own is not None:
                    self._own.tell(described)
                if self._teller is not None:
                    self._teller.tell(described)
        finally:
            if self._activation is not None:
                self._activation.end()
            if self._own is not None:
                self._own.end(error)


def wrap_runner(tracing: Tracing[StrawberryOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps what makes the runner of an operation's extensions: it gets one more, which is this operation's alone.

    It comes last, so that it sees errors before other extensions change them.
    """
    from strawberry.extensions import SchemaExtension

    class TracingExtension(SchemaExtension):
        def __init__(self, execution_context: Any) -> None:
            self.execution_context = execution_context

        def on_operation(self) -> Iterator[None]:
            execution = error = None
            try:
                execution = _Execution(tracing, self.execution_context)
            except Exception:
                faults.report("strawberry: operation")
            try:
                yield
            except BaseException as raised:
                error = raised
                raise
            finally:
                if execution is not None:
                    try:
                        execution.end(error)
                    except Exception:
                        faults.report("strawberry: operation")

    @functools.wraps(original)
    def create_extensions_runner(self: Any, execution_context: Any, extensions: Any) -> Any:
        if tracing.active and isinstance(extensions, list):
            try:
                extensions = [*extensions, TracingExtension(execution_context)]
            except Exception:
                faults.report("strawberry: operation")
        return original(self, execution_context, extensions)

    return create_extensions_runner
