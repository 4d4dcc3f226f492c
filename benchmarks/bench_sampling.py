"""Sampling: what deciding about a root takes, and what a span costs that waits, should its trace turn out to fail."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import SpanKind

from benchmarks.peers import ATTRIBUTES, NAME
from benchmarks.rounds import BARE, OPENTELEMETRY, OURS, in_turns
from causal_otel.engine.provider import TracerProvider
from causal_otel.engine.retroactive import Buffer, BufferLimits
from causal_otel.engine.samplers import RuleSampler
from causal_otel.sampling.described import default_rules, share_of_all

if TYPE_CHECKING:
    from opentelemetry.util.types import AnyValue
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record

_TIMES = 5000
_ROUNDS = 50
_REQUEST: dict[str, AnyValue] = {
    "http.request.method": "GET",
    "url.scheme": "http",
    "url.path": "/orders/42",
    "server.address": "api.internal",
    "server.port": 8000,
    "client.address": "10.0.0.7",
    "network.protocol.version": "1.1",
}


def _round(call: Callable[..., Any], *arguments: Any) -> Callable[[], float]:
    trace_ids = [random.getrandbits(128) for _ in range(_TIMES)]

    def run() -> float:
        started = time.thread_time()
        for trace_id in trace_ids:
            call(trace_id, *arguments)
        return (time.thread_time() - started) / _TIMES

    return run


def test_root_decision(benchmark: BenchmarkFixture, record: Record) -> None:
    """The default rules about an HTTP request, beside the SDK's sampler with a ratio."""
    theirs, mine = sampling.ParentBased(sampling.TraceIdRatioBased(0.5)), RuleSampler(default_rules().rules)

    def ask(trace_id: int) -> None:
        theirs.should_sample(None, trace_id, "GET", SpanKind.SERVER, _REQUEST)

    found = in_turns(
        benchmark,
        {
            BARE: _round(lambda trace_id: None),
            OPENTELEMETRY: _round(ask),
            OURS: _round(lambda trace_id: mine.decide_root(trace_id, "GET", SpanKind.SERVER, _REQUEST)),
        },
        _ROUNDS,
    )
    record("root decision", {OPENTELEMETRY: found[OPENTELEMETRY], OURS: found[OURS]})


def test_held_back(benchmark: BenchmarkFixture, record: Record) -> None:
    """A child of a dropped root that is buffered, over one that is not; memory is given back between rounds."""

    def children(buffer: Buffer | None) -> Callable[[], float]:
        provider = TracerProvider(RuleSampler(share_of_all(0.0).rules), Resource({"service.name": "benchmark"}))
        provider.set_buffer(buffer)
        tracer: Any = provider.get_tracer("benchmark")

        def run() -> float:
            with tracer.start_as_current_span("root") as root:
                started = time.thread_time()
                for _ in range(_TIMES):
                    with tracer.start_as_current_span(NAME, kind=SpanKind.CLIENT, attributes=ATTRIBUTES):
                        pass
                elapsed = time.thread_time() - started
                if buffer is not None:
                    buffered = root._local_trace.buffered
                    assert buffered is not None
                    assert buffer.drop(buffered) == _TIMES
            return elapsed / _TIMES

        return run

    buffer = Buffer(lambda span: None, limits=BufferLimits(spans=_TIMES))
    found = in_turns(benchmark, {BARE: children(None), OURS: children(buffer)}, _ROUNDS)
    record("held back", found)
