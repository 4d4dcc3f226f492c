"""A span that one process begins and another one ends, because the first is killed in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from causal_otel.engine.context import current_span, with_span

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.context import Context

__all__ = ["as_sampled", "take_over"]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_Span: Any = None


def as_sampled(context: Context, identity: tuple[int, int]) -> tuple[Context, bool]:
    """The context to start the span in again, and whether it is the root of its trace.

    The process that was killed had decided to record a root. So the sampler is shown a sampled parent here.

    Args:
        context: where the parent is, if there is one.
        identity: the span's trace id and its span id.
    """
    parent = current_span(context)
    if parent is not None and parent.get_span_context().is_valid:
        return context, False
    return with_span(NonRecordingSpan(SpanContext(*identity, True, _SAMPLED)), context), True


def take_over(span: trace.Span, span_id: int, *, root: bool) -> None:
    """Give ``span``, which nobody has seen yet, an id that somebody else knows, such as the process that was killed."""
    global _Span
    if _Span is None:
        from causal_otel.engine.span import Span  # it imports the SDK, which is not to be imported before install()

        _Span = Span
    if isinstance(span, _Span):
        span._id = span_id.to_bytes(8, "big")
        if root:
            span._parent_span = None
