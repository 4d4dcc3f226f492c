"""Errors kept: traces that are not sampled and turn out to be worth having."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import propagate
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, set_span_in_context

import causal_otel
from causal_otel.engine.context import attach
from causal_otel.engine.provider import TracerProvider
from causal_otel.engine.retroactive import Buffer, BufferLimits
from causal_otel.engine.samplers import Rules, RuleSampler, Share
from tests.span_relations import assert_inside

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.sampling import Sampler


class _Traced:
    """A provider that drops all roots, buffers them, and exports what is promoted to memory."""

    def __init__(
        self,
        slow: float | None = None,
        limits: BufferLimits | None = None,
        share: float = 0.0,
        sampler: Sampler | None = None,
    ) -> None:
        self.provider = TracerProvider(sampler or RuleSampler(Rules((), Share(share))))
        self.exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.buffer = Buffer(lambda span: self.provider.core.deliver(span), slow, limits)
        self.provider.set_buffer(self.buffer)
        self.tracer: Any = self.provider.get_tracer("t")

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.exporter.get_finished_spans()]


def _remote(flags: int, trace_id: int = 0xA) -> Context:
    return set_span_in_context(NonRecordingSpan(SpanContext(trace_id, 0xB, True, TraceFlags(flags))))


def test_an_error_keeps_the_whole_trace() -> None:
    """What ended before the error and what ends after it is exported, as one sampled trace."""
    traced = _Traced()
    with traced.tracer.start_as_current_span("root"):
        with traced.tracer.start_as_current_span("before"):
            traced.tracer.start_leaf("leaf", SpanKind.CLIENT, {}).end()
        with pytest.raises(ValueError, match="x"), traced.tracer.start_as_current_span("fails"):
            raise ValueError("x")
        with traced.tracer.start_as_current_span("after"):
            pass
    assert traced.names == ["leaf", "before", "fails", "after", "root"]
    spans = traced.exporter.get_finished_spans()
    leaf, before, fails, after, root = spans
    assert root.parent is None
    assert_inside(before, leaf)
    assert_inside(root, before, fails, after)
    assert [span.status.status_code for span in (leaf, before, fails, after)] == [
        *(StatusCode.UNSET, StatusCode.UNSET, StatusCode.ERROR, StatusCode.UNSET),
    ]
    assert len({span.context.trace_id for span in spans if span.context}) == 1
    assert all(span.context and span.context.trace_flags.sampled for span in spans)
    assert len(traced.buffer) == 0
    assert traced.buffer.size == 0


@pytest.mark.parametrize("way", ["block", "span", "remote"])
def test_well_is_forgotten(way: str) -> None:
    """A trace that ends well is not exported, and says to others that it is not sampled."""
    traced = _Traced()
    if way == "block":
        with traced.tracer.start_as_current_span("root") as span, traced.tracer.start_as_current_span("child"):
            pass
    else:
        span = traced.tracer.start_span("root", _remote(0) if way == "remote" else None)
        traced.tracer.start_span("child", set_span_in_context(span)).end()
        span.end()
    assert not span.get_span_context().trace_flags.sampled
    assert traced.names == []


def test_slow_is_kept() -> None:
    """A root that takes the time is kept, at once: not only when it ends."""
    traced = _Traced(slow=0.0)
    with traced.tracer.start_as_current_span("root"):
        with traced.tracer.start_as_current_span("child"):
            pass
        assert traced.names == ["child"]
    assert traced.names == ["child", "root"]


def test_what_is_asked_for_is_kept() -> None:
    """A trace may be kept by asking, and requests that follow say so."""
    traced = _Traced()
    with traced.tracer.start_as_current_span("root") as span:
        assert causal_otel.keep()
        assert span.get_span_context().trace_flags.sampled
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        assert carrier["traceparent"].endswith("-03")
        assert carrier["tracestate"] == "causal=keep"
    assert traced.names == ["root"]


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, DEFAULT_OFF])
def test_samplers_that_never_sample(sampler: Sampler) -> None:
    """Errors are kept where the sampler says no to everything, and nothing else is, nor left over."""
    traced = _Traced(sampler=sampler)
    for fails in (False, True):
        with traced.tracer.start_as_current_span("root") as root:
            with traced.tracer.start_as_current_span("child"):
                pass
            if fails:
                root.set_status(StatusCode.ERROR)
    assert traced.names == ["child", "root"]
    assert len(traced.buffer) == 1


def test_block_below_another_process() -> None:
    """A block in a context from elsewhere that was not sampled there is buffered as other spans are."""
    traced = _Traced()
    activation = attach(_remote(0))
    with traced.tracer.start_as_current_span("root") as root:
        root.set_status(StatusCode.ERROR)
    activation.end()
    assert traced.names == ["root"]


def test_another_process_asks() -> None:
    """What is buffered of a trace is kept when a request of the same trace comes that is sampled."""
    traced = _Traced()
    traced.tracer.start_span("first", _remote(0)).end()
    assert traced.names == []
    traced.tracer.start_span("second", _remote(1)).end()
    assert traced.names == ["first", "second"]


def test_two_roots_of_one_trace() -> None:
    """An error below one local root promotes what the process has buffered of the trace below others."""
    traced = _Traced()
    outer = traced.tracer.start_span("outer", _remote(0))
    inner = traced.tracer.start_span("inner", _remote(0))
    inner.set_status(StatusCode.ERROR)
    inner.end()
    outer.end()
    assert sorted(traced.names) == ["inner", "outer"]


def test_sampled_traces_are_not_held() -> None:
    """Where the sampler says yes, nothing waits."""
    traced = _Traced(share=1.0)
    with traced.tracer.start_as_current_span("root"):
        with traced.tracer.start_as_current_span("child"):
            pass
        assert traced.names == ["child"]
    assert len(traced.buffer) == 0


def test_too_many_traces() -> None:
    """Beyond the limit traces are dropped as if nothing were buffered; those that are over make room first."""
    traced = _Traced(limits=BufferLimits(traces=2))
    first = traced.tracer.start_span("a")
    traced.tracer.start_span("b").end()
    assert traced.tracer.start_span("c").is_recording()
    assert not traced.tracer.start_span("d").is_recording()
    assert traced.buffer.evicted == {"traces": 1}
    first.set_status(StatusCode.ERROR)
    first.end()
    assert traced.names == ["a"]


def test_too_many_spans() -> None:
    """Of a trace with too many spans the latest are buffered."""
    traced = _Traced(limits=BufferLimits(spans=2))
    with traced.tracer.start_as_current_span("root") as root:
        for number in range(5):
            with traced.tracer.start_as_current_span(str(number)):
                pass
        root.set_status(StatusCode.ERROR)
    assert traced.names == ["3", "4", "root"]
    assert traced.buffer.evicted == {"spans": 3}


def test_too_much() -> None:
    """Beyond the size the oldest traces are forgotten."""
    traced = _Traced(limits=BufferLimits(size=10_000))
    for _ in range(100):
        with traced.tracer.start_as_current_span("root", attributes={"k": "v"}):
            pass
    assert traced.buffer.size <= 10_000
    assert traced.buffer.evicted["size"] > 0
    assert len(traced.buffer) < 30


def test_sizes_add_up() -> None:
    """Traces that had to let go while they went on, and spans that end after their root, leave no size behind."""
    traced = _Traced(limits=BufferLimits(size=5_000, grace=0.0, traces=4))
    for _ in range(50):
        with traced.tracer.start_as_current_span("root"):
            late = traced.tracer.start_span("late")
            for _ in range(20):
                with traced.tracer.start_as_current_span("child"):
                    pass
        traced.tracer.start_span("next").end()
        late.end()
    assert traced.buffer.evicted["size"] > 0
    traced.tracer.start_span("last").end()
    traced.tracer.start_span("sweeps")
    assert traced.buffer.size == 0
    with traced.tracer.start_as_current_span("root") as root:
        root.set_status(StatusCode.ERROR)
    assert traced.names == ["root"]


def test_age() -> None:
    """A trace that never ends is emptied, and still exports the error that comes at last."""
    traced = _Traced(limits=BufferLimits(age=0.0, grace=0.0))
    with traced.tracer.start_as_current_span("root") as root:
        with traced.tracer.start_as_current_span("early"):
            pass
        traced.tracer.start_span("other", _remote(0)).end()
        assert traced.buffer.evicted == {"age": 1}
        root.set_status(StatusCode.ERROR)
    assert traced.names == ["root"]


def test_those_that_ended_first_go_first() -> None:
    """While roots go on ending, those that have waited long enough are forgotten, and the latest still wait."""
    traced = _Traced(limits=BufferLimits(traces=3, grace=60.0))
    for number in range(1, 7):
        traced.tracer.start_span(str(number), _remote(0, number)).end()
    for number in range(1, 7):
        traced.tracer.start_span(f"again {number}", _remote(1, number)).end()
    kept = [name for name in traced.names if not name.startswith("again")]
    assert kept == ["4", "5", "6"]
    assert len(traced.buffer) == 0


def test_nothing_stays() -> None:
    """Roots that end, and roots that never do, leave no more than the limits allow."""
    traced = _Traced(limits=BufferLimits(traces=50, grace=0.0))
    for _ in range(200):
        with traced.tracer.start_as_current_span("root"):
            pass
        traced.tracer.start_span("never")
    gc.collect()
    assert len(traced.buffer) <= 50


def test_threads() -> None:
    """Spans of one trace that end in several threads while it is kept are exported once, all of them."""
    traced = _Traced()

    def work(context: Context, number: int) -> None:
        for each in range(200):
            span = traced.tracer.start_span(f"{number}-{each}", context)
            if number == 0 and each == 100:
                span.set_status(StatusCode.ERROR)
            span.end()

    with ThreadPoolExecutor(4) as pool:
        root = traced.tracer.start_span("root")
        context = set_span_in_context(root)
        for done in [pool.submit(work, context, number) for number in range(4)]:
            done.result(30)
        root.end()
    assert sorted(traced.names) == sorted(["root", *(f"{n}-{each}" for n in range(4) for each in range(200))])
