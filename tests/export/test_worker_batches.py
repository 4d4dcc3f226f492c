"""The worker: when spans become batches, what is bounded, and what is let go of."""

from __future__ import annotations

import gc
import sys
import threading

from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace import sampling

from causal_otel.engine.provider import TracerProvider
from tests.export.workers import MakeWorker, ScriptedTransport, end, lost
from tests.waiting import pause, wait_until


class TestBatches:
    def test_full_batch_goes_at_once(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A batch that is full is exported without waiting for the delay."""
        _, provider = make(max_export_batch_size=3)
        end(provider, *"abc")
        wait_until(lambda: transport.delivered == list("abc"))

    def test_every_full_batch_goes(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """However spans and batches fall together, no full batch is left waiting: no wake-up is lost."""
        worker, provider = make(max_export_batch_size=2, max_queue_size=100_000)
        threads = [threading.Thread(target=lambda: end(provider, *("x" for _ in range(1000)))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(transport.delivered) == 8000)
        assert worker.status().exported == 8000
        assert max(map(len, transport.attempts)) == 2

    def test_batches_as_large_as_the_queue(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """Where a batch may hold the whole queue, it goes when the queue is half full, and nothing is dropped."""
        worker, provider = make(max_export_batch_size=100, max_queue_size=100)
        end(provider, *(str(number) for number in range(50)))
        wait_until(lambda: len(transport.delivered) == 50)
        assert worker.status().lost == 0

    def test_one_after_the_other(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """Each batch, filled when the worker has just gone idle or not yet, is sent by itself."""
        _, provider = make(max_export_batch_size=2)
        for round_ in range(1, 301):
            end(provider, "a", "b")
            wait_until(lambda round_=round_: len(transport.delivered) == 2 * round_)  # type: ignore[misc]

    def test_delay_sends_what_is_there(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A batch that does not fill is exported after the delay, also after a pause without spans."""
        _, provider = make(schedule_delay=0.02)
        for name in "abc":
            end(provider, name)
            wait_until(lambda name=name: transport.delivered[-1:] == [name])  # type: ignore[misc]
            pause(0.05)

    def test_own_traffic_is_suppressed(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """Exporting happens in a context in which nothing is traced."""
        worker, provider = make()
        end(provider, "a")
        assert worker.force_flush(10_000)
        assert transport.suppressed == [True]

    def test_unsampled_spans_are_not_queued(self, make: MakeWorker) -> None:
        """What the sampler left out is never exported, neither ours nor the SDK's."""
        worker, _ = make()
        for provider in (TracerProvider(sampler=sampling.ALWAYS_OFF), SdkTracerProvider(sampler=sampling.ALWAYS_OFF)):
            provider.add_span_processor(worker)
            end(provider, "a")
        assert worker.status().queued == 0

    def test_spans_of_the_sdk(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """The worker takes the SDK's spans as well."""
        worker, _ = make()
        provider = SdkTracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(worker)
        end(provider, *"ab")
        assert worker.force_flush(10_000)
        assert transport.delivered == ["a", "b"]

    def test_spans_end_in_garbage_collections(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A span that ends inside a garbage collection, anywhere in our own code, is neither lost nor a deadlock."""
        worker, provider = make(max_export_batch_size=4, max_queue_size=100_000)
        ended = 0

        class Abandoned:
            def __init__(self) -> None:
                self.cycle = self

            def __del__(self) -> None:
                nonlocal ended
                ended += 1
                end(provider, "collected")

        thresholds = gc.get_threshold()
        gc.set_threshold(5, 2, 2)
        try:
            for _ in range(3000):
                Abandoned()
                end(provider, "plain")
                if _ % 500 == 0:
                    assert worker.force_flush(20_000)
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()
        assert worker.force_flush(20_000)
        assert ended == 3000
        assert sorted(transport.delivered) == ["collected"] * 3000 + ["plain"] * 3000


class TestBounds:
    def test_a_hanging_attempt_does_not_stop_collection(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """While an attempt hangs, spans go on being taken and encoded, far beyond the queue's size."""
        worker, provider = make(max_queue_size=8, max_export_batch_size=4)
        transport.gate.clear()
        for number in range(50):
            end(provider, *(f"{number}.{index}" for index in range(4)))
            wait_until(lambda: not worker._queue)
        assert worker.status().queued == 200
        transport.gate.set()
        assert worker.force_flush(20_000)
        assert len(transport.delivered) == worker.status().exported == 200
        assert lost(worker) == {}

    def test_backlog_is_bounded_and_drops_the_oldest(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """What waits encoded is bounded in bytes: the oldest go, exactly counted, and flush() says so."""
        worker, provider = make(max_export_batch_size=1, max_queue_size=1000, max_backlog_bytes=4000)
        transport.gate.clear()
        end(provider, "first")
        wait_until(lambda: transport.attempts)
        for number in range(100):
            end(provider, str(number))
        wait_until(lambda: not worker._queue and worker._batcher.encoding is None)
        lost = worker.status().dropped["queue_full"]
        assert 0 < lost < 100
        assert not worker.force_flush(0)
        transport.gate.set()
        worker.force_flush(10_000)
        assert transport.delivered == ["first", *map(str, range(lost, 100))]
        assert worker.status().exported == 101 - lost

    def test_full_queue_drops_the_oldest_and_counts(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A queue that nobody empties never blocks: the oldest spans go, exactly counted."""
        worker, provider = make(max_queue_size=4, max_export_batch_size=4)
        with worker._ledger.lock:  # the encoding thread cannot take anything now
            end(provider, *"abcdefgh")
            assert worker.status().queued == 4
            assert lost(worker) == {"queue_full": 4}
        assert worker.force_flush(10_000)
        assert transport.delivered == list("efgh")

    def test_overflow_from_many_threads_is_exact(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """Every span that ends is counted once, whatever happens at the same time."""
        worker, provider = make(max_queue_size=50, max_export_batch_size=10)
        switch = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=lambda: end(provider, *("x" for _ in range(2000)))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(switch)
        worker.force_flush(20_000)
        status = worker.status()
        assert status.queued == 0
        assert status.exported + status.lost == 16_000
        assert status.exported == len(transport.delivered)
        assert set(lost(worker)) <= {"queue_full"}

    def test_large_batches_are_split(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A batch that is too large for one request goes in several, and is counted right."""
        worker, provider = make()
        for _ in range(10):
            with provider.get_tracer("t").start_as_current_span("large") as span:
                span.set_attribute("text", "x" * 1_000_000)
        assert worker.force_flush(20_000)
        assert len(transport.attempts) > 1
        assert max(transport.sizes) < 4 * 1024 * 1024
        assert worker.status().exported == 10


def test_exported_spans_hold_nothing(make: MakeWorker, transport: ScriptedTransport) -> None:
    """A span that a context still refers to after its export has let go of its attributes and events, and only then."""
    worker, provider = make()
    span = provider.get_tracer("t").start_span("kept", attributes={"k": 1})
    span.add_event("e")
    span.end()
    assert dict(getattr(span, "attributes", {})) == {"k": 1}
    assert worker.force_flush(10_000)
    wait_until(lambda: dict(getattr(span, "attributes", {})) == {})
    assert getattr(span, "events", None) == ()
    assert transport.delivered == ["kept"]


def test_spans_that_others_were_given_are_left_alone(make: MakeWorker) -> None:
    """Where another processor may still read an exported span, it keeps what it holds."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    worker, provider = make()
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.get_tracer("t").start_span("kept", attributes={"k": 1}).end()
    assert worker.force_flush(10_000)
    assert [dict(span.attributes or {}) for span in memory.get_finished_spans()] == [{"k": 1}]
