"""The worker at the end of a process: shutdown(), where no thread can be started any more, and leave()."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from causal_otel.export.privacy import Policy
from causal_otel.export.spool import Spool
from tests.export.workers import UNREACHABLE, MakeWorker, ScriptedTransport, end, lost
from tests.waiting import wait_until


class TestShutdown:
    def test_exports_what_is_left_and_closes(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """shutdown() exports the rest and closes the transport; what ends later is counted as lost."""
        worker, provider = make(max_export_batch_size=2)
        end(provider, *"abc")
        span = provider.get_tracer("t").start_span("late")
        worker.shutdown()
        span.end()
        assert transport.delivered == list("abc")
        assert transport.closed
        assert lost(worker) == {"shutdown": 1}
        assert worker.status().queued == 0

    def test_hanging_back_end(
        self, make: MakeWorker, transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        """shutdown() gives up on a hanging back end, counts all that was left, and says so in one line."""
        worker, provider = make(exit_timeout=0.1, max_export_batch_size=2)
        transport.gate.clear()
        end(provider, *"abcde")
        finished = threading.Thread(target=worker.shutdown)
        finished.start()
        finished.join(20)
        assert not finished.is_alive()
        assert lost(worker) == {"shutdown": 5}
        assert [record.getMessage()[:45] for record in caplog.records] == [
            "causal_otel: 5 of the last 5 spans could not "
        ]
        transport.gate.set()
        wait_until(lambda: len(transport.delivered) >= 2)  # the attempt that hung; it does not count any more
        assert worker.status().exported == 0

    def test_encoding_takes_longer(
        self, make: MakeWorker, transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
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
        assert [record.getMessage()[:45] for record in caplog.records] == [
            "causal_otel: 5 of the last 5 spans could not "
        ]
        gate.set()
        wait_until(lambda: lost(worker) == {"shutdown": 5})
        assert worker.status().queued == 0
        assert transport.delivered == []

    def test_nobody_there(
        self, make: MakeWorker, transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With nobody at the other end, shutdown() tries once and not every batch, and says so in one line."""
        worker, provider = make(exit_timeout=30.0, max_export_batch_size=1)
        transport.outcomes = [UNREACHABLE]
        end(provider, "a")
        wait_until(lambda: caplog.records)  # which comes after the attempt
        caplog.clear()
        end(provider, *"bcdef")
        worker.shutdown()
        assert len(transport.attempts) <= 3
        assert lost(worker) == {"shutdown": 6}
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    def test_twice(self, make: MakeWorker) -> None:
        """A second shutdown() does nothing."""
        worker, provider = make()
        end(provider, "a")
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

    def test_shutdown(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """shutdown() exports everything, whichever of the threads there are."""
        worker, provider = make(max_export_batch_size=2)
        end(provider, *"abcde")
        worker.shutdown()
        assert transport.delivered == list("abcde")
        assert (worker.status().exported, worker.status().queued, lost(worker)) == (5, 0, {})

    def test_flush(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """flush() exports everything and tells the truth; so do the next one, and shutdown()."""
        worker, provider = make(max_export_batch_size=2)
        end(provider, *"abcde")
        assert worker.force_flush(20_000)
        assert transport.delivered == list("abcde")
        end(provider, "f")
        assert worker.force_flush(20_000)
        end(provider, "g")
        worker.shutdown()
        assert transport.delivered == list("abcdefg")
        assert (worker.status().exported, worker.status().queued, lost(worker)) == (7, 0, {})

    def test_nobody_there(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """What cannot be delivered is counted, and flush() says so."""
        worker, provider = make()
        transport.outcomes = [UNREACHABLE]
        end(provider, *"abc")
        assert not worker.force_flush(50)
        worker.shutdown()
        assert (worker.status().exported, worker.status().queued, lost(worker)) == (0, 0, {"shutdown": 3})


class TestLeave:
    def test_life_after_it(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """What ended before leave() is delivered by it; what ends after it is exported too, and counted on."""
        worker, provider = make()
        for name in "abc":
            end(provider, name)
            worker.leave()
            assert transport.delivered[-1] == name
        end(provider, "d")
        assert worker.force_flush(10_000)
        worker.shutdown()
        status = worker.status()
        assert (status.exported, status.queued, status.lost) == (4, 0, 0)

    def test_after_shutdown(self, make: MakeWorker, transport: ScriptedTransport) -> None:
        """A worker that was shut down stays so, and starts no threads."""
        worker, provider = make()
        before = threading.active_count()
        worker.shutdown()
        worker.leave()
        end(provider, "late")
        assert lost(worker) == {"shutdown": 1}
        assert not worker._threads.begun
        assert threading.active_count() == before

    def test_hanging(self, make: MakeWorker, transport: ScriptedTransport, tmp_path: Path) -> None:
        """What a hanging back end does not take by then goes to the spool, and later from there."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000), exit_timeout=0.1, max_export_batch_size=1)
        transport.gate.clear()
        end(provider, "a")
        wait_until(lambda: transport.attempts)  # it is encoded: the spool takes nothing else
        worker.leave()
        assert (worker.status().spooled, worker.status().lost) == (1, 0)
        transport.gate.set()
        end(provider, "b")
        assert worker.force_flush(10_000)
        assert transport.attempts[-2:] == [["a"], ["b"]]
