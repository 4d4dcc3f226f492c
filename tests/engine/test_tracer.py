"""Parents, sampling and what a tracer promises to the OpenTelemetry API."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, sampling
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from causal_otel._internal import faults
from causal_otel.engine.context import attach, with_span, without_span
from causal_otel.engine.provider import TracerProvider
from tests.span_relations import assert_inside

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def _by_name(exporter: InMemorySpanExporter) -> dict[str, Any]:
    return {span.name: span for span in exporter.get_finished_spans()}


class TestParents:
    def test_current_span_is_the_parent(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        """A span started inside another one is its child, in the same trace."""
        tracer = provider.get_tracer("t")
        with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner"):
            pass
        spans = _by_name(exporter)
        assert spans["inner"].parent == outer.get_span_context()
        assert spans["inner"].context.trace_id == outer.get_span_context().trace_id
        assert spans["outer"].parent is None

    def test_api_sees_our_current_span(self, provider: TracerProvider) -> None:
        """``opentelemetry.trace.get_current_span()`` returns our span, and nothing after the block."""
        with provider.get_tracer("t").start_as_current_span("outer") as outer:
            assert trace.get_current_span() is outer
        assert trace.get_current_span() is trace.INVALID_SPAN

    def test_we_see_the_api_s_current_span(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        """A span made current by ``trace.use_span`` is the parent of ours."""
        tracer = provider.get_tracer("t")
        outer = tracer.start_span("outer")
        with trace.use_span(outer), tracer.start_as_current_span("inner"):
            pass
        assert _by_name(exporter)["inner"].parent == outer.get_span_context()

    def test_given_context_beats_the_current_one(
        self, provider: TracerProvider, exporter: InMemorySpanExporter
    ) -> None:
        """``context=`` names the parent, whatever is current."""
        tracer = provider.get_tracer("t")
        remote = SpanContext(0xA, 0xB, True, TraceFlags(1))
        elsewhere = trace.set_span_in_context(NonRecordingSpan(remote), context_api.Context())
        with tracer.start_as_current_span("current"):
            tracer.start_span("child", context=elsewhere).end()
            tracer.start_span("root", context=context_api.Context()).end()
        spans = _by_name(exporter)
        assert spans["child"].parent == remote
        assert spans["root"].parent is None

    @pytest.mark.asyncio
    async def test_tasks_are_isolated(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        """Two hundred concurrent tasks each see their own span only, and leave the caller's alone."""
        tracer = provider.get_tracer("t")

        async def work(number: int) -> None:
            with tracer.start_as_current_span(f"outer {number}"):
                await asyncio.sleep(0)
                with tracer.start_as_current_span(f"inner {number}"):
                    await asyncio.sleep(0)

        with tracer.start_as_current_span("root") as root:
            await asyncio.gather(*(work(number) for number in range(200)))
            assert trace.get_current_span() is root
        spans = _by_name(exporter)
        for number in range(200):
            assert spans[f"inner {number}"].parent == spans[f"outer {number}"].context
            assert spans[f"outer {number}"].parent == root.get_span_context()

    def test_activation_ends_silently_in_another_context(self, provider: TracerProvider) -> None:
        """Ending an activation in a foreign Context changes nothing and raises nothing, nor does ending it twice."""
        before = trace.get_current_span()
        span = provider.get_tracer("t").start_span("a")
        activation = attach(with_span(span))
        inside = contextvars.copy_context()
        inside.run(activation.end)
        assert inside.run(trace.get_current_span) is span
        for _ in range(2):
            activation.end()
            assert trace.get_current_span() is before

    def test_detached_root_links_back(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        """A span started in a detached context is a root that links to what it was detached from."""
        tracer = provider.get_tracer("t")
        with tracer.start_as_current_span("request") as request:
            tracer.start_span("poller", context=without_span()).end()
        poller = _by_name(exporter)["poller"]
        assert poller.parent is None
        assert [link.context for link in poller.links] == [request.get_span_context()]


class TestSampling:
    def test_flags_say_what_was_decided(self, exporter: InMemorySpanExporter) -> None:
        """Sampled spans carry flag 1, the others record nothing and carry 0; the random bit is always set."""
        for sampler, flags, recording in ((sampling.ALWAYS_ON, 3, True), (sampling.ALWAYS_OFF, 2, False)):
            provider = TracerProvider(sampler=sampler, resource=Resource({}))
            with provider.get_tracer("t").start_as_current_span("x") as span:
                assert span.get_span_context().trace_flags == flags
                assert span.is_recording() is recording
            provider.shutdown()

    def test_unsampled_parent_decides(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        """By default the child of an unsampled remote parent is not recorded but stays in its trace."""
        remote = NonRecordingSpan(SpanContext(0xA, 0xB, True, TraceFlags(0)))
        span = provider.get_tracer("t").start_span("x", context=with_span(remote))
        assert not span.is_recording()
        assert span.get_span_context().trace_id == 0xA
        span.end()
        assert exporter.get_finished_spans() == ()

    def test_unsampled_block_makes_nothing_current(self, provider: TracerProvider) -> None:
        """In a trace that is not sampled a block leaves current what is, so that the decision travels on."""
        tracer = provider.get_tracer("t")
        remote = NonRecordingSpan(SpanContext(0xA, 0xB, True, TraceFlags(0)))
        activation = attach(with_span(remote))
        with tracer.start_as_current_span("x", attributes={"k": 1}) as span:
            assert span is remote
            assert trace.get_current_span() is remote
            span.set_attribute("k", 2)
        assert trace.get_current_span() is remote
        activation.end()

    def test_sampler_that_ignores_parents_is_asked_below_an_unsampled_one(self) -> None:
        """A sampler that samples everything samples children of what was not sampled elsewhere, too."""
        provider = TracerProvider(sampler=sampling.ALWAYS_ON, resource=Resource({}))
        activation = attach(with_span(NonRecordingSpan(SpanContext(0xA, 0xB, True, TraceFlags(0)))))
        with provider.get_tracer("t").start_as_current_span("x") as span:
            assert span.is_recording()
        activation.end()
        provider.shutdown()

    def test_raising_sampler_is_contained(self) -> None:
        """A sampler that raises never reaches user code: the span is recorded, the fault counted."""

        class Broken(sampling.Sampler):
            def should_sample(self, *args: Any, **kwargs: Any) -> sampling.SamplingResult:
                raise RuntimeError("broken")

            def get_description(self) -> str:
                return "broken"

        provider = TracerProvider(sampler=Broken(), resource=Resource({}))
        before = faults.counts().get("sampler Broken", 0)
        assert provider.get_tracer("t").start_span("x").is_recording()
        assert faults.counts()["sampler Broken"] == before + 1
        provider.shutdown()

    def test_raising_processor_is_contained(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        """A processor that raises harms neither the caller nor the processors after it."""

        class Broken(SpanProcessor):
            def on_start(self, *args: Any, **kwargs: Any) -> None:
                raise RuntimeError("broken")

            def on_end(self, span: object) -> None:
                raise RuntimeError("broken")

        provider = TracerProvider(resource=Resource({}))
        provider.add_span_processor(Broken())
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("t").start_as_current_span("x"), provider.get_tracer("t").start_as_current_span("y"):
            pass
        inner, outer = exporter.get_finished_spans()
        assert (outer.name, outer.parent, outer.status.status_code) == ("x", None, StatusCode.UNSET)
        assert_inside(outer, inner)
        provider.shutdown()


class TestContract:
    @pytest.mark.parametrize("method", ["start_span", "start_as_current_span"])
    def test_parameters_are_the_sdk_s(self, method: str) -> None:
        """Our tracer's methods take the parameters of the SDK's, by the same names and in the same order."""
        from causal_otel.engine.tracer import Tracer

        ours = inspect.signature(getattr(Tracer, method)).parameters
        theirs = inspect.signature(inspect.unwrap(getattr(SdkTracer, method))).parameters
        assert list(ours) == list(theirs)

    @pytest.mark.parametrize("more", [{}, {"end_on_exit": False}, {"start_time": 1}])
    def test_a_block_is_entered_once(
        self, provider: TracerProvider, exporter: InMemorySpanExporter, more: dict[str, Any]
    ) -> None:
        """Entering the same block again is refused, as the SDK does it, rather than one span recorded twice."""
        block = provider.get_tracer("t").start_as_current_span("once", **more)
        with block as span:
            pass
        with pytest.raises(RuntimeError, match="start_as_current_span"), block:
            pytest.fail("was entered again")
        assert trace.get_current_span() is trace.INVALID_SPAN
        span.end()
        assert len(exporter.get_finished_spans()) == 1

    def test_one_tracer_a_scope(self, provider: TracerProvider) -> None:
        """The same scope gets the same tracer."""
        assert provider.get_tracer("a", "1") is provider.get_tracer("a", "1")
        assert provider.get_tracer("a", "1") is not provider.get_tracer("a", "2")

    def test_closed_provider_records_nothing_and_opens_again(
        self, provider: TracerProvider, exporter: InMemorySpanExporter
    ) -> None:
        """After shutdown a tracer makes no recording spans; after open() the same tracer does."""
        tracer = provider.get_tracer("t")
        provider.shutdown()
        assert not tracer.start_span("x").is_recording()
        provider.open(sampling.DEFAULT_ON, Resource({"service.name": "again"}), provider.span_limits)
        with tracer.start_as_current_span("y") as span:
            assert span.is_recording()

    def test_attributes_at_start_reach_the_sampler(self) -> None:
        """The sampler sees name, kind and attributes of the span to be."""
        seen: list[Any] = []

        class Curious(sampling.Sampler):
            def should_sample(
                self, parent_context: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None, *a: Any
            ) -> sampling.SamplingResult:
                seen.append((name, kind, attributes))
                return sampling.SamplingResult(sampling.Decision.DROP)

            def get_description(self) -> str:
                return "curious"

        provider = TracerProvider(sampler=Curious(), resource=Resource({}))
        provider.get_tracer("t").start_span("x", kind=SpanKind.SERVER, attributes={"k": 1})
        assert seen == [("x", SpanKind.SERVER, {"k": 1})]
        provider.shutdown()


class TestIds:
    def test_random_seed_does_not_repeat_them(self, provider: TracerProvider) -> None:
        """Seeding the global generator twice alike gives different ids."""
        tracer = provider.get_tracer("t")
        ids = []
        for _ in range(2):
            random.seed(7)
            ids.append(tracer.start_span("x").get_span_context())
        assert ids[0].trace_id != ids[1].trace_id
        assert ids[0].span_id != ids[1].span_id

    def test_forked_children_do_not_repeat_them(self, provider: TracerProvider) -> None:
        """Parent and forked children draw different ids."""
        tracer = provider.get_tracer("t")
        drawn = set()
        for _ in range(3):
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(write, f"{tracer.start_span('x').get_span_context().trace_id:032x}".encode())
                os._exit(0)
            os.waitpid(child, 0)
            drawn.add(os.read(read, 32).decode())
            os.close(read)
            os.close(write)
        drawn.add(f"{tracer.start_span('x').get_span_context().trace_id:032x}")
        assert len(drawn) == 4

    def test_threads_draw_distinct_ids(self, provider: TracerProvider) -> None:
        """Eight threads never draw the same span id."""
        tracer = provider.get_tracer("t")
        ids: list[int] = []

        def draw() -> None:
            ids.extend(tracer.start_span("x").get_span_context().span_id for _ in range(500))

        threads = [threading.Thread(target=draw) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(set(ids)) == 4000
