"""The worker with a spool: what goes to disk, what comes back, and in which order."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from causal_otel.export.spool import Spool
from tests.export.spooling import file_name
from tests.export.workers import DELIVERED, REFUSED, UNREACHABLE, MakeWorker, ScriptedTransport, end, lost
from tests.waiting import wait_until


class TestSpool:
    def test_unreachable_goes_to_the_spool_and_comes_back_in_order(
        self, make: MakeWorker, transport: ScriptedTransport, tmp_path: Path
    ) -> None:
        """While nobody answers, batches go to disk at once; when somebody does, they are sent in order."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000), max_export_batch_size=1)
        transport.outcomes = [UNREACHABLE]
        end(provider, *"abc")
        wait_until(lambda: worker.status().spooled == 3)
        assert worker.status().spooled_bytes > 0
        assert worker.status().queued == 0
        transport.outcomes = [DELIVERED]
        end(provider, "d")
        wait_until(lambda: len(transport.delivered) == 4)
        assert transport.delivered == list("abcd")
        assert lost(worker) == {}
        assert worker.status().recovered + worker.status().exported == 4

    def test_order_is_kept(self, make: MakeWorker, transport: ScriptedTransport, tmp_path: Path) -> None:
        """As long as something older is on disk, what follows goes behind it, though it might be taken by now."""
        _, provider = make(spool=Spool(tmp_path, 1_000_000), max_export_batch_size=1)
        transport.outcomes = [UNREACHABLE, UNREACHABLE, DELIVERED]
        end(provider, "a")
        wait_until(lambda: len(transport.attempts) == 2)
        end(provider, "b")
        wait_until(lambda: len(transport.delivered) == 2)
        assert transport.delivered == ["a", "b"]

    def test_flush_does_not_count_the_spool(
        self, make: MakeWorker, transport: ScriptedTransport, tmp_path: Path
    ) -> None:
        """flush() is False for what is only on disk."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000))
        transport.outcomes = [UNREACHABLE]
        end(provider, "a")
        assert not worker.force_flush(10_000)
        assert worker.status().spooled == 1

    def test_next_worker_sends_what_was_left(
        self, make: MakeWorker, transport: ScriptedTransport, tmp_path: Path
    ) -> None:
        """What a process left on disk is sent by the next one, before its own."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000))
        transport.outcomes = [UNREACHABLE]
        end(provider, "left")
        worker.shutdown()
        assert worker.status().spooled == 1
        transport.outcomes = [DELIVERED]
        worker, provider = make(spool=Spool(tmp_path, 1_000_000))
        end(provider, "own")
        assert worker.force_flush(10_000)
        assert transport.delivered == ["left", "own"]
        status = worker.status()
        assert (status.recovered, status.exported, status.spooled_bytes) == (1, 1, 0)

    def test_what_was_left_is_sent_at_once(
        self, make: MakeWorker, transport: ScriptedTransport, tmp_path: Path
    ) -> None:
        """What a process left on disk is sent without waiting for a span; where nothing was left, no thread starts."""
        before = threading.active_count()
        worker, _ = make(spool=Spool(tmp_path / "none", 1_000_000))
        worker.recover()
        assert threading.active_count() == before
        assert not (tmp_path / "none").exists()
        assert Spool(tmp_path, 1_000_000).append(b"", 3)
        worker, _ = make(spool=Spool(tmp_path, 1_000_000))
        worker.recover()
        wait_until(lambda: worker.status().recovered == 3)

    def test_damaged_batches_are_told(self, make: MakeWorker, transport: ScriptedTransport, tmp_path: Path) -> None:
        """A batch that is found corrupted, or torn, is in the status by its reason, and stops no other one."""
        earlier = Spool(tmp_path, 1_000_000)
        assert earlier.append(b"", 1)
        (corrupted,) = tmp_path.glob("*.spans")
        corrupted.write_bytes(b"JUNK")
        torn = tmp_path / file_name(1, ".part")
        torn.write_bytes(b"half")
        assert earlier.append(b"", 2)
        worker, _ = make(spool=Spool(tmp_path, 1_000_000))
        worker.recover()
        wait_until(lambda: worker.status().recovered == 2)
        status = worker.status()
        assert status.damaged == {"corrupted": 1, "torn": 1}
        assert "damaged batches in the spool: 1 corrupted, 1 torn" in str(status)
        assert status.lost == 0

    def test_hanging_at_the_end(self, make: MakeWorker, transport: ScriptedTransport, tmp_path: Path) -> None:
        """What a hanging back end keeps from being delivered at the end of the process goes to the spool."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000), exit_timeout=0.1, max_export_batch_size=2)
        transport.gate.clear()
        end(provider, *"abcdef")
        wait_until(lambda: worker._sender.spans() == 6)  # they are encoded: the spool takes nothing else
        worker.shutdown()
        assert worker.status().spooled == 6
        assert worker.status().lost == 0

    def test_refused_is_not_spooled(self, make: MakeWorker, transport: ScriptedTransport, tmp_path: Path) -> None:
        """What the back end will not have is not kept for later."""
        worker, provider = make(spool=Spool(tmp_path, 1_000_000))
        transport.outcomes = [REFUSED]
        end(provider, "a")
        assert not worker.force_flush(10_000)
        assert (worker.status().spooled, lost(worker)) == (0, {"refused": 1})

    def test_a_directory_that_cannot_be_written(
        self, make: MakeWorker, transport: ScriptedTransport, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Where the spool fails, batches are lost and counted, as without one."""
        (tmp_path / "file").touch()
        worker, provider = make(spool=Spool(tmp_path / "file" / "spool", 1_000_000))
        transport.outcomes = [UNREACHABLE]
        end(provider, "a")
        assert not worker.force_flush(10_000)
        assert lost(worker) == {"export_failed": 1}
