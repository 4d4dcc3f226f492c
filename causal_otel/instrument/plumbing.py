"""Silent when quick and well, loud when not: calls that are a span only if they fail, are cancelled or are slow.

Plumbing is what a driver does so that operations can be done: connecting, getting a connection from a pool, ``BEGIN``,
preparing. A span for each would drown the operations; without any, a refused connection leaves a request that failed
for no reason, and one that waits for a pool has a gap.

Of calls inside each other that fail, the innermost is a span; of those that are slow and go well, the outermost, which
knows all the parts. One that is slow is a span inside a span only: a pool that is opened when a program starts is no
trace.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel.engine import context
from causal_otel.instrument.errors import BY_CLASS, failure_attributes, mark_failed
from causal_otel.instrument.parts import noteworthy
from causal_otel.instrument.recorded_failures import RecordedFailures, note_failure
from causal_otel.instrument.stopwatch import unix_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from causal_otel.instrument.errors import Errors
    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing

__all__ = ["Plumbing", "tell_slow"]

_slow_is_told = True


def tell_slow(told: bool) -> None:
    """Say whether plumbing that is slow and goes well is a span. In a test how long a COMMIT takes must not matter."""
    global _slow_is_told
    _slow_is_told = told


class Plumbing:
    """A call under way that becomes a span, from its beginning on, if it fails or is slow. No observer hears of it.

    Args:
        tracing: the handle, which has said that the call is recorded.
        describe: says what the call is, when it is to be a span; None: nothing worth one.
        arguments: for ``describe``.
        errors: how the driver's errors are told.
        nests: whether other traced calls may run inside. If one of them has a span of the failure, this one makes none,
            and if they are slow this one says so for them.
    """

    __slots__ = (
        "_arguments",
        "_began",
        "_describe",
        "_errors",
        "_failures",
        "_learned",
        "_parts",
        "_tracing",
        "inside",
    )

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
        self._parts: dict[str, float] | None = None
        self._learned: dict[str, Any] | None = None
        self._began = perf_counter_ns()

    def part(self, key: str, seconds: float) -> None:
        """Note where a part of its time went, as :meth:`~causal_otel.instrument.operation.Running.part` does."""
        if self._parts is None:
            self._parts = {}
        self._parts[key] = self._parts.get(key, 0.0) + seconds

    def learn(self, attributes: dict[str, Any]) -> None:
        """Set attributes of the span that it may become."""
        self._learned = {**(self._learned or {}), **attributes}

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The call is over."""
        failures = self._failures
        if failures is not None:
            if error is None:
                failures.close()
            elif failures.close_with(error):
                note_failure(error)  # a call around this one asks the same question
                return
        if error is None or failure_attributes(error, self._errors) is None:
            if not _slow_is_told:
                return
            seconds = (perf_counter_ns() - self._began) / 1e9
            if seconds < self._tracing.slow_plumbing or RecordedFailures.around() or not context.in_trace():
                return
            error = None
        if not self._tracing.recorded():
            return
        operation = self._describe(*self._arguments)
        excluded = self._tracing.excluded
        if operation is None or (excluded is not None and operation.fits(excluded)):
            return
        if operation.background and not context.in_trace():
            return
        attributes = {**operation.attributes, **(operation.own or {}), **(self._learned or {})}
        if self._parts is not None:
            attributes |= noteworthy(self._parts)
        span = self._tracing.start(
            operation.name, operation.kind, attributes, start_time=unix_time(context.current_span(), self._began)
        )
        if error is not None:
            mark_failed(span, error, self._errors)
        span.end()
