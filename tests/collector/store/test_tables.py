"""What the tables of an open day say of its spans."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from causal_otel.collector.store import days
from causal_otel.collector.store.histogram import BOUNDS, Histogram
from causal_otel.collector.store.indexing import indexed, resource_hash
from causal_otel.collector.store.schema import tag_hash, tag_range
from causal_otel.collector.store.writer import Writer
from tests.collector.oracle import MemoryReader
from tests.collector.spans import (
    HOUR,
    MILLISECOND,
    NOON,
    SECOND,
    event,
    merged,
    span,
    trace_id,
    traces,
)
from tests.collector.store.stores import contents
from tests.collector.store.writers import DAY, RICH, put, rows, stored, writing


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
