"""The writer: what is kept, and when it is acknowledged."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from causal_otel.collector.store import chunks, days
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.schema import SPREAD
from causal_otel.collector.store.writer import Kept, QueueFull, Writer
from tests.collector.spans import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    request,
    span,
    spans_of,
    trace_id,
    traces,
)
from tests.collector.store.stores import contents
from tests.collector.store.writers import DAY, NOW, RICH, TODAY, field, put, rows, stored, writing
from tests.waiting import wait_until


class TestWhatIsKept:
    def test_everything_of_a_span(self, writer: Writer, directory: Path) -> None:
        """A trace comes back as it was sent: attributes of all types, events, links, status, scope and resource."""
        assert put(writer, RICH) == Kept(2)
        assert stored(directory, 1) == contents(RICH)
        with Reader(directory) as reader:
            assert reader.trace(trace_id(1)) == RICH

    def test_fields_of_a_later_protocol(self, writer: Writer, directory: Path) -> None:
        """Bytes that this version's protocol does not know are kept with the span, its scope and its resource."""
        unknown = b"\xfa\x3f\x03new"
        plain = span(id=1)
        raw = plain.SerializeToString() + unknown
        body = field(b"\x0a", field(b"\x12", field(b"\x12", raw), unknown), unknown)
        assert writer.put(body).result(30) == Kept(1)
        ((chunk,),) = rows(directory, "SELECT body FROM chunk")
        resources, scopes = (dict(rows(directory, f"SELECT id, body FROM {table}")) for table in ("resource", "scope"))
        ((dictionary,),) = rows(directory, "SELECT value FROM meta WHERE key = 'dictionary'")
        trace = chunks.joined(chunks.groups(chunks.decompressed(chunk, dictionary)), resources, scopes)
        (kept,) = spans_of(trace)
        assert kept.SerializeToString() == raw
        assert trace.SerializeToString().count(unknown) == 3

    def test_one_chunk_for_a_trace_in_a_commit(self, directory: Path) -> None:
        """What waits together is written together: a trace's spans from several requests become one chunk."""
        writer = Writer(directory, clock=lambda: NOW / SECOND)
        futures = [writer.put(request(traces(span(), span(trace=2), service=f"service {n}"))) for n in range(20)]
        writer.start()
        assert all(future.result(30) == Kept(2) for future in futures)
        writer.close(30)
        assert rows(directory, "SELECT trace_id, spans FROM chunk") == [(trace_id(1), 20), (trace_id(2), 20)]
        assert writer.counters()["commits"] == 1
        assert len(stored(directory, 1)) == 20

    def test_chunks_are_short(self, writer: Writer, directory: Path) -> None:
        """Spans that start a minute apart are not in one chunk, whatever their order and number."""
        offsets = [
            0,
            SPREAD - 1,
            SPREAD,
            10 * MINUTE,
            -SPREAD,
            5,
            10 * MINUTE + 1,
            -1,
            *(n * SPREAD for n in range(20, 60)),
        ]
        sent = traces(*(span(start=NOON + offset) for offset in offsets))
        put(writer, sent)
        resources, scopes = (dict(rows(directory, f"SELECT id, body FROM {table}")) for table in ("resource", "scope"))
        ((dictionary,),) = rows(directory, "SELECT value FROM meta WHERE key = 'dictionary'")
        found = []
        for first, count, body in rows(directory, "SELECT start, spans, body FROM chunk"):
            starts = [
                each.start_time_unix_nano
                for each in spans_of(
                    chunks.joined(chunks.groups(chunks.decompressed(body, dictionary)), resources, scopes)
                )
            ]
            assert min(starts) == first
            assert max(starts) - first < SPREAD
            assert len(starts) == count
            found += starts
        assert sorted(found) == sorted(NOON + offset for offset in offsets)
        assert stored(directory, 1) == contents(sent)

    def test_the_day_is_that_of_the_first_start(self, writer: Writer, directory: Path) -> None:
        """A chunk is in the file of the UTC day in which its first span starts."""
        midnight = TODAY * DAY
        put(writer, traces(span(start=midnight - 1), span(start=midnight + SECOND), span(trace=2, start=midnight)))
        assert rows(directory, "SELECT trace_id, spans FROM chunk", day=TODAY - 1) == [(trace_id(1), 2)]
        assert rows(directory, "SELECT trace_id, spans FROM chunk") == [(trace_id(2), 1)]

    @pytest.mark.parametrize("start", [0, 1, NOW - 32 * DAY, NOW + 2 * DAY, 2**63, 2**64 - 1])
    def test_clocks_that_are_wrong(self, writer: Writer, directory: Path, start: int) -> None:
        """Spans that start long ago or in the future are kept in today's file, as they are."""
        sent = traces(span(start=start, duration=0), span(start=start, duration=0, end_time_unix_nano=0), span())
        assert put(writer, sent) == Kept(3)
        assert list(days.day_files(directory)) == [TODAY]
        assert stored(directory, 1) == contents(sent)

    def test_clocks_that_are_wrong_are_counted(self, writer: Writer) -> None:
        """Spans older than what is kept, and those from the future, are counted each, others of their trace are not."""
        ago, ahead = NOW - 32 * DAY, NOW + 2 * HOUR
        put(
            writer,
            traces(
                span(start=ago), span(start=ago + SECOND), span(), span(start=ahead), span(start=2**64 - 1, duration=0)
            ),
        )
        put(
            writer, traces(span(trace=2, start=NOW + HOUR), span(trace=3, start=NOW - 30 * DAY), span(trace=4, start=0))
        )
        counters = writer.counters()
        assert (counters["spans"], counters["expired"], counters["future"]) == (8, 3, 2)

    def test_parent_of_zeros_is_none(self, writer: Writer, directory: Path) -> None:
        """A parent's id of eight zeros, as some exporters send it, is taken off: such a span is a root."""
        put(writer, traces(span("root", id=1, parent_span_id=bytes(8), tags={"k": 1}), span("child", id=2, parent=1)))
        assert stored(directory, 1) == contents(
            traces(span("root", id=1, tags={"k": 1}), span("child", id=2, parent=1))
        )
        with Reader(directory) as reader:
            (summary,) = reader.summaries([trace_id(1)])
        assert (summary.root_operation, summary.orphans) == ("root", 0)

    def test_tomorrow_and_the_oldest_day_are_days_of_their_own(self, writer: Writer, directory: Path) -> None:
        """A clock that is a few hours fast and spans that are a month old are nothing unusual."""
        put(writer, traces(span(start=NOW + 20 * HOUR), span(start=NOW - 30 * DAY, trace=2)))
        assert list(days.day_files(directory)) == [TODAY - 30, TODAY + 1]

    def test_files_are_the_owners(self, writer: Writer, directory: Path) -> None:
        """The directory and everything in it is for its owner alone."""
        put(writer, traces(span()))
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}

    def test_an_open_directory_is_closed_to_others(self, tmp_path: Path) -> None:
        """A directory that others could read is theirs no more."""
        tmp_path.chmod(0o755)
        writer = Writer(tmp_path)
        writer.start()
        writer.close(10)
        assert tmp_path.stat().st_mode & 0o777 == 0o700


class TestAcknowledgement:
    def test_it_is_on_the_disk_first(self, writer: Writer, directory: Path) -> None:
        """When the future has a result, every other connection sees the spans."""
        for number in range(1, 20):
            put(writer, traces(span(trace=number)))
            assert rows(directory, "SELECT count(*) FROM chunk") == [(number,)]

    def test_sent_again(self, writer: Writer, directory: Path) -> None:
        """The same request again is acknowledged and not kept twice, also one that came with it."""
        body = request(RICH)
        assert writer.put(body).result(30) == Kept(2)
        assert writer.put(body).result(30) == Kept(0)
        other = request(traces(span(trace=2)))
        futures = [writer.put(other) for _ in range(10)]
        assert sum(future.result(30).spans for future in futures) == 1
        assert rows(directory, "SELECT sum(spans) FROM chunk") == [(3,)]
        counters = writer.counters()
        assert (counters["spans"], counters["requests"], counters["resent"]) == (3, 2, 10)

    @pytest.mark.parametrize("start", [NOON, NOON - DAY, NOON - 9 * DAY])
    def test_sent_again_to_the_next_process(self, directory: Path, start: int) -> None:
        """A request that was kept before a restart is known after it; what is older is at least shown once."""
        body = request(traces(span(start=start)))
        for _ in range(2):
            with writing(directory) as writer:
                writer.put(body).result(30)
        assert len(stored(directory, 1)) == 1
        if start > NOON - 2 * DAY:
            assert writer.counters()["resent"] == 1

    def test_after_close(self, directory: Path) -> None:
        """Closing writes what waits; afterwards requests are refused, and closing again does no harm."""
        with writing(directory) as writer:
            futures = [writer.put(request(traces(span(trace=number)))) for number in range(1, 50)]
        assert all(future.result(0) == Kept(1) for future in futures)
        with pytest.raises(Exception, match="closed"):
            writer.put(request(RICH)).result(0)
        writer.close(1)

    def test_never_started(self, directory: Path) -> None:
        """A writer that was not started refuses what waits when it is closed."""
        writer = Writer(directory)
        future = writer.put(request(RICH))
        writer.close(1)
        with pytest.raises(Exception, match="closed"):
            future.result(0)

    def test_cancelled(self, directory: Path) -> None:
        """A request that was given up before it was written does not disturb the others."""
        writer = Writer(directory, clock=lambda: NOW / SECOND)
        futures = [writer.put(request(traces(span(trace=number)))) for number in range(1, 4)]
        assert futures[1].cancel()
        writer.start()
        writer.close(30)
        assert [future.result(0).spans for future in (futures[0], futures[2])] == [1, 1]
        assert writer.counters()["queue_bytes"] == 0

    def test_full_queue(self, directory: Path) -> None:
        """What would wait beyond the queue's size is refused at once, and taken when there is room."""
        body = request(RICH)
        writer = Writer(directory, clock=lambda: NOW / SECOND, queue_bytes=len(body) + 10)
        future = writer.put(body)
        with pytest.raises(QueueFull, match="again later"):
            writer.put(body)
        assert writer.counters()["queue_bytes"] == len(body)
        writer.start()
        try:
            assert future.result(30) == Kept(2)
            wait_until(lambda: not writer.counters()["queue_bytes"])
            assert put(writer, traces(span())) == Kept(1)
        finally:
            writer.close(30)

    def test_many_threads(self, writer: Writer, directory: Path) -> None:
        """Any number of threads may put: everything is kept once."""
        futures: list[Future[Kept]] = []

        def work(first: int) -> None:
            futures.extend(writer.put(request(traces(span(trace=first + n)))) for n in range(50))

        threads = [threading.Thread(target=work, args=(1000 * number + 1,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sum(future.result(30).spans for future in futures) == 200
        assert rows(directory, "SELECT count(DISTINCT trace_id) FROM chunk") == [(200,)]
