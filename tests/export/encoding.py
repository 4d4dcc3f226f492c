"""What the tests of the encoder share: makers of spans, and Hypothesis's strategies for any span."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from causal_otel.export.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "LIMITS",
    "Maker",
    "Number",
    "Silent",
    "Speaking",
    "Word",
    "attributes",
    "attributes_of",
    "canonical",
    "check",
    "clean",
    "contexts",
    "decode",
    "dirty",
    "errors",
    "generated",
    "ints",
    "odd_keys",
    "sampled",
    "scalars",
    "steps",
    "times",
    "trace_states",
    "unchecked",
    "values",
]

_NO_LIMIT = SpanLimits.UNSET
LIMITS = {
    "none": SpanLimits(*[_NO_LIMIT] * 8),
    "default": SpanLimits(),
    "tight": SpanLimits(max_attributes=2, max_events=2, max_links=1, max_attribute_length=3),
    "zero": SpanLimits(max_attributes=0, max_events=1, max_links=1, max_attribute_length=0),
}


generated = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Maker:
    """A provider, ours or the SDK's, and the spans of it that have ended."""

    def __init__(self, kind: type[SdkTracerProvider], limits: SpanLimits) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = kind(
            resource=Resource({"service.name": "tests", "list": ["a", "b"]}, "https://example.org/schema"),
            span_limits=limits,
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def ended(self) -> list[ReadableSpan]:
        """The spans, once."""
        spans = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return spans

    def one(self, **arguments: Any) -> list[ReadableSpan]:
        """A root span."""
        self.provider.get_tracer("tests").start_span(arguments.pop("name", "span"), **arguments).end()
        return self.ended()


def decode(requests: Sequence[tuple[bytes, int]]) -> list[ExportTraceServiceRequest]:
    return [ExportTraceServiceRequest.FromString(body) for body, _ in requests]


def canonical(request: ExportTraceServiceRequest) -> bytes:
    """Its bytes in protobuf's own order: two requests compared as messages differ where there is a NaN."""
    encoded: bytes = request.SerializePartialToString(deterministic=True)
    return encoded


def check(encoder: Encoder, spans: Sequence[ReadableSpan]) -> None:
    """Ours and the official one agree about ``spans``, however full the caches: the last to fill takes two rounds."""
    expected = encode_spans(spans)
    for _ in range(3):
        requests = list(encoder.encode(spans))
        (found,) = decode(requests)
        assert canonical(found) == canonical(expected), f"{found}\nis not\n{expected}"
        assert requests[0][1] == len(spans)


def attributes_of(request: ExportTraceServiceRequest) -> dict[str, Any]:
    (span,) = [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
    return {item.key: item.value for item in span.attributes}


class Number(enum.IntEnum):
    ONE = 1


class Word(str):
    """A string of a class of its own."""

    __slots__ = ()


class Silent:
    """Has nothing to say of itself, so it is no attribute value."""


class Speaking:
    def __str__(self) -> str:
        return "spoken"


clean = st.text(max_size=8)
dirty = st.text(st.characters(exclude_categories=()), max_size=5)  # with lone surrogates
ints = st.one_of(
    st.integers(),
    st.sampled_from([0, 1, -1, 127, 128, 16383, 16384, 2**31, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**40]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    ints,
    st.floats(),
    st.sampled_from([0, 1, False, True, 0.0, -0.0, 1.0, Number.ONE, Word("w")]),  # equal, and yet not the same
    clean,
    dirty,
    st.text("é€😀", min_size=100, max_size=150),
    st.binary(max_size=8),
    st.builds(bytearray, st.binary(max_size=3)),
    st.builds(Speaking),
    st.builds(Silent),
)
odd_keys = st.one_of(clean, dirty, st.just(""), st.integers(0, 1), st.booleans(), st.none(), st.just(Word("key")))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(odd_keys, inner, max_size=3),
    ),
    max_leaves=8,
)
attributes = st.one_of(
    st.none(),
    st.dictionaries(st.one_of(clean, st.sampled_from("abc")), values, max_size=6),
    st.dictionaries(odd_keys, scalars, max_size=4),
)
# The official encoder takes None for a missing key: nothing that anybody wants.
unchecked = attributes.filter(lambda found: not found or None not in found)
trace_states = st.one_of(
    st.none(),
    st.dictionaries(
        st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.sampled_from(["1", "t61rcWkgMzE"]), max_size=3
    ).map(lambda found: TraceState(list(found.items()))),
)
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1), TraceFlags(3)]),
    trace_states,
)
sampled = contexts.map(lambda found: SpanContext(found[0], found[1], found[2], TraceFlags(1), found[4]))
times = st.integers(1, 2**64 - 1)
errors = st.sampled_from([ValueError("wrong"), KeyError(), ExceptionGroup("many", [OSError(2, "é")])])


@st.composite
def steps(draw: st.DrawFn) -> Callable[[trace.Tracer], None]:
    """One span, as a function of the tracer that makes it."""
    name = draw(clean)
    kind = draw(st.sampled_from(SpanKind))
    parent = draw(st.one_of(st.none(), sampled))
    first = draw(attributes)
    links = draw(st.lists(st.builds(Link, contexts, attributes), max_size=3))
    start, end = draw(times), draw(times)
    later = draw(st.lists(st.tuples(clean, values), max_size=3))
    events = draw(st.lists(st.tuples(clean, attributes, times), max_size=4))
    error = draw(st.one_of(st.none(), errors))
    status = draw(
        st.one_of(
            st.none(),
            st.just(Status(StatusCode.OK)),
            st.builds(Status, st.just(StatusCode.ERROR), st.one_of(st.none(), clean)),
        )
    )

    def make(tracer: trace.Tracer) -> None:
        context = None if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent))
        span = tracer.start_span(
            name, context, kind, first, [Link(each.context, each.attributes) for each in links], start
        )
        for key, value in later:
            span.set_attribute(key, value)
        for event_name, event_attributes, at in events:
            span.add_event(event_name, event_attributes, at)
        if error is not None:
            span.record_exception(error, {"own": 1}, 5, escaped=True)
        if status is not None:
            span.set_status(status)
        span.end(end)

    return make
