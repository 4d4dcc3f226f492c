"""Our OTLP bytes against the official encoder's, and what that one cannot do: survive a span it has no bytes for."""

from __future__ import annotations

import logging
import math
import sys
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
from tests.export.encoding import LIMITS, Maker, Number, Word, attributes_of, check, decode, generated, steps, unchecked


@pytest.fixture(scope="module")
def makers() -> Iterator[dict[tuple[str, str], Maker]]:
    kinds: dict[str, type[SdkTracerProvider]] = {"ours": TracerProvider, "sdk": SdkTracerProvider}
    made = {(name, limit): Maker(kind, limits) for name, kind in kinds.items() for limit, limits in LIMITS.items()}
    yield made
    for maker in made.values():
        maker.provider.shutdown()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK and the official encoder log every attribute that they change or drop."""
    caplog.set_level(logging.CRITICAL, logger="opentelemetry")


@pytest.fixture
def maker(makers: dict[tuple[str, str], Maker]) -> Maker:
    """Ours, with the default limits."""
    return makers["ours", "default"]


# -- the same as the official encoder ----------------------------------------------------------------------------


class TestEqual:
    @pytest.mark.parametrize("limit", LIMITS)
    @pytest.mark.parametrize("kind", ["ours", "sdk"])
    @given(made=st.lists(steps(), min_size=1, max_size=3))
    @settings(generated, max_examples=60)
    def test_generated(
        self,
        makers: dict[tuple[str, str], Maker],
        kind: str,
        limit: str,
        made: list[Callable[[trace.Tracer], None]],
    ) -> None:
        """Whatever a span holds, and whatever its limits, what is decoded is what the official encoder says."""
        maker = makers[kind, limit]
        tracer = maker.provider.get_tracer("tests", "1.0")
        for make in made:
            make(tracer)
        check(Encoder(), maker.ended())

    @given(found=unchecked, events=unchecked)
    @settings(generated, max_examples=100)
    def test_unchecked_attributes(self, found: Any, events: Any) -> None:
        """A span that somebody built by hand, with attributes that nobody made valid, is encoded alike too."""
        context = SpanContext(1, 2, False, TraceFlags(1))
        span = ReadableSpan(
            "x", context, None, Resource({}), found, (), [Link(context, events)], start_time=1, end_time=2
        )
        check(Encoder(), [span])

    @pytest.mark.parametrize("kind", ["ours", "sdk"])
    def test_tracers_and_scopes(self, makers: dict[tuple[str, str], Maker], kind: str) -> None:
        """Spans are grouped by resource and by scope, with version, attributes and schema."""
        provider = makers[kind, "default"].provider
        others = makers[kind, "tight"].provider
        tracers = [
            provider.get_tracer("a"),
            provider.get_tracer("b", "2", "https://example.org/b", {"x": 1, "y": [True]}),
            provider.get_tracer("b", "2", "https://example.org/b", {"x": 2}),
            others.get_tracer("a"),
            provider.get_tracer("a"),
        ]
        spans = []
        for tracer in tracers * 2:
            tracer.start_span("x", attributes={"long": "abcdef"}).end()
            spans += makers[kind, "default"].ended() + makers[kind, "tight"].ended()
        check(Encoder(), spans)

    def test_usual_ways_to_start_a_span(self, maker: Maker) -> None:
        """A current span, a leaf, one whose context was asked for, and one that failed."""
        tracer: Any = maker.provider.get_tracer("tests")
        shared = {"a": "b", "n": 1}
        with tracer.start_as_current_span("root", attributes={"x": 1}):
            with tracer.start_as_current_span("child", kind=SpanKind.SERVER, attributes=shared) as span:
                span.get_span_context()
            for number in range(3):
                leaf = tracer.start_leaf("leaf", SpanKind.CLIENT, shared)
                if number:
                    leaf.set_attribute("more", number / 2)
                leaf.end()
            with tracer.start_as_current_span("leaf"):  # the name of another kind of span
                pass
            with pytest.raises(ValueError, match="wrong"), tracer.start_as_current_span("failing"):
                raise ValueError("wrong")
        check(Encoder(), maker.ended())

    def test_shared_attributes(self, maker: Maker) -> None:
        """Attributes that many leaves share are encoded as anybody's, however many of them there are."""
        tracer: Any = maker.provider.get_tracer("tests")
        encoder = Encoder()
        odd = {"none": None, "list": [1, "x"], "nan": math.nan, "": 1, "long": "x" * 5000, "bytes": b"b", 3: "no key"}
        with tracer.start_as_current_span("root"):
            for attributes in ({"zero": -0.0, "yes": True, "one": 1, "text": "é"}, {"zero": 0.0}, {}, odd):
                for _ in range(3):
                    tracer.start_leaf("leaf", SpanKind.CLIENT, attributes).end()
                check(encoder, maker.ended())
            for number in range(3000):  # as many mappings, of values that are known by now
                tracer.start_leaf("leaf", SpanKind.CLIENT, {"a": number % 2, "b": number % 3}).end()
        check(encoder, maker.ended())

    @pytest.mark.parametrize("limit", ["tight", "zero"])
    def test_dropped_attributes(self, makers: dict[tuple[str, str], Maker], limit: str) -> None:
        """What a limit has cost is told of a span that has nothing else to tell."""
        maker = makers["ours", limit]
        spans = maker.one(attributes={"a": 1, "b": 2, "c": 3})
        assert spans[0].dropped_attributes
        check(Encoder(), spans)

    def test_an_id_that_is_none(self, maker: Maker) -> None:
        """A trace id that does not fit costs its own spans, not those of other traces."""
        tracer: Any = maker.provider.get_tracer("tests")
        spans: list[Any] = []
        for _ in range(2):
            spans += maker.one()
            with tracer.start_as_current_span("bad") as bad:
                bad._local_trace.trace_id = 1 << 128
            for each in maker.ended():
                spans += [each, each]
        encoder = Encoder()
        (request,) = decode(list(encoder.encode(spans)))
        assert encoder.skipped == 4
        (found,) = request.resource_spans
        assert [span.name for span in found.scope_spans[0].spans] == ["span", "span"]

    def test_without_scope(self) -> None:
        """A span of no scope and with nothing in it is encoded."""
        check(Encoder(), [ReadableSpan("", SpanContext(1, 2, False), resource=Resource({}))])

    def test_equal_values_of_other_types(self, maker: Maker) -> None:
        """1, True and 1.0 under one key are told apart, in any order, and so are 0.0 and -0.0."""
        encoder = Encoder()
        for value in (1, True, 1.0, True, 1, Number.ONE, 0, False, -0.0, 0.0, -0.0, "1", Word("1"), b"1"):
            check(encoder, maker.one(attributes={"key": value}))

    @pytest.mark.parametrize("count", [3, 700, 5000])
    def test_many_values(self, maker: Maker, count: int) -> None:
        """However many keys, values and names there are, none is mistaken for another."""
        encoder = Encoder()
        tracer = maker.provider.get_tracer("tests")
        for number in range(count):
            tracer.start_span(
                f"name {number}", attributes={"s": f"value {number}", "i": number, "f": number / 3, f"k{number}": "v"}
            ).end()
        check(encoder, maker.ended())

    @pytest.mark.parametrize("length", [0, 90, 127, 128, 1000, 2047, 5000, 20_000, 3_000_000])
    def test_lengths(self, maker: Maker, length: int) -> None:
        """Every length of a length is right."""
        for text in ("x" * length, "é" * length):
            check(Encoder(20_000_000), maker.one(name=text, attributes={"a": text, "b": [text], "c": {"d": text}}))


# -- better than the official encoder ----------------------------------------------------------------------------


class TestContained:
    def test_surrogates(self, maker: Maker) -> None:
        """A lone surrogate costs an attribute, and of a name or a description one character."""
        span = maker.provider.get_tracer("tests").start_span("bad \ud800 name", attributes={"a": "\udfff", "b": "good"})
        span.add_event("bad \ud800 event", {"\ud800": 1, "c": 2})
        span.set_status(StatusCode.ERROR, "bad \ud800 description")
        span.end()
        (found,) = decode(list(Encoder().encode(maker.ended())))
        assert set(attributes_of(found)) == {"b"}
        (decoded,) = found.resource_spans[0].scope_spans[0].spans
        assert decoded.name == "bad ? name"
        assert decoded.status.message == "bad ? description"
        assert [event.name for event in decoded.events] == ["bad ? event"]
        assert [item.key for item in decoded.events[0].attributes] == ["c"]

    def test_a_value_that_raises(self, maker: Maker) -> None:
        """An attribute whose value, or key, cannot be printed is dropped; the others stay."""

        class Raising:
            def __str__(self) -> str:
                raise RuntimeError("no")

            def __deepcopy__(self, memo: object) -> Raising:
                return self

        given: Any = {"bad": Raising(), Raising(): 1, "good": 1}
        before = faults.counts().get("export: attribute", 0)
        (found,) = decode(list(Encoder().encode(maker.one(attributes=given))))
        assert set(attributes_of(found)) == {"good"}
        assert faults.counts()["export: attribute"] == before + 2

    @pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"k": inner}])
    def test_nesting(self, wrap: Callable[[Any], Any]) -> None:
        """A value nested too deeply for a decoder is dropped, rather than the whole request by the receiver."""
        kept = []
        for depth in (1, 20, *range(29, 52), 150, sys.getrecursionlimit() + 10):
            value: Any = 1
            for _ in range(depth):
                value = wrap(value)
            given: Any = {"deep": value, "good": 1}
            span = ReadableSpan(
                "x", SpanContext(1, 2, False), None, Resource({}), given, [Event("event", given, 1)], start_time=1
            )
            (found,) = decode(list(Encoder().encode([span])))
            (decoded,) = found.resource_spans[0].scope_spans[0].spans
            names = [item.key for item in decoded.attributes]
            assert names == [item.key for item in decoded.events[0].attributes]
            assert names in (["deep", "good"], ["good"])
            kept += [depth] if "deep" in names else []
        assert {1, 20, 29, 30, 31} <= set(kept)
        assert max(kept) < 50

    def test_a_span_that_cannot_be_encoded(self, maker: Maker) -> None:
        """It is skipped and counted; those beside it are sent."""
        tracer: Any = maker.provider.get_tracer("tests")
        tracer.start_span("good").end()
        tracer.start_span("negative", start_time=-5).end()
        tracer.start_span("seconds", start_time=1.5).end(2.5)
        tracer.start_span("kind", kind="client").end()
        tracer.start_span("good too").end()
        without_context = ReadableSpan("no context", resource=Resource({}))
        encoder = Encoder()
        requests = list(encoder.encode([*maker.ended(), without_context]))
        (found,) = decode(requests)
        assert [span.name for span in found.resource_spans[0].scope_spans[0].spans] == ["good", "good too"]
        assert requests[0][1] == 2
        assert encoder.skipped == 4

    def test_an_event_that_cannot_be_encoded(self, maker: Maker) -> None:
        """It alone is left out."""
        span: Any = maker.provider.get_tracer("tests").start_span("x")
        span.add_event("bad", timestamp=-1)
        span.add_event("good", timestamp=1)
        span.end()
        (found,) = decode(list(Encoder().encode(maker.ended())))
        (decoded,) = found.resource_spans[0].scope_spans[0].spans
        assert [event.name for event in decoded.events] == ["good"]

    def test_nothing(self) -> None:
        """No spans, no request."""
        assert list(Encoder().encode([])) == []


# -- requests and their size -------------------------------------------------------------------------------------


def span_of(size: int, scope: int = 0) -> ReadableSpan:
    return ReadableSpan(
        "x",
        SpanContext(1, 2, False),
        resource=Resource({"r": "y" * 50}),
        attributes={"a": "x" * size},
        instrumentation_scope=InstrumentationScope(f"scope {scope}"),
    )


class TestRequests:
    @given(
        sizes=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 2)), max_size=30),
        most=st.sampled_from([100, 700, 1000, 5000]),
    )
    @settings(generated, max_examples=100)
    def test_size(self, sizes: list[tuple[int, int]], most: int) -> None:
        """No request is larger than asked for, but one of a single span; none is lost and none comes twice."""
        spans = [span_of(size, scope) for size, scope in sizes]
        requests = list(Encoder(most).encode(spans))
        lengths = []
        for (body, count), request in zip(requests, decode(requests), strict=True):
            inside = [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
            assert len(inside) == count
            assert len(body) <= most or count == 1
            assert all(scope.spans for each in request.resource_spans for scope in each.scope_spans)
            lengths += [len(span.attributes[0].value.string_value) for span in inside]
        assert sorted(lengths) == sorted(size for size, _ in sizes)

    def test_few(self) -> None:
        """A request is filled as far as it may be."""
        spans = [span_of(1000) for _ in range(100)]
        assert len(list(Encoder(11_000).encode(spans))) == math.ceil(100 / 10)

    @pytest.mark.parametrize("slices", [1, 7, 100])
    def test_slices(self, makers: dict[tuple[str, str], Maker], slices: int) -> None:
        """A batch filled in slices makes the same requests as one filled at once, and can be filled again."""
        spans = [span for kind in ("ours", "sdk") for _ in range(50) for span in makers[kind, "default"].one()]
        encoder = Encoder(2000)
        whole = list(encoder.encode(spans))
        batch = encoder.batch()
        for _ in range(2):
            for start in range(0, len(spans), slices):
                batch.add(iter(spans[start : start + slices]))
            assert batch.finish() == whole
            assert batch.finish() == []


def _anybody_s(number: int) -> ReadableSpan:
    return ReadableSpan(
        f"name {number}",
        SpanContext(1, 2, False, trace_state=TraceState([("k", str(number))])),
        resource=Resource({"r": number}),
        attributes={
            f"key {number}": "v" * 100,
            "text": f"{number} " * 20,
            "int": number,
            f"f{number}": 0.5,
        },
        instrumentation_scope=InstrumentationScope(str(number)),
    )


def _leaf(tracer: Any, _: int) -> ReadableSpan:
    with tracer.start_as_current_span("root"):
        leaf = tracer.start_leaf("leaf", SpanKind.CLIENT, {"known": "v" * 1000})
    leaf.end()
    return cast("ReadableSpan", leaf)


class TestMemory:
    @pytest.mark.parametrize("leaves", [False, True])
    def test_bounded(self, leaves: bool) -> None:
        """The caches stop growing, whatever comes: keys, values, names, scopes, trace states, shared attributes."""
        provider = TracerProvider()
        span = partial(_leaf, provider.get_tracer("tests")) if leaves else _anybody_s
        encoder = Encoder()
        sizes = []
        tracemalloc.start()
        try:
            for begin in range(0, 6000, 1500):
                for _ in encoder.encode(map(span, range(begin, begin + 1500))):
                    pass
                sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        assert max(sizes) < 2_500_000
        provider.shutdown()
