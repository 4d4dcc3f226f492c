"""Retention: what is deleted, when, and what never is."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from causal_otel.collector.store import days
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.retention import expired
from causal_otel.collector.store.writer import Writer
from tests.collector.spans import HOUR, NOON, SECOND, request, span, trace_id, traces
from tests.collector.store.writers import Clock, writing
from tests.waiting import wait_until

DAY = 24 * HOUR
TODAY = days.day_of(NOON)
CLOCK = NOON / SECOND


def make(directory: Path, sizes: dict[int, int]) -> None:
    """Files of days by how long ago they were."""
    for ago, size in sizes.items():
        days.path_of(directory, TODAY - ago).write_bytes(bytes(size))


def gone(directory: Path, retention_days: int = 30, max_bytes: int | None = None) -> list[int]:
    """How long ago the days were that are to be deleted."""
    found = expired(directory, today=TODAY, retention_days=retention_days, max_bytes=max_bytes)
    return [TODAY - day for day in (*found.aged, *found.early)]


class TestWhatExpires:
    def test_age(self, tmp_path: Path) -> None:
        """A day is kept as long as a span in it can be younger than the retention, and then deleted whole."""
        make(tmp_path, {32: 1, 31: 1, 30: 1, 29: 1, 0: 1, -1: 1})
        assert gone(tmp_path) == [32, 31]
        assert gone(tmp_path, retention_days=0) == [32, 31, 30, 29]

    def test_size(self, tmp_path: Path) -> None:
        """The oldest days go until the rest is small enough, with what SQLite keeps beside them."""
        make(tmp_path, {40: 1000, 5: 100, 4: 100, 3: 100, 0: 100})
        path = days.path_of(tmp_path, TODAY - 4)
        path.with_name(path.name + "-wal").write_bytes(bytes(50))
        assert gone(tmp_path, max_bytes=450) == [40]
        assert gone(tmp_path, max_bytes=449) == [40, 5]
        assert gone(tmp_path, max_bytes=349) == [40, 5, 4]
        assert gone(tmp_path, max_bytes=100) == [40, 5, 4, 3]

    def test_today_stays(self, tmp_path: Path) -> None:
        """Today's file and tomorrow's stay, however large; it is told by how much they are too large."""
        make(tmp_path, {1: 10, 0: 500, -1: 30})
        found = expired(tmp_path, today=TODAY, retention_days=30, max_bytes=200)
        assert found == ((), (TODAY - 1,), 330)

    def test_other_files(self, tmp_path: Path) -> None:
        """Files with other names are none of its business, nor is a directory that is not there."""
        for name in ("traces-20200101.db.damaged-x", "traces-99999999.db", "notes.db", "traces-20200101.db.closing"):
            (tmp_path / name).write_bytes(b"x")
        assert gone(tmp_path, max_bytes=0) == []
        assert gone(tmp_path / "absent", max_bytes=0) == []


class TestByTheClock:
    def test_at_the_start(self, tmp_path: Path) -> None:
        """When a writer has started, what is too old is gone, with its companions, and was counted."""
        with writing(tmp_path, clock=lambda: CLOCK - 40 * 86_400) as writer:
            writer.put(request(traces(span(start=NOON - 40 * DAY)))).result(30)
        path = days.path_of(tmp_path, TODAY - 40)
        path.with_name(path.name + "-wal").write_bytes(b"")
        size = days.size_of(path)
        with writing(tmp_path, clock=lambda: CLOCK) as writer:
            assert [each.name for each in tmp_path.iterdir()] == ["writer.lock"]
            counters = writer.counters()
        assert (counters["deleted_days"], counters["deleted_bytes"]) == (1, size)

    def test_as_time_goes_by(self, tmp_path: Path) -> None:
        """A writer that runs for a month deletes the days as they expire; readers do without them."""
        clock = Clock()
        with writing(tmp_path, clock=clock, retention_days=2) as writer, Reader(tmp_path) as reader:
            for day in range(6):
                clock.now = NOON + day * DAY
                writer.put(request(traces(span(start=clock.now, trace=day + 1)))).result(30)
                wait_until(lambda: min(days.day_files(tmp_path)) == max(TODAY, days.day_of(clock.now) - 2))
                assert reader.trace(trace_id(day + 1)) is not None
            wait_until(lambda: reader.trace(trace_id(1)) is None)
            wait_until(lambda: writer.counters()["deleted_days"] == 3)  # counted when it is gone
            assert [day.spans for day in reader.volume().days] == [1, 1, 1]

    def test_too_much(self, tmp_path: Path) -> None:
        """Old days are deleted as soon as the store has grown too large, within the hour."""
        clock = Clock()
        with writing(tmp_path, clock=clock, max_bytes=2_000_000) as writer:
            for ago in (3, 2, 1):
                writer.put(request(traces(span(start=NOON - ago * DAY, tags={"x": os.urandom(1_500_000)})))).result(30)
            clock.now += HOUR
            wait_until(lambda: writer.counters()["deleted_days"])
            assert TODAY - 3 not in days.day_files(tmp_path)

    def test_what_the_limit_costs(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Days that go before their time are logged and counted, also after a restart, until they would go anyway."""
        clock, day = Clock(), 86_400
        options = {"clock": clock, "max_bytes": 2_000_000, "retention_days": 5}
        with caplog.at_level(logging.WARNING), writing(tmp_path, **options) as writer:
            for ago in (3, 2, 1):
                writer.put(request(traces(span(start=NOON - ago * DAY, tags={"x": os.urandom(1_500_000)})))).result(30)
            assert writer.counters()["lost_seconds"] == 0
            clock.now += HOUR
            wait_until(lambda: writer.counters()["lost_seconds"] == 2 * day)
            assert (writer.counters()["early_days"], writer.counters()["deleted_days"]) == (2, 2)
        label = days.label(TODAY - 3)
        assert f"deleted the traces of {label}, 3 days before their time" in caplog.text
        assert "allow more (--max-size) or sample less" in caplog.text
        with writing(tmp_path, **options) as writer:
            assert (writer.counters()["early_days"], writer.counters()["lost_seconds"]) == (0, 2 * day)
        clock.now += 3 * DAY  # the older one would be gone by now
        with writing(tmp_path, **options) as writer:
            assert writer.counters()["lost_seconds"] == day
        clock.now += 3 * DAY
        with writing(tmp_path, **options) as writer:
            assert writer.counters()["lost_seconds"] == 0

    def test_today_is_too_large(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """If today's traces alone are too much, nothing of them is dropped; it is logged once and counted."""
        clock = Clock()
        with caplog.at_level(logging.ERROR), writing(tmp_path, clock=clock, max_bytes=1000) as writer:
            writer.put(request(traces(span()))).result(30)
            for _ in range(2):
                clock.now += HOUR
                wait_until(lambda: writer.counters()["excess_bytes"])
                assert writer.not_ready() == ""  # spans are kept all the same
            writer.put(request(traces(span(trace=2)))).result(30)
            assert writer.counters()["deleted_days"] == 0
        assert caplog.text.count("sample less, or allow more") == 1

    def test_clock_that_goes_back(self, tmp_path: Path) -> None:
        """A clock that jumps back a year deletes nothing, and spans are kept at every time it shows."""
        clock = Clock()
        with writing(tmp_path, clock=clock) as writer:
            for clock.now in (NOON, NOON - 365 * DAY, NOON):
                assert writer.put(request(traces(span(start=clock.now)))).result(30).spans in (0, 1)
            assert TODAY in days.day_files(tmp_path)

    def test_cannot_be_deleted(self, tmp_path: Path) -> None:
        """A day that cannot be deleted is reported and does not stop the writer."""
        path = days.path_of(tmp_path, TODAY - 99)
        path.mkdir()
        (path / "file").write_text("")
        with writing(tmp_path, clock=lambda: CLOCK) as writer:
            assert str(tmp_path) in writer.counters()["last_error"]
            assert writer.put(request(traces(span()))).result(30).spans == 1


def test_spans_older_than_the_retention(tmp_path: Path) -> None:
    """Spans that are too old when they come are kept with today's, and go when today goes."""
    clock = Clock()
    writer = Writer(tmp_path, clock=clock, retention_days=3)
    writer.start()
    try:
        writer.put(request(traces(span(start=NOON - 10 * DAY)))).result(30)
        assert list(days.day_files(tmp_path)) == [TODAY]
        clock.now += 5 * DAY
        wait_until(lambda: not days.day_files(tmp_path))
    finally:
        writer.close(30)
