"""Ours beside the peers, in one run: the same operation bare, with OpenTelemetry's instrumentation, and with ours.

What is timed is CPU time of the whole process, export thread included: a round runs the operation many times under
one root span and then flushes to a real OTLP receiver in a process of its own. The receiver counts the spans; a
benchmark whose spans did not all arrive fails. Absolute times vary by machine, so the summary prints ratios.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import causal_otel
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.worker import Worker
from tests.services.fixtures import postgres_url, receiver, receiver_process, redis_url

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from causal_otel.cli.demo.received import ReceivedSpans

__all__ = ["postgres_url", "receiver", "receiver_process", "redis_url"]

OPERATIONS = 500
"""How often a round runs the operation; fewer than a queue holds, so that nothing may be dropped."""
ROUNDS = 30
VARIANTS = ("bare", "opentelemetry", "causal_otel")

_results: dict[str, dict[str, float]] = {}


def _resource() -> Resource:
    return Resource({"service.name": "benchmark"})


@contextmanager
def opentelemetry(url: str, instrumentor: Any = None) -> Iterator[SdkTracerProvider]:
    """The SDK, its batch processor and its OTLP exporter, and an instrumentation of contrib's."""
    provider = SdkTracerProvider(resource=_resource())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url)))
    if instrumentor is not None:
        instrumentor.instrument(tracer_provider=provider)
    try:
        yield provider
    finally:
        if instrumentor is not None:
            instrumentor.uninstrument()
        provider.shutdown()


@contextmanager
def ours(url: str, *patches: str) -> Iterator[TracerProvider]:
    """Our provider and worker, with the same OTLP exporter, and our patches."""
    provider = TracerProvider(resource=_resource())
    provider.add_span_processor(Worker(lambda: OTLPSpanExporter(url)))
    installed = causal_otel.install(patches=patches, tracer_provider=provider)
    try:
        yield provider
    finally:
        installed.uninstall()
        provider.shutdown()


Operation = Callable[[Any], Any]


@pytest.fixture
def compare(
    benchmark: BenchmarkFixture, receiver: ReceivedSpans, loop: asyncio.AbstractEventLoop
) -> Callable[[str, str, AbstractContextManager[Any] | None, Operation, int], None]:
    """Benchmarks one variant of one operation, and checks at the receiver that every span arrived."""

    def compare(
        name: str, variant: str, tracing: AbstractContextManager[Any] | None, operation: Operation, spans: int
    ) -> None:
        async def repeat(tracer: trace.Tracer) -> None:
            if tracing is None:
                for _ in range(OPERATIONS):
                    result = operation(tracer)
                    if result is not None:
                        await result
                return
            with tracer.start_as_current_span("root"):
                for _ in range(OPERATIONS):
                    result = operation(tracer)
                    if result is not None:
                        await result

        def measure(provider: Any) -> None:
            tracer = trace.NoOpTracer() if provider is None else provider.get_tracer("benchmark")

            def run_once() -> None:
                loop.run_until_complete(repeat(tracer))
                if provider is not None:
                    assert provider.force_flush(30_000)

            run_once()  # connections, caches
            gc.collect()
            benchmark.group = name
            benchmark.pedantic(run_once, rounds=ROUNDS, iterations=1)
            if provider is not None:
                expected = (ROUNDS + 1) * (OPERATIONS * spans + 1)
                received = receiver.wait_for(lambda found: len(found) >= expected, timeout=30)
                assert len(received) == expected

        if tracing is None:
            measure(None)
        else:
            with tracing as provider:
                measure(provider)
        assert benchmark.stats is not None
        _results.setdefault(name, {})[variant] = benchmark.stats.stats.median / OPERATIONS

    return compare


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop for the operations, whether they await or not."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Leave the machine's name out of what is saved."""
    machine_info.pop("node", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure CPU time of all threads, not the wall clock: what tracing takes from the program."""
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=time.process_time))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tracing adds to the bare operation, ours as a share of the peer's."""
    if not _results:
        return
    terminalreporter.section("CPU time added to one operation, export included")
    for name, found in _results.items():
        if set(found) != set(VARIANTS):
            continue
        added = {variant: (found[variant] - found["bare"]) * 1e6 for variant in VARIANTS[1:]}
        terminalreporter.write_line(
            f"{name:24} bare {found['bare'] * 1e6:7.1f} µs   opentelemetry +{added['opentelemetry']:6.1f} µs   "
            f"causal_otel +{added['causal_otel']:6.1f} µs   ratio {added['causal_otel'] / added['opentelemetry']:.2f}"
        )
