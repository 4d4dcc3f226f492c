"""A tracer that is not ours: of the provider that the user has, whose processors, sampler and ids may raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanKind

from causal_otel._internal import faults
from causal_otel.engine.block import SpanBlock
from causal_otel.engine.contained import ContainedSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span
    from opentelemetry.util.types import Attributes

__all__ = ["ContainedTracer", "contained", "starter"]


class ContainedTracer(trace.Tracer):
    """Starts the spans of a tracer that is not ours; never raises an ``Exception``.

    Where a span cannot be started, the caller is given one that is not recorded and carries the parent's trace on:
    what is started inside hangs below the parent. ``KeyboardInterrupt``, ``SystemExit`` and the like pass.

    Args:
        theirs: the tracer.
    """

    def __init__(self, theirs: trace.Tracer) -> None:
        self._theirs = theirs

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Start a span without making it current (OpenTelemetry trace API).

        It is the provider's own, so what its methods raise reaches whoever calls them.
        """
        try:
            span = self._theirs.start_span(
                name,
                context,
                kind,
                attributes,
                links=links,
                start_time=start_time,
                record_exception=record_exception,
                set_status_on_exception=set_status_on_exception,
            )
            if not isinstance(span, trace.Span):
                raise TypeError(f"start_span() returned {span!r}, which is no Span")
        except Exception:
            faults.report("your tracer provider: start_span")
            return NonRecordingSpan(ContainedSpan(trace.get_current_span(context)).get_span_context())
        return span

    def start_contained(self, *args: Any, **kwargs: Any) -> Span:
        """Start a span for our own code alone, whose methods do not raise either; else as :meth:`start_span`."""
        span = self.start_span(*args, **kwargs)
        return span if type(span) is NonRecordingSpan else ContainedSpan(span)

    def start_as_current_span(  # type: ignore[override]  # the API types it as its own private context manager
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> SpanBlock:
        """A context manager that starts a span and makes it current, or a decorator that does so at each call."""
        return SpanBlock(
            lambda: self.start_contained(name, context, kind, attributes, links, start_time),
            record=record_exception,
            status=set_status_on_exception,
            end_on_exit=end_on_exit,
        )


def contained(tracer: trace.Tracer) -> trace.Tracer:
    """``tracer``, contained if it is not ours and does anything. Ours contains all foreign code itself."""
    if hasattr(tracer, "start_leaf") or isinstance(tracer, ContainedTracer | trace.NoOpTracer):
        return tracer
    return ContainedTracer(tracer)


def starter(tracer: trace.Tracer) -> Callable[..., Span]:
    """What our own code starts the spans of ``tracer`` with: as its ``start_span``, but that nothing raises."""
    tracer = contained(tracer)
    return tracer.start_contained if isinstance(tracer, ContainedTracer) else tracer.start_span
