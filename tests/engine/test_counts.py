"""How many spans were started and are live."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from causal_otel.engine.provider import TracerProvider
from causal_otel.engine.retroactive import Buffer, BufferLimits
from causal_otel.engine.samplers import Rules, RuleSampler, Share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SAMPLED, _RECORDED = "RECORD_AND_SAMPLE", "RECORD_ONLY"


def _by_attributes(counts: Iterable[tuple[int, Mapping[str, str]]]) -> dict[tuple[str, ...], int]:
    return {tuple(attributes.values()): count for count, attributes in counts}


def _end(tracer: Any, times: int) -> None:
    for _ in range(times):
        with tracer.start_as_current_span("a"), tracer.start_as_current_span("b"):
            tracer.start_leaf("c", SpanKind.CLIENT, {}).end()


def test_started_by_origin_and_result(provider: TracerProvider) -> None:
    """Started spans are told apart by where their parent is, however they were started."""
    tracer: Any = provider.get_tracer("t")
    remote = set_span_in_context(NonRecordingSpan(SpanContext(0xA, 0xB, True, TraceFlags(1))))
    with tracer.start_as_current_span("root"):
        with tracer.start_as_current_span("child"):
            tracer.start_leaf("leaf", SpanKind.CLIENT, {}).end()
        tracer.start_span("child").end()
    tracer.start_span("root").end()
    tracer.start_span("entry", remote).end()
    started = _by_attributes(provider.core.counts.started())
    assert started == {("none", _SAMPLED): 2, ("local", _SAMPLED): 3, ("remote", _SAMPLED): 1}


def test_live(provider: TracerProvider) -> None:
    """A span is live from its start to its first end."""
    span = provider.get_tracer("t").start_span("a")
    with provider.get_tracer("t").start_as_current_span("b"):
        assert _by_attributes(provider.core.counts.live()) == {(_SAMPLED,): 2}
    assert _by_attributes(provider.core.counts.live()) == {(_SAMPLED,): 1}
    span.end()
    span.end()
    assert _by_attributes(provider.core.counts.live()) == {(_SAMPLED,): 0}


@pytest.mark.parametrize("sampler", [sampling.DEFAULT_OFF, sampling.ALWAYS_OFF], ids=["parent-based", "always off"])
def test_dropped_roots(sampler: sampling.Sampler) -> None:
    """A root that the sampler drops was started; what lies under it was not."""
    provider = TracerProvider(sampler)
    _end(provider.get_tracer("t"), 3)
    provider.get_tracer("t").start_span("d").end()
    started = _by_attributes(provider.core.counts.started())
    assert started.pop(("none", "DROP")) == 4
    assert set(started) <= {("local", "DROP")}
    assert _by_attributes(provider.core.counts.live()) == {(_SAMPLED,): 0}


@pytest.mark.parametrize("fails", [False, True])
def test_held_back(fails: bool) -> None:
    """Spans of a trace that is buffered are recorded only, kept or not; a root without room is dropped."""
    provider = TracerProvider(RuleSampler(Rules((), Share(0.0))))
    provider.set_buffer(Buffer(lambda span: provider.core.deliver(span), None, BufferLimits(traces=1)))
    tracer: Any = provider.get_tracer("t")
    with suppress(ValueError), tracer.start_as_current_span("root"):
        tracer.start_span("child").end()
        _end(tracer, 1)
        assert _by_attributes(provider.core.counts.live()) == {(_SAMPLED,): 0, (_RECORDED,): 1}
        if fails:
            raise ValueError
    with tracer.start_as_current_span("root", Context()):
        tracer.start_span("root", Context()).end()
    started = _by_attributes(provider.core.counts.started())
    assert started == {("none", _RECORDED): 2, ("local", _RECORDED): 4, ("none", "DROP"): 1}
    assert _by_attributes(provider.core.counts.live()) == {(_SAMPLED,): 0, (_RECORDED,): 0}


def test_from_several_threads(provider: TracerProvider) -> None:
    """No start and no end is missed when threads take turns."""
    tracer = provider.get_tracer("t")
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(_end, tracer, 2000) for _ in range(4)]:
            done.result(60)
    assert _by_attributes(provider.core.counts.started()) == {("none", _SAMPLED): 8000, ("local", _SAMPLED): 16000}
    assert _by_attributes(provider.core.counts.live()) == {(_SAMPLED,): 0}
