"""Spans to OTLP bytes: ours beside the official encoder, the same spans on either side, in one run.

What is compared is CPU time of the encoding thread, the least of many rounds taken in turns. ``python -m
benchmarks.bench_encode`` prints the table without pytest.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

from benchmarks.rounds import OPENTELEMETRY, OURS
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from benchmarks.conftest import Record

SPANS = 512
"""A batch, as it is by default."""
ROUNDS = 15
INNER = 10
"""How many of ours are timed for each of the official one's."""


def _repeating(number: int) -> dict[str, Any]:
    return {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.query.summary": "SELECT orders",
        "db.query.text": "SELECT * FROM orders WHERE id = $1",
        "server.address": "db.internal",
        "server.port": 6432,
        "db.response.returned_rows": number % 20,
    }


def _unique(number: int) -> dict[str, Any]:
    return {**_repeating(number), "db.namespace": f"tenant {number}", "db.response.returned_rows": number * 7919}


WORKLOADS = {"values repeat, as they do": _repeating, "two of seven never do": _unique}


class _Kept(SpanProcessor):
    """Keeps ended spans as a queue does: without asking them for anything, which ours would remember."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def _spans(provider: SdkTracerProvider, attributes: Callable[[int], dict[str, Any]]) -> Sequence[ReadableSpan]:
    kept = _Kept()
    provider.add_span_processor(kept)
    tracer = provider.get_tracer("benchmark", "1")
    with tracer.start_as_current_span("root"):
        for number in range(SPANS):
            with tracer.start_as_current_span("SELECT orders", attributes=attributes(number)):
                pass
    provider.shutdown()
    return kept.spans[:SPANS]


def _timed(function: Callable[[], object]) -> float:
    begun = time.thread_time_ns()
    function()
    return (time.thread_time_ns() - begun) / SPANS / 1000


def compare(attributes: Callable[[int], dict[str, Any]]) -> tuple[float, float, float]:
    """Microseconds a span: the official encoder, ours on the same spans of the SDK, and ours on ours."""
    resource = Resource({"service.name": "benchmark"})
    theirs = _spans(SdkTracerProvider(resource=resource), attributes)
    own = _spans(TracerProvider(resource=resource), attributes)
    # A new one where values shall be new, or the second round would find them in the cache.
    encoders = [Encoder() for _ in range(2)]
    warm = own if attributes is _repeating else _spans(TracerProvider(resource=resource), _repeating)
    for spans in (theirs, own):
        ((body, count),) = Encoder().encode(spans)
        assert count == SPANS
        found = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
        expected = encode_spans(theirs).resource_spans[0].scope_spans[0].spans
        assert [span.attributes for span in found] == [span.attributes for span in expected]

    def ours(encoder: Encoder, spans: Sequence[ReadableSpan]) -> float:
        if attributes is not _repeating:
            encoder = Encoder()
            list(encoder.encode(warm))
        return _timed(lambda: list(encoder.encode(spans)))

    official: list[float] = []
    sdk_spans: list[float] = []
    own_spans: list[float] = []
    gc.collect()
    for _ in range(ROUNDS):
        official.append(_timed(lambda: encode_spans(theirs).SerializePartialToString()))
        sdk_spans += [ours(encoders[0], theirs) for _ in range(INNER)]
        own_spans += [ours(encoders[1], own) for _ in range(INNER)]
    return min(official), min(sdk_spans), min(own_spans)


Found = dict[str, tuple[float, float, float]]


def measured() -> Found:
    """What :func:`compare` finds, by workload."""
    return {name: compare(attributes) for name, attributes in WORKLOADS.items()}


def table(found: Found) -> str:
    """A line for each workload."""
    lines = [f"{'encode, µs a span':28} {'official':>9} {'ours':>7} {'share':>7}   {'ours on the SDK’s spans'}"]
    for name, (official, sdk_spans, own) in found.items():
        lines.append(f"{name:28} {official:9.1f} {own:7.2f}  1/{official / own:4.1f}   {sdk_spans:.2f}")
    return "\n".join(lines)


def test_encode(record: Record) -> None:
    """A child span with seven attributes, five strings and two numbers."""
    for row, (official, _, own) in zip(("encode", "encode new"), measured().values(), strict=True):
        record(row, {OPENTELEMETRY: official / 1e6, OURS: own / 1e6})


if __name__ == "__main__":
    print(table(measured()))
