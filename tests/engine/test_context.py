"""What the context says about an operation that is about to start."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from causal_otel.engine.context import (
    attach,
    current,
    current_span,
    incoming,
    is_recorded,
    suppress,
    with_span,
    without_span,
)
from causal_otel.engine.provider import TracerProvider


def _remote(flags: int) -> Context:
    return with_span(NonRecordingSpan(SpanContext(1, 2, True, TraceFlags(flags))), Context())


@pytest.mark.parametrize("roots", [True, False])
class TestIsRecorded:
    def test_without_a_parent_roots_decide(self, roots: bool) -> None:
        """Without any span, or below an invalid one, it depends on whether roots are wanted."""
        assert is_recorded(Context(), roots=roots) is roots
        assert is_recorded(with_span(trace.INVALID_SPAN, Context()), roots=roots) is roots

    def test_remote_parent_decides(self, roots: bool) -> None:
        """Below a caller in another process its sampling flag decides."""
        assert is_recorded(_remote(1), roots=roots)
        assert not is_recorded(_remote(0), roots=roots)

    def test_live_and_ended_parents(self, provider: TracerProvider, roots: bool) -> None:
        """Below a recorded span it is recorded, also when that has ended: a task may outlive its request."""
        span = provider.get_tracer("t").start_span("x")
        context = with_span(span, Context())
        assert is_recorded(context, roots=roots)
        span.end()
        assert is_recorded(context, roots=roots)

    def test_suppression_beats_everything(self, provider: TracerProvider, roots: bool) -> None:
        """Where tracing is suppressed nothing is recorded."""
        span = provider.get_tracer("t").start_span("x")
        activation = attach(with_span(span))
        with suppress():
            assert not is_recorded(current(), roots=roots)
        assert is_recorded(current(), roots=roots)
        activation.end()


def test_incoming_forgets_the_ambient_span(provider: TracerProvider) -> None:
    """Work asked for by another process starts without the span that the server was started in, nor a link to it."""
    span = provider.get_tracer("t").start_span("x")
    activation = attach(with_span(span))
    assert current_span(incoming()) is None
    inner = attach(without_span())
    found = provider.get_tracer("t").start_span("y", context=incoming())
    assert not getattr(found, "links", ())
    inner.end()
    activation.end()
