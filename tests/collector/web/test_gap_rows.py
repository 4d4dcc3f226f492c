"""Rows of gaps: where nothing that is traced ran, though the trace waited for it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.analysis import Explained, build
from causal_otel.collector.web.layout import Shown, lay_out
from causal_otel.collector.web.waterfall import Waterfall, waterfall
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_causes import CAUSES, causes
from tests.collector.web.sample_traces import Builder
from tests.collector.web.trace_site import SHOP, application

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


def _nested() -> Builder:
    """A request with gaps of its own, and a child with gaps between its children and after them."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 1000, "server")
    b.add("web", "step", 1, 100, 600)
    b.add("web", "SELECT a", 2, 150, 100, "client", db__system__name="redis")
    b.add("web", "SELECT b", 2, 400, 200, "client", db__system__name="redis")
    b.add("web", "SELECT c", 1, 800, 100, "client", db__system__name="redis")
    return b


def _rows(made: Waterfall) -> list[str]:
    return [
        f"{'  ' * row.indent}{f'({row.took})' if row.kind == 'gap' else row.span.name}{' hidden' if row.hidden else ''}"
        for chunk in made.chunks
        for row in chunk.rows
    ]


def _waterfall(builder: Builder, *collapsed: str) -> Waterfall:
    explained = Explained(build(builder.message))
    return waterfall(explained, {"web": 1}, lay_out(explained, Shown(collapsed)), collapsed=collapsed)


def test_gaps_stand_among_the_children_by_time() -> None:
    """A gap is below its span, before the first child that starts after it, and after all that ended before."""
    assert _rows(_waterfall(_nested())) == [
        "GET /",
        "  (100 ms)",
        "  step",
        "    (50 ms)",
        "    SELECT a",
        "    (150 ms)",
        "    SELECT b",
        "    (100 ms)",
        "  (100 ms)",
        "  SELECT c",
        "  (100 ms)",
    ]


def test_gaps_are_hidden_with_the_children() -> None:
    """What is collapsed hides the gaps in its time, and those of what is below it."""
    assert _rows(_waterfall(_nested(), Builder.id(2))) == [
        "GET /",
        "  (100 ms)",
        "  step",
        "    (50 ms) hidden",
        "    SELECT a hidden",
        "    (150 ms) hidden",
        "    SELECT b hidden",
        "    (100 ms) hidden",
        "  (100 ms)",
        "  SELECT c",
        "  (100 ms)",
    ]
    assert all(row.endswith("hidden") for row in _rows(_waterfall(_nested(), Builder.id(1)))[1:])


def test_scripts_know_how_many_rows_each_hides() -> None:
    """Gaps have no id; they count among what is hidden, not among the spans below."""
    made = _waterfall(_nested())
    assert made.index[0] == (Builder.id(1), 1, 10)
    assert made.index[1] == ("", 2, 0)
    assert made.index[2] == (Builder.id(2), 2, 5)
    assert [row.below for chunk in made.chunks for row in chunk.rows][:3] == [4, 0, 2]


def test_a_leaf_with_a_gap_cannot_be_collapsed() -> None:
    """Nothing but its own gap is below it."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 1000, "server")
    made = _waterfall(b, Builder.id(1))
    assert _rows(made) == ["GET /", "  (1 s)"]
    assert [each[2] for each in made.index] == [0, 0]


def test_what_is_left_out_of_a_page_is_told_to_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a trace with too many spans, one that is collapsed hides no row of the page, and can be expanded."""
    monkeypatch.setattr("causal_otel.collector.web.layout.ROWS_LIMIT", 4)
    made = _waterfall(_nested(), Builder.id(2))
    assert [each[2] for each in made.index if each[0] == Builder.id(2)] == [-1]


def test_a_gap_says_what_it_was() -> None:
    """Its row tells a name, how long it took, and what is known of it; its link opens the span that it is in."""
    text = TestClient(application(MemoryReader([causes()]))).get(f"/trace/{CAUSES}").text
    (row,) = [each for each in re.findall(r'<div class="gap row.*', text) if "212 ms" in each]
    assert 'aria-level="2"' in row
    assert "<i>waiting, nothing traced</i>" in row
    assert f'href="?span={Builder.id(1)}#s-{Builder.id(1)}"' in row
    assert "<title>212 ms: waiting 188 ms, computing 23.6 ms; from 550 ms</title>" in row
    index = json.loads(text.split('id="spans">')[1].split("</script>")[0])
    assert len(index) == text.count('role="row" aria-level')


def test_a_trace_has_few_gaps() -> None:
    """However many short ones there are, no row is made of them."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 1000, "server")
    for number in range(500):
        b.add("web", f"GET {number}", 1, 2 * number, 1, "client", db__system__name="redis")
    assert len(_rows(_waterfall(b))) == 501


def test_keys_go_to_gaps_and_open_their_spans(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """A gap is a row like others to the arrow keys; Enter opens the details of its span, collapsing hides it."""
    page = open_page(f"{serve(application(MemoryReader([_nested().message])))}/trace/{SHOP}")
    page.keyboard.press("j")
    assert "gap" in str(page.locator(".row.current").get_attribute("class"))
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#s-{Builder.id(1)} + .details .facts")
    page.keyboard.press("o")
    page.wait_for_selector(".details", state="detached")
    page.click(f"#s-{Builder.id(2)} .fold")
    assert page.locator(".gap:visible").count() == 3
    page.keyboard.press("ArrowRight")
    assert page.locator(".gap:visible").count() == 6


def test_what_follows_a_collapsed_span_of_a_cut_trace_is_shown(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[[ASGIApp], str], open_page: OpenPage
) -> None:
    """The rows that the page lacks are not taken from those behind them."""
    monkeypatch.setattr("causal_otel.collector.web.layout.ROWS_LIMIT", 4)
    page = open_page(f"{serve(application(MemoryReader([_nested().message])))}/trace/{SHOP}?collapsed={Builder.id(2)}")
    assert page.locator(f"#s-{Builder.id(2)} .fold:visible").count() == 1
    assert page.locator(".row:visible").count() == page.locator(".row").count() == 4
