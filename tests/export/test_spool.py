"""The spool: order and cap."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from causal_otel._internal import faults
from causal_otel.export.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

from tests.export.spooling import HEADER, PLENTY, Collector, full, names_in, start_program
from tests.faults.programs import finish


class TestOrder:
    def test_oldest_first_and_gone(self, spool: Spool, directory: Path) -> None:
        """Batches are sent in the order in which they came, with their spans, and what was accepted is gone."""
        for number in range(20):
            assert spool.append(b"%d" % number, number)
        assert spool.size() == sum(HEADER + len(str(number)) for number in range(20))
        assert spool.size() == sum(os.path.getsize(directory / name) for name in names_in(directory))
        collector = Collector()
        assert spool.drain(collector) == sum(range(20)) == collector.spans
        assert collector.payloads == [b"%d" % number for number in range(20)]
        assert spool.size() == 0
        assert spool.drain(collector) == 0

    def test_order_survives_a_clock_that_stands_still(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Batches stay in order while the clock repeats itself or goes back."""
        now = time.time_ns()
        for number, clock in enumerate([now, now, now - 10**9, now]):
            monkeypatch.setattr(time, "time_ns", lambda clock=clock: clock)
            assert spool.append(b"%d" % number, 1)
        collector = Collector()
        assert spool.drain(collector) == 4
        assert collector.payloads == [b"0", b"1", b"2", b"3"]

    def test_stops_at_the_first_refusal(self, spool: Spool) -> None:
        """What the collector refuses stays, and so does all that came after it."""
        for number in range(5):
            spool.append(b"%d" % number, 10)
        assert spool.drain(Collector(accepts=2)) == 20
        collector = Collector()
        assert spool.drain(collector) == 30
        assert collector.payloads == [b"2", b"3", b"4"]

    def test_rest_of_a_batch(self, spool: Spool, directory: Path) -> None:
        """What a sender leaves of a batch takes its place, before those that came later; what it took is counted."""
        for number in range(3):
            spool.append(b"%d" % number, 10)
        names = names_in(directory)
        assert spool.drain(lambda payload, spans: (b"rest of " + payload, 4)) == 6
        assert names_in(directory) == names
        collector = Collector()
        assert spool.drain(collector) == 24
        assert collector.payloads == [b"rest of 0", b"1", b"2"]

    def test_rest_that_cannot_be_written(self, spool: Spool, directory: Path) -> None:
        """Where the disk is full, all of the batch stays: twice is better than not at all."""
        spool.append(b"whole", 10)

        def send(payload: bytes, spans: int) -> tuple[bytes, int]:
            monkey.setattr(os, "write", full)
            return b"rest", 4

        with pytest.MonkeyPatch.context() as monkey:
            assert spool.drain(send) == 6
        collector = Collector()
        assert spool.drain(collector) == 10
        assert collector.payloads == [b"whole"]
        assert os.listdir(directory) == ["drain.lock"]

    def test_raising_sender_is_a_refusal(self, spool: Spool) -> None:
        """A sender that raises is reported, not raised, and its batch stays."""
        spool.append(b"x", 1)
        before = faults.counts().get("spool: send", 0)

        def broken(payload: bytes, spans: int) -> bool:
            raise RuntimeError("broken")

        assert spool.drain(broken) == 0
        assert faults.counts()["spool: send"] == before + 1
        assert spool.drain(Collector()) == 1

    def test_deadline(self, spool: Spool) -> None:
        """No batch is begun after the deadline."""
        for _ in range(3):
            spool.append(b"x", 1)
        assert spool.drain(Collector(), deadline=time.monotonic()) == 0
        assert spool.drain(Collector(), deadline=time.monotonic() + 3600) == 3

    def test_what_comes_meanwhile_is_sent_as_well(self, spool: Spool) -> None:
        """Batches that are appended while others are sent go in the same draining."""
        spool.append(b"first", 1)
        collector = Collector()

        def send(payload: bytes, spans: int) -> bool:
            if payload == b"first":
                assert spool.append(b"second", 1)
            return collector(payload, spans)

        assert spool.drain(send) == 2
        assert collector.payloads == [b"first", b"second"]

    def test_more_batches_than_are_kept_in_memory(self, spool: Spool) -> None:
        """A directory of several windows of names is drained whole, in order."""
        for number in range(2500):
            assert spool.append(b"%04d" % number, 1)
        collector = Collector()
        assert spool.drain(collector) == 2500
        assert collector.payloads == [b"%04d" % number for number in range(2500)]

    def test_next_process_sends_what_the_last_one_left(self, directory: Path) -> None:
        """What a process stored is sent by the next one, before its own."""
        finish(start_program("for n in range(3): assert spool.append(b'old %d' % n, 1)\nos._exit(7)", directory), 7)
        spool = Spool(directory, PLENTY)
        spool.append(b"new", 1)
        collector = Collector()
        assert spool.drain(collector) == 4
        assert collector.payloads == [b"old 0", b"old 1", b"old 2", b"new"]

    def test_empty_payload_and_no_spans(self, spool: Spool) -> None:
        """A batch of nothing is a batch."""
        assert spool.append(b"", 0)
        collector = Collector()
        assert spool.drain(collector) == 0
        assert collector.payloads == [b""]

    def test_closed(self, spool: Spool) -> None:
        """A closed spool stores and sends nothing, and what waits stays."""
        spool.append(b"x", 1)
        spool.close()
        assert not spool.append(b"y", 2)
        assert spool.drain(Collector()) == 0
        assert Spool(spool.directory, PLENTY).drain(Collector()) == 1

    def test_nothing_is_made_before_there_is_a_batch(self, spool: Spool, directory: Path) -> None:
        """Asking, draining and closing make no directory."""
        assert spool.size() == spool.drain(Collector()) == 0
        assert not directory.parent.exists()


class TestCap:
    def test_oldest_are_dropped_and_counted(self, directory: Path) -> None:
        """A full spool takes the new batch and drops as many of the oldest as it must, counting their spans."""
        spool = Spool(directory, 10 * (HEADER + 100))
        for number in range(14):
            assert spool.append(b"%100d" % number, 10 + number)
        assert spool.size() == spool.max_bytes
        assert spool.dropped_spans == 10 + 11 + 12 + 13
        collector = Collector()
        spool.drain(collector)
        assert [int(payload) for payload in collector.payloads] == list(range(4, 14))
        assert sum(spool.damaged().values()) == 0

    def test_larger_than_the_cap(self, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A batch that can never fit is refused, and nothing is dropped for it."""
        spool = Spool(directory, 200)
        assert spool.append(b"small", 1)
        assert not spool.append(b"x" * 200, 9)
        assert spool.dropped_spans == 0
        assert spool.drain(Collector()) == 1
        assert "is more than the 200 that are allowed" in caplog.text

    def test_holds_over_several_writers(self, directory: Path) -> None:
        """Writers that share the directory keep the cap together, but for a 32nd each, and account for every batch."""
        cap = 100 * (HEADER + 1000)
        spools = [Spool(directory, cap) for _ in range(4)]
        for number in range(200):
            for spool in spools:
                assert spool.append(b"x" * 1000, 1)
                if number % 20 == 0:
                    assert spool.size() <= cap + 4 * cap // 32
        collector = Collector()
        left = spools[0].drain(collector)
        assert 95 <= left <= 112
        assert left + sum(spool.dropped_spans for spool in spools) == 800

    def test_room_made_by_another_drainer_is_seen(self, directory: Path) -> None:
        """Nothing is dropped for a cap that somebody else's draining has made room under."""
        cap = 65 * (HEADER + 1000)
        mine, theirs = Spool(directory, cap), Spool(directory, cap)
        for _ in range(65):
            assert mine.append(b"x" * 1000, 1)
        assert theirs.drain(Collector(accepts=1)) == 1
        assert mine.append(b"y" * 1000, 1)
        assert theirs.drain(Collector(accepts=63)) == 63
        for _ in range(63):
            assert mine.append(b"y" * 1000, 1)
        assert mine.dropped_spans == 0
        assert mine.drain(Collector()) == 65

    def test_batch_being_sent_is_not_dropped(self, directory: Path) -> None:
        """A batch that is being sent stays while room is made, so that none is both sent and counted as dropped."""
        spool = Spool(directory, 2 * (HEADER + 1))
        other = Spool(directory, spool.max_bytes)
        assert spool.append(b"a", 1)
        assert spool.append(b"b", 2)
        collector = Collector()

        def send(payload: bytes, spans: int) -> bool:
            if payload == b"a":
                assert other.append(b"c", 4)
            return collector(payload, spans)

        assert spool.drain(send) == 5
        assert collector.payloads == [b"a", b"c"]
        assert other.dropped_spans == 2

    def test_room_made_by_a_batch_that_was_being_sent_is_seen(self, directory: Path) -> None:
        """The same holds for a batch that could not be dropped because it was being sent."""
        cap = 70 * (HEADER + 1)
        spool, other = Spool(directory, cap), Spool(directory, cap)
        for _ in range(70):
            assert spool.append(b"x", 1)
        collector = Collector(accepts=1)

        def send(payload: bytes, spans: int) -> bool:
            if not collector.payloads:
                assert other.append(b"y", 1)
                assert other.dropped_spans == 1
            return collector(payload, spans)

        assert spool.drain(send) == 1
        assert other.append(b"y", 1)
        assert other.dropped_spans == 1
        assert spool.size() == cap

    def test_number_of_batches_is_bounded(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However small batches are, there are only so many files."""
        monkeypatch.setattr("causal_otel.export.spool._MOST_BATCHES", 10)
        spool = Spool(directory, PLENTY)
        for _ in range(25):
            assert spool.append(b"x", 1)
        assert len(names_in(directory)) == 10
        assert spool.dropped_spans == 15

    def test_damaged_go_first(self, directory: Path) -> None:
        """What was set aside is dropped before any batch that can still be sent."""
        spool = Spool(directory, 2 * (HEADER + 4))
        assert spool.append(b"good", 1)
        assert spool.append(b"torn", 1)
        os.truncate(directory / names_in(directory)[1], HEADER + 2)
        spool.drain(Collector(accepts=0))  # stops at the good one
        assert sum(spool.damaged().values()) == 0
        assert spool.drain(lambda payload, _: True) == 1
        assert spool.damaged() == {"corrupted": 1, "torn": 0}
        assert spool.append(b"new1", 1)
        assert len(names_in(directory, ".damaged")) == 1
        assert spool.append(b"new2", 1)
        assert names_in(directory, ".damaged") == []
        assert spool.dropped_spans == 0
