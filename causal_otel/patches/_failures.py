"""Silent when well, loud when not: the span of what is worth one only if it fails or is cancelled.

Plumbing is what a driver does so that operations can be done: connecting, getting a connection from a pool, ``BEGIN``,
preparing. A span for each would drown the operations; without any, a refused connection leaves a request that failed
for no reason. So a :class:`FailureSpan` stands in for the span, and starts one only when it is told of a failure.

One failure has one span. Getting a connection from a pool fails because connecting has failed, and the span of that
says so. :class:`Told` knows of what failed inside a call, in whatever task.
"""

from __future__ import annotations

from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.context import create_key
from opentelemetry.trace import SpanKind

from causal_otel.engine import context, faults
from causal_otel.engine.outcome import is_cancellation

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import StatusCode

    from causal_otel.patches._tracing import Operation, Tracing

__all__ = ["TOLD", "FailureSpan", "Told", "tell"]

TOLD = create_key("causal-otel-told")
"""Under this key a context has the :class:`Told` of the call that it is inside."""


class FailureSpan:
    """What a wrapper takes for a span. It becomes a CLIENT span, from now on, if it is marked before it ends.

    Args:
        tracing: the handle, which has said that the call is recorded.
        describe: says what the call is, when it has failed; None: nothing worth a span.
        arguments: for ``describe``.
        began: when the call began, by ``perf_counter_ns()``; default: now.
    """

    __slots__ = ("_arguments", "_attributes", "_began", "_describe", "_status", "_tracing")

    def __init__(
        self, tracing: Tracing[Any], describe: Callable[..., Operation | None], *arguments: Any, began: int = 0
    ) -> None:
        self._tracing = tracing
        self._describe = describe
        self._arguments = arguments
        self._attributes: dict[str, Any] | None = None
        self._status: tuple[StatusCode, str | None] | None = None
        self._began = began or perf_counter_ns()

    def set_attribute(self, key: str, value: Any) -> None:
        """Mark it."""
        if self._attributes is None:
            self._attributes = {}
        self._attributes[key] = value

    def set_status(self, status: StatusCode, description: str | None = None) -> None:
        """See the API's span."""
        self._status = status, description

    def end(self) -> None:
        """End the span, if there is to be one. Never raises."""
        marks, self._attributes = self._attributes, None
        if marks is None:
            return
        try:
            operation = self._describe(*self._arguments)
            excluded = self._tracing.excluded
            if operation is None or (excluded is not None and operation.fits(excluded)):
                return
            attributes = {**operation.attributes, **marks}
            span = self._tracing.start(operation.name, SpanKind.CLIENT, attributes, start_time=_unix(self._began))
            if self._status is not None:
                span.set_status(*self._status)
            span.end()
        except Exception:
            faults.report("recording a failure")


def _unix(moment: int) -> int:
    """Unix time of a moment of the monotonic clock, by the current trace's clock: not before its parent has begun."""
    shared = getattr(context.current_span(), "_local_trace", None)
    return moment + (time_ns() - perf_counter_ns() if shared is None else shared.clock)


class Told:
    """The failures inside a call that have spans of their own. It keeps them, with their frames, until it is closed."""

    __slots__ = ("_errors",)

    def __init__(self) -> None:
        self._errors: list[BaseException] | None = []

    def tell(self, error: BaseException) -> None:
        """There is a span that says that ``error`` was how it ended."""
        if self._errors is not None:  # else a task or a callback that has outlived the call
            self._errors.append(error)

    def closes_with(self, error: BaseException) -> bool:
        """Close it, at the end of the call; answers whether ``error``, with which that failed, has been told."""
        errors, self._errors = self._errors or (), None
        # A cancelled task gives whoever waits for it a CancelledError of its own.
        return any(each is error for each in errors) or (is_cancellation(error) and any(map(is_cancellation, errors)))

    def close(self) -> None:
        """Close it, at the end of a call that went well."""
        self._errors = None


def tell(error: BaseException) -> None:
    """Tell the call that this is inside, if any, that ``error`` has a span."""
    told = context.current().get(TOLD)
    if isinstance(told, Told):
        told.tell(error)
