"""Runs of equal siblings are one row, and no span is lost by that, whatever is hidden, folded, or out of the window."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_otel.collector.analysis import Explained, SpanView, build
from causal_otel.collector.analysis.runs import LEAST, n_plus_one
from causal_otel.collector.web import layout as layouts
from causal_otel.collector.web.bars import Axis
from causal_otel.collector.web.layout import PAGE, Layout, Shown, lay_out, stops
from causal_otel.collector.web.narrowing import Narrowing, Window
from causal_otel.collector.web.run_rows import PathIndex, run_view
from tests.collector.web.sample_traces import Builder

_TRACE = "5b8aa5a2d2c872e8321cf37308d69df2"


def _loop(count: int, *between: str) -> Builder:
    """A request that makes the same call again and again; after every hundredth comes one of ``between``."""
    b = Builder(_TRACE)
    b.add("web", "GET /", None, 0, 3 * count, "server")
    others = list(between)
    for number in range(count):
        b.add("web", "SELECT items", 1, 3 * number, 1 + number % 2, "client", db__system__name="postgresql",
              error="failed" if number % 7 == 6 else None)  # fmt: skip
        if others and number % 100 == 99:
            b.add("web", others.pop(), 1, 3 * number + 2, 0.5)
    return b


def _rows(layout: Layout) -> list[str]:
    found = []
    for place in layout.places:
        name = place.span.name
        if place.run is not None:
            name = f"{len(place.run.spans)}× {name}{' open' if place.expanded else ''}"
        elif place.more is not None:
            name = f"{place.more.count} {'before' if place.more.before else 'more'}"
        elif place.gap is not None:
            name = "gap"
        found.append("  " * place.level + name)
    return found


def _laid_out(b: Builder, shown: Shown | None = None, *, gaps: bool = False) -> Layout:
    return lay_out(Explained(build(b.message)), shown or Shown(), gaps=gaps)


def test_equal_siblings_in_a_row_are_one() -> None:
    """Five are a row, four are not; another sibling between them is between two runs."""
    assert _rows(_laid_out(_loop(LEAST))) == ["GET /", "  5× SELECT items"]
    assert _rows(_laid_out(_loop(LEAST - 1))) == ["GET /", *["  SELECT items"] * 4]
    assert _rows(_laid_out(_loop(200, "commit"))) == ["GET /", "  100× SELECT items", "  commit", "  100× SELECT items"]


@pytest.mark.parametrize("what", ["service", "kind", "system", "name", "parent"])
def test_what_differs_is_another_run(what: str) -> None:
    """Spans are equal by service, kind, system and name, below one parent."""
    b = Builder(_TRACE)
    b.add("web", "GET /", None, 0, 100, "server")
    if what == "parent":
        b.add("web", "step", 1, 60, 40)
    for number in range(10):
        other = number >= 5
        b.add(
            "db" if other and what == "service" else "web",
            "UPDATE" if other and what == "name" else "GET",
            2 if other and what == "parent" else 1,
            10 * number,
            5,
            "producer" if other and what == "kind" else "client",
            db__system__name="redis" if other and what == "system" else "postgresql",
        )
    runs = [place.run for place in _laid_out(b).places if place.run]
    assert [len(run.spans) for run in runs] == [5, 5]


def test_a_run_may_have_what_is_below_it() -> None:
    """Members need not be leaves: the row counts the members, and hides what is below them, in which are runs again."""
    b = Builder(_TRACE)
    b.add("web", "GET /", None, 0, 1000, "server")
    for number in range(6):
        item = b.count + 1
        b.add("web", "item", 1, 100 * number, 90)
        for call in range(number):
            b.add("web", "SELECT", item, 100 * number + 10 * call, 5, "client")
    closed = _laid_out(b)
    assert _rows(closed) == ["GET /", "  6× item"]
    assert closed.places[1].inside == 6 + 15
    opened = _laid_out(b, Shown(runs=[Builder.id(2)]))
    assert _rows(opened)[:5] == ["GET /", "  6× item open", "    item", "    item", "      SELECT"]
    assert _rows(opened)[-2:] == ["    item", "      5× SELECT"]


def test_a_run_is_opened_page_by_page() -> None:
    """The page that is shown is that with the member that was asked for, last with that whose details are open."""
    b = _loop(2 * PAGE + 30)
    first = _laid_out(b, Shown(runs=[Builder.id(2)]))
    assert _rows(first)[:3] == ["GET /", f"  {2 * PAGE + 30}× SELECT items open", "    SELECT items"]
    assert _rows(first)[-1] == f"    {PAGE + 30} more"
    more = first.places[-1].more
    assert more is not None
    second = _laid_out(b, Shown(runs=[more.target.span_id]))
    assert _rows(second)[2] == f"    {PAGE} before"
    assert _rows(second)[-1] == "    30 more"
    assert len(second.places) == PAGE + 4
    last = _laid_out(b, Shown(runs=[Builder.id(2)], opened=[Builder.id(2 * PAGE + 20)]))
    assert _rows(last)[2] == f"    {2 * PAGE} before"
    assert build(b.message).span(Builder.id(2 * PAGE + 20)).index in last.own  # type: ignore[union-attr]


def test_the_figures_of_a_run_are_those_of_its_members() -> None:
    """Count, total, median, longest and errors are what comes of the spans themselves."""
    seen = 0
    for seed in range(6):
        b = Builder(_TRACE)
        numbers = random.Random(seed)
        b.add("web", "GET /", None, 0, 5000, "server")
        count = numbers.randrange(5, 200)
        for number in range(count):
            failed = "x" if numbers.random() < 0.2 else None
            b.add("web", "call", 1, 20 * number, numbers.random() * 15, error=failed)
        explained = Explained(build(b.message))
        (place,) = (each for each in lay_out(explained, Shown()).places if each.run)
        assert place.run is not None
        view = explained.view
        made = run_view(
            place.run,
            axis=Axis(view.start, view.duration),
            path=PathIndex(explained.path("answer")),
            end=len(view.spans),
            findings={},
            expanded=False,
        )
        members = [span for span in view.spans if span.name == "call"]
        durations = sorted(span.duration for span in members)
        assert (made.count, place.run.total) == (count, sum(durations))
        assert place.run.p50 in durations
        assert sum(each <= place.run.p50 for each in durations) >= count / 2
        assert sum(each >= place.run.p50 for each in durations) >= count / 2
        assert place.run.longest.duration == durations[-1]
        assert made.errors == sum(span.error for span in members)
        assert made.failed_id == next((span.span_id for span in members if span.error), "")
        seen += bool(made.path_id)
    assert seen


def test_an_n_plus_one_is_told_at_its_run() -> None:
    """The row leads to the finding that says so; the number is that of the list above the waterfall."""
    b = Builder(_TRACE)
    b.add("web", "GET /", None, 0, 100, "server")
    for number in range(40):
        b.add("web", "SELECT items", 1, 2 * number, 2, "client", db__system__name="postgresql",
              db__query__text="SELECT * FROM items WHERE id = $1")  # fmt: skip
    explained = Explained(build(b.message))
    (number,) = set(n_plus_one(explained).values())
    assert explained.explanation.findings[number - 1].kind == "n_plus_one"


def test_gaps_stand_among_the_members_of_an_open_run() -> None:
    """They are on the level of the members between which they lie; with the run closed they follow it."""
    b = Builder(_TRACE)
    b.add("web", "GET /", None, 0, 1000, "server")
    for number in range(5):
        b.add("web", "GET", 1, 100 + 200 * number, 90 if number else 50, "client", db__system__name="redis")
    closed = _rows(_laid_out(b, gaps=True))
    assert closed[:3] == ["GET /", "  gap", "  5× GET"]
    assert set(closed[3:]) == {"  gap"}
    opened = _rows(_laid_out(b, Shown(runs=[Builder.id(2)]), gaps=True))
    assert opened[:6] == ["GET /", "  gap", "  5× GET open", "    GET", "    gap", "    GET"]
    assert len(closed) + 5 == len(opened)


def test_every_failed_span_can_be_stopped_at() -> None:
    """A stop is a span's own row, or the row of the run that it is in: one for each run, however many have failed."""
    b = _loop(300)
    explained = Explained(build(b.message))
    failed = [span for span in explained.view.spans if span.error]
    closed = lay_out(explained, Shown())
    (stop,) = stops(closed, failed)
    assert (stop.span_id, closed.places[stop.row].run is not None, stop.number) == (failed[0].span_id, True, 1)
    opened = lay_out(explained, Shown(opened=[stop.span_id]))
    found = stops(opened, failed)
    assert [each.span_id for each in found] == [span.span_id for span in failed]
    assert all(opened.places[each.row].span.span_id == each.span_id for each in found)


def _homes(explained: Explained, layout: Layout) -> None:
    """Check that each span is at exactly one place, and that rows are a tree."""
    spans = explained.view.spans
    rows = [place.span.index for place in layout.places if place.is_span]
    assert len(set(rows)) == len(rows)
    assert rows == sorted(rows)
    assert all(layout.places[number].span.index == index for index, number in layout.own.items())
    inside = sum(place.inside for place in layout.places)
    accounted = len(rows) + inside + layout.hidden + layout.outside + layout.left_out + layout.folded
    assert accounted == len(spans)
    level = -1
    for place in layout.places:
        assert place.level <= level + 1
        level = place.level
    for span in spans:
        home = layout.places[layout.home[span.index]] if layout.places else None
        if span.index in layout.own:
            assert home is not None
            assert home.span is span


_ids = st.sampled_from(range(1, 61))


@st.composite
def _traces(draw: st.DrawFn) -> Builder:
    """Trees in which equal siblings are frequent."""
    b = Builder(_TRACE)
    count = draw(st.integers(1, 60))
    for number in range(count):
        parent = draw(st.one_of(st.none(), st.integers(1, max(1, min(number, 4))))) if number else None
        b.add(
            draw(st.sampled_from(("web", "web", "web", "db"))),
            draw(st.sampled_from(("GET", "GET", "GET", "SET"))),
            parent,
            number,
            draw(st.sampled_from((1, 5, 60))),
            draw(st.sampled_from(("client", "client", "internal"))),
            error=draw(st.sampled_from((None, None, "x"))),
        )
    return b


@settings(max_examples=80, deadline=None)
@given(
    b=_traces(),
    collapsed=st.lists(_ids, max_size=4),
    opened=st.lists(_ids, max_size=2),
    runs=st.lists(_ids, max_size=4),
    narrowing=st.builds(
        Narrowing,
        services=st.sampled_from(((), ("db",), ("web", "db"))),
        kinds=st.sampled_from(((), ("internal",))),
        shortest=st.sampled_from(("", "2ms")),
        only=st.sampled_from(((), (("operation", "GET"),))),
    ),
    window=st.one_of(st.none(), st.builds(Window, st.integers(0, 30_000_000), st.integers(30_000_001, 10**8))),
    limit=st.sampled_from((10_000, 10)),
    page=st.sampled_from((500, 3)),
    gaps=st.booleans(),
    first=st.booleans(),
)
def test_no_span_is_lost(
    b: Builder,
    collapsed: Sequence[int],
    opened: Sequence[int],
    runs: Sequence[int],
    narrowing: Narrowing,
    window: Window | None,
    limit: int,
    page: int,
    gaps: bool,
    first: bool,
) -> None:
    """Each span has one row, is in one run, or is counted as hidden, outside, folded or left out."""
    ids = [list(map(Builder.id, each)) for each in (collapsed, opened, runs)]
    explained = Explained(build(b.message))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(layouts, "ROWS_LIMIT", limit)
        patched.setattr(layouts, "FIRST_ROWS", limit)
        patched.setattr(layouts, "PAGE", page)
        shown_now = Shown(ids[0], ids[1], ids[2], narrowing, window)
        layout = lay_out(explained, shown_now, gaps=gaps)
        if first and not ids[0]:
            assert layout.folded == 0
            assert lay_out(explained, shown_now, gaps=gaps, first=True) == replace(
                layout, partial=False, first=layout.partial
            )
    _homes(explained, layout)
    shown = [explained.view.span(each) for each in ids[1]]
    if not layout.partial and not ids[0] and len(shown) == 1 and shown[0] is not None:
        assert shown[0].index in layout.own, "a span that is asked for has its row"
    failed: list[SpanView] = [span for span in explained.view.spans if span.error]
    for stop in stops(layout, failed):
        assert 0 <= stop.row < max(1, len(layout.places))
