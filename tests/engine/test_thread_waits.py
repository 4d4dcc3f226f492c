"""What a job has waited for a thread: from when that is known until the first span that is started there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from opentelemetry.trace import NonRecordingSpan

from causal_otel._internal import faults
from causal_otel.engine.thread_waits import forget_thread_wait, take_thread_wait, waited_for_thread, waits
from causal_otel.names import CAUSAL_THREADPOOL_WAIT
from tests.engine.forking import forked

if TYPE_CHECKING:
    import pytest
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from causal_otel.engine.provider import TracerProvider


def test_the_first_span_of_the_thread_takes_it(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """It is told once, by the span that is started first in that thread, not by others', and not by the next."""
    tracer = provider.get_tracer("t")
    waited_for_thread(0.25)
    other = threading.Thread(target=lambda: tracer.start_span("other").end())
    other.start()
    other.join()
    with tracer.start_as_current_span("first"):
        tracer.start_span("second").end()
    assert not waits
    found = {span.name: dict(span.attributes or {}) for span in exporter.get_finished_spans()}
    assert found == {"other": {}, "first": {CAUSAL_THREADPOOL_WAIT: 0.25}, "second": {}}


def test_a_job_that_is_over_leaves_nothing(provider: TracerProvider) -> None:
    """What no span has taken is forgotten with the job; to forget nothing is allowed."""
    waited_for_thread(0.25)
    forget_thread_wait()
    forget_thread_wait()
    assert not waits
    span = provider.get_tracer("t").start_span("later")
    assert not span.attributes  # type: ignore[attr-defined]


def test_a_forked_child_has_none() -> None:
    """The child of a job that forks has not waited for a thread."""
    waited_for_thread(0.25)
    assert forked(lambda: str(len(waits))) == "0"
    assert len(waits) == 1
    forget_thread_wait()


def test_a_span_that_refuses_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the span of another provider raises is counted, and the note is gone."""

    def refuse(self: NonRecordingSpan, key: str, value: object) -> None:
        raise ValueError("a span's")

    monkeypatch.setattr(NonRecordingSpan, "set_attribute", refuse)
    before = faults.counts().get("your tracer provider: Span.set_attribute", 0)
    waited_for_thread(0.25)
    take_thread_wait(NonRecordingSpan(None))  # type: ignore[arg-type]
    assert not waits
    assert faults.counts()["your tracer provider: Span.set_attribute"] == before + 1
