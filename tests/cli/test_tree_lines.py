"""Traces in a terminal: guides, bars, widths and damage."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from causal_otel.causality.critical_path import critical_path
from causal_otel.cli.bars import Part, bar
from causal_otel.cli.tree import explained_tree, tree
from causal_otel.collector.analysis import Explained, build
from causal_otel.terminal.screen import Screen
from tests.collector.analysis.making import span, span_id, trace

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans


def _shown(
    *spans: ResourceSpans,
    width: int = 100,
    encoding: str = "utf-8",
    marks: dict[str, str] | None = None,
    path: bool = False,
) -> list[str]:
    """What a file with that encoding gets."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, newline="") as stream:
        screen, view = Screen(stream, width), build(trace(*spans))
        segments = critical_path(view) if path else None
        for line in tree(view, width, path=segments, marks=marks, ascii_only=screen.ascii_only):
            screen.print(*line)
        stream.flush()
        return raw.getvalue().decode(encoding).splitlines()


def _explained(*spans: ResourceSpans, width: int = 120, ascii_only: bool = False) -> list[str]:
    """The lines of their tree with all that is known of them, without the titles."""
    explained = Explained(build(trace(*spans)))
    lines = list(explained_tree(explained, width, path=explained.path("answer"), ascii_only=ascii_only))
    shown = [span for each in lines for span in each.spans]
    assert shown == list(explained.view.spans)
    return ["".join(text for text, _ in each.line).rstrip() for each in lines[1:]]


def test_guides_lead_from_parent_to_child() -> None:
    """A level goes on with a bar while there are more siblings, and ends with an elbow."""
    lines = _shown(span("root"), span("a", "root", 1), span("a1", "a", 2), span("b", "root", 5), span("b1", "b", 6))
    assert [line.split(" api ")[0].rstrip() for line in lines[1:]] == ["root", "├╴a", "│ ╰╴a1", "╰╴b", "  ╰╴b1"]


def test_rows_tell_service_kind_and_duration() -> None:
    """Each line holds the span's name, database, service, kind and duration."""
    query = {"db.system.name": "postgresql"}
    _, first, second = _shown(
        span("1", operation="POST /orders", kind="server", end=42),
        span("2", "1", 10, 22.25, operation="SELECT orders", kind="client", service="worker", attributes=query),
    )
    assert first.split()[:6] == ["POST", "/orders", "api", "server", "42", "ms"]
    assert second.split()[:7] == ["╰╴postgresql:", "SELECT", "orders", "worker", "client", "12.2", "ms"]


def test_bars_share_one_time_axis() -> None:
    """Bars of all services are drawn from the start of the whole trace to its end."""
    head, *lines = _shown(
        span("1", end=50), span("2", "1", 0, 25, service="worker"), span("3", "2", 75, 100, service="scoring")
    )
    axis = head.index(" 0 ") + 1
    width = len(head) - axis
    bars = [line[axis:].ljust(width) for line in lines]
    assert head.endswith("100 ms")
    assert [len(found.rstrip()) / width for found in bars] == pytest.approx([0.5, 0.25, 1], abs=0.04)
    assert (len(bars[2]) - len(bars[2].lstrip())) / width == pytest.approx(0.75, abs=0.04)


def test_the_critical_path_is_heavy() -> None:
    """What held up the end is drawn with a heavy line, what did not with a light one."""
    _, root, waited, beside = _shown(span("root", end=10), span("a", "root", 0, 8), span("b", "root", 1, 6), path=True)
    assert "━" in root
    assert "─" in root
    assert "━" in waited
    assert "─" not in waited
    assert "━" not in beside


@pytest.mark.parametrize(
    ("start", "end", "total", "drawn"),
    [
        (0, 10, 10, "━━━━━"),
        (0, 5, 10, "━━╸  "),
        (5, 10, 10, "  ╺━━"),
        (5, 5, 10, "  ╺  "),
        (10, 10, 10, "    ╺"),
        (0, 0, 0, "━━━━━"),
        (-5, 20, 10, "━━━━━"),
    ],
)
def test_bars_are_exact_to_half_a_character(start: int, end: int, total: int, drawn: str) -> None:
    """Rounding never hides a span, nor draws beyond the axis."""
    assert bar([(start, end)], total, 5) == drawn


def test_parts_have_signs_of_their_own() -> None:
    """Waiting, connecting, reading and stalls are told from the rest, on the critical path and beside it."""
    parts = [Part("waiting", 0, 2), Part("connecting", 2, 4), Part("loop blocked", 6, 8), Part("reading", 8, 10)]
    assert bar([(0, 10)], 10, 5, parts=parts) == "▒╍━╳┉"
    assert bar([(0, 10)], 10, 5, parts=parts, heavy=[]) == "░╌─×┈"
    assert bar([(0, 10)], 10, 5, parts=parts, heavy=[(0, 3)], ascii_only=True) == "WC-xf"


def test_a_wait_before_a_span_is_before_its_bar() -> None:
    """It has its own sign, and nothing is drawn where neither was."""
    assert bar([(6, 10)], 10, 5, parts=[Part("before", 2, 6)], heavy=[(6, 10)]) == " ··━━"
    assert bar([(6, 10)], 10, 5, parts=[Part("before", 2, 6)], heavy=[(4, 10)]) == " ·•━━"


def test_parts_too_short_to_be_seen_are_not_drawn() -> None:
    """A bar keeps its shape where a part is shorter than half a character."""
    assert bar([(0, 10)], 10, 5, parts=[Part("waiting", 0, 0), Part("waiting", 3, 3)]) == "━━━━━"


def test_bars_change_their_weight_within_a_character() -> None:
    """Heavy parts meet light ones at half a character."""
    assert bar([(0, 10)], 10, 5, heavy=[(3, 5)]) == "─╼╾──"
    assert bar([(1, 9)], 10, 5, heavy=[]) == "╶───╴"
    assert bar([(1, 9)], 10, 5, heavy=[(3, 5)], ascii_only=True) == "-==--"


@given(*(st.integers(-10, 200),) * 3, st.integers(1, 80), st.none() | st.lists(st.tuples(st.integers(), st.integers())))
def test_bars_fill_their_width(
    start: int, end: int, total: int, width: int, heavy: list[tuple[int, int]] | None
) -> None:
    """Whatever the times, a bar has its width, and something is drawn."""
    drawn = bar([(start, end)], total, width, heavy=heavy)
    assert len(drawn) == width
    assert drawn.strip()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_lines_fit(width: int) -> None:
    """No line is longer than the terminal is wide, however long and wide the names are."""
    lines = _shown(
        span("1", operation="漢字" * 40, service="サービス" * 10, end=1000),
        span("2", "1", operation="e\u0301" * 90, attributes={"db.system.name": "x" * 90}),
        span("3", "2", operation="🎉" * 90, error=True),
        width=width,
    )
    assert len(lines) == 4
    assert max(map(cell_len, lines)) <= max(width, 22)
    assert width < 40 or " 1 s " in lines[1], "the duration stays"


def test_deep_trees_keep_their_names() -> None:
    """Beyond some levels the indentation grows no more."""
    names = [f"s{number}" for number in range(300)]
    lines = _shown(*(span(name, parent) for parent, name in itertools.pairwise(["", *names])), width=80)
    assert len(lines) == 301
    assert all(name in line for name, line in zip(names, lines[1:], strict=True))


def test_what_is_special_is_said() -> None:
    """Failed, cancelled and orphaned spans say so."""
    lines = _shown(
        span("a", error=True, attributes={"error.type": "500"}),
        span("b", "a", 1, attributes={"causal.cancelled": True}),
        span("c", "gone", 2),
    )
    assert "✗ a (500) " in lines[1]
    assert "b (cancelled) " in lines[2]
    assert "c (parent not received) " in lines[3]


def test_how_an_attempt_at_a_task_ended_is_said() -> None:
    """What Celery says of an attempt that is no error, and the class of an error without its module."""
    lines = _shown(
        span("a", attributes={"celery.task.state": "SUCCESS"}),
        span("b", "a", 1, attributes={"celery.task.state": "RETRY"}),
        span("c", "a", 2, attributes={"celery.task.state": "REVOKED", "celery.task.revoke.reason": "expired"}),
        span("d", "a", 3, error=True, attributes={"celery.task.state": "FAILURE", "error.type": "billiard.WorkerLost"}),
    )
    assert [line.split(" api ")[0].strip() for line in lines[1:]] == [
        "a", "├╴b (retry)", "├╴c (expired)", "╰╴✗ d (WorkerLost)",
    ]  # fmt: skip


def test_names_cannot_steer_the_terminal() -> None:
    """Control characters of names, services and attributes arrive as spaces."""
    text = "\n".join(
        _shown(span("1", operation="a\x1b[2Jb\nc\u202e", service="s\x07", attributes={"db.system.name": "\r"}))
    )
    assert "a [2Jb c" in text
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(text)
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_old_encodings_get_plain_characters(encoding: str) -> None:
    """Guides, bars and units are ASCII where the output cannot show others."""
    lines = _shown(span("1", end=0.5), span("2", "1", 0.1, 0.2, error=True), encoding=encoding, width=60, path=True)
    text = "\n".join(lines)
    assert "`-! 2" in text
    assert "==" in text
    assert "100 us" in text
    assert text.isascii()


def test_a_tree_shows_where_the_time_went() -> None:
    """Parts are in the bars, gaps are lines among the children, and the last line says what the signs mean."""
    lines = _explained(
        span("1", end=100, operation="GET /"),
        span("2", "1", 0, 50, operation="SELECT", kind="client", attributes={"causal.pool.wait": 0.04}),
        span("3", "1", 80, 100, operation="GET", kind="client"),
    )
    assert [line.split("  ")[0] for line in lines[:4]] == [
        "GET /", "├╴SELECT", "├╴own code, nothing traced", "╰╴GET",
    ]  # fmt: skip
    assert lines[1].count("▒") > 2 * lines[1].count("━") > 0
    assert "30 ms" in lines[2]
    assert lines[2].endswith("┅")
    assert lines[4] == "In the bars: ░▒ waiting for a connection, a thread, a lock ..., ┄┅ nothing traced"


def test_a_gap_after_deeper_spans_has_its_own_guide() -> None:
    """The lines of a level lead to the gap that ends it."""
    lines = _explained(
        span("1", end=100),
        span("2", "1", 0, 60),
        span("3", "2", 0, 30, kind="client"),
        span("4", "1", 95, 100, kind="client"),
    )
    assert [line.partition("   ")[0].rstrip() for line in lines] == [
        "1", "├╴2", "│ ├╴3", "│ ╰╴own code, nothing traced", "├╴own code, nothing traced", "╰╴4",
        "In the bars: ┄┅ nothing traced",
    ]  # fmt: skip


def test_a_tree_without_signs_explains_none() -> None:
    """Where there are but lines, there is no legend."""
    assert len(_explained(span("1", kind="client"))) == 1


def test_a_stall_is_drawn_as_one() -> None:
    """The record of a stall is blocked all along, and its victim where it was."""
    frame = {"causal.block.frame": "a.py:1 f()"}
    root, gap, stall, legend = _explained(
        span("1", end=100, attributes={"causal.loop.blocked": 0.05}),
        span("2", "1", 50, 100, operation="loop blocked", attributes=frame),
    )
    assert gap.startswith("├╴own code, nothing traced")
    assert root.count("×") + root.count("╳") == stall.count("╳") > 3
    assert "━" not in stall
    assert legend == "In the bars: ×╳ loop blocked, ┄┅ nothing traced"


def test_tasks_are_marked() -> None:
    """Behind a span stands its task, where that is another one than above, and whether nobody awaited it."""
    lines = _explained(
        span("1", end=100, kind="client"),
        span("2", "1", 0, 50, kind="client", attributes={"causal.task": 2, "causal.task.name": "re\x1bload"}),
        span("3", "2", 0, 40, kind="client"),
        span("4", "1", 60, 200, kind="client", attributes={"causal.task": 3, "causal.task.unawaited": True}),
    )
    assert [line.split("  ")[0].rstrip() for line in lines[:4]] == [
        "1", "├╴2 #2 re load", "│ ╰╴3", "╰╴4 #3 (nobody awaited it)",
    ]  # fmt: skip


def test_old_encodings_get_letters_for_parts() -> None:
    """Where only ASCII can be drawn, parts are letters: capital ones on the critical path."""
    lines = _explained(
        span("1", end=100, kind="client", attributes={"causal.pool.wait": 0.05, "causal.queue.wait": 0.1}),
        ascii_only=True,
    )
    assert "WWW" in lines[0]
    assert lines[1].startswith("In the bars: wW waiting for")
    assert "".join(lines).isascii()


def test_marks_stand_before_their_rows() -> None:
    """A mark stands before its line, and the others are moved as far."""
    lines = _shown(span("1"), span("2", "1", 5), marks={span_id("2"): "A"})
    assert [line[:5].rstrip() for line in lines[1:]] == ["  1", "A ╰╴2"]


def test_nothing_of_a_terminal_reaches_a_file() -> None:
    """Output that is no terminal gets no control codes, and no trailing spaces."""
    lines = _shown(span("1"), span("2", "1", 5))
    assert "\x1b" not in "".join(lines)
    assert all(line == line.rstrip() for line in lines)


def test_no_spans_are_said_to_be_none() -> None:
    """An empty trace is a word, not an error."""
    assert _shown() == ["no spans"]
