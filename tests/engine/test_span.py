"""What a span keeps, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from causal_otel.engine.provider import TracerProvider

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from causal_otel.engine.span import Span


def _start(provider: TracerProvider, **kwargs: Any) -> Span:
    from causal_otel.engine.span import Span

    span = provider.get_tracer("t").start_span("x", **kwargs)
    assert isinstance(span, Span)
    return span


class TestEnd:
    def test_ends_once(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        """A second end changes nothing and exports nothing."""
        span = _start(provider)
        span.end(5)
        span.end(9)
        assert span.end_time == 5
        assert len(exporter.get_finished_spans()) == 1

    def test_ends_once_from_many_threads(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        """Of threads that race to end a span exactly one does."""
        for _ in range(50):
            span = _start(provider)
            barrier = threading.Barrier(4)

            def end(span: Span = span, barrier: threading.Barrier = barrier) -> None:
                barrier.wait(60)
                span.end()

            threads = [threading.Thread(target=end) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        assert len(exporter.get_finished_spans()) == 50

    def test_changes_after_the_end_are_ignored(self, provider: TracerProvider) -> None:
        """Nothing said after the end is recorded, and nothing is raised or warned about."""
        span = _start(provider, attributes={"a": 1})
        span.end()
        span.set_attribute("b", 2)
        span.add_event("late")
        span.add_link(SpanContext(1, 1, False))
        span.set_status(StatusCode.ERROR)
        span.update_name("late")
        span.record_exception(ValueError())
        assert dict(span.attributes or {}) == {"a": 1}
        assert (span.name, span.events, span.links, span.status.status_code) == ("x", (), (), StatusCode.UNSET)

    def test_ends_only_where_it_was_started(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        """A forked child cannot end the parent's span."""
        span = _start(provider)
        child = os.fork()
        if child == 0:
            span.end()
            os._exit(0 if span.end_time is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        span.end()
        assert len(exporter.get_finished_spans()) == 1

    def test_duration_is_monotonic(self, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> None:
        """A wall clock that steps back an hour gives no negative duration."""
        span = _start(provider)
        hour_ago = time.time_ns() - 3600 * 10**9
        monkeypatch.setattr("causal_otel.engine.span.time_ns", lambda: hour_ago)
        span.end()
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.end_time >= span.start_time

    def test_given_times_are_kept(self, provider: TracerProvider) -> None:
        """Start and end in nanoseconds are taken as given."""
        span = _start(provider, start_time=100)
        span.end(350)
        assert (span.start_time, span.end_time) == (100, 350)


class TestAttributes:
    def test_later_value_wins(self, provider: TracerProvider) -> None:
        """Setting a key again replaces its value."""
        span = _start(provider, attributes={"a": 1})
        span.set_attributes({"a": 2, "b": "x"})
        assert dict(span.attributes or {}) == {"a": 2, "b": "x"}

    def test_mutable_values_are_copied(self, provider: TracerProvider) -> None:
        """A list that the caller changes later is recorded as it was."""
        values = [1, 2]
        span = _start(provider, attributes={"a": values})
        values.append(3)
        span.end()
        assert dict(span.attributes or {}) == {"a": (1, 2)}

    def test_limits(self, exporter: InMemorySpanExporter) -> None:
        """Counts and lengths stay within the limits, and what was dropped is counted."""
        limits = SpanLimits(max_span_attributes=2, max_events=1, max_links=1, max_attribute_length=3)
        provider = TracerProvider(resource=Resource({}), span_limits=limits)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        span = _start(provider, attributes={"a": "12345", "b": "x", "c": "y"})
        for number in range(3):
            span.add_event(f"e{number}", {"k": "12345"})
            span.add_link(SpanContext(1, number + 1, False))
        span.end()
        found = exporter.get_finished_spans()[0]
        assert dict(found.attributes or {}) == {"b": "x", "c": "y"}
        assert (found.dropped_attributes, found.dropped_events, found.dropped_links) == (1, 2, 2)
        assert [event.name for event in found.events] == ["e2"]
        assert dict(found.events[0].attributes or {}) == {"k": "123"}
        assert found.links[0].context.span_id == 3
        provider.shutdown()

    def test_limit_zero_keeps_nothing(self) -> None:
        """A limit of zero records none at all."""
        provider = TracerProvider(
            resource=Resource({}), span_limits=SpanLimits(max_span_attributes=0, max_events=0, max_links=0)
        )
        span = _start(provider, attributes={"a": 1})
        span.add_event("e")
        span.add_link(SpanContext(1, 1, False))
        span.end()
        assert (dict(span.attributes or {}), span.events, span.links) == ({}, (), ())
        provider.shutdown()


class TestStatus:
    def test_ok_is_final_and_unset_is_ignored(self, provider: TracerProvider) -> None:
        """OK cannot be replaced, UNSET replaces nothing, ERROR gives way to OK."""
        span = _start(provider)
        span.set_status(StatusCode.ERROR, "bad")
        span.set_status(StatusCode.UNSET)
        assert span.status.description == "bad"
        span.set_status(Status(StatusCode.OK))
        span.set_status(StatusCode.ERROR)
        assert span.status.status_code is StatusCode.OK

    def test_exception_is_recorded_and_goes_on(self, provider: TracerProvider) -> None:
        """An exception that leaves the block is the same object outside, an event and the status ERROR inside."""
        error = ValueError("no")
        with (
            pytest.raises(ValueError, match="no") as caught,
            provider.get_tracer("t").start_as_current_span("x") as span,
        ):
            raise error
        assert caught.value is error
        assert isinstance(span, ReadableSpan)
        assert span.status.status_code is StatusCode.ERROR
        assert [(e.name, (e.attributes or {})["exception.type"]) for e in span.events] == [("exception", "ValueError")]

    def test_exception_flags_are_honoured(self, provider: TracerProvider) -> None:
        """``record_exception=False`` and ``set_status_on_exception=False`` leave the span as it is."""
        with (
            pytest.raises(ValueError, match="no"),
            provider.get_tracer("t").start_as_current_span(
                "x", record_exception=False, set_status_on_exception=False
            ) as span,
        ):
            raise ValueError("no")
        assert isinstance(span, ReadableSpan)
        assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())

    @pytest.mark.asyncio
    async def test_cancellation_is_marked_and_no_error(self, provider: TracerProvider) -> None:
        """A cancelled block ends unset, marked ``causal.cancelled``."""
        spans: list[Any] = []
        entered = asyncio.Event()

        async def work() -> None:
            with provider.get_tracer("t").start_as_current_span("x") as span:
                spans.append(span)
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert spans[0].status.status_code is StatusCode.UNSET
        assert dict(spans[0].attributes) == {"causal.cancelled": True}
        assert spans[0].events == ()

    def test_exception_whose_str_raises(self, provider: TracerProvider) -> None:
        """The user's exception survives its own broken ``__str__``."""

        class Rude(Exception):
            def __str__(self) -> str:
                raise RuntimeError("rude")

        with pytest.raises(Rude), provider.get_tracer("t").start_as_current_span("x"):
            raise Rude


class TestReadable:
    def test_readable_surface(self, provider: TracerProvider) -> None:
        """Processors and exporters find what the SDK's spans have, ``to_json()`` included."""
        remote = SpanContext(0xA, 0xB, True, TraceFlags(1))
        with provider.get_tracer("scope", "1.2").start_as_current_span(
            "x", attributes={"k": "v"}, kind=trace.SpanKind.CLIENT
        ) as span:
            span.add_link(remote, {"why": "because"})
        assert isinstance(span, ReadableSpan)
        written = json.loads(span.to_json())
        assert written["name"] == "x"
        assert written["kind"] == "SpanKind.CLIENT"
        assert written["attributes"] == {"k": "v"}
        assert written["links"][0]["attributes"] == {"why": "because"}
        assert span.resource.attributes["service.name"] == "tests"
        assert span.instrumentation_scope is not None
        assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == ("scope", "1.2")


def test_the_caller_s_empty_attributes_stay_empty(provider: TracerProvider) -> None:
    """One empty mapping may serve any number of spans."""
    nothing: dict[str, Any] = {}
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("root", attributes=nothing) as root:
        root.set_attribute("a", 1)
        with tracer.start_as_current_span("child", attributes=nothing) as child:
            child.set_attributes({"b": 2})
    assert nothing == {}
    assert isinstance(child, ReadableSpan)
    assert child.attributes == {"b": 2}
