"""Samplers: shares that all services agree on, rules for roots, and their place in the trace state."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState, set_span_in_context

from causal_otel.engine.processors import ContainedProcessors
from causal_otel.engine.provider import TracerProvider
from causal_otel.engine.samplers import EachSpanSampler, Rate, Rule, Rules, RuleSampler, Share, pattern
from causal_otel.engine.threshold import ALL, NONE, member, randomness, threshold, with_threshold
from tests.engine.forking import forked
from tests.span_relations import assert_inside

if TYPE_CHECKING:
    from opentelemetry.context import Context

_HTTP = {"http.request.method": "GET", "url.path": "/users/7"}


def _provider(sampler: Any) -> TracerProvider:
    return TracerProvider(sampler)


def _remote(flags: int, state: TraceState | None = None) -> Context:
    return set_span_in_context(NonRecordingSpan(SpanContext(0xA, 0xB, True, TraceFlags(flags), state)))


class TestThreshold:
    @pytest.mark.parametrize(
        ("share", "th"), [(0.5, "8"), (0.25, "c"), (0.1, "e6666666666666"), (1 / 3, "aaaaaaaaaaaaac"), (1.0, None)]
    )
    def test_written(self, share: float, th: str | None) -> None:
        """A share is written as the specification writes it, without trailing zeros; nothing stands for all."""
        _, state = Share(share).decide(NONE - 1)
        assert (state and state.get("ot")) == (None if th is None else f"th:{th}")

    def test_bounds(self) -> None:
        """Everything and nothing are thresholds as well."""
        assert threshold(1.0) == ALL
        assert threshold(0.0) == NONE
        assert Share(0.0).decide(NONE - 1)[0] & 1 == 0
        assert Share(1.0).decide(0)[0] & 1 == 1

    def test_read(self) -> None:
        """A threshold, the randomness and others' fields are read; what has no proper form is ignored."""
        assert member(TraceState([("ot", "th:8;rv:00000000000abc;x:y")])) == (1 << 55, 0xABC, ("x:y",))
        assert member(TraceState([("ot", "th:;rv:abc")])) == (None, None, ())
        assert member(TraceState([("ot", "th:123456789abcdef")])) == (None, None, ())
        assert member(None) == (None, None, ())

    def test_the_rest_is_kept(self) -> None:
        """Writing a threshold changes nothing else in the trace state."""
        state = TraceState([("vendor", "1"), ("ot", "th:8;rv:00000000000abc;x:y")])
        changed = with_threshold(state, threshold(0.25))
        assert changed is not None
        assert changed.to_header() == "ot=th:c;rv:00000000000abc;x:y,vendor=1"
        assert with_threshold(TraceState([("ot", "th:8")]), None) is None

    def test_explicit_randomness_counts(self) -> None:
        """The randomness in the trace state beats the trace id's."""
        assert randomness(5, TraceState([("ot", "rv:ffffffffffffff")])) == NONE - 1
        assert randomness((1 << 127) | 5) == 5

    def test_unbiased(self) -> None:
        """Of a million random trace ids the share that is kept is the one asked for (chi-square, p = 0.0001)."""
        draw = random.Random(20_261_122)
        shares = (0.01, 0.1, 0.5)
        deciders = [Share(share).decide for share in shares]
        kept = [0] * len(shares)
        total = 1_000_000
        for _ in range(total):
            trace_id = draw.getrandbits(128)
            for index, decide in enumerate(deciders):
                kept[index] += decide(trace_id)[0] & 1
        for share, found in zip(shares, kept, strict=True):
            expected = share * total
            chi_square = (found - expected) ** 2 / expected + (found - expected) ** 2 / (total - expected)
            assert chi_square < 15.14, share

    def test_services_agree(self) -> None:
        """What a service with a low share keeps, one with a higher share keeps as well."""
        low, high = Share(0.05), Share(0.3)
        for trace_id in (random.getrandbits(128) for _ in range(20_000)):
            if low.decide(trace_id)[0] & 1:
                assert high.decide(trace_id)[0] & 1


class TestRules:
    def test_operation(self) -> None:
        """A rule for an operation means spans of that name."""
        rule = Rule(Share(0), "run/report")
        assert rule.fits("run/report", SpanKind.CONSUMER, {})
        assert not rule.fits("run/other", SpanKind.CONSUMER, {})

    @pytest.mark.parametrize("operation", ["GET /users/7", "GET /users/{id}", "GET /users/*", "GET /**"])
    def test_operation_of_a_request(self, operation: str) -> None:
        """It means requests by method and path, too, whose route is not known when they begin."""
        rule = Rule(Share(0), operation)
        assert rule.fits("GET", SpanKind.SERVER, _HTTP)
        assert not rule.fits("POST", SpanKind.SERVER, {**_HTTP, "http.request.method": "POST"})
        assert not rule.fits("GET", SpanKind.SERVER, {**_HTTP, "url.path": "users"})

    def test_operation_is_a_path(self) -> None:
        """A path alone means requests of any method."""
        rule = Rule(Share(0), "/users/{id}")
        assert rule.fits("GET", SpanKind.SERVER, _HTTP)
        assert rule.fits("POST", SpanKind.SERVER, {**_HTTP, "http.request.method": "POST"})
        assert not rule.fits("GET", SpanKind.SERVER, {**_HTTP, "url.path": "/users"})

    def test_segments(self) -> None:
        """In a path one star, and a parameter, are one segment; two stars are any number."""
        assert not pattern("/users/*", path=True).fullmatch("/users/7/orders")
        assert not pattern("/users/{id}", path=True).fullmatch("/users/7/orders")
        assert pattern("/users/**", path=True).fullmatch("/users/7/orders")
        assert pattern("/files/{name:path}", path=True).fullmatch("/files/a/b")
        assert not pattern("/a.b", path=True).fullmatch("/axb")

    def test_attributes_and_kind(self) -> None:
        """All conditions have to fit."""
        rule = Rule(Share(0), attributes={"tier": pattern("free*"), "beta": pattern("true")}, kind=SpanKind.SERVER)
        assert rule.fits("x", SpanKind.SERVER, {"tier": "free-eu", "beta": True})
        assert not rule.fits("x", SpanKind.CLIENT, {"tier": "free-eu", "beta": True})
        assert not rule.fits("x", SpanKind.SERVER, {"tier": "paid", "beta": True})
        assert not rule.fits("x", SpanKind.SERVER, {"tier": "free"})

    def test_first_rule_that_fits(self) -> None:
        """Rules are asked in order, then the default applies."""
        first, second, default = Share(0.1), Share(0.2), Share(0.3)
        rules = Rules((Rule(first, "a"), Rule(second, attributes={"k": pattern("*")})), default)
        assert rules.strategy("a", SpanKind.INTERNAL, {"k": "v"}) is first
        assert rules.strategy("b", SpanKind.INTERNAL, {"k": "v"}) is second
        assert rules.strategy("b", SpanKind.INTERNAL, None) is default


class TestRate:
    def test_a_second_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A second's traces may come at once; then they come as time goes by."""
        now = 100.0
        monkeypatch.setattr("causal_otel.engine.samplers.monotonic", lambda: now)
        rate = Rate(3)
        assert [rate.decide(1)[0] & 1 for _ in range(5)] == [1, 1, 1, 0, 0]
        now += 0.5
        assert [rate.decide(1)[0] & 1 for _ in range(2)] == [1, 0]
        now += 1000
        assert [rate.decide(1)[0] & 1 for _ in range(5)] == [1, 1, 1, 0, 0]

    def test_forked_while_deciding(self) -> None:
        """A child that was forked while a thread of its parent was deciding decides for itself."""
        rate = Rate(1)
        with rate._lock:
            assert rate.decide(1)[0] & 1 == 0
            assert forked(lambda: str(rate.decide(1)[0] & 1)) == "1"

    def test_none(self) -> None:
        """A rate of zero keeps nothing."""
        assert Rate(0).decide(1)[0] & 1 == 0


class TestOnProvider:
    @pytest.mark.parametrize("way", ["block", "span"])
    def test_threshold_travels(self, way: str) -> None:
        """The trace state of a root that a share has kept says so, whichever way it was started."""
        tracer = _provider(RuleSampler(Rules((), Share(0.5)))).get_tracer("t")
        seen = set()
        for _ in range(60):
            if way == "block":
                with tracer.start_as_current_span("x") as span:
                    context = span.get_span_context()
            else:
                context = tracer.start_span("x").get_span_context()
            seen.add((int(context.trace_flags) & 1, context.trace_state.to_header()))
        assert seen == {(1, "ot=th:8"), (0, "")}

    def test_children_follow_their_parents(self) -> None:
        """The rules are for roots: what is sampled elsewhere is sampled here, with the trace state it came with."""
        tracer = _provider(RuleSampler(Rules((), Share(0.0)))).get_tracer("t")
        state = TraceState([("ot", "th:c"), ("v", "1")])
        entry = tracer.start_span("entry", _remote(1, state))
        assert entry.is_recording()
        assert entry.get_span_context().trace_state.to_header() == "ot=th:c,v=1"
        tracer = _provider(RuleSampler(Rules((), Share(1.0)))).get_tracer("t")
        assert not tracer.start_span("entry", _remote(0)).is_recording()

    def test_rules_see_start_attributes(self) -> None:
        """A rule may go by what is known when the span starts."""
        sampler = RuleSampler(Rules((Rule(Share(0.0), "GET /health"),)))
        tracer = _provider(sampler).get_tracer("t")
        given: Any = {"http.request.method": "GET", "url.path": "/health"}
        with tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes=given) as span:
            assert not span.is_recording()
        with tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes=_HTTP) as span:
            assert span.is_recording()
        sampler.replace(Rules((), Share(0.0)))
        assert not tracer.start_span("GET", attributes=_HTTP).is_recording()

    def test_dropped_block_that_raises(self) -> None:
        """What leaves a block whose root was dropped is the user's exception and no other."""
        tracer = _provider(RuleSampler(Rules((), Share(0.0)))).get_tracer("t")
        error = ValueError("theirs")
        with pytest.raises(ValueError, match="theirs") as caught, tracer.start_as_current_span("x"):
            raise error
        assert caught.value is error
        assert error.__context__ is None

    def test_ratio_whatever_the_parent_was(self) -> None:
        """The sampler without parents goes by the trace's randomness, its own bits or the explicit ones."""
        tracer = _provider(EachSpanSampler(Rules((), Share(0.5)))).get_tracer("t")
        kept = tracer.start_span("x", _remote(0, TraceState([("ot", "rv:ffffffffffffff;th:1")])))
        assert kept.is_recording()
        assert kept.get_span_context().trace_state.to_header() == "ot=th:8;rv:ffffffffffffff"
        dropped = tracer.start_span("x", _remote(1, TraceState([("ot", "rv:00000000000001;th:1")])))
        assert not dropped.is_recording()
        assert dropped.get_span_context().trace_state.to_header() == "ot=rv:00000000000001"

    def test_share_of_traces(self) -> None:
        """Of many roots about the share is recorded, each with all of its children."""
        provider = _provider(RuleSampler(Rules((), Share(0.2))))
        exporter = InMemorySpanExporter()
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        provider.add_span_processor(SimpleSpanProcessor(exporter))
        assert isinstance(provider.core.processors, ContainedProcessors)
        tracer = provider.get_tracer("t")
        total = 5000
        for _ in range(total):
            with tracer.start_as_current_span("root"), tracer.start_as_current_span("child"):
                pass
        spans = exporter.get_finished_spans()
        roots = len(spans) // 2
        for child, root in zip(spans[::2], spans[1::2], strict=True):
            assert (child.name, root.name, root.parent) == ("child", "root", None)
            assert_inside(root, child)
        assert abs(roots - 0.2 * total) < 5 * math.sqrt(total * 0.2 * 0.8)
