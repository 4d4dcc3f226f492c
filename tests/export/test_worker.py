"""The worker: batches, bounds, flushing, counting and leaving, with a transport that does as told."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace import sampling

from causal_otel._internal import faults
from causal_otel.engine.context import current, is_suppressed
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.privacy import Policy
from causal_otel.export.spool import Spool
from causal_otel.export.transport import Outcome, Verdict
from causal_otel.export.worker import Worker

DELIVERED = Outcome(Verdict.DELIVERED)
REFUSED = Outcome(Verdict.REFUSED, "400", "no")
BUSY = Outcome(Verdict.BUSY, "503", "later", 0.01)
UNREACHABLE = Outcome(Verdict.UNREACHABLE, "ConnectionError", "Connection refused")


class Keeping:
    """A transport that keeps the names of the spans it was given; waits at a gate, and answers as told."""

    def __init__(self) -> None:
        self.attempts: list[list[str]] = []
        self.sizes: list[int] = []
        self.delivered: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.outcomes: list[Outcome | Exception] = [DELIVERED]
        """One an attempt; the last one for ever."""
        self.suppressed: list[bool] = []
        self.closed = False

    def send(self, payload: bytes, deadline: float) -> Outcome:
        message = ExportTraceServiceRequest.FromString(payload)
        spans = [span for group in message.resource_spans for scoped in group.scope_spans for span in scoped.spans]
        self.attempts.append([span.name for span in spans])
        self.sizes.append(len(payload))
        assert self.gate.wait(30)
        self.suppressed.append(is_suppressed(current()))
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.verdict is Verdict.DELIVERED:
            self.delivered += self.attempts[-1]
        return outcome

    def close(self) -> None:
        self.closed = True

    def abandon(self) -> None:
        raise AssertionError("no fork here")


Make = Callable[..., tuple[Worker, TracerProvider]]


@pytest.fixture
def transport() -> Keeping:
    return Keeping()


@pytest.fixture
def make(transport: Keeping) -> Iterator[Make]:
    """Makes a worker with a provider, and stops them."""
    providers = []

    def make(**options: Any) -> tuple[Worker, TracerProvider]:
        worker = Worker(lambda: transport, **{"schedule_delay": 60.0, **options})
        provider = TracerProvider(resource=Resource({}))
        provider.add_span_processor(worker)
        providers.append(provider)
        return worker, provider

    yield make
    transport.gate.set()
    for provider in providers:
        provider.shutdown()


def _end(provider: Any, *names: str) -> None:
    for name in names:
        provider.get_tracer("t").start_span(name).end()


def _until(condition: Callable[[], object], timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.002)


def _lost(worker: Worker) -> dict[str, int]:
    return {reason: count for reason, count in worker.status().dropped.items() if count}


class TestBatches:
    def test_full_batch_goes_at_once(self, make: Make, transport: Keeping) -> None:
        """A batch that is full is exported without waiting for the delay."""
        _, provider = make(max_export_batch_size=3)
        _end(provider, *"abc")
        _until(lambda: transport.delivered == list("abc"))

    def test_every_full_batch_goes(self, make: Make, transport: Keeping) -> None:
        """However spans and batches fall together, no full batch is left waiting: no wake-up is lost."""
        worker, provider = make(max_export_batch_size=2, max_queue_size=100_000)
        threads = [threading.Thread(target=lambda: _end(provider, *("x" for _ in range(1000)))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _until(lambda: len(transport.delivered) == 8000)
        assert worker.status().exported == 8000
        assert max(map(len, transport.attempts)) == 2

    def test_batches_as_large_as_the_queue(self, make: Make, transport: Keeping) -> None:
        """Where a batch may hold the whole queue, it goes when the queue is half full, and nothing is dropped."""
        worker, provider = make(max_export_batch_size=100, max_queue_size=100)
        _end(provider, *(str(number) for number in range(50)))
        _until(lambda: len(transport.delivered) == 50)
        assert worker.status().lost == 0

    def test_one_after_the_other(self, make: Make, transport: Keeping) -> None:
        """Each batch, filled when the worker has just gone idle or not yet, is sent by itself."""
        _, provider = make(max_export_batch_size=2)
        for round_ in range(1, 301):
            _end(provider, "a", "b")
            _until(lambda round_=round_: len(transport.delivered) == 2 * round_)  # type: ignore[misc]

    def test_delay_sends_what_is_there(self, make: Make, transport: Keeping) -> None:
        """A batch that does not fill is exported after the delay, also after a pause without spans."""
        _, provider = make(schedule_delay=0.02)
        for name in "abc":
            _end(provider, name)
            _until(lambda name=name: transport.delivered[-1:] == [name])  # type: ignore[misc]
            threading.Event().wait(0.05)

    def test_own_traffic_is_suppressed(self, make: Make, transport: Keeping) -> None:
        """Exporting happens in a context in which nothing is traced."""
        worker, provider = make()
        _end(provider, "a")
        assert worker.force_flush(10_000)
        assert transport.suppressed == [True]

    def test_unsampled_spans_are_not_queued(self, make: Make) -> None:
        """What the sampler left out is never exported, neither ours nor the SDK's."""
        worker, _ = make()
        for provider in (TracerProvider(sampler=sampling.ALWAYS_OFF), SdkTracerProvider(sampler=sampling.ALWAYS_OFF)):
            provider.add_span_processor(worker)
            _end(provider, "a")
        assert worker.status().queued == 0

    def test_spans_of_the_sdk(self, make: Make, transport: Keeping) -> None:
        """The worker takes the SDK's spans as well."""
        worker, _ = make()
        provider = SdkTracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(worker)
        _end(provider, *"ab")
        assert worker.force_flush(10_000)
        assert transport.delivered == ["a", "b"]

    def test_spans_end_in_garbage_collections(self, make: Make, transport: Keeping) -> None:
        """A span that ends inside a garbage collection, anywhere in our own code, is neither lost nor a deadlock."""
        worker, provider = make(max_export_batch_size=4, max_queue_size=100_000)
        ended = 0

        class Abandoned:
            def __init__(self) -> None:
                self.cycle = self

            def __del__(self) -> None:
                nonlocal ended
                ended += 1
                _end(provider, "collected")

        thresholds = gc.get_threshold()
        gc.set_threshold(5, 2, 2)
        try:
            for _ in range(3000):
                Abandoned()
                _end(provider, "plain")
                if _ % 500 == 0:
                    assert worker.force_flush(20_000)
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()
        assert worker.force_flush(20_000)
        assert ended == 3000
        assert sorted(transport.delivered) == ["collected"] * 3000 + ["plain"] * 3000


class TestBounds:
    def test_a_hanging_attempt_does_not_stop_collection(self, make: Make, transport: Keeping) -> None:
        """While an attempt hangs, spans go on being taken and encoded, far beyond the queue's size."""
        worker, provider = make(max_queue_size=8, max_export_batch_size=4)
        transport.gate.clear()
        for number in range(50):
            _end(provider, *(f"{number}.{index}" for index in range(4)))
            _until(lambda: not worker._queue)
        assert worker.status().queued == 200
        transport.gate.set()
        assert worker.force_flush(20_000)
        assert len(transport.delivered) == worker.status().exported == 200
        assert _lost(worker) == {}

    def test_backlog_is_bounded_and_drops_the_oldest(self, make: Make, transport: Keeping) -> None:
        """What waits encoded is bounded in bytes: the oldest go, exactly counted, and flush() says so."""
        worker, provider = make(max_export_batch_size=1, max_queue_size=1000, max_backlog_bytes=4000)
        transport.gate.clear()
        _end(provider, "first")
        _until(lambda: transport.attempts)
        for number in range(100):
            _end(provider, str(number))
        _until(lambda: not worker._queue and worker._batcher.encoding is None)
        lost = worker.status().dropped["queue_full"]
        assert 0 < lost < 100
        assert not worker.force_flush(0)
        transport.gate.set()
        worker.force_flush(10_000)
        assert transport.delivered == ["first", *map(str, range(lost, 100))]
        assert worker.status().exported == 101 - lost

    def test_full_queue_drops_the_oldest_and_counts(self, make: Make, transport: Keeping) -> None:
        """A queue that nobody empties never blocks: the oldest spans go, exactly counted."""
        worker, provider = make(max_queue_size=4, max_export_batch_size=4)
        with worker._ledger.lock:  # the encoding thread cannot take anything now
            _end(provider, *"abcdefgh")
            assert worker.status().queued == 4
            assert _lost(worker) == {"queue_full": 4}
        assert worker.force_flush(10_000)
        assert transport.delivered == list("efgh")

    def test_overflow_from_many_threads_is_exact(self, make: Make, transport: Keeping) -> None:
        """Every span that ends is counted once, whatever happens at the same time."""
        worker, provider = make(max_queue_size=50, max_export_batch_size=10)
        switch = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=lambda: _end(provider, *("x" for _ in range(2000)))) for _ in range(8)]
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
        assert set(_lost(worker)) <= {"queue_full"}

    def test_large_batches_are_split(self, make: Make, transport: Keeping) -> None:
        """A batch that is too large for one request goes in several, and is counted right."""
        worker, provider = make()
        for _ in range(10):
            with provider.get_tracer("t").start_as_current_span("large") as span:
                span.set_attribute("text", "x" * 1_000_000)
        assert worker.force_flush(20_000)
        assert len(transport.attempts) > 1
        assert max(transport.sizes) < 4 * 1024 * 1024
        assert worker.status().exported == 10


class TestAnswers:
    def test_busy_is_asked_again(self, make: Make, transport: Keeping) -> None:
        """A busy back end gets the same batch again when it said, and spans wait meanwhile."""
        worker, provider = make()
        transport.outcomes = [BUSY, BUSY, DELIVERED]
        _end(provider, "a")
        assert worker.force_flush(20_000)
        assert transport.attempts == [["a"]] * 3
        assert worker.status().exported == 1

    def test_retry_after_beyond_the_deadline(self, make: Make, transport: Keeping) -> None:
        """A batch is lost, once, when the back end wants to be left alone for longer than the batch may take."""
        worker, provider = make(export_timeout=5.0)
        transport.outcomes = [Outcome(Verdict.BUSY, "503", "", 3600.0)]
        _end(provider, "a")
        assert not worker.force_flush(10_000)
        _end(provider, "b")
        assert not worker.force_flush(10_000)
        assert transport.attempts == [["a"]], "it asked to be left alone"
        assert _lost(worker) == {"export_failed": 2}

    def test_nobody_there_until_the_deadline(self, make: Make, transport: Keeping) -> None:
        """Without a spool a batch is tried until its time is up, with pauses that grow, and then lost."""
        worker, provider = make(export_timeout=3.0)
        transport.outcomes = [UNREACHABLE]
        _end(provider, "a")
        assert not worker.force_flush(10_000)
        assert 2 <= len(transport.attempts) <= 4
        assert _lost(worker) == {"export_failed": 1}

    def test_refused_is_not_sent_again(self, make: Make, transport: Keeping) -> None:
        """A refused batch is lost at once and counted, flush() is False, and the next batch is delivered."""
        worker, provider = make()
        transport.outcomes = [REFUSED, DELIVERED]
        _end(provider, *"ab")
        assert not worker.force_flush(10_000)
        _end(provider, "c")
        assert worker.force_flush(10_000)
        assert transport.attempts == [["a", "b"], ["c"]]
        assert _lost(worker) == {"refused": 2}

    def test_partial_success(self, make: Make, transport: Keeping, caplog: pytest.LogCaptureFixture) -> None:
        """Rejected spans are counted and told with the reason; the rest is exported; nothing is sent again."""
        worker, provider = make()
        transport.outcomes = [Outcome(Verdict.DELIVERED, "rejected", "too old", rejected=2)]
        _end(provider, *"abc")
        assert not worker.force_flush(10_000)
        assert (worker.status().exported, _lost(worker)) == (1, {"rejected": 2})
        assert len(transport.attempts) == 1
        assert "rejected 2 of 3 spans: too old" in caplog.text

    def test_one_line_per_kind(self, make: Make, transport: Keeping, caplog: pytest.LogCaptureFixture) -> None:
        """However often a batch is refused, the log has one line of it."""
        worker, provider = make()
        transport.outcomes = [REFUSED]
        for _ in range(20):
            _end(provider, "a")
            assert not worker.force_flush(10_000)
        assert len(caplog.records) == 1
        assert "400: no" in caplog.records[0].getMessage()

    def test_broken_transport(self, make: Make, transport: Keeping) -> None:
        """A transport that raises, or cannot be made, is contained, and tried again."""
        worker, provider = make()
        transport.outcomes = [RuntimeError("broken"), DELIVERED]
        _end(provider, "a")
        assert worker.force_flush(20_000)
        assert faults.counts()["export: transport"] >= 1
        assert transport.attempts == [["a"], ["a"]]

    def test_what_cannot_be_encoded(self, make: Make, transport: Keeping) -> None:
        """A span without an encoding is lost alone, and counted."""
        worker, provider = make()
        _end(provider, "a")
        broken: Any = provider.get_tracer("t").start_span("broken")
        broken._start = "no number"
        broken.end()
        _end(provider, "b")
        assert not worker.force_flush(10_000)
        assert transport.delivered == ["a", "b"]
        assert _lost(worker) == {"encoding": 1}


class TestFlush:
    def test_keeps_its_timeout(self, make: Make, transport: Keeping) -> None:
        """flush() returns False while a back end hangs, and True once all was delivered."""
        worker, provider = make()
        transport.gate.clear()
        _end(provider, "a")
        assert not worker.force_flush(50)
        transport.gate.set()
        assert worker.force_flush(10_000)

    def test_nothing_to_flush(self, make: Make) -> None:
        """flush() of nothing is True at once and starts no thread."""
        before = threading.active_count()
        worker, _ = make()
        assert worker.force_flush(0)
        assert threading.active_count() == before

    def test_is_about_its_own_spans(self, make: Make, transport: Keeping) -> None:
        """flush() is True for what had ended when it was called, whatever becomes of what ends later."""
        worker, provider = make(max_export_batch_size=1)
        transport.gate.clear()
        _end(provider, "mine")
        _until(lambda: transport.attempts)
        answers: list[bool] = []
        flusher = threading.Thread(target=lambda: answers.append(worker.force_flush(10_000)))
        flusher.start()
        _until(lambda: worker._ledger.flushes)
        later: Any = provider.get_tracer("t").start_span("later")
        later._start = "no number"
        later.end()
        _until(lambda: _lost(worker) == {"encoding": 1})
        transport.gate.set()
        flusher.join(20)
        assert answers == [True]

    def test_interrupts_a_pause(self, make: Make, transport: Keeping) -> None:
        """flush() makes the sender try again at once what waits for its next attempt."""
        worker, provider = make(max_export_batch_size=1, export_timeout=3600.0)
        transport.outcomes = [*[UNREACHABLE] * 12, DELIVERED]
        _end(provider, "a")
        _until(lambda: transport.attempts)
        _until(lambda: worker.force_flush(1))
        assert len(transport.attempts) == 13

    def test_many_at_once(self, make: Make, transport: Keeping) -> None:
        """Several threads may flush while spans end; each is told the truth."""
        worker, provider = make(max_export_batch_size=7, max_queue_size=100_000)
        answers: list[bool] = []

        def work() -> None:
            for _ in range(20):
                _end(provider, *"xyz")
                answers.append(worker.force_flush(20_000))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [True] * 120
        assert len(transport.delivered) == 360


class TestShutdown:
    def test_exports_what_is_left_and_closes(self, make: Make, transport: Keeping) -> None:
        """shutdown() exports the rest and closes the transport; what ends later is counted as lost."""
        worker, provider = make(max_export_batch_size=2)
        _end(provider, *"abc")
        span = provider.get_tracer("t").start_span("late")
        worker.shutdown()
        span.end()
        assert transport.delivered == list("abc")
        assert transport.closed
        assert _lost(worker) == {"shutdown": 1}
        assert worker.status().queued == 0

    def test_hanging_back_end(self, make: Make, transport: Keeping, caplog: pytest.LogCaptureFixture) -> None:
        """shutdown() gives up on a hanging back end, counts all that was left, and says so in one line."""
        worker, provider = make(exit_timeout=0.1, max_export_batch_size=2)
        transport.gate.clear()
        _end(provider, *"abcde")
        finished = threading.Thread(target=worker.shutdown)
        finished.start()
        finished.join(20)
        assert not finished.is_alive()
        assert _lost(worker) == {"shutdown": 5}
        assert [record.getMessage()[:45] for record in caplog.records] == [
            "causal_otel: 5 of the last 5 spans could not "
        ]
        transport.gate.set()
        _until(lambda: len(transport.delivered) >= 2)  # the attempt that hung; it does not count any more
        assert worker.status().exported == 0

    def test_encoding_takes_longer(self, make: Make, transport: Keeping) -> None:
        """A batch whose encoding shutdown() could not wait for is counted as lost, like those behind it."""
        hanging, gate = threading.Event(), threading.Event()

        class Slow(Policy):
            def value(self, key: str, value: Any) -> Any:
                hanging.set()
                assert gate.wait(30)
                return value

        worker, provider = make(exit_timeout=0.1, max_export_batch_size=2, redaction=Slow())
        for name in "abcde":
            provider.get_tracer("t").start_span(name, attributes={"slow": name}).end()
        assert hanging.wait(20)
        worker.shutdown()
        gate.set()
        _until(lambda: _lost(worker) == {"shutdown": 5})
        assert worker.status().queued == 0
        assert transport.delivered == []

    def test_nobody_there(self, make: Make, transport: Keeping, caplog: pytest.LogCaptureFixture) -> None:
        """With nobody at the other end, shutdown() tries once and not every batch, and says so in one line."""
        worker, provider = make(exit_timeout=30.0, max_export_batch_size=1)
        transport.outcomes = [UNREACHABLE]
        _end(provider, "a")
        _until(lambda: len(transport.attempts) == 1)
        caplog.clear()
        _end(provider, *"bcdef")
        worker.shutdown()
        assert len(transport.attempts) <= 3
        assert _lost(worker) == {"shutdown": 6}
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    def test_twice(self, make: Make) -> None:
        """A second shutdown() does nothing."""
        worker, provider = make()
        _end(provider, "a")
        worker.shutdown()
        worker.shutdown()
        assert worker.status().exported == 1


class TestThreadsRefused:
    """What Python does at its end, on all versions alike: it lets :class:`threading.Thread` start only some threads."""

    @pytest.fixture(
        params=[{"encode"}, {"send"}, {"encode", "send"}],
        ids=lambda threads: " and ".join(sorted(threads)),
        autouse=True,
    )
    def refused(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        start = threading.Thread.start

        def refusing(thread: threading.Thread) -> None:
            if thread.name.removeprefix("causal-otel-") in request.param:
                raise RuntimeError("can't create new thread at interpreter shutdown")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refusing)

    def test_shutdown(self, make: Make, transport: Keeping) -> None:
        """shutdown() exports everything, whichever of the threads there are."""
        worker, provider = make(max_export_batch_size=2)
        _end(provider, *"abcde")
        worker.shutdown()
        assert transport.delivered == list("abcde")
        assert (worker.status().exported, worker.status().queued, _lost(worker)) == (5, 0, {})

    def test_flush(self, make: Make, transport: Keeping) -> None:
        """flush() exports everything and tells the truth; so do the next one, and shutdown()."""
        worker, provider = make(max_export_batch_size=2)
        _end(provider, *"abcde")
        assert worker.force_flush(20_000)
        assert transport.delivered == list("abcde")
        _end(provider, "f")
        assert worker.force_flush(20_000)
        _end(provider, "g")
        worker.shutdown()
        assert transport.delivered == list("abcdefg")
        assert (worker.status().exported, worker.status().queued, _lost(worker)) == (7, 0, {})

    def test_nobody_there(self, make: Make, transport: Keeping) -> None:
        """What cannot be delivered is counted, and flush() says so."""
        worker, provider = make()
        transport.outcomes = [UNREACHABLE]
        _end(provider, *"abc")
        assert not worker.force_flush(50)
        worker.shutdown()
        assert (worker.status().exported, worker.status().queued, _lost(worker)) == (0, 0, {"shutdown": 3})


class TestSpool:
    def test_unreachable_goes_to_the_spool_and_comes_back_in_order(
        self, make: Make, transport: Keeping, tmp_path: Path
    ) -> None:
        """While nobody answers, batches go to disk at once; when somebody does, they are sent in order."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000), max_export_batch_size=1)
        transport.outcomes = [UNREACHABLE]
        _end(provider, *"abc")
        _until(lambda: worker.status().spooled == 3)
        assert worker.status().spooled_bytes > 0
        assert worker.status().queued == 0
        transport.outcomes = [DELIVERED]
        _end(provider, "d")
        _until(lambda: len(transport.delivered) == 4)
        assert transport.delivered == list("abcd")
        assert _lost(worker) == {}
        assert worker.status().recovered + worker.status().exported == 4

    def test_order_is_kept(self, make: Make, transport: Keeping, tmp_path: Path) -> None:
        """As long as something older is on disk, what follows goes behind it, though it might be taken by now."""
        _, provider = make(spool=Spool(tmp_path, 1_000_000), max_export_batch_size=1)
        transport.outcomes = [UNREACHABLE, UNREACHABLE, DELIVERED]
        _end(provider, "a")
        _until(lambda: len(transport.attempts) == 2)
        _end(provider, "b")
        _until(lambda: len(transport.delivered) == 2)
        assert transport.delivered == ["a", "b"]

    def test_flush_does_not_count_the_spool(self, make: Make, transport: Keeping, tmp_path: Path) -> None:
        """flush() is False for what is only on disk."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000))
        transport.outcomes = [UNREACHABLE]
        _end(provider, "a")
        assert not worker.force_flush(10_000)
        assert worker.status().spooled == 1

    def test_next_worker_sends_what_was_left(self, make: Make, transport: Keeping, tmp_path: Path) -> None:
        """What a process left on disk is sent by the next one, before its own."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000))
        transport.outcomes = [UNREACHABLE]
        _end(provider, "left")
        worker.shutdown()
        assert worker.status().spooled == 1
        transport.outcomes = [DELIVERED]
        worker, provider = make(spool=Spool(tmp_path, 1_000_000))
        _end(provider, "own")
        assert worker.force_flush(10_000)
        assert transport.delivered == ["left", "own"]
        status = worker.status()
        assert (status.recovered, status.exported, status.spooled_bytes) == (1, 1, 0)

    def test_what_was_left_is_sent_at_once(self, make: Make, transport: Keeping, tmp_path: Path) -> None:
        """What a process left on disk is sent without waiting for a span; where nothing was left, no thread starts."""
        before = threading.active_count()
        worker, _ = make(spool=Spool(tmp_path / "none", 1_000_000))
        worker.recover()
        assert threading.active_count() == before
        assert not (tmp_path / "none").exists()
        assert Spool(tmp_path, 1_000_000).append(b"", 3)
        worker, _ = make(spool=Spool(tmp_path, 1_000_000))
        worker.recover()
        _until(lambda: worker.status().recovered == 3)

    def test_damaged_batches_are_told(self, make: Make, transport: Keeping, tmp_path: Path) -> None:
        """A batch that is found corrupted, or torn, is in the status by its reason, and stops no other one."""
        earlier = Spool(tmp_path, 1_000_000)
        assert earlier.append(b"", 1)
        (corrupted,) = tmp_path.glob("*.spans")
        corrupted.write_bytes(b"JUNK")
        torn = tmp_path / f"{1:020d}-{'a' * 16}.part"
        torn.write_bytes(b"half")
        assert earlier.append(b"", 2)
        worker, _ = make(spool=Spool(tmp_path, 1_000_000))
        worker.recover()
        _until(lambda: worker.status().recovered == 2)
        status = worker.status()
        assert status.damaged == {"corrupted": 1, "torn": 1}
        assert "damaged batches in the spool: 1 corrupted, 1 torn" in str(status)
        assert status.lost == 0

    def test_hanging_at_the_end(self, make: Make, transport: Keeping, tmp_path: Path) -> None:
        """What a hanging back end keeps from being delivered at the end of the process goes to the spool."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000), exit_timeout=0.1, max_export_batch_size=2)
        transport.gate.clear()
        _end(provider, *"abcde")
        worker.shutdown()
        assert worker.status().spooled == 5
        assert worker.status().lost == 0

    def test_refused_is_not_spooled(self, make: Make, transport: Keeping, tmp_path: Path) -> None:
        """What the back end will not have is not kept for later."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000))
        transport.outcomes = [REFUSED]
        _end(provider, "a")
        assert not worker.force_flush(10_000)
        assert (worker.status().spooled, _lost(worker)) == (0, {"refused": 1})

    def test_a_directory_that_cannot_be_written(
        self, make: Make, transport: Keeping, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Where the spool fails, batches are lost and counted, as without one."""
        (tmp_path / "file").touch()
        worker, provider = make(spool=Spool(tmp_path / "file" / "spool", 1_000_000))
        transport.outcomes = [UNREACHABLE]
        _end(provider, "a")
        assert not worker.force_flush(10_000)
        assert _lost(worker) == {"export_failed": 1}


class TestLeave:
    def test_life_after_it(self, make: Make, transport: Keeping) -> None:
        """What ended before leave() is delivered by it; what ends after it is exported too, and counted on."""
        worker, provider = make()
        for name in "abc":
            _end(provider, name)
            worker.leave()
            assert transport.delivered[-1] == name
        _end(provider, "d")
        assert worker.force_flush(10_000)
        worker.shutdown()
        status = worker.status()
        assert (status.exported, status.queued, status.lost) == (4, 0, 0)

    def test_after_shutdown(self, make: Make, transport: Keeping) -> None:
        """A worker that was shut down stays so, and starts no threads."""
        worker, provider = make()
        before = threading.active_count()
        worker.shutdown()
        worker.leave()
        _end(provider, "late")
        assert _lost(worker) == {"shutdown": 1}
        assert not worker._threads.begun
        assert threading.active_count() == before

    def test_hanging(self, make: Make, transport: Keeping, tmp_path: Path) -> None:
        """What a hanging back end does not take by then goes to the spool, and later from there."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000), exit_timeout=0.1)
        transport.gate.clear()
        _end(provider, "a")
        worker.leave()
        assert (worker.status().spooled, worker.status().lost) == (1, 0)
        transport.gate.set()
        _end(provider, "b")
        assert worker.force_flush(10_000)
        assert transport.attempts[-2:] == [["a"], ["b"]]


def test_status_is_a_line_for_people(make: Make, transport: Keeping) -> None:
    """str(status) tells what was exported, what waits and what was lost for which reason."""
    worker, provider = make()
    transport.outcomes = [REFUSED, DELIVERED]
    _end(provider, *"ab")
    worker.force_flush(10_000)
    _end(provider, "c")
    assert worker.force_flush(10_000)
    line = str(worker.status())
    assert line.startswith("1 exported, 0 waiting, 2 lost (2 refused by the back end), last delivery ")


def test_exported_spans_hold_nothing(make: Make, transport: Keeping) -> None:
    """A span that a context still refers to after its export has let go of its attributes and events, and only then."""
    worker, provider = make()
    span = provider.get_tracer("t").start_span("kept", attributes={"k": 1})
    span.add_event("e")
    span.end()
    assert dict(getattr(span, "attributes", {})) == {"k": 1}
    assert worker.force_flush(10_000)
    _until(lambda: dict(getattr(span, "attributes", {})) == {})
    assert getattr(span, "events", None) == ()
    assert transport.delivered == ["kept"]


def test_spans_that_others_were_given_are_left_alone(make: Make) -> None:
    """Where another processor may still read an exported span, it keeps what it holds."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    worker, provider = make()
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.get_tracer("t").start_span("kept", attributes={"k": 1}).end()
    assert worker.force_flush(10_000)
    assert [dict(span.attributes or {}) for span in memory.get_finished_spans()] == [{"k": 1}]
