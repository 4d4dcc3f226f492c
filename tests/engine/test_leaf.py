"""Leaves, the way in which patches start the spans of clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState

from causal_otel.engine.context import attach, with_span
from causal_otel.engine.provider import TracerProvider
from causal_otel.engine.span import LeafSpan, Span
from causal_otel.instrument.operation import Operation

if TYPE_CHECKING:
    from typing import Any

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def _tracer(provider: TracerProvider) -> Any:
    return provider.get_tracer("t")


def test_child_of_the_current_span(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """A leaf is the child of the current span, in its trace, with its flags and trace state, and is not current."""
    tracer = _tracer(provider)
    state = TraceState([("vendor", "x")])
    remote = with_span(NonRecordingSpan(SpanContext(7, 8, True, TraceFlags(1), state)), Context())
    with tracer.start_as_current_span("root", context=remote) as root:
        leaf = tracer.start_leaf("leaf", SpanKind.CLIENT, {"k": 1})
        assert isinstance(leaf, LeafSpan)
        assert trace.get_current_span() is root
        leaf.end()
    found = exporter.get_finished_spans()[0]
    assert found.parent == root.get_span_context()
    assert found.context is not None
    assert found.context.trace_state == state
    assert found.context.trace_flags == root.get_span_context().trace_flags
    assert (found.name, found.kind, dict(found.attributes or {})) == ("leaf", SpanKind.CLIENT, {"k": 1})


def test_shared_attributes_are_never_changed(provider: TracerProvider) -> None:
    """Setting an attribute on a leaf leaves the dict alone that it was started with."""
    shared = {"k": 1}
    tracer = _tracer(provider)
    with tracer.start_as_current_span("root"):
        first, second = (tracer.start_leaf("leaf", SpanKind.CLIENT, shared) for _ in range(2))
        first.set_attribute("error.type", "x")
        first.set_attributes({"more": 2})
    assert shared == {"k": 1}
    assert dict(first.attributes) == {"k": 1, "error.type": "x", "more": 2}
    assert dict(second.attributes) == {"k": 1}


def test_leaves_that_learn_the_same_share_it(provider: TracerProvider) -> None:
    """What leaves learn alike is one dict too, and none of them is told what another one has set since."""
    tracer = _tracer(provider)
    before = {"k": 1}
    after = {**before, "rows": 1}
    with tracer.start_as_current_span("root"):
        first, second, third, ended = (tracer.start_leaf("leaf", SpanKind.CLIENT, before) for _ in range(4))
        third.set_attribute("own", 3)
        ended.end()
        assert [span.share(before, after) for span in (first, second, third, ended)] == [True, True, False, False]
        first.set_attribute("own", 1)
    found = [dict(span.attributes) for span in (first, second, third, ended)]
    assert found == [{"k": 1, "rows": 1, "own": 1}, {"k": 1, "rows": 1}, {"k": 1, "own": 3}, {"k": 1}]
    assert (before, after) == ({"k": 1}, {"k": 1, "rows": 1})


def test_no_more_is_shared_than_the_limit(provider: TracerProvider) -> None:
    """Attributes that are too many with what a leaf learns are set one by one, and the oldest goes."""
    limited = TracerProvider(span_limits=SpanLimits(max_span_attributes=2))
    operation = Operation("leaf", {"k": 1, "l": 2})
    with _tracer(limited).start_as_current_span("root"):
        leaf = _tracer(limited).start_leaf("leaf", SpanKind.CLIENT, operation.attributes)
        operation.tell(leaf, 1, {"rows": 1})
    assert dict(leaf.attributes) == {"l": 2, "rows": 1}
    assert leaf.dropped_attributes == 1


def test_without_a_parent_it_is_a_root(provider: TracerProvider) -> None:
    """Where nothing is current the sampler decides, as for any root."""
    leaf = _tracer(provider).start_leaf("leaf", SpanKind.CLIENT, {})
    assert leaf.is_recording()
    assert leaf.parent is None


def test_below_somebody_else_s_span(provider: TracerProvider) -> None:
    """A parent that is not ours, sampled or not, is respected."""
    for flags in (1, 0):
        activation = attach(with_span(NonRecordingSpan(SpanContext(7, 8, True, TraceFlags(flags)))))
        leaf = _tracer(provider).start_leaf("leaf", SpanKind.CLIENT, {})
        activation.end()
        assert leaf.is_recording() is bool(flags)
        assert leaf.get_span_context().trace_id == 7


@pytest.mark.parametrize("leaf", [True, False])
def test_sampler_that_looks_at_children_is_asked(leaf: bool) -> None:
    """A sampler that does not simply follow the parent sees every span, leaves and current ones too."""
    seen = []

    class Picky(sampling.Sampler):
        def should_sample(self, parent_context: Any, trace_id: int, name: str, *args: Any) -> sampling.SamplingResult:
            seen.append(name)
            return sampling.SamplingResult(
                sampling.Decision.RECORD_AND_SAMPLE if name == "root" else sampling.Decision.DROP
            )

        def get_description(self) -> str:
            return "picky"

    provider = TracerProvider(sampler=Picky(), resource=Resource({}))
    tracer = _tracer(provider)
    with tracer.start_as_current_span("root"):
        if leaf:
            assert not tracer.start_leaf("child", SpanKind.CLIENT, {}).is_recording()
        else:
            with tracer.start_as_current_span("child") as child:
                assert not child.is_recording()
                assert trace.get_current_span() is child
    assert seen == ["root", "child"]
    provider.shutdown()


def test_processors_that_care_hear_of_every_span() -> None:
    """A processor that has ``on_start`` is told of leaves and of current spans alike, and may set attributes."""

    class Marking(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            span.set_attribute("marked", True)

    provider = TracerProvider(resource=Resource({}))
    provider.add_span_processor(Marking())
    tracer = _tracer(provider)
    with tracer.start_as_current_span("root"), tracer.start_as_current_span("child") as child:
        leaf = tracer.start_leaf("leaf", SpanKind.CLIENT, {"k": 1})
    assert dict(child.attributes) == {"marked": True}
    assert dict(leaf.attributes) == {"k": 1, "marked": True}
    provider.shutdown()


def test_limit_on_attributes_holds() -> None:
    """More attributes than allowed: the limit holds for leaves and current spans, and the excess is counted."""
    provider = TracerProvider(resource=Resource({}), span_limits=SpanLimits(max_span_attributes=1))
    tracer = _tracer(provider)
    with tracer.start_as_current_span("root"):
        leaf = tracer.start_leaf("leaf", SpanKind.CLIENT, {"a": 1, "b": 2})
        with tracer.start_as_current_span("child", attributes={"a": 1, "b": 2}) as child:
            pass
    for span in (leaf, child):
        assert (dict(span.attributes), span.dropped_attributes) == ({"b": 2}, 1)
    provider.shutdown()


def test_order_within_a_process_is_exact(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a trace in one process follows one clock, so children lie within parents though the wall clock jumps."""
    tracer = _tracer(provider)
    with tracer.start_as_current_span("root") as root:
        monkeypatch.setattr("causal_otel.engine.local_trace.time_ns", lambda: 0)
        leaf = tracer.start_leaf("leaf", SpanKind.CLIENT, {})
        span = tracer.start_span("span")
        for each in (leaf, span):
            each.end()
    assert isinstance(root, Span)
    assert root.end_time is not None
    for each in (leaf, span):
        assert root.start_time <= each.start_time <= each.end_time <= root.end_time
