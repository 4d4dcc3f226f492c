"""A tracer of the user's own provider, whose processors, sampler and id generator may raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanKind

from causal_otel._internal import faults
from causal_otel._version import __version__
from causal_otel.engine.block import SpanBlock
from causal_otel.engine.contained import ContainedSpan
from causal_otel.engine.context import SPAN_KEY, current
from causal_otel.engine.environ import callers, parent_of_first_root
from causal_otel.engine.thread_waits import take_thread_wait, waits
from causal_otel.names import SCHEMA_URL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span
    from opentelemetry.util.types import Attributes

__all__ = ["ContainedTracer", "NoTracer", "contained", "global_tracer", "is_ours", "starter", "tracer_of"]


class NoTracer(Exception):
    """A tracer provider that is not ours gives no tracer. The message is a sentence for people."""


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

        The span is the provider's own: what its methods raise reaches whoever calls them.
        """
        if callers and context is None and SPAN_KEY not in (where := current()):
            context = parent_of_first_root(where)
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
        if waits:
            take_thread_wait(span)
        return span

    def start_contained(self, *args: Any, **kwargs: Any) -> Span:
        """As :meth:`start_span`, for our own code: the methods of the span do not raise either."""
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


def tracer_of(provider: trace.TracerProvider, name: str) -> trace.Tracer:
    """Ask a provider, ours or not, for a tracer of ours.

    Args:
        provider: whom to ask.
        name: the tracer's.

    Raises:
        NoTracer: the provider has raised an ``Exception``, which is the cause, or returned something else.
    """
    try:
        tracer = provider.get_tracer(name, __version__, SCHEMA_URL)
    except Exception as error:  # Its text may hold a secret, so only the traceback has it: what we log is redacted.
        raise NoTracer(f"get_tracer() of your tracer provider has raised {type(error).__name__}") from error
    if not isinstance(tracer, trace.Tracer):
        raise NoTracer(
            f"get_tracer() of your tracer provider has returned a {type(tracer).__name__}, which is no Tracer"
        )
    return tracer


def global_tracer() -> trace.Tracer:
    """The global provider's tracer for the user's own blocks; one that records nothing if there is none to be had."""
    try:
        return tracer_of(trace.get_tracer_provider(), "causal_otel")
    except Exception:
        faults.report("your tracer provider: get_tracer")
        return trace.NoOpTracer()


def is_ours(tracer: trace.Tracer) -> bool:
    """Whether a tracer makes spans of ours. Told by a method that only ours has, so that its module is not imported."""
    return hasattr(tracer, "start_leaf")


def contained(tracer: trace.Tracer) -> trace.Tracer:
    """``tracer``, or what contains it if it may raise. Ours does not: it contains foreign code itself."""
    if is_ours(tracer) or isinstance(tracer, ContainedTracer | trace.NoOpTracer):
        return tracer
    return ContainedTracer(tracer)


def starter(tracer: trace.Tracer) -> Callable[..., Span]:
    """``tracer.start_span`` for our own code: neither it nor its spans' methods raise."""
    tracer = contained(tracer)
    return tracer.start_contained if isinstance(tracer, ContainedTracer) else tracer.start_span
