"""Parents that are known by their object until somebody needs their id."""

from __future__ import annotations

import os
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanProcessor

from causal_otel.engine.context import attach, with_span
from causal_otel.engine.provider import TracerProvider


class _Indifferent(SpanProcessor):
    """Looks at nothing."""


def test_an_ended_span_does_not_keep_its_ancestors() -> None:
    """Work that starts the next work for ever does not keep the spans of all that went before."""
    provider = TracerProvider()
    provider.add_span_processor(_Indifferent())
    tracer: Any = provider.get_tracer("t")
    span = tracer.start_span("first")
    first = weakref.ref(span)
    for _ in range(3):
        activation = attach(with_span(span))
        with tracer.start_as_current_span("next") as following:
            pass
        activation.end()
        span = following
    del following, activation
    assert first() is None


def test_all_threads_see_one_id(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that draw the id of a span at the same time see the same one in the end."""
    draw, together = provider.core.new_span_id, Barrier(4)

    def drawn_together() -> int:
        together.wait(20)
        return draw()

    with provider.get_tracer("t").start_as_current_span("asked") as span, ThreadPoolExecutor(4) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(provider.core, "new_span_id", drawn_together)
            seen = set(pool.map(lambda _: span.get_span_context().span_id, range(4)))
        assert seen == {span.get_span_context().span_id}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_both_sides_of_a_fork_know_the_same_parents(provider: TracerProvider) -> None:
    """Spans of a forked child are children of the spans that were current when it was made."""
    tracer = provider.get_tracer("t")
    reader, writer = os.pipe()
    with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner") as inner:
        pid = os.fork()
        if not pid:
            ids = [span.get_span_context().span_id for span in (outer, inner)]
            os.write(writer, repr(ids).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        theirs = os.read(reader, 100).decode()
        assert theirs == repr([span.get_span_context().span_id for span in (outer, inner)])
    os.close(reader)
    os.close(writer)
