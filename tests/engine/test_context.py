"""What the context says about an operation that is about to start."""

from __future__ import annotations

from contextvars import copy_context

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from causal_otel._internal import faults
from causal_otel.engine.context import (
    attach,
    begin,
    current,
    current_span,
    incoming,
    is_recorded,
    restore,
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


def test_restore_never_raises() -> None:
    """What was current before is current again, once; in another Context, and a second time, nothing changes."""
    here, before = Context({"here": True}), current()
    token = begin(here)
    reported = faults.counts().get("engine: the end of a block", 0)
    elsewhere = copy_context()
    elsewhere.run(restore, token)
    assert elsewhere.run(current) is here
    assert current() is here
    restore(token)
    assert current() is before
    restore(token)
    assert current() is before
    assert faults.counts()["engine: the end of a block"] == reported + 2
