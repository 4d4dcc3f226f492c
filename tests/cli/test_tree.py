"""Traces in a terminal: order, guides, bars, widths and damage."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from causal_otel.cli.demo.received import ReceivedSpan
from causal_otel.cli.demo.tree import TraceTree, bar, by_trace, duration, rows

MS = 1_000_000


def span(
    span_id: str,
    parent: str | None = None,
    start: float = 0,
    end: float = 10,
    *,
    name: str = "",
    service: str = "api",
    kind: str = "INTERNAL",
    status: str = "UNSET",
    trace_id: str = "t1",
    **attributes: Any,
) -> ReceivedSpan:
    """A span as it arrives; times in milliseconds, underscores in attribute names stand for dots."""
    return {
        "index": 0,
        "trace_id": trace_id,
        "span_id": span_id,
        "parent_span_id": parent,
        "trace_state": "",
        "flags": 1,
        "name": name or span_id,
        "kind": kind,
        "start": 1_700_000_000_000 * MS + round(start * MS),
        "end": 1_700_000_000_000 * MS + round(end * MS),
        "status": {"code": status, "message": ""},
        "attributes": {key.replace("_", "."): value for key, value in attributes.items()},
        "events": [],
        "links": [],
        "service": service,
        "resource": {},
        "scope": "tests",
    }


def printed(
    *spans: ReceivedSpan, width: int = 100, encoding: str = "utf-8", marks: dict[str, str] | None = None
) -> str:
    """What a terminal of this width shows, or a file where nothing of a terminal may be."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, newline="") as stream:
        console = Console(file=stream, width=width, color_system=None, _environ={})
        console.print(TraceTree(spans, marks))
        stream.flush()
        return raw.getvalue().decode(encoding)


def order(*spans: ReceivedSpan) -> list[str]:
    return [row.span["span_id"] for row in rows(spans)]


def test_a_tree_stands_as_its_spans_began() -> None:
    """Children follow their parent, siblings by their start, whatever the order of arrival."""
    spans = [span("root"), span("b", "root", 5), span("a", "root", 1), span("a1", "a", 2), span("b1", "b", 6)]
    for arrival in itertools.permutations(spans):
        assert order(*arrival) == ["root", "a", "a1", "b", "b1"]


def test_guides_lead_from_parent_to_child() -> None:
    """A level goes on with a bar while there are more siblings, and ends with an elbow."""
    text = printed(span("root"), span("a", "root", 1), span("a1", "a", 2), span("b", "root", 5), span("b1", "b", 6))
    assert [line.split(" api ")[0].rstrip() for line in text.splitlines()[1:]] == [
        "root",
        "├╴a",
        "│ ╰╴a1",
        "╰╴b",
        "  ╰╴b1",
    ]


def test_rows_tell_service_kind_and_duration() -> None:
    """Each row holds the span's name, database, service, kind and duration."""
    text = printed(
        span("1", name="POST /orders", kind="SERVER", end=42),
        span("2", "1", 10, 22.25, name="SELECT orders", kind="CLIENT", service="worker", db_system_name="postgresql"),
    )
    _, first, second = text.splitlines()
    assert first.split()[:6] == ["POST", "/orders", "api", "SERVER", "42.0", "ms"]
    assert second.split()[:7] == ["╰╴postgresql:", "SELECT", "orders", "worker", "CLIENT", "12.2", "ms"]


def test_bars_share_one_time_axis() -> None:
    """Bars of all services are drawn from the start of the whole trace to its end."""
    text = printed(
        span("1", end=50), span("2", "1", 0, 25, service="worker"), span("3", "2", 75, 100, service="scoring")
    )
    head, *lines = text.splitlines()
    axis = head.index(" 0 ") + 1
    width = len(head) - axis
    bars = [line[axis:].ljust(width) for line in lines]
    assert head.endswith("100.0 ms")
    assert [(len(found.rstrip()) / width) for found in bars] == pytest.approx([0.5, 0.25, 1], abs=0.04)
    assert (len(bars[2]) - len(bars[2].lstrip())) / width == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize(
    ("start", "end", "total", "drawn"),
    [
        (0, 10, 10, "━━━━━"),
        (0, 5, 10, "━━╸  "),
        (5, 10, 10, "  ╺━━"),
        (5, 5, 10, "  ╺  "),
        (10, 10, 10, "    ╺"),
        (0, 0, 1000, "╸    "),
        (0, 0, 0, "━━━━━"),
        (-5, 20, 10, "━━━━━"),
        (8, 3, 10, "    ╸"),
    ],
)
def test_bars_are_exact_to_half_a_character(start: int, end: int, total: int, drawn: str) -> None:
    """The shortest span is seen, and clocks that disagree draw nothing outside the axis."""
    assert bar(start, end, total, 5) == drawn


def test_orphans_are_shown_and_said_to_be() -> None:
    """A span whose parent has not arrived stands at the top level with its children, and says so."""
    text = printed(span("root"), span("lost", "gone", 3), span("child", "lost", 4))
    _, *lines = text.splitlines()
    assert [line.split(" api ")[0].rstrip() for line in lines] == ["root", "lost (parent not received)", "╰╴child"]


def test_every_span_of_a_damaged_trace_is_shown_once() -> None:
    """Parents in a circle, a span that is its own parent, and a span delivered twice cost no row and no hang."""
    assert order(span("a", "b", 2), span("b", "a", 1), span("self", "self", 3)) == ["b", "a", "self"]
    assert order(span("a"), span("b", "a", 1), span("a"), span("b", "a", 1)) == ["a", "b"]


def test_a_trace_deeper_than_pythons_stack_is_shown() -> None:
    """Depth is limited by memory only, and a deep tree still fits the terminal."""
    chain = [span(str(number), str(number - 1) if number else None, number) for number in range(3000)]
    assert len(rows(chain)) == 3000
    assert max(map(len, printed(*chain, width=80).splitlines())) <= 80


def test_failed_and_cancelled_spans_are_marked() -> None:
    """A failed span has a cross and its error's type, a cancelled one says so; others have neither."""
    text = printed(
        span("ok"),
        span("bad", "ok", 1, status="ERROR", error_type="23505"),
        span("cut", "ok", 2, causal_cancelled=True),
    )
    _, ok, bad, cut = text.splitlines()
    assert "├╴✗ bad (23505)" in bad
    assert "╰╴cut (cancelled)" in cut
    assert "✗" not in ok + cut


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Names are cut where they must be, and the duration always stays."""
    name = "GET /api/organisations/{organisation}/analyses/{analysis}/results"
    text = printed(
        span("1", name=name, kind="SERVER", service="a-service-with-a-long-name", end=1234),
        span("2", "1", 1, 800, name="図を読む" * 9, kind="PRODUCER", service="worker"),
        width=width,
        marks={"1": "1"},
    )
    lines = text.splitlines()
    assert len(lines) == 3
    assert all(cell_len(line) <= width for line in lines)
    if width >= 30:
        assert "1234.0 ms" in lines[1]
    if width >= 60:
        assert "SERVER" in lines[1]
        assert "a-service" in lines[1]
        assert "━━━━" in lines[1]


def test_wide_characters_keep_the_columns() -> None:
    """Columns stand below each other whether a name's characters are one or two cells wide."""
    _, first, second = printed(span("1", name="図を読む"), span("2", "1", name="read")).splitlines()
    assert cell_len(first.partition("INTERNAL")[0]) == cell_len(second.partition("INTERNAL")[0])


def test_names_cannot_play_with_the_terminal() -> None:
    """Control characters, escape sequences and line breaks in names reach no terminal."""
    text = printed(span("1", name="a\x1b[31mb\nc\u202ed", service="x\x07\ry"))
    assert len(text.splitlines()) == 2
    assert not set(text) & set("\x1b\x07\r\u202e")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_old_encodings_get_plain_characters(encoding: str) -> None:
    """Guides and bars are ASCII where the output cannot show others."""
    text = printed(span("1"), span("2", "1", 5, status="ERROR"), encoding=encoding, width=60)
    assert "`-! 2" in text
    assert "=====" in text
    assert text.isascii()


def test_marks_stand_before_their_rows() -> None:
    """A mark stands before its row, and the others are moved as far."""
    lines = printed(span("1"), span("2", "1", 5), marks={"2": "A"}).splitlines()
    assert [line[:5].rstrip() for line in lines[1:]] == ["  1", "A ╰╴2"]


def test_nothing_of_a_terminal_reaches_a_file() -> None:
    """Output that is no terminal gets no control codes, and no trailing spaces."""
    text = printed(span("1"), span("2", "1", 5))
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_no_spans_are_said_to_be_none() -> None:
    """An empty trace is a word, not an error."""
    assert printed() == "no spans\n"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0.0 ms"), (340_000, "0.3 ms"), (12_345_678, "12.3 ms"), (2_500_000_000, "2500.0 ms"), (10**10, "10.0 s")],
)
def test_durations_are_for_people(nanoseconds: int, text: str) -> None:
    """Milliseconds, which compare at a glance, and seconds where they would be too many."""
    assert duration(nanoseconds) == text


def test_spans_are_grouped_by_trace() -> None:
    """Each trace keeps its spans in the order of arrival."""
    grouped = by_trace([span("1"), span("2", trace_id="t2"), span("3", "1")])
    assert {trace: [one["span_id"] for one in found] for trace, found in grouped.items()} == {
        "t1": ["1", "3"],
        "t2": ["2"],
    }
