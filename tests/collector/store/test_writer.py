"""The writer: what is kept and what is not, when it is acknowledged, and what is in the way."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from causal_otel.collector.store import chunks, days, varint
from causal_otel.collector.store.histogram import BOUNDS, Histogram
from causal_otel.collector.store.indexing import indexed, resource_hash
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.schema import SPREAD, tag_hash, tag_range
from causal_otel.collector.store.writer import Kept, QueueFull, StoreInUse, Writer
from tests.collector.oracle import MemoryReader
from tests.collector.spans import (
    HOUR,
    MILLISECOND,
    MINUTE,
    NOON,
    SECOND,
    any_value,
    event,
    link,
    merged,
    request,
    span,
    spans_of,
    trace_id,
    traces,
)
from tests.collector.store.programs import finish, start
from tests.collector.store.stores import contents

NOW = NOON + 6 * HOUR
TODAY = days.day_of(NOW)
DAY = 24 * HOUR


@contextmanager
def writing(directory: Path, **options: Any) -> Iterator[Writer]:
    """A writer whose clock stands at :data:`NOW`, unless told otherwise."""
    writer = Writer(directory, **{"clock": lambda: NOW / SECOND, **options})
    writer.start()
    try:
        yield writer
    finally:
        writer.close(30)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "traces"


@pytest.fixture
def writer(directory: Path) -> Iterator[Writer]:
    with writing(directory) as writer:
        yield writer


def put(writer: Writer, *messages: TracesData) -> Kept:
    return writer.put(request(*messages)).result(30)


def rows(directory: Path, statement: str, *values: object, day: int = TODAY) -> list[Any]:
    """What a statement finds in a day's file; nothing if there is none."""
    path = days.path_of(directory, day)
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as db:
        return db.execute(statement, values).fetchall()


def stored(directory: Path, number: int) -> list[tuple[bytes, bytes, bytes]]:
    with Reader(directory) as reader:
        return contents(reader.trace(trace_id(number)))


def eventually(condition: Callable[[], object]) -> None:
    """Wait until it is true, at most half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.01)


def field(tag: bytes, *content: bytes) -> bytes:
    """A protobuf field of bytes."""
    body = b"".join(content)
    return tag + varint.encode([len(body)]) + body


def deep_request(depth: int) -> bytes:
    """A span with an attribute that is so many lists in each other, in the trace with that number."""
    value = any_value("core").SerializeToString()
    for _ in range(depth):
        value = field(b"\x2a", field(b"\x0a", value))
    attribute = field(b"\x4a", field(b"\x0a", b"deep"), field(b"\x12", value))
    return field(b"\x0a", field(b"\x12", field(b"\x12", span(trace=depth).SerializeToString(), attribute)))


RICH = traces(
    span("GET /", id=1, kind=Span.SPAN_KIND_SERVER, tags={"text": "é\0", "flag": True, "n": -3, "f": 2.5, "empty": ""}),
    span(
        "odd",
        parent=1,
        error="it broke",
        tags={"list": [1, "two", [3.5]], "map": {"a": {"b": b"\x00"}}, "bytes": b"\xff", "none": None},
        events=[event("exception", {"exception.message": "no"}), event("plain")],
        links=[link(7, 8, {"why": "retry"})],
        trace_state="a=b",
        flags=0x101,
        dropped_attributes_count=3,
    ),
    resource={"host.name": "h", "pids": [1, 2]},
    schema_url="https://opentelemetry.io/schemas/1.44.0",
)


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
        trace = chunks.unpack(chunk, resources, scopes, dictionary)
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
                each.start_time_unix_nano for each in spans_of(chunks.unpack(body, resources, scopes, dictionary))
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

    def test_tomorrow_and_the_oldest_day_are_days_of_their_own(self, writer: Writer, directory: Path) -> None:
        """A clock that is a few hours fast and spans that are a month old are nothing unusual."""
        put(writer, traces(span(start=NOW + 20 * HOUR), span(start=NOW - 30 * DAY, trace=2)))
        assert list(days.day_files(directory)) == [TODAY - 30, TODAY + 1]

    def test_files_are_the_owners(self, writer: Writer, directory: Path) -> None:
        """The directory is made for its owner alone."""
        assert directory.stat().st_mode & 0o777 == 0o700


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
            eventually(lambda: not writer.counters()["queue_bytes"])
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


class TestBadInput:
    @pytest.mark.parametrize(
        "body",
        [
            b"\x0a\xff",
            b"nonsense",
            b"\x0a\x05\x12\x03\x12\x01\x0a",
            request(traces(span("x" * 9))).replace(b"x" * 9, b"\xff" * 9),
        ],
        ids=["short", "text", "inner", "utf8"],
    )
    def test_no_request(self, writer: Writer, directory: Path, body: bytes) -> None:
        """Bytes that are no request are refused with a ValueError, and nothing of what came with them is lost."""
        first, bad, last = (writer.put(each) for each in (request(RICH), body, request(traces(span(trace=2)))))
        with pytest.raises(ValueError, match="ExportTraceServiceRequest"):
            bad.result(30)
        assert (first.result(30), last.result(30)) == (Kept(2), Kept(1))
        assert rows(directory, "SELECT sum(spans) FROM chunk") == [(3,)]

    def test_bad_text_in_an_attribute(self, writer: Writer) -> None:
        """An attribute that is not UTF-8 is refused when it comes, not when somebody reads it."""
        body = request(traces(span(tags={"k": "y" * 9}))).replace(b"y" * 9, b"\xff" * 9)
        with pytest.raises(ValueError, match="ExportTraceServiceRequest"):
            writer.put(body).result(30)

    @pytest.mark.parametrize(
        "ids",
        [
            {"trace_id": b""},
            {"trace_id": bytes(16)},
            {"trace_id": b"short"},
            {"trace_id": b"x" * 17},
            {"span_id": b""},
            {"span_id": bytes(8)},
            {"span_id": b"x" * 9},
        ],
        ids=str,
    )
    def test_bad_ids(self, writer: Writer, directory: Path, ids: dict[str, Any]) -> None:
        """Spans without proper ids are left out and counted; the others of the request are kept."""
        kept = put(writer, traces(span(**ids), span(trace=2), span(**ids)))
        assert (kept.spans, kept.rejected) == (1, 2)
        assert "16 bytes" in kept.message
        assert rows(directory, "SELECT sum(spans) FROM chunk") == [(1,)]
        assert writer.counters()["rejected"] == 2

    def test_nothing_but_bad_ids(self, writer: Writer, directory: Path) -> None:
        """A request with nothing to keep, or nothing at all, is acknowledged and leaves no file."""
        assert put(writer, traces(span(trace_id=b""))).rejected == 1
        assert writer.put(b"").result(30) == Kept(0)
        assert not days.day_files(directory)

    def test_deep_nesting(self, writer: Writer, directory: Path) -> None:
        """Values as deep as protobuf allows are kept and read; deeper ones are refused."""
        outcomes = {}
        for depth in (10, 30, 45, 60, 100):
            future = writer.put(deep_request(depth))
            error = future.exception(30)
            assert error is None or isinstance(error, ValueError)
            outcomes[depth] = error is None
        assert outcomes[10]
        assert outcomes[30]
        assert not outcomes[100]
        for depth, kept in outcomes.items():
            assert bool(rows(directory, "SELECT 1 FROM chunk WHERE trace_id = ?", trace_id(depth))) == kept
            assert not kept or len(stored(directory, depth)) == 1

    def test_huge_attributes(self, writer: Writer, directory: Path) -> None:
        """Megabytes in an attribute, a key, a name or very many attributes are kept like any other."""
        sent = traces(
            span("n" * 100_000, tags={"k": "v" * 3_000_000, "k" * 100_000: 1}),
            span(trace=2, tags={f"key {number}": number for number in range(20_000)}),
            span(trace=3, events=[event(f"event {number}") for number in range(5_000)]),
        )
        assert put(writer, sent) == Kept(3)
        assert sum(len(stored(directory, number)) for number in (1, 2, 3)) == 3

    def test_ids_twice(self, writer: Writer, directory: Path) -> None:
        """Different spans with the same id are all kept; a span that is the same again is shown once."""
        one, other = span("one", id=1), span("other", id=1)
        put(writer, traces(one, other, one))
        put(writer, traces(one, span(id=2)))
        assert stored(directory, 1) == contents(traces(one, other, span(id=2)))

    def test_cycles_and_lost_parents(self, writer: Writer, directory: Path) -> None:
        """Spans that are their own ancestors, and children without parents, are kept like any other."""
        sent = traces(span(id=1, parent=1), span(id=2, parent=3), span(id=3, parent=2), span(id=4, parent=99))
        assert put(writer, sent) == Kept(4)
        assert stored(directory, 1) == contents(sent)


class TestTables:
    def _has(self, directory: Path, hashed: int) -> bool:
        return bool(rows(directory, "SELECT 1 FROM tag WHERE key BETWEEN ? AND ?", *tag_range(0, hashed)))

    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("text", "é\0"),
            ("flag", "true"),
            ("n", "-3"),
            ("f", "2.5"),
            ("empty", ""),
            ("list", '[1,"two",[3.5]]'),
            ("bytes", "/w=="),
            ("none", ""),
            ("event", "exception"),
            ("event", "plain"),
            ("exception.message", "no"),
            ("otel.status_description", "it broke"),
            ("otel.scope.name", "tests"),
            ("otel.scope.version", "1"),
            ("w3c.tracestate", "a=b"),
            ("long", "x" * 256),
            ("middle", "x" * 127),
            ("middle", "x" * 128),
        ],
    )
    def test_tags(self, writer: Writer, directory: Path, key: str, text: str) -> None:
        """Attributes of every type, events and what Jaeger makes tags of are in the index, as text."""
        put(writer, RICH, traces(span(tags={"long": "x" * 256}), span(tags={"middle": "x" * 127})))
        put(writer, traces(span(tags={"middle": "x" * 128})))
        assert indexed(key, text)
        assert self._has(directory, tag_hash(key, text))

    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("long", "x" * 257),
            ("umlauts", "ü" * 129),
            ("db.query.text", "SELECT 1"),
            ("url.full", "http://a/"),
            ("url.query", "a=b"),
            ("exception.stacktrace", "at"),
        ],
    )
    def test_no_tags(self, writer: Writer, directory: Path, key: str, text: str) -> None:
        """Long values and those that nobody looks for as a whole are not in the index."""
        put(writer, traces(span(tags={key: text})))
        assert not indexed(key, text)
        assert not self._has(directory, tag_hash(key, text))

    def test_columns_are_no_tags(self, writer: Writer, directory: Path) -> None:
        """A span's kind and error are in columns only; attributes of these names are tags."""
        put(writer, RICH)
        assert not self._has(directory, tag_hash("error", "true"))
        assert not self._has(directory, tag_hash("span.kind", "server"))
        put(writer, traces(span(tags={"error": True, "span.kind": "server"})))
        assert self._has(directory, tag_hash("error", "true"))
        assert self._has(directory, tag_hash("span.kind", "server"))

    def test_resources(self, writer: Writer, directory: Path) -> None:
        """A chunk has one tag for each of its resources instead of their attributes."""
        put(writer, merged(traces(span()), traces(span(), resource={"host.name": "h"})))
        ids = [number for (number,) in rows(directory, "SELECT id FROM resource")]
        assert len(ids) == 2
        assert all(self._has(directory, resource_hash(number)) for number in ids)
        assert not self._has(directory, tag_hash("host.name", "h"))

    def test_found(self, writer: Writer, directory: Path) -> None:
        """For every series in a chunk: the last start, the shortest and longest duration, and the errors."""
        put(
            writer,
            traces(
                span("a", start=NOON + 5, duration=10),
                span("a", start=NOON + 9, duration=3, error=True),
                span("a", start=NOON, duration=7),
                span("a", kind=Span.SPAN_KIND_CLIENT, start=NOON, duration=1),
                span("a", kind=17, start=NOON, duration=0, end_time_unix_nano=NOON - 1),
            ),
            traces(span("a", start=NOON, duration=2), service=None),
        )
        assert rows(
            directory,
            "SELECT service, operation, kind, start, shortest, longest, errors FROM found JOIN series ON series = id"
            " ORDER BY service, kind",
        ) == [
            ("missing-service-name", "a", 1, NOON, 2, 2, 0),
            ("shop", "a", 0, NOON, 0, 0, 0),
            ("shop", "a", 1, NOON + 9, 3, 10, 1),
            ("shop", "a", 3, NOON, 1, 1, 0),
        ]

    def test_hours(self, writer: Writer, directory: Path) -> None:
        """Counts and durations by the hour add up over commits and restarts."""
        durations = [1, 5, 1000, MILLISECOND, 3 * SECOND]
        for duration in durations[:3]:
            put(writer, traces(span(start=NOON, duration=duration, error=duration == 5)))
        put(writer, traces(span(start=NOON + HOUR)))
        writer.close(30)
        with writing(directory) as again:
            put(again, traces(*(span(start=NOON, duration=duration) for duration in durations[3:])))
        found = rows(directory, "SELECT spans, errors, shortest, longest, total, histogram FROM hour ORDER BY hour")
        assert [row[0] for row in found] == [5, 1]
        assert found[0][1:5] == (1, 1, 3 * SECOND, sum(durations))
        assert sum(count for _, count in Histogram.decode(found[0][5]).buckets()) == 5

    def test_edges(self, writer: Writer, directory: Path) -> None:
        """Calls between services are counted whichever of the two comes first, within a request or not."""
        shop, cart = traces(span(id=1), span(id=2, parent=1)), traces(span(id=3, parent=1, error=True), service="cart")
        late = traces(span(id=4, parent=5), service="late")
        put(writer, merged(cart, shop))
        put(writer, late)
        put(writer, traces(span(id=5, parent=3), service="mail"))
        put(writer, traces(span(id=6, parent=3, trace=2), service="mail"))
        edges = rows(directory, "SELECT hour, parent, child, calls, errors FROM edge ORDER BY child")
        hour = days.hour_of(NOON)
        assert edges == [(hour, "shop", "cart", 1, 1), (hour, "mail", "late", 1, 0), (hour, "cart", "mail", 1, 0)]

    def test_many_series(self, writer: Writer, directory: Path) -> None:
        """Names that never repeat are kept like any other."""
        numbers = itertools.count()
        for _ in range(3):
            put(writer, traces(*(span(f"GET /{next(numbers)}") for _ in range(300))))
        assert rows(directory, "SELECT count(*), sum(spans) FROM hour") == [(900, 900)]

    def test_same_as_the_oracle(self, writer: Writer, directory: Path) -> None:
        """What can be read of many commits is what was sent."""
        expected = MemoryReader()
        for number in range(60):
            message = merged(
                traces(*(span(trace=1 + (number + n) % 7, tags={"n": n}) for n in range(20)), service=f"s{number % 3}"),
                traces(span(trace=1 + number % 5, start=NOON - DAY), scope="other"),
            )
            put(writer, message)
            expected.add(message)
        for number in range(1, 8):
            assert stored(directory, number) == contents(expected.trace(trace_id(number)))


class TestHistogram:
    def test_round_trip(self) -> None:
        """A histogram is what it was after it was stored, and nothing is lost when two are put together."""
        histogram = Histogram()
        for duration in (0, 1, 2, 99, 10**6, 10**6 + 1, 2**63 - 1):
            histogram.add(duration)
        again = Histogram.decode(histogram.encode())
        assert again.buckets() == histogram.buckets()
        again.merge([histogram, Histogram()])
        assert sum(count for _, count in again.buckets()) == 14
        assert Histogram.decode(b"").quantile(0.5) == 0

    @pytest.mark.parametrize("duration", [1, 7, 130, 10**4, 123_456_789, 10**12, 2**63 - 1])
    def test_width(self, duration: int) -> None:
        """A bound is not more than a tenth above what is under it."""
        histogram = Histogram()
        histogram.add(duration)
        assert duration <= histogram.quantile(0.5) <= duration + max(1, duration // 10)
        assert list(BOUNDS) == sorted(set(BOUNDS))

    def test_quantiles(self) -> None:
        """Of durations that are spread evenly, half are under the median and so on, to a tenth."""
        histogram = Histogram()
        for number in range(1, 1001):
            histogram.add(number * MILLISECOND)
        for share in (0.5, 0.95, 0.99, 1.0):
            assert share * 1000 * MILLISECOND <= histogram.quantile(share) <= share * 1100 * MILLISECOND


class TestWhatIsInTheWay:
    def test_one_writer(self, writer: Writer, directory: Path) -> None:
        """A second writer on the directory is refused and told by whom, in this process and in another."""
        with pytest.raises(StoreInUse, match="another process"):
            Writer(directory).start()
        output = finish(
            start(
                """
                try:
                    Writer(directory).start()
                except StoreInUse as error:
                    print(error)
                """,
                directory,
            )
        )
        assert str(directory) in output
        assert put(writer, RICH) == Kept(2)

    def test_the_next_writer(self, directory: Path) -> None:
        """Once a writer is closed the directory is free."""
        for number in (1, 2):
            with writing(directory) as writer:
                put(writer, traces(span(trace=number)))
        assert len(stored(directory, 1)) == len(stored(directory, 2)) == 1

    def test_no_directory(self, tmp_path: Path) -> None:
        """A directory that cannot be made is named, with what to do."""
        (tmp_path / "file").write_text("")
        with pytest.raises(Exception, match=r"file.*check the disk"):
            Writer(tmp_path / "file" / "store").start()

    @pytest.mark.parametrize("damage", ["garbage", "version", "middle"])
    def test_damaged_file(self, directory: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
        """A file that cannot be used is renamed, reported with the reason, and the day goes on in a new one."""
        with writing(directory) as writer:
            for number in range(1, 200):
                writer.put(request(traces(span(trace=number, tags={"n": number}))))
        path = days.path_of(directory, TODAY)
        if damage == "garbage":
            path.write_bytes(b"nonsense" * 1000)
        elif damage == "version":
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA user_version = 99")
        else:
            content = bytearray(path.read_bytes())
            content[8192:] = b"\xa5" * (len(content) - 8192)
            path.write_bytes(content)
        before = path.read_bytes()
        with writing(directory) as writer:
            assert put(writer, traces(span(trace=777))) == Kept(1)
            assert writer.counters()["damaged_files"] == 1
            assert str(path) in writer.counters()["last_error"]
        ((aside, reason),) = days.damaged(directory)
        assert Path(aside).read_bytes() == before
        assert reason
        assert "99" in reason or damage != "version"
        assert aside in caplog.text
        with Reader(directory) as reader:
            assert reader.volume().damaged == ((aside, reason),)
        assert len(stored(directory, 777)) == 1

    def test_killed_while_a_file_was_made(self, directory: Path) -> None:
        """A file that has nothing in it yet is made anew."""
        directory.mkdir(parents=True)
        days.path_of(directory, TODAY).write_bytes(b"")
        with writing(directory) as writer:
            assert put(writer, RICH) == Kept(2)
        assert days.damaged(directory) == ()

    def test_locked_file(self, directory: Path) -> None:
        """While another program holds the file locked, requests are refused with the path; then all goes on."""
        with writing(directory) as writer:
            put(writer, traces(span(trace=1)))
            with closing(sqlite3.connect(days.path_of(directory, TODAY), isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(Exception, match="another program holds") as caught:
                    put(writer, RICH)
                assert str(directory) in str(caught.value)
                other.execute("ROLLBACK")
            assert put(writer, RICH) == Kept(2)
            assert writer.counters()["refused"] == 1

    def test_no_room(self, directory: Path) -> None:
        """Where files may not grow, requests are refused with the path and advice, and kept once there is room."""
        output = finish(
            start(
                """
                writer = Writer(directory, clock=lambda: NOON / SECOND)
                writer.start()
                print(writer.put(request(traces(span(trace=1)))).result(30).spans)
                small = os.path.getsize(days.path_of(directory, days.day_of(NOON))) + 100_000
                _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (small, hard))
                bodies = [request(traces(span(trace=n, tags={"noise": os.urandom(50_000)}))) for n in range(2, 30)]
                refused = []
                for body in bodies:
                    try:
                        writer.put(body).result(30)
                    except StoreError as error:
                        refused.append(body)
                        message = str(error)
                print(len(refused) > 5, str(directory) in message, "disk" in message)
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
                print(all(writer.put(body).result(30).spans for body in refused), writer.counters()["spans"])
                writer.close(30)
                """,
                directory,
            )
        )
        assert output.splitlines() == ["1", "True True True", "True 29"]
        assert days.damaged(directory) == ()
        for number in range(1, 30):
            assert rows(
                directory, "SELECT sum(spans) FROM chunk WHERE trace_id = ?", trace_id(number), day=days.day_of(NOON)
            )
            assert len(stored(directory, number)) == 1


def test_attributes_that_repeat(writer: Writer, directory: Path) -> None:
    """A value is indexed the same whether it was seen before, and whether in an attribute or an event's."""
    tags = {"same": "value", "number": 7}
    for number in range(1, 4):
        put(writer, traces(span(trace=number, tags=tags), span(trace=number + 10, events=[event("e", tags)])))
    for key, text in (("same", "value"), ("number", "7")):
        found = rows(
            directory, "SELECT count(*) FROM tag WHERE key BETWEEN ? AND ?", *tag_range(0, tag_hash(key, text))
        )
        assert found == [(6,)]
