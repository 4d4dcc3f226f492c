"""Zooming into the time of a trace: by dragging, by links, by keys; what is outside is hidden and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from causal_otel.collector.analysis import build
from causal_otel.collector.web.narrowing import Window
from causal_otel.collector.web.page_state import PageState
from causal_otel.collector.web.zoom import around, zoom
from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_traces import Builder, shop
from tests.collector.web.trace_site import SELECT, SHOP, application, parameter, parameter_of, visible

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

MS = 1_000_000


@pytest.fixture
def base(serve: Callable[[ASGIApp], str]) -> str:
    """Where a browser finds the page of the trace."""
    return serve(application(MemoryReader([shop()])))


def _window(page: Page) -> tuple[int, int]:
    begin, end = parameter_of(page.url, "from"), parameter_of(page.url, "to")
    assert begin is not None
    assert end is not None
    return int(begin), int(end)


def _drag(page: Page, selector: str, begin: float, end: float) -> None:
    box = page.locator(selector).bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + begin * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + (begin + end) / 2 * box["width"], y)
    page.mouse.move(box["x"] + end * box["width"], y)
    page.mouse.up()


def _inside(begin: int, end: int) -> set[str]:
    view = build(shop())
    return {s.span_id for s in view.spans if s.end - view.start >= begin and s.start - view.start <= end}


def _shown(page: Page) -> set[str]:
    ids = page.locator(".row[id^=s-]").evaluate_all("all => all.map((each) => each.id.slice(2))")
    return set(ids)


@pytest.mark.parametrize("text", ["", "x", "-1", "5", "1e3", "9" * 30, "²"])
def test_an_address_that_makes_no_sense_is_all_of_the_trace(text: str) -> None:
    """A window needs two whole numbers, the first smaller than the second."""
    assert PageState.parse({"from": text, "to": "5"}).window is None
    assert PageState.parse({"from": "0", "to": text}).window in (None, Window(0, 5))
    assert PageState.parse({"from": "3", "to": "5"}).window == Window(3, 5)


def test_links_lead_nearer_farther_and_aside() -> None:
    """From every window they stay within the trace, keep its length when they lead aside, and come back to all."""
    view = build(shop())
    state = PageState()
    for way in ("nearer", "later", "nearer", "earlier", "earlier", "farther", "later", "later", "later"):
        made = zoom(view, state, "/t")
        address = getattr(made, way)
        if not address:
            continue
        parameters = dict(pair.split("=") for pair in address.partition("?")[2].split("&"))
        after = PageState.parse(parameters)
        assert after.window is not None
        assert 0 <= after.window.start < after.window.end <= view.duration
        if way in ("later", "earlier") and state.window is not None:
            assert after.window.length == state.window.length
        state = after
    assert zoom(view, state, "/t").all == "/t"
    for _ in range(100):
        nearer = zoom(view, state, "/t").nearer
        if not nearer:
            break
        state = PageState.parse(dict(pair.split("=") for pair in nearer.partition("?")[2].split("&")))
    assert state.window is not None
    assert 0 < state.window.length < 2000


def test_the_window_of_a_span_holds_it() -> None:
    """With a little room, and never more than the trace."""
    view = build(shop())
    for span in view.spans:
        window = around(view, span)
        assert 0 <= window.start <= span.start - view.start
        assert span.end - view.start <= window.end <= view.duration or window.length == 1


@pytest.mark.parametrize("area", ["#minimap", "#scale"])
def test_dragging_zooms_in_and_double_click_out(base: str, open_page: OpenPage, area: str) -> None:
    """The part that was dragged over fills the page, and is in the address; what is outside is hidden and counted."""
    page = open_page(f"{base}/trace/{SHOP}")
    whole = build(shop()).duration
    assert whole == 551 * MS
    _drag(page, area, 0.3, 0.5)
    page.wait_for_selector(".narrowed")
    begin, end = _window(page)
    assert begin == pytest.approx(0.3 * whole, rel=0.02)
    assert end == pytest.approx(0.5 * whole, rel=0.02)
    assert _shown(page) == _inside(begin, end)
    assert f"{23 - len(_inside(begin, end))} spans outside are hidden" in page.inner_text(".narrowed")
    screenshot(page, "trace-zoomed")
    _drag(page, "#scale", 0.25, 0.75)
    page.wait_for_function(f"() => new URL(location.href).searchParams.get('from') !== '{begin}'")
    nearer = _window(page)
    assert nearer[0] == pytest.approx(begin + (end - begin) / 4, rel=0.02)
    page.go_back()
    page.wait_for_function(f"() => new URL(location.href).searchParams.get('from') === '{begin}'")
    page.dblclick(area)
    page.wait_for_selector(".narrowed", state="detached")
    assert parameter(page, "from") is None
    assert visible(page) == 23


@pytest.mark.long
@pytest.mark.parametrize("javascript", [True, False])
def test_links_zoom_without_dragging(base: str, open_page: OpenPage, javascript: bool) -> None:
    """Links lead nearer, aside and back, and to the window of the span whose details are open."""
    page = open_page(f"{base}/trace/{SHOP}?span={SELECT}", javascript=javascript)
    page.click(".zoom-to")
    page.wait_for_selector("#zoom-out")
    begin, end = _window(page)
    assert begin <= 47 * MS
    assert end >= 139 * MS
    assert page.locator(f"#s-{SELECT} + .details").count() == 1
    page.click("#zoom-later")
    page.wait_for_function(f"() => new URL(location.href).searchParams.get('from') !== '{begin}'")
    later = _window(page)
    assert later[1] - later[0] == end - begin
    assert SELECT in _shown(page), "a span that is open is shown wherever it is"
    page.click("#zoom-all")
    page.wait_for_selector("#zoom-all", state="detached")
    assert parameter_of(page.url, "from") is None
    page.click("#zoom-in")
    page.wait_for_selector("#zoom-all")


def test_keys_zoom(base: str, open_page: OpenPage) -> None:
    """Plus, minus, the angle brackets and zero are the links."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.keyboard.press("+")
    page.wait_for_selector("#zoom-later")
    begin, _ = _window(page)
    page.keyboard.press(">")
    page.wait_for_function(f"() => Number(new URL(location.href).searchParams.get('from')) > {begin}")
    page.keyboard.press("0")
    page.wait_for_selector("#zoom-all", state="detached")


def test_bars_are_drawn_at_their_place_in_the_window(base: str, open_page: OpenPage) -> None:
    """What begins before the window begins left of it, and marks on the axis say the time since the trace's start."""
    page = open_page(f"{base}/trace/{SHOP}?from={100 * MS}&to={200 * MS}")
    bar = page.locator(f"#s-{Builder.id(8)} .bar")
    bars = [bar.get_attribute(name) for name in ("x", "width")]
    assert bars == ["41.0%", "64.0%"], "from 141 to 225 ms, cut just outside"
    labels = page.locator("#scale text").all_text_contents()
    assert (labels[0], labels[-1]) == ("100 ms", "200 ms")
