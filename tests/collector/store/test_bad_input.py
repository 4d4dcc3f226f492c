"""Requests that are none, spans that cannot be, and those that nobody would send but may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from causal_otel.collector.store import days
from causal_otel.collector.store.writer import Kept, Writer
from tests.collector.spans import (
    any_value,
    event,
    request,
    span,
    trace_id,
    traces,
)
from tests.collector.store.stores import contents
from tests.collector.store.writers import RICH, field, put, rows, stored


def deep_request(depth: int) -> bytes:
    """A span with an attribute that is so many lists in each other, in the trace with that number."""
    value = any_value("core").SerializeToString()
    for _ in range(depth):
        value = field(b"\x2a", field(b"\x0a", value))
    attribute = field(b"\x4a", field(b"\x0a", b"deep"), field(b"\x12", value))
    return field(b"\x0a", field(b"\x12", field(b"\x12", span(trace=depth).SerializeToString(), attribute)))


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
