"""Silent when well, loud when not: calls that are a span only if they fail or are cancelled.

Plumbing is what a driver does so that operations can be done: connecting, getting a connection from a pool, ``BEGIN``,
preparing. A span for each would drown the operations; without any, a refused connection leaves a request that failed
for no reason.
"""

from __future__ import annotations

from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from causal_otel.engine import context
from causal_otel.engine.local_trace import local_trace_of
from causal_otel.instrument.errors import BY_CLASS, failure_attributes, mark_failed
from causal_otel.instrument.recorded_failures import RecordedFailures, note_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from causal_otel.instrument.errors import Errors
    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing

__all__ = ["Plumbing"]


class Plumbing:
    """A call under way that becomes a span, from its beginning on, if it fails. No observer hears of it.

    Args:
        tracing: the handle, which has said that the call is recorded.
        describe: says what the call is, when it has failed; None: nothing worth a span.
        arguments: for ``describe``.
        errors: how the driver's errors are told.
        nests: whether other traced calls may run inside. If one of them has a span of the failure, this one makes none.
    """

    __slots__ = ("_arguments", "_began", "_describe", "_errors", "_failures", "_tracing", "inside")

    args: tuple[Any, ...] | None = None

    def __init__(
        self,
        tracing: Tracing[Any],
        describe: Callable[..., Operation | None],
        arguments: tuple[Any, ...] = (),
        errors: Errors = BY_CLASS,
        nests: bool = False,
    ) -> None:
        self._failures = failures = RecordedFailures() if nests else None
        self.inside: Context | None = None if failures is None else failures.inside()
        self._tracing = tracing
        self._describe = describe
        self._arguments = arguments
        self._errors = errors
        self._began = perf_counter_ns()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The call is over."""
        failures = self._failures
        if failures is not None:
            if error is None:
                failures.close()
            elif failures.close_with(error):
                note_failure(error)  # a call around this one asks the same question
                return
        if error is None or failure_attributes(error, self._errors) is None or not self._tracing.recorded():
            return
        operation = self._describe(*self._arguments)
        excluded = self._tracing.excluded
        if operation is None or (excluded is not None and operation.fits(excluded)):
            return
        if operation.background and not context.in_trace():
            return
        attributes = {**operation.attributes, **(operation.own or {})}
        span = self._tracing.start(operation.name, operation.kind, attributes, start_time=_unix(self._began))
        mark_failed(span, error, self._errors)
        span.end()


def _unix(moment: int) -> int:
    """Unix time of a moment of the monotonic clock, by the current trace's clock: not before its parent has begun."""
    local = local_trace_of(context.current_span())
    return moment + (time_ns() - perf_counter_ns() if local is None else local.clock)
