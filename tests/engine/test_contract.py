"""The OpenTelemetry contract: other people's processors and exporters on our spans, our patches on their provider."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import redis
from opentelemetry import baggage, context, trace
from opentelemetry.processor.baggage import ALLOW_ALL_BAGGAGE_KEYS, BaggageSpanProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from tests.span_relations import assert_inside

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans


def _provider() -> TracerProvider:
    return TracerProvider(resource=Resource({"service.name": "contract"}))


class TestOtherPeoplesProcessors:
    def test_console_exporter_writes_our_spans(self) -> None:
        """The SDK's console exporter prints one of our spans as it prints its own."""
        out = io.StringIO()
        provider = _provider()
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out)))
        with provider.get_tracer("t").start_as_current_span("x", attributes={"k": "v"}) as span:
            span.add_event("e", {"n": 1})
        written = json.loads(out.getvalue())
        assert (written["name"], written["attributes"], written["events"][0]["name"]) == ("x", {"k": "v"}, "e")
        provider.shutdown()

    def test_batch_processor_and_official_exporter(self, receiver: ReceivedSpans) -> None:
        """The SDK's batch processor and OTLP exporter deliver our spans whole."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider = _provider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{receiver.endpoint}/v1/traces")))
        tracer = provider.get_tracer("t")
        with (
            tracer.start_as_current_span("outer"),
            tracer.start_as_current_span("inner", attributes={"list": [1, 2]}) as inner,
        ):
            inner.set_status(StatusCode.ERROR, "why")
        provider.shutdown()
        spans = {span["name"]: span for span in receiver.wait_for(lambda found: len(found) == 2)}
        assert spans["inner"]["parent_span_id"] == spans["outer"]["span_id"]
        assert spans["inner"]["attributes"] == {"list": [1, 2]}
        assert spans["inner"]["status"] == {"code": "ERROR", "message": "why"}

    def test_third_party_processor(self) -> None:
        """Contrib's baggage processor copies baggage onto our spans as they start."""
        exporter = InMemorySpanExporter()
        provider = _provider()
        provider.add_span_processor(BaggageSpanProcessor(ALLOW_ALL_BAGGAGE_KEYS))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        token = context.attach(baggage.set_baggage("tenant", "red"))
        with provider.get_tracer("t").start_as_current_span("x"), provider.get_tracer("t").start_as_current_span("y"):
            pass
        context.detach(token)
        assert [dict(span.attributes or {}) for span in exporter.get_finished_spans()] == [{"tenant": "red"}] * 2
        provider.shutdown()


class TestTheirProvider:
    @pytest.mark.asyncio
    async def test_our_patches_on_an_sdk_provider(self, postgres_url: str, redis_url: str) -> None:
        """With the SDK's own provider the patches make the SDK's spans, with parents, errors and attributes alike."""
        exporter = InMemorySpanExporter()
        provider = SdkTracerProvider(resource=Resource({}))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        installed = causal_otel.install(patches=["asyncpg", "redis"], tracer_provider=provider)
        before = faults.counts()
        try:
            connection = await asyncpg.connect(postgres_url)
            client = redis.Redis.from_url(redis_url)
            with provider.get_tracer("t").start_as_current_span("root") as root:
                await connection.fetchval("SELECT 1")
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await connection.fetchval("SELECT 1/0")
                client.ping()
            client.close()
            await connection.close()
        finally:
            installed.uninstall()
        found = {span.name: span for span in exporter.get_finished_spans()}
        assert Counter(span.name for span in exporter.get_finished_spans()) == {"SELECT": 2, "PING": 1, "root": 1}
        assert all(type(span) is ReadableSpan for span in found.values())
        *operations, ended = exporter.get_finished_spans()
        assert ended.context == root.get_span_context()
        assert_inside(ended, *operations)
        assert {span.kind for span in operations} == {trace.SpanKind.CLIENT}
        failed = [span for span in operations if span.status.status_code is StatusCode.ERROR]
        assert [(span.attributes or {})["error.type"] for span in failed] == ["22012"]
        assert faults.counts() == before
        provider.shutdown()


def test_threads_and_event_loops_share_one_provider() -> None:
    """Eight threads with four event loops each, one after another: every span arrives once, under its own parent."""
    exporter = InMemorySpanExporter()
    provider = _provider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer: Any = provider.get_tracer("t")
    failures: list[BaseException] = []

    async def work(thread: int, loop: int, task: int) -> None:
        with tracer.start_as_current_span(f"{thread}.{loop}.{task}") as parent:
            await asyncio.sleep(0)
            leaf = tracer.start_leaf("leaf", trace.SpanKind.CLIENT, {"of": f"{thread}.{loop}.{task}"})
            await asyncio.sleep(0)
            leaf.end()
            assert trace.get_current_span() is parent

    def run(thread: int) -> None:
        async def main(loop: int) -> None:
            with tracer.start_as_current_span("root"):
                await asyncio.gather(*(work(thread, loop, task) for task in range(20)))

        try:
            for loop in range(4):
                asyncio.run(main(loop))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    spans = exporter.get_finished_spans()
    assert len(spans) == 8 * 4 * (1 + 2 * 20)
    assert len({span.context.span_id for span in spans if span.context}) == len(spans)
    names = {span.context.span_id: span.name for span in spans if span.context}
    for span in spans:
        if span.name == "leaf":
            assert span.parent is not None
            assert (span.attributes or {})["of"] == names[span.parent.span_id]
    provider.shutdown()
