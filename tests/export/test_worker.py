"""The worker: batches, bounds, flushing, forking and leaving, with real processes and a real receiver."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from causal_otel.engine import faults
from causal_otel.engine.context import current, suppressed
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from causal_otel.cli.demo.received import ReceivedSpans


class Keeping(SpanExporter):
    """Keeps batches; waits at a gate, and fails, if told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.outcome: SpanExportResult | Exception = SpanExportResult.SUCCESS
        self.suppressed: list[bool] = []
        self.closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        assert self.gate.wait(30)
        self.suppressed.append(suppressed(current()))
        self.batches.append([span.name for span in spans])
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def shutdown(self) -> None:
        self.closed = True


@pytest.fixture
def exporter() -> Keeping:
    return Keeping()


@pytest.fixture
def make(exporter: Keeping) -> Iterator[Any]:
    """Makes a worker with a provider, and stops them."""
    providers = []

    def make(**options: Any) -> tuple[Worker, TracerProvider]:
        worker = Worker(lambda: exporter, **{"schedule_delay": 60.0, **options})
        provider = TracerProvider(resource=Resource({}))
        provider.add_span_processor(worker)
        providers.append(provider)
        return worker, provider

    yield make
    exporter.gate.set()
    for provider in providers:
        provider.shutdown()


def _end(provider: TracerProvider, *names: str) -> None:
    for name in names:
        provider.get_tracer("t").start_span(name).end()


class TestBatches:
    def test_full_batch_goes_at_once(self, make: Any, exporter: Keeping) -> None:
        """A batch that is full is exported without waiting for the delay."""
        _, provider = make(max_export_batch_size=3)
        _end(provider, "a", "b", "c")
        deadline = time.monotonic() + 10
        while not exporter.batches and time.monotonic() < deadline:
            threading.Event().wait(0.005)
        assert exporter.batches == [["a", "b", "c"]]

    def test_delay_sends_what_is_there(self, make: Any, exporter: Keeping) -> None:
        """A batch that does not fill is exported after the delay."""
        _, provider = make(schedule_delay=0.05)
        _end(provider, "a")
        deadline = time.monotonic() + 10
        while not exporter.batches and time.monotonic() < deadline:
            threading.Event().wait(0.005)
        assert exporter.batches == [["a"]]

    def test_own_traffic_is_suppressed(self, make: Any, exporter: Keeping) -> None:
        """Exporting happens in a context in which nothing is traced."""
        worker, provider = make()
        _end(provider, "a")
        assert worker.force_flush(10_000)
        assert exporter.suppressed == [True]

    def test_unsampled_spans_are_not_queued(self, make: Any, exporter: Keeping) -> None:
        """What the sampler left out is never exported."""
        from opentelemetry.sdk.trace import sampling

        worker, provider = make()
        provider.sampler = sampling.ALWAYS_OFF
        _end(provider, "a")
        assert worker.status().queued == 0

    def test_overflow_drops_the_oldest_and_counts(self, make: Any, exporter: Keeping) -> None:
        """A full queue never blocks: the oldest spans go, exactly counted, and flush() says that some were lost."""
        worker, provider = make(max_queue_size=4, max_export_batch_size=2)
        exporter.gate.clear()
        _end(provider, *"ab")
        deadline = time.monotonic() + 10
        while worker.status().queued and time.monotonic() < deadline:  # until the thread holds the first batch
            threading.Event().wait(0.005)
        _end(provider, *"cdefgh")
        assert worker.status().dropped_queue_full == 2
        exporter.gate.set()
        assert worker.force_flush(10_000)
        assert [name for batch in exporter.batches for name in batch] == list("abefgh")
        assert worker.status().exported == 6


class TestFlush:
    def test_tells_the_truth_about_failure(self, make: Any, exporter: Keeping) -> None:
        """flush() is False when the exporter fails or raises, and what was lost is counted."""
        worker, provider = make()
        exporter.outcome = SpanExportResult.FAILURE
        _end(provider, "a")
        assert not worker.force_flush(10_000)
        exporter.outcome = RuntimeError("broken")
        _end(provider, "b", "c")
        assert not worker.force_flush(10_000)
        assert worker.status().dropped_export_failed == 3
        assert faults.counts()["exporter Keeping"] >= 1
        exporter.outcome = SpanExportResult.SUCCESS
        _end(provider, "d")
        assert worker.force_flush(10_000)

    def test_keeps_its_timeout(self, make: Any, exporter: Keeping) -> None:
        """flush() returns False when a hanging back end does not answer in time."""
        worker, provider = make()
        exporter.gate.clear()
        _end(provider, "a")
        assert not worker.force_flush(50)

    def test_nothing_to_flush(self, make: Any) -> None:
        """flush() of nothing is True at once and starts no thread."""
        worker, _ = make()
        assert worker.force_flush(0)
        assert "causal-otel-export" not in {thread.name for thread in threading.enumerate()}


class TestShutdown:
    def test_exports_what_is_left_and_closes(self, make: Any, exporter: Keeping) -> None:
        """shutdown() exports the rest, closes the exporter, and later spans are ignored."""
        worker, provider = make(max_export_batch_size=2)
        _end(provider, *"abc")
        worker.shutdown()
        _end(provider, "late")
        assert [name for batch in exporter.batches for name in batch] == list("abc")
        assert exporter.closed

    def test_deadline(self, make: Any, exporter: Keeping) -> None:
        """shutdown() gives up on a hanging back end after the exit timeout."""
        worker, provider = make(exit_timeout=0.1)
        exporter.gate.clear()
        _end(provider, "a")
        finished = threading.Thread(target=worker.shutdown)
        finished.start()
        finished.join(20)
        assert not finished.is_alive()


def _program(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


class TestProcesses:
    @pytest.mark.parametrize("leave", ["pass", "sys.exit(0)"])
    def test_leaving_exports_everything(self, receiver: ReceivedSpans, leave: str) -> None:
        """A program that ends has exported its last spans."""
        done = _program(
            f"""
            import sys, causal_otel
            causal_otel.install(patches=[])
            for number in range(20):
                with causal_otel.span(f"span {{number}}"):
                    pass
            {leave}
            """,
            OTLP_ENDPOINT=receiver.endpoint,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(span["name"] for span in receiver.spans()) == sorted(f"span {number}" for number in range(20))

    def test_forked_children_export_their_own(self, receiver: ReceivedSpans) -> None:
        """After a fork with a warm connection, parent and children lose nothing and double nothing."""
        done = _program(
            """
            import multiprocessing, os, causal_otel
            installed = causal_otel.install(patches=[])
            with causal_otel.span("warm"):
                pass
            assert installed.flush(10)
            with causal_otel.span("waiting"):
                pass

            def work(number):
                for _ in range(5):
                    with causal_otel.span(f"child {number}"):
                        pass

            context = multiprocessing.get_context("fork")
            children = [context.Process(target=work, args=(number,)) for number in range(4)]
            for child in children:
                child.start()
            for child in children:
                child.join(30)
                assert child.exitcode == 0
            """,
            OTLP_ENDPOINT=receiver.endpoint,
        )
        assert (done.returncode, done.stderr) == (0, "")
        names = [span["name"] for span in receiver.spans()]
        expected = ["waiting", "warm", *(f"child {number}" for number in range(4) for _ in range(5))]
        assert sorted(names) == sorted(expected)
        assert len({span["span_id"] for span in receiver.spans()}) == len(names)

    def test_leaving_with_a_dead_collector_keeps_the_deadline(self) -> None:
        """With nothing listening a program ends after its exit timeout, with its own exit code."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
            done = _program(
                """
                import sys, causal_otel
                causal_otel.install(patches=[], exit_timeout=0.2)
                with causal_otel.span("x"):
                    pass
                sys.exit(3)
                """,
                OTLP_ENDPOINT=f"http://127.0.0.1:{taken.getsockname()[1]}",
            )
        assert done.returncode == 3

    def test_grpc(self, receiver: ReceivedSpans) -> None:
        """install() with gRPC works; with nothing listening nothing breaks and flush() is False."""
        done = _program(
            """
            import causal_otel
            installed = causal_otel.install(patches=[], protocol="grpc", endpoint="http://127.0.0.1:1", timeout=0.2,
                                            exit_timeout=0.2)
            with causal_otel.span("x"):
                pass
            assert not installed.flush(5)
            """
        )
        assert done.returncode == 0, done.stderr
