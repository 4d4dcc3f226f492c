"""A span of another provider, used by our own code. What its methods raise is counted, and does not reach the user.

Ending a span runs the span processors of its provider, and those of a user's own provider may raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN_CONTEXT, Span

from causal_otel._internal import faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext, Status, StatusCode
    from opentelemetry.util.types import Attributes, AttributeValue

__all__ = ["ContainedSpan", "users_span"]


class ContainedSpan(Span):
    """A span that is not ours, whose methods never raise an ``Exception``.

    Only our own code holds it. What is made current, and what user code is given, is the span behind it:
    see :func:`causal_otel.engine.context.with_span`.

    Attributes:
        theirs: the span behind it.
    """

    __slots__ = ("theirs",)

    def __init__(self, theirs: Span) -> None:
        self.theirs = theirs

    def _call(self, method: str, *args: Any) -> Any:
        try:
            return getattr(self.theirs, method)(*args)
        except Exception:
            faults.report(f"your tracer provider: Span.{method}")
            return None

    @property
    def start_time(self) -> int | None:
        """Unix time in nanoseconds; None if the span has no such attribute."""
        try:
            found: int | None = getattr(self.theirs, "start_time", None)
        except Exception:
            faults.report("your tracer provider: Span.start_time")
            return None
        return found

    def get_span_context(self) -> SpanContext:
        """Its identity; an invalid one if that method raises."""
        return self._call("get_span_context") or INVALID_SPAN_CONTEXT

    def is_recording(self) -> bool:
        """Whether it has not ended yet."""
        return bool(self._call("is_recording"))

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set one attribute."""
        self._call("set_attribute", key, value)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set several attributes at once."""
        self._call("set_attributes", attributes)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Record something that happened, now or at ``timestamp`` (Unix time in nanoseconds)."""
        self._call("add_event", name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Relate it to another span."""
        self._call("add_link", context, attributes)

    def update_name(self, name: str) -> None:
        """Rename it."""
        self._call("update_name", name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set its status."""
        self._call("set_status", status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record ``exception`` as an event."""
        self._call("record_exception", exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        """End it, now or at ``end_time`` (Unix time in nanoseconds)."""
        self._call("end", end_time)


def users_span(span: Span) -> Span:
    """The span that user code is given: for a contained span the one behind it."""
    return span.theirs if type(span) is ContainedSpan else span
