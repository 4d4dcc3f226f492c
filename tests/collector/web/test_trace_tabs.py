"""The other views of a trace: its flame chart and its operations, against figures made of the spans themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from causal_otel.collector.analysis import Explained, SpanView, build
from causal_otel.collector.units import format_duration
from causal_otel.collector.web.by_operation import COLUMNS, by_operation
from causal_otel.collector.web.flame import MOST_BOXES, Merged, flame, merged
from causal_otel.collector.web.templating import share
from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_causes import CAUSES, causes
from tests.collector.web.sample_traces import ATTACK, Builder, broken, large, shop
from tests.collector.web.trace_site import ATTACKED, SHOP, application, parameter_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

_TRACES = [shop(), broken(), causes(), large(700)]


def _way(span: SpanView) -> tuple[tuple[str, str, str], ...]:
    own = (span.service, span.name, span.kind)
    return (*_way(span.parent), own) if span.parent is not None else (own,)


def _all(roots: list[Merged]) -> list[Merged]:
    return [each for root in roots for each in (root, *_all(root.below))]


@pytest.mark.parametrize("message", _TRACES)
def test_boxes_are_equal_spans_below_equal_spans(message: Any) -> None:
    """Count, total, own time and errors of a box are those of the spans with the same way of names from the root."""
    view = build(message)
    expected: defaultdict[Any, list[SpanView]] = defaultdict(list)
    for span in view.spans:
        expected[_way(span)].append(span)
    found = _all(merged(view))
    assert len(found) == len(expected)
    assert len({each.name for each in found}) == len(found)
    for each in found:
        spans = expected[_way(each.first)]
        assert each.first is spans[0]
        assert (each.calls, each.errors) == (len(spans), sum(span.error for span in spans))
        assert each.total == sum(span.duration for span in spans)
        assert each.own == sum(span.self_time for span in spans)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300), st.integers(0, 90)), min_size=1, max_size=40))
def test_boxes_lie_within_the_one_above(spans: list[tuple[int, int, int]]) -> None:
    """However spans overlap, no box sticks out of that above it, or lies on another; widths are in proportion."""
    b = Builder(SHOP)
    b.add("web", "root", None, 0, 100)
    for number, (parent, at, length) in enumerate(spans):
        b.add("web", f"op {number % 5}", min(parent, number) + 1, at, length)
    made = flame(build(b.message))
    boxes = {id(box.what): box for box in made.boxes}
    rows: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for box in made.boxes:
        rows[box.row].append((box.x, box.x + box.width))
        if box.what.above is not None:
            over = boxes[id(box.what.above)]
            assert over.row == box.row - 1
            assert over.x - 0.01 <= box.x
            assert box.x + box.width <= over.x + over.width + 0.01
    for places in rows.values():
        ordered = sorted(places)
        assert all(left[1] <= right[0] + 0.01 for left, right in pairwise(ordered))


def test_a_box_is_zoomed_to() -> None:
    """It is as wide as the chart then, below those that it is in; the rest is not drawn."""
    view = build(shop())
    target = next(each for each in _all(merged(view)) if each.first.name == "POST /orders")
    made = flame(view, target.name)
    assert made.zoomed
    whole = [box.what for box in made.boxes if box.width == 100.0]
    assert [each.first.name for each in whole[:3]] == ["POST /checkout", "POST", "POST /orders"]
    below = {each.name for each in _all([target])}
    assert {box.what.name for box in made.boxes if box.row > 2} <= below
    assert not flame(view, "nonsense").zoomed


def test_a_flame_chart_is_bounded() -> None:
    """Of a trace with very many different calls some boxes are drawn, the wide ones, and the rest is counted."""
    view = build(large(6000))
    made = flame(view)
    assert len(made.boxes) <= MOST_BOXES
    assert len(made.boxes) + made.left_out == len(_all(merged(view)))


@pytest.mark.parametrize("message", _TRACES)
def test_operations_add_up(message: Any) -> None:
    """Each row is the sum over its spans; together they are the trace, and the whole critical path."""
    explained = Explained(build(message))
    view = explained.view
    rows = by_operation(explained, "end", "total").rows
    groups: defaultdict[Any, list[SpanView]] = defaultdict(list)
    for span in view.spans:
        groups[span.service, span.name, span.kind, span.system].append(span)
    assert len(rows) == len(groups)
    path = explained.path("end")
    whole = sum(segment.duration for segment in path)
    for row in rows:
        first = row.first
        spans = groups[first.service, first.name, first.kind, first.system]
        assert (row.calls, row.errors) == (len(spans), sum(span.error for span in spans))
        assert (row.total, row.own) == (sum(each.duration for each in spans), sum(each.self_time for each in spans))
        mine = sum(segment.duration for segment in path if segment.span in spans)
        assert row.path == pytest.approx(mine / whole)
    assert sum(row.path for row in rows) == pytest.approx(1)


def test_operations_are_sorted_by_every_column() -> None:
    """By names from a to z, by figures the largest first; the other way round if that is asked for."""
    explained = Explained(build(shop()))
    for name, _ in COLUMNS:
        rows = by_operation(explained, "answer", name).rows
        backwards = by_operation(explained, "answer", name, ascending=True).rows
        assert {id(each.first) for each in rows} == {id(each.first) for each in backwards}
        if name in ("service", "operation"):
            keys = [each.first.service if name == "service" else each.first.name for each in rows]
            assert keys == sorted(keys)
        else:
            assert [getattr(each, name) for each in rows] == sorted(
                (getattr(each, name) for each in rows), reverse=True
            )
            figures = [getattr(each, name) for each in backwards]
            assert figures == sorted(figures)


@pytest.fixture
def base(serve: Callable[[ASGIApp], str]) -> str:
    """Where a browser finds the pages over the traces."""
    attack = Builder(ATTACKED)
    attack.add(ATTACK, ATTACK, None, 0, 100, "server", error=ATTACK)
    for number in range(4):
        attack.add(ATTACK, ATTACK, 1, 20 * number, 10, "client", db__system__name=ATTACK)
    return serve(application(MemoryReader([shop(), causes(), attack.message])))


@pytest.mark.parametrize("javascript", [True, False])
def test_the_table_shows_and_sorts(base: str, open_page: OpenPage, javascript: bool) -> None:
    """Rows are what was computed, columns sort by links, and a name leads to the waterfall with its spans alone."""
    page = open_page(f"{base}/trace/{SHOP}", javascript=javascript)
    page.click("#tab-operations")
    page.wait_for_selector(".operations-table")
    rows = by_operation(Explained(build(shop())), "answer", "total").rows
    shown = page.locator(".operations-table tbody tr")
    for number, row in enumerate(rows):
        cells = shown.nth(number).locator("td").all_inner_texts()
        assert row.first.name in cells[1]
        assert cells[2:5] == [str(row.calls), format_duration(row.total), format_duration(row.own)]
        assert cells[5] == (share(row.path) if row.path else "")
    screenshot(page, "trace-by-operation")
    page.click(".operations-table th >> text=Spans")
    page.wait_for_function("() => new URL(location.href).searchParams.get('sort') === 'calls'")
    page.wait_for_function("() => document.querySelector('.operations-table tbody tr').innerText.includes('UPDATE')")
    page.click(".operations-table >> text=UPDATE stock")
    page.wait_for_selector("#waterfall")
    assert page.locator(".row b").all_inner_texts() == ["UPDATE stock"] * 4
    assert "19 spans are hidden" in page.inner_text(".narrowed")
    page.click(".narrowed >> text=Show all")
    page.wait_for_function("() => document.querySelectorAll('.row:not(.gap)').length === 23")


@pytest.mark.parametrize("javascript", [True, False])
def test_the_flame_chart_zooms(base: str, open_page: OpenPage, javascript: bool) -> None:
    """A click on a box makes it as wide as the chart, and a button shows all again; every box says what it is."""
    page = open_page(f"{base}/trace/{SHOP}?tab=flame", javascript=javascript)
    boxes = flame(build(shop())).boxes
    assert page.locator(".flame a").count() == len(boxes)
    titles = page.locator(".flame title").evaluate_all("all => all.map((each) => each.textContent)")
    for box, title in zip(boxes, titles, strict=True):
        what = box.what
        assert f"{what.first.service} {what.first.name}: {what.calls} span" in title
        assert format_duration(what.total) in title
    screenshot(page, "trace-flame")
    page.click(".flame a[aria-label^='payments POST /charge']")
    page.wait_for_selector("text=Whole trace")
    assert parameter_of(page.url, "box")
    assert page.locator(".flame svg[width='100.0%']").count() >= 5
    page.click("text=Whole trace")
    page.wait_for_function(f"() => document.querySelectorAll('.flame a').length === {len(boxes)}")
    assert parameter_of(page.url, "box") is None


def test_tabs_keep_the_rest_of_the_state(base: str, open_page: OpenPage) -> None:
    """What is open, found and marked is so again on the way back."""
    page = open_page(f"{base}/trace/{SHOP}?span={Builder.id(7)}&critical=answer&find=card")
    for tab in ("flame", "operations", "logs"):
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"#tab-{tab}[aria-current=page]")
        assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
    page.keyboard.press("n")
    page.keyboard.press("j")
    page.click("#tab-waterfall")
    page.wait_for_selector(f"#s-{Builder.id(7)} + .details")
    assert page.locator("#waterfall.critical").count() == 1
    assert page.locator(".row.hit").count() > 1
    page.click("#tab-flame")
    page.wait_for_selector(".flame")
    page.click("#why a[data-span] >> nth=0")
    page.wait_for_selector(".details")


def test_scripts_in_names_are_inert(base: str, open_page: OpenPage) -> None:
    """Neither boxes nor tables nor what is said of what is hidden make markup of a name."""
    for query in ("tab=flame", "tab=operations", "operation=%3Cimg%20src%3Dx%3E&hide=%3Cimg%20src%3Dx%3E&shortest=1us"):
        page = open_page(f"{base}/trace/{ATTACKED}?{query}")
        assert page.evaluate("window.pwned") is None
        assert page.evaluate("document.querySelectorAll('main img, main [onload], main [onerror]').length") == 0
        assert page.evaluate("[...document.links].every(link => link.href.startsWith(location.origin + '/'))")
    text = TestClient(application(MemoryReader([causes()]))).get(f"/trace/{CAUSES}?tab=nonsense&box=<b>&sort=<b>").text
    assert "<b>&" not in text
    assert not re.search(r"<[a-z][^<>]*\sstyle=", text)
