"""The worker: what it does with each answer of a back end, what flush() says, and what status() tells of it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from causal_otel._internal import faults, throttled_log
from causal_otel.transports.transport import Outcome, Verdict
from tests.export.workers import BUSY, DELIVERED, REFUSED, UNREACHABLE, MakeWorker, ScriptedTransport, end, lost
from tests.waiting import wait_until


class TestAnswers:
    def test_busy_is_asked_again(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A busy back end gets the same batch again when it said, and spans wait meanwhile."""
        worker, provider = make()
        transport.outcomes = [BUSY, BUSY, DELIVERED]
        end(provider, "a")
        assert worker.force_flush(20_000)
        assert transport.attempts == [["a"]] * 3
        assert worker.status().exported == 1

    def test_retry_after_beyond_the_deadline(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A batch is lost, once, when the back end wants to be left alone for longer than the batch may take."""
        worker, provider = make(export_timeout=5.0)
        transport.outcomes = [Outcome(Verdict.BUSY, "503", "", 3600.0)]
        end(provider, "a")
        assert not worker.force_flush(10_000)
        end(provider, "b")
        assert not worker.force_flush(10_000)
        assert transport.attempts == [["a"]], "it asked to be left alone"
        assert lost(worker) == {"export_failed": 2}

    def test_nobody_there_until_the_deadline(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """Without a spool a batch is tried until its time is up, with pauses that grow, and then lost."""
        worker, provider = make(export_timeout=3.0)
        transport.outcomes = [UNREACHABLE]
        end(provider, "a")
        assert not worker.force_flush(10_000)
        assert 2 <= len(transport.attempts) <= 4
        assert lost(worker) == {"export_failed": 1}

    def test_refused_is_not_sent_again(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A refused batch is lost at once and counted, flush() is False, and the next batch is delivered."""
        worker, provider = make()
        transport.outcomes = [REFUSED, DELIVERED]
        end(provider, *"ab")
        assert not worker.force_flush(10_000)
        end(provider, "c")
        assert worker.force_flush(10_000)
        assert transport.attempts == [["a", "b"], ["c"]]
        assert lost(worker) == {"refused": 2}

    def test_partial_success(
        self, make: MakeWorker, transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Rejected spans are counted and told with the reason; the rest is exported; nothing is sent again."""
        worker, provider = make()
        transport.outcomes = [Outcome(Verdict.DELIVERED, "rejected", "too old", rejected=2)]
        end(provider, *"abc")
        assert not worker.force_flush(10_000)
        assert (worker.status().exported, lost(worker)) == (1, {"rejected": 2})
        assert len(transport.attempts) == 1
        assert "rejected 2 of 3 spans: too old" in caplog.text

    def test_rejected_is_told_once_an_hour(
        self,
        make: MakeWorker,
        transport: ScriptedTransport,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A back end that rejects something of every batch is a line in the log at the first one, and each hour."""
        now = 1000.0
        monkeypatch.setattr(throttled_log, "time", SimpleNamespace(monotonic=lambda: now))
        worker, provider = make()
        transport.outcomes = [Outcome(Verdict.DELIVERED, "rejected", "too old", rejected=1)]
        for _ in range(13):
            end(provider, "a")
            worker.force_flush(10_000)
            now += 300
        said = [record.getMessage() for record in caplog.records if "rejected" in record.getMessage()]
        assert len(said) == 2
        assert said[1].endswith("(the same 11 times more since this was last said)")

    def test_one_line_per_kind(
        self, make: MakeWorker, transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        """However often a batch is refused, the log has one line of it."""
        worker, provider = make()
        transport.outcomes = [REFUSED]
        for _ in range(20):
            end(provider, "a")
            assert not worker.force_flush(10_000)
        assert len(caplog.records) == 1
        assert "400: no" in caplog.records[0].getMessage()

    def test_broken_transport(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A transport that raises, or cannot be made, is contained, and tried again."""
        worker, provider = make()
        transport.outcomes = [RuntimeError("broken"), DELIVERED]
        before = faults.counts().get("export: transport", 0)
        end(provider, "a")
        assert worker.force_flush(20_000)
        assert faults.counts()["export: transport"] == before + 1
        assert transport.attempts == [["a"], ["a"]]

    def test_what_cannot_be_encoded(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A span without an encoding is lost alone, and counted."""
        worker, provider = make()
        end(provider, "a")
        broken: Any = provider.get_tracer("t").start_span("broken")
        broken._kind = None
        broken.end()
        end(provider, "b")
        assert not worker.force_flush(10_000)
        assert transport.delivered == ["a", "b"]
        assert lost(worker) == {"encoding": 1}


class TestFlush:
    def test_keeps_its_timeout(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """flush() returns False while a back end hangs, and True once all was delivered."""
        worker, provider = make()
        transport.gate.clear()
        end(provider, "a")
        assert not worker.force_flush(50)
        transport.gate.set()
        assert worker.force_flush(10_000)

    def test_nothing_to_flush(self, make: MakeWorker) -> None:
        """flush() of nothing is True at once and starts no thread."""
        before = threading.active_count()
        worker, _ = make()
        assert worker.force_flush(0)
        assert threading.active_count() == before

    def test_is_about_its_own_spans(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """flush() is True for what had ended when it was called, whatever becomes of what ends later."""
        worker, provider = make(max_export_batch_size=1)
        transport.gate.clear()
        end(provider, "mine")
        wait_until(lambda: transport.attempts)
        answers: list[bool] = []
        flusher = threading.Thread(target=lambda: answers.append(worker.force_flush(10_000)))
        flusher.start()
        wait_until(lambda: worker._ledger.flushes)
        later: Any = provider.get_tracer("t").start_span("later")
        later._kind = None
        later.end()
        wait_until(lambda: lost(worker) == {"encoding": 1})
        transport.gate.set()
        flusher.join(20)
        assert answers == [True]

    def test_interrupts_a_pause(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """flush() makes the sender try again at once what waits for its next attempt."""
        worker, provider = make(max_export_batch_size=1, export_timeout=3600.0)
        transport.outcomes = [*[UNREACHABLE] * 12, DELIVERED]
        end(provider, "a")
        wait_until(lambda: transport.attempts)
        wait_until(lambda: worker.force_flush(1))
        assert len(transport.attempts) == 13

    def test_many_at_once(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """Several threads may flush while spans end; each is told the truth."""
        worker, provider = make(max_export_batch_size=7, max_queue_size=100_000)
        answers: list[bool] = []

        def work() -> None:
            for _ in range(20):
                end(provider, *"xyz")
                answers.append(worker.force_flush(20_000))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [True] * 120
        assert len(transport.delivered) == 360


def test_status_is_a_line_for_people(make: MakeWorker, transport: ScriptedTransport) -> None:
    """str(status) tells what was exported, what waits and what was lost for which reason."""
    worker, provider = make()
    transport.outcomes = [REFUSED, DELIVERED]
    end(provider, *"ab")
    worker.force_flush(10_000)
    end(provider, "c")
    assert worker.force_flush(10_000)
    line = str(worker.status())
    assert line.startswith("1 exported, 0 waiting, 2 lost (2 refused by the back end), last delivery ")
