"""Compaction: what a closed day holds, and what may happen while it is made."""

from __future__ import annotations

import gc
import itertools
import random
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from benchmarks.collector.generate import requests
from causal_otel.collector.expressions import tags
from causal_otel.collector.query import Query
from causal_otel.collector.store import days, postings
from causal_otel.collector.store.committing import Committer, Kept, Taken
from causal_otel.collector.store.compaction import SUFFIX, Busy, close_day
from causal_otel.collector.store.counters import Counters
from causal_otel.collector.store.files import DayFiles
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.schema import SPREAD, slot, tag_hash
from causal_otel.collector.store.writer import Writer
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MINUTE, NOON, SECOND, event, merged, request, span, spans_of, trace_id, traces
from tests.collector.store.stores import EVER, close, contents, damage, same_answer, write
from tests.collector.store.writers import Clock, rows
from tests.waiting import wait_until

DAY = 24 * HOUR
TODAY = days.day_of(NOON)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(tmp_path: Path, clock: Clock) -> Iterator[Writer]:
    writer = Writer(tmp_path, clock=clock)
    writer.start()
    yield writer
    writer.close(30)


def mixed(rng: random.Random, day: int = NOON) -> Iterator[TracesData]:
    """Spans of a few traces and services, in an order as bad as it gets; some come twice."""
    sent: list[TracesData] = []
    for number in range(120):
        trace = rng.randrange(1, 12)
        message = traces(
            *(
                span(
                    rng.choice("abc"),
                    trace=trace,
                    id=rng.randrange(1, 100) * 1000 + number,
                    parent=rng.choice([0, 77]),
                    start=day + rng.randrange(-2 * HOUR, 2 * HOUR),
                    duration=rng.randrange(10**9),
                    error=rng.random() < 0.1,
                    tags={"n": number % 10, "unique": f"{number}", "db.query.text": "SELECT"},
                    events=[event("e", {"in event": rng.randrange(3)})],
                )
                for _ in range(rng.randrange(1, 5))
            ),
            service=rng.choice(["shop", "cart", "mail"]),
        )
        sent.append(message)
        yield message
        if rng.random() < 0.2:
            yield merged(rng.choice(sent), traces(span(trace=trace)))


def assert_same(directory: Path, expected: MemoryReader) -> None:
    """Traces, statistics, calls and searches are what brute force finds."""
    with Reader(directory) as reader:
        for number in range(1, 12):
            if expected.trace(trace_id(number)) is not None:
                assert contents(reader.trace(trace_id(number))) == contents(expected.trace(trace_id(number)))
        assert reader.dependencies(*EVER) == expected.dependencies(*EVER)
        found, wanted = reader.statistics(*EVER), expected.statistics(*EVER)
        assert [
            (each.service, each.operation, each.calls, each.errors, each.total, each.longest) for each in found
        ] == [(each.service, each.operation, each.calls, each.errors, each.total, each.longest) for each in wanted]
        for pairs in [(("n", "3"),), (("unique", "77"),), (("in event", "1"),), (("db.query.text", "SELECT"),)]:
            for service in (None, "cart"):
                query = Query(*EVER, service=service, where=tags(pairs))
                assert same_answer(reader.search(query, seconds=30), expected, query)


class TestClosedDay:
    def test_same_as_before(self, tmp_path: Path) -> None:
        """Everything can be read and found as before, each span once; counts and calls are exact."""
        expected = write(tmp_path, mixed(random.Random(1)))
        close(tmp_path)
        assert_same(tmp_path, expected)

    def test_again_with_what_came_late(self, tmp_path: Path) -> None:
        """Late spans of a closed day are there at once, and are merged when it is compacted again."""
        expected = write(tmp_path, mixed(random.Random(2)))
        close(tmp_path)
        write(tmp_path, mixed(random.Random(3)), expected)
        for number in range(1, 12):
            with Reader(tmp_path) as reader:
                assert contents(reader.trace(trace_id(number))) == contents(expected.trace(trace_id(number)))
        ((closed,),) = rows(tmp_path, "SELECT value FROM meta WHERE key = 'closed_chunks'")
        assert rows(tmp_path, "SELECT 1 FROM chunk WHERE id > ?", closed)
        close(tmp_path)
        ((closed,),) = rows(tmp_path, "SELECT value FROM meta WHERE key = 'closed_chunks'")
        assert rows(tmp_path, "SELECT max(id) FROM chunk") == [(closed,)]
        assert_same(tmp_path, expected)

    def test_a_damaged_day_beside_it(self, tmp_path: Path) -> None:
        """A day is closed though the one before cannot be read, and no file stays open."""
        message = traces(span(trace=1, parent=77))
        write(tmp_path, [traces(span(trace=1, start=NOON - DAY)), message])
        path = days.path_of(tmp_path, TODAY)
        damage(days.path_of(tmp_path, TODAY - 1), "chunk")
        for _ in close_day(path, now=NOON / SECOND, beside=[days.path_of(tmp_path, TODAY - 1)], release=lambda: None):
            pass
        assert rows(tmp_path, "SELECT value FROM meta WHERE key = 'state'") == [("closed",)]
        with Reader(tmp_path) as reader:
            assert contents(reader.trace(trace_id(1))) == contents(message)
        gc.collect()  # what was left open is told of here, and not in another test

    def test_layout(self, tmp_path: Path) -> None:
        """One chunk for a trace, in the order of their start; postings instead of tags; no digests."""
        rng = random.Random(4)
        spans = [span(trace=trace, start=NOON + trace * SECOND + rng.randrange(SECOND)) for trace in range(1, 50)] * 2
        spans += [span(trace=trace, start=NOON + trace * SECOND + SECOND // 2) for trace in range(1, 50)]
        rng.shuffle(spans)
        write(tmp_path, (traces(each) for each in spans))
        close(tmp_path)
        chunks = rows(tmp_path, "SELECT trace_id, start, spans FROM chunk ORDER BY id")
        assert [trace for trace, _, _ in chunks] == [trace_id(number) for number in range(1, 50)]
        assert {count for _, _, count in chunks} == {2}
        assert [start for _, start, _ in chunks] == sorted(start for _, start, _ in chunks)
        meta = dict(rows(tmp_path, "SELECT key, value FROM meta"))
        assert meta.keys() == {"state", "closed_chunks", "slot_bits", "dictionary", "closed_at", "summed"}
        assert (meta["state"], meta["closed_chunks"]) == ("closed", 49)
        for table in ("tag", "batch"):
            assert rows(tmp_path, f"SELECT count(*) FROM {table}") == [(0,)]
        hashed = tag_hash("otel.scope.name", "tests")
        ((blob,),) = rows(tmp_path, "SELECT chunks FROM posting WHERE slot = ?", slot(hashed, meta["slot_bits"]))
        assert postings.find(blob, hashed) == list(range(1, 50))

    def test_long_traces(self, tmp_path: Path) -> None:
        """A trace whose spans lie further apart than a minute gets several chunks."""
        sent = traces(*(span(start=NOON + n * 25 * SECOND) for n in range(40)))
        expected = write(tmp_path, [sent])
        close(tmp_path)
        starts = [start for (start,) in rows(tmp_path, "SELECT start FROM chunk ORDER BY id")]
        assert all(later - earlier >= SPREAD for earlier, later in itertools.pairwise(starts))
        assert len(starts) == 14
        assert_same(tmp_path, expected)

    def test_parent_of_the_day_before(self, tmp_path: Path) -> None:
        """A call over midnight is counted, though the parent is in another file."""
        midnight = TODAY * DAY
        parent = traces(span(id=1, start=midnight - MINUTE))
        child = traces(span(id=2, parent=1, start=midnight + SECOND), service="cart")
        grandchild = traces(span(id=3, parent=2, start=midnight - SECOND), service="mail")
        expected = write(tmp_path, [child])
        write(tmp_path, [parent], expected)
        write(tmp_path, [grandchild], expected)
        close(tmp_path)
        with Reader(tmp_path) as reader:
            assert reader.dependencies(*EVER) == expected.dependencies(*EVER)

    def test_odd_times(self, tmp_path: Path) -> None:
        """Times that SQLite cannot hold and ends before their starts survive."""
        sent = traces(
            span(start=2**64 - 1, duration=0),
            span(start=2**63 - 1),
            span(start=0, duration=0),
            span(end_time_unix_nano=0),
        )
        expected = write(tmp_path, [sent])
        close(tmp_path)
        with Reader(tmp_path) as reader:
            assert contents(reader.trace(trace_id(1))) == contents(expected.trace(trace_id(1)))

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        """A day without a span can be closed."""
        write(tmp_path, [traces(span())])
        with closing(sqlite3.connect(days.path_of(tmp_path, TODAY))) as db:
            for table in ("chunk", "found", "tag", "hour"):
                db.execute(f"DELETE FROM {table}")
            db.commit()
        close(tmp_path)
        assert rows(tmp_path, "SELECT value FROM meta WHERE key = 'state'") == [("closed",)]
        with Reader(tmp_path) as reader:
            assert reader.trace(trace_id(1)) is None

    @pytest.mark.long
    def test_size(self, tmp_path: Path) -> None:
        """With ten attributes a span, three of which hardly repeat, a closed day takes at most 150 bytes a span."""
        writer = Writer(tmp_path, clock=lambda: NOON / SECOND)
        writer.start()
        # One commit each: what a commit holds, and so the size before, would depend on how busy the machine is.
        assert sum(writer.put(body).result(60).spans for body in requests(20_000, end=NOON, days=0.4)) == 20_000
        writer.close(60)
        before = days.size_of(days.path_of(tmp_path, TODAY))
        close(tmp_path)
        after = days.size_of(days.path_of(tmp_path, TODAY))
        assert after < 150 * 20_000
        assert after < before * 0.55


class TestWhileItRuns:
    def test_late_spans(self, tmp_path: Path, clock: Clock) -> None:
        """Spans that come for the day at any moment of its compaction are kept."""
        expected = write(tmp_path, mixed(random.Random(5)))
        late = iter(mixed(random.Random(6)))
        path, counters = days.path_of(tmp_path, TODAY), Counters()
        files = DayFiles(tmp_path, clock, counters)
        committer = Committer(files, counters, clock, retention_days=30)
        for _ in close_day(path, now=0, beside=[], release=partial(files.release, TODAY)):
            message = next(late, None)
            if message is not None:
                future: Future[Kept] = Future()
                committer.keep([Taken(request(message), future)])
                assert future.result(0).spans
                expected.add(message)
        files.close()
        assert rows(tmp_path, "SELECT value FROM meta WHERE key = 'state'") == [("closed",)]
        with Reader(tmp_path) as reader:
            for number in range(1, 12):
                assert contents(reader.trace(trace_id(number))) == contents(expected.trace(trace_id(number)))
        close(tmp_path)
        assert_same(tmp_path, expected)

    def test_given_up_at_any_step(self, tmp_path: Path) -> None:
        """Compaction may end after any step: the old file is as it was and nothing is left beside it."""
        expected = write(tmp_path, mixed(random.Random(7)))
        path = days.path_of(tmp_path, TODAY)
        inode = path.stat().st_ino
        steps = 0
        while True:
            steps += 1
            work = close_day(path, now=0, beside=[], release=lambda: None)
            if sum(1 for _ in zip(range(steps), work, strict=False)) < steps or steps > 60:
                break
            work.close()  # type: ignore[attr-defined]
            assert path.stat().st_ino == inode
            assert not list(tmp_path.glob(f"*{SUFFIX}*"))
        assert steps > 5
        work.close()  # type: ignore[attr-defined]
        assert_same(tmp_path, expected) if path.stat().st_ino != inode else close(tmp_path)
        assert_same(tmp_path, expected)

    def test_readers_of_the_old_file(self, tmp_path: Path) -> None:
        """Who reads while a day is replaced reads on in the old file, and finds the new one afterwards."""
        expected = write(tmp_path, mixed(random.Random(8)))
        with Reader(tmp_path) as reader, closing(sqlite3.connect(days.path_of(tmp_path, TODAY))) as old:
            before = contents(reader.trace(trace_id(1)))
            count = old.execute("SELECT count(*) FROM chunk").fetchone()
            close(tmp_path)
            write(tmp_path, [traces(span(trace=500, start=NOON))], expected)
            assert old.execute("SELECT count(*) FROM chunk").fetchone() == count
            assert contents(reader.trace(trace_id(1))) == before
            assert reader.trace(trace_id(500)) is not None

    def test_a_reader_in_the_way(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A read that does not end keeps the day from being replaced, not for ever and not with a loss."""
        monkeypatch.setattr("causal_otel.collector.store.compaction._BUSY_TIMES", 3)
        expected = write(tmp_path, mixed(random.Random(9)))
        path = days.path_of(tmp_path, TODAY)
        inode = path.stat().st_ino
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM chunk").fetchone()
            write(tmp_path, [traces(span(trace=3))], expected)
            with pytest.raises(Busy, match="read"):
                close(tmp_path)
        assert path.stat().st_ino == inode
        close(tmp_path)
        assert_same(tmp_path, expected)

    def test_damaged_chunk(self, tmp_path: Path) -> None:
        """A chunk that cannot be read stops the compaction of its day: the file stays as it is."""
        write(tmp_path, [traces(span(trace=1)), traces(span(trace=2))])
        path = days.path_of(tmp_path, TODAY)
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE chunk SET body = x'00' WHERE id = 1")
            db.commit()
        with pytest.raises(ValueError, match="chunk"):
            close(tmp_path)
        assert rows(tmp_path, "SELECT count(*) FROM chunk") == [(2,)]
        assert not list(tmp_path.glob(f"*{SUFFIX}*"))


class TestByTheClock:
    def test_an_hour_after_the_day(self, writer: Writer, tmp_path: Path, clock: Clock) -> None:
        """A day is closed when it has been over for an hour, not before; what comes late is kept all the same."""
        writer.put(request(traces(span()))).result(30)
        for clock.now in (NOON + 11 * HOUR, (TODAY + 1) * DAY + HOUR - SECOND):
            writer.put(request(traces(span(trace=clock.now)))).result(30)
            assert rows(tmp_path, "SELECT value FROM meta WHERE key = 'state'") == [("open",)]
        clock.now = (TODAY + 1) * DAY + HOUR
        wait_until(lambda: writer.counters()["compactions"])
        assert rows(tmp_path, "SELECT value FROM meta WHERE key = 'state'") == [("closed",)]
        writer.put(request(traces(span()))).result(30)
        with Reader(tmp_path) as reader:
            assert len(list(spans_of(reader.trace(trace_id(1)) or TracesData()))) == 2

    def test_late_spans_wait(self, writer: Writer, tmp_path: Path, clock: Clock) -> None:
        """A few late spans do not have the day compacted every hour, but once a day."""
        for number in range(1, 200):
            writer.put(request(traces(span(trace=number)))).result(30)
        clock.now = (TODAY + 1) * DAY + HOUR
        wait_until(lambda: writer.counters()["compactions"] == 1)
        writer.put(request(traces(span(trace=1000)))).result(30)
        clock.now += 5 * HOUR
        with Reader(tmp_path) as reader:
            wait_until(lambda: reader.trace(trace_id(1000)))
        writer.put(request(traces(span(trace=1001, start=clock.now)))).result(30)
        assert writer.counters()["compactions"] == 1
        clock.now += DAY
        wait_until(lambda: rows(tmp_path, "SELECT value FROM meta WHERE key = 'closed_chunks'") == [(200,)])

    def test_at_the_start(self, tmp_path: Path, clock: Clock) -> None:
        """Days that became due while no writer ran are closed when one starts, and leftovers are deleted."""
        expected = write(tmp_path, [traces(span(start=NOON - n * DAY, trace=n + 1)) for n in range(3)])
        leftover = tmp_path / f"traces-20261120.db{SUFFIX}"
        leftover.write_bytes(b"half")
        writer = Writer(tmp_path, clock=clock)
        writer.start()
        wait_until(lambda: writer.counters()["compactions"] == 2)
        writer.close(30)
        assert not leftover.exists()
        states = [rows(tmp_path, "SELECT value FROM meta WHERE key = 'state'", day=TODAY - n) for n in range(3)]
        assert states == [[("open",)], [("closed",)], [("closed",)]]
        assert_same(tmp_path, expected)

    def test_ingest_goes_on(self, writer: Writer, tmp_path: Path, clock: Clock) -> None:
        """While days are compacted, requests are acknowledged in between."""
        futures = [writer.put(body) for body in requests(10_000, end=NOON, days=0.4)]
        assert sum(future.result(60).spans for future in futures) == 10_000
        clock.now = (TODAY + 1) * DAY + HOUR
        wait_until(lambda: writer.counters()["compacting"])
        answered = 0
        while writer.counters()["compacting"]:
            writer.put(request(traces(span(trace=1 + answered, start=clock.now)))).result(30)
            answered += 1
        assert answered > 3
        assert writer.counters()["compactions"] == 1

    def test_damaged_day(self, writer: Writer, tmp_path: Path, clock: Clock) -> None:
        """An old day that is damaged is set aside; the others are closed."""
        for n in range(3):
            writer.put(request(traces(span(start=NOON - n * DAY, trace=n + 1)))).result(30)
        writer.close(30)
        days.path_of(tmp_path, TODAY - 1).write_bytes(b"nonsense" * 1000)
        again = Writer(tmp_path, clock=clock)
        again.start()
        wait_until(lambda: again.counters()["compactions"] == 1)
        again.close(30)
        assert again.counters()["damaged_files"] == 1
        assert list(days.day_files(tmp_path)) == [TODAY - 2, TODAY]
