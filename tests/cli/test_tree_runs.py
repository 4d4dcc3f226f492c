"""Traces in a terminal: runs of equal siblings as one row, and where calls went and what they said."""

from __future__ import annotations

import itertools
import re
import statistics
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from causal_otel.cli.logs import with_logs
from causal_otel.cli.tree import TreeLine, explained_tree
from causal_otel.cli.tree_rows import explained_rows
from causal_otel.collector.analysis import Explained, LogView, TraceLogsView, build
from causal_otel.collector.analysis.runs import LEAST
from causal_otel.collector.units import format_duration
from tests.collector.analysis.making import BEGIN, MS, span, trace

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

STATEMENT = "SELECT id, quantity, price FROM order_items WHERE order_id = $1 ORDER BY id LIMIT 100"
QUERY = {
    "db.system.name": "postgresql",
    "server.address": "db.internal",
    "server.port": 5432,
    "db.query.text": STATEMENT,
}


def queries(lengths: list[float], *, fail: set[int] = frozenset(), parent: str = "load") -> list[ResourceSpans]:  # type: ignore[assignment]
    """Calls of one statement, one after the other, each of so many milliseconds."""
    starts = itertools.accumulate(lengths, lambda at, length: at + length + 0.25, initial=1.0)
    return [
        span(
            f"q{number}",
            parent,
            start,
            start + length,
            operation="SELECT order_items",
            kind="client",
            error=number in fail,
            attributes=QUERY,
        )
        for number, (start, length) in enumerate(zip(starts, lengths, strict=False))
    ]


def lines_of(*spans: ResourceSpans, width: int = 80, expand: bool = False, ascii_only: bool = False) -> list[TreeLine]:
    """The lines below the titles, without what the signs mean."""
    explained = Explained(build(trace(*spans)))
    path = explained.path("answer")
    rows = list(explained_rows(explained, expand=True)) if expand else None
    lines = list(explained_tree(explained, width, path=path, rows=rows, ascii_only=ascii_only))[1:]
    return [each for each in lines if not _text(each).startswith("In the bars")]


def _text(line: TreeLine) -> str:
    return "".join(text for text, _ in line.line).rstrip()


def _request(*below: ResourceSpans, end: float = 1000) -> list[ResourceSpans]:
    return [span("root", end=end, operation="GET /orders", kind="server"), *below]


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=40), st.sets(st.integers(0, 39), max_size=5))
def test_a_run_has_the_figures_of_its_spans(quarters: list[int], fail: set[int]) -> None:
    """How many, together, the median, the longest and the failed ones; few are no run."""
    lengths = [each / 4 for each in quarters]
    spans = _request(*queries(lengths, fail=fail, parent="root"), end=50_000)
    lines = lines_of(*spans, width=160)
    shown = [each for each in lines if "SELECT order_items" in _text(each)]
    assert sorted(each.index for line in lines for each in line.spans) == list(range(len(spans)))
    if len(lengths) < LEAST:
        assert len(shown) == len(lengths)
        return
    (row,) = shown
    below = next(_text(each) for each in lines if "p50 " in _text(each))
    durations = sorted(round(each * MS) for each in lengths)
    failed = len({each for each in fail if each < len(lengths)})
    assert f"{len(lengths)}× postgresql: SELECT order_items" in _text(row)
    assert f" {format_duration(sum(durations))} " in _text(row)
    assert f"p50 {format_duration(int(statistics.median_low(durations)))}, " in below
    assert f"max {format_duration(durations[-1])}" in below
    assert re.findall(r"(\d+) errors?", below) == ([str(failed)] if failed else [])
    assert ("✗" in _text(row)) == bool(failed)


def test_an_n_plus_one_is_marked() -> None:
    """With the number of the finding, as `causal-otel why` counts them; calls at the same time are none."""
    spans = _request(span("load", "root", 0, 900), *queries([20.0] * 30))
    explained = Explained(build(trace(*spans)))
    kinds = [each.kind for each in explained.explanation.findings]
    text = "\n".join(map(_text, lines_of(*spans)))
    assert f"N+1: finding {kinds.index('n_plus_one') + 1}" in text
    at_once = [
        span(f"q{number}", "root", number / 10, 900, operation="SELECT", kind="client", attributes=QUERY)
        for number in range(30)
    ]
    assert "N+1" not in "\n".join(map(_text, lines_of(*_request(*at_once))))


def test_a_run_can_be_expanded() -> None:
    """Then each span has its row, and what it called is below each."""
    spans = _request(*queries([20.0] * 6, parent="root"))
    lines = lines_of(*spans, expand=True)
    assert [len(each.spans) for each in lines if each.spans] == [1] * 7
    assert sum("SELECT id" in _text(each) for each in lines) == 6
    assert not any("p50" in _text(each) for each in lines)


def test_what_is_below_a_run_is_behind_its_row() -> None:
    """Its failures are told, and a span of the run that other spans are below is a member as any other."""
    loads = [span(f"l{number}", "root", 10 * number, 10 * number + 9, operation="load") for number in range(6)]
    below = [
        span(
            f"b{number}", f"l{number}", 10 * number, 10 * number + 5, operation="GET", kind="client", error=number == 3
        )
        for number in range(6)
    ]
    last = span("last", "root", 80, 90, operation="render")
    lines = lines_of(*_request(*loads, *below, last, end=100))
    names = [_text(each).split("  ")[0] for each in lines]
    assert names[:3] == ["GET /orders", "├╴6× load", "│"]
    assert "p50 9 ms, max 9 ms, 1 below" in _text(lines[2])
    assert "├╴render" in names
    assert [len(each.spans) for each in lines if each.spans] == [1, 12, 1]


def test_gaps_between_members_stand_behind_their_run() -> None:
    """They are no part of it; those of spans below it have no rows."""
    spans = _request(*queries([50.0, 50.0, 50.0, 50.0, 50.0], parent="root"), end=1000)
    lines = lines_of(*spans)
    names = [_text(each) for each in lines]
    assert names[-1].startswith("╰╴own code, nothing traced")
    rest = 1000 - (1 + 5 * 50.25 - 0.25)  # behind the last query
    assert f" {format_duration(round(rest * MS))} " in names[-1]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_where_calls_went_has_a_line_of_its_own(width: int, ascii_only: bool) -> None:
    """Host and statement have the whole width below the row, and the guides go on beside them."""
    spans = _request(
        span("load", "root", 0, 500, operation="load_all_orders_of_a_customer"),
        *queries([20.0] * 6),
        span("one", "load", 400, 410, operation="SELECT orders", kind="client", attributes=QUERY),
        span("call", "root", 600, 700, operation="GET", kind="client", attributes={"url.full": "https://b.example/v1"}),
    )
    lines = [_text(each) for each in lines_of(*spans, width=width, ascii_only=ascii_only)]
    assert max(map(cell_len, lines)) <= width
    details = [each for each in lines if "db.internal:5432" in each]
    assert len(details) == 2
    lead = "| " if ascii_only else "│ "
    for each in details:
        assert each.startswith(lead)
        said = each[each.index("db.") :].removesuffix("…")
        assert f"db.internal:5432  {STATEMENT}".startswith(said)
        assert cell_len(each) == width or said.endswith(STATEMENT)
    assert any(each.endswith("https://b.example/v1") for each in lines)
    assert any("6× postgresql" in each for each in lines) or width < 60
    if ascii_only:
        assert re.sub("[µ×]", "", "".join(lines)).isascii(), "which the screen writes as u and x"


def test_calls_of_a_run_that_differ_are_counted() -> None:
    """A row cannot show every address: it tells how many there are, and one."""
    calls = [
        span(
            f"c{number}", "root", 10 * number, 10 * number + 9, operation="GET", kind="client",
            attributes={"server.address": f"shard-{number % 2}", "db.query.text": f"GET item {number}"},
        )
        for number in range(5)
    ]  # fmt: skip
    text = "\n".join(map(_text, lines_of(*_request(*calls))))
    assert "2 addresses, as shard-0  5 statements, as GET item 0" in text


@pytest.mark.parametrize(
    ("kind", "attributes", "said"),
    [
        ("client", {"server.address": "::1", "server.port": 6379, "db.query.text": "GET ?"}, "[::1]:6379  GET ?"),
        ("client", {"server.address": "cache"}, "cache"),
        ("client", {"net.peer.name": "cache", "net.peer.port": 1, "db.statement": "GET ?"}, "cache:1  GET ?"),
        ("client", {"db.query.summary": "SELECT orders"}, "SELECT orders"),
        ("client", {"db.query.text": "SELECT\n  1\x1b[2J\u202e"}, "SELECT 1 [2J"),
        ("client", {"db.query.text": "called"}, None),
        ("producer", {"server.address": "rabbit", "server.port": 5672}, "rabbit:5672"),
        ("server", {"server.address": "api.example.com"}, None),
        ("internal", {"server.address": "api.example.com"}, None),
    ],
)
def test_what_a_call_says_of_itself(kind: str, attributes: dict[str, object], said: str | None) -> None:
    """By the stable conventions and by older ones, on one line; a server's own address is no news."""
    lines = lines_of(span("a", operation="called", kind=kind, attributes=attributes))
    found = [_text(each).strip() for each in lines[1:] if "nothing traced" not in _text(each)]
    assert found == ([] if said is None else [said])


def test_log_records_of_a_run_stand_below_its_row() -> None:
    """Those of all of its members, by their time."""
    spans = _request(*queries([20.0] * 6, parent="root"))
    view = build(trace(*spans))
    times = {each.span_id: each.start + 5 * MS for each in view.spans if each.kind == "client"}
    records = {
        span_id: [
            LogView(
                time=at, level="info", label="INFO", logger="app", said=f"said {number}", attributes={},
                service="api", span_id=span_id,
            )
        ]
        for number, (span_id, at) in enumerate(times.items())
    }  # fmt: skip
    logs = TraceLogsView(by_span=dict(reversed(records.items())))
    explained = Explained(view)
    tree = explained_tree(explained, 80, path=explained.path("answer"))
    shown = ["".join(text for text, _ in line).rstrip() for line in with_logs(tree, view, logs)]
    said = [each for each in shown if "said" in each]
    assert [each.rpartition(" ")[2] for each in said] == [str(number) for number in range(6)]
    assert shown.index(said[0]) > next(number for number, line in enumerate(shown) if "db.internal" in line)
    assert view.start == BEGIN
