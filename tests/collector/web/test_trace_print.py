"""The page of a trace on paper, and the width of its column of names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_traces import shop
from tests.collector.web.trace_site import SELECT, SHOP, application

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


@pytest.fixture
def base(serve: Callable[[ASGIApp], str]) -> str:
    """Where a browser finds the page of the trace."""
    return serve(application(MemoryReader([shop()])))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.long
def test_a_printed_page_is_legible(base: str, open_page: OpenPage, theme: Any) -> None:
    """In either theme it is dark on white, with every row, without what can only be clicked."""
    page = open_page(f"{base}/trace/{SHOP}?span={SELECT}", theme=theme, width=800)
    page.emulate_media(media="print", color_scheme=theme)
    for selector in (".top", ".tools", ".zoom", ".actions", ".value-menu"):
        assert page.locator(f"{selector}:visible").count() == 0, selector
    assert page.locator(".row:not(.gap):visible").count() == 23
    assert page.locator("#why .sentence:visible").count() == 1
    assert page.locator(".details .pairs:visible").count() > 0
    colours = page.evaluate("() => ['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name])")
    light = [sum(int(part) for part in each[each.index("(") + 1 : -1].split(",")[:3]) for each in colours]
    assert light[0] < 200
    assert light[1] == 3 * 255
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    screenshot(page, f"trace-print-{theme}")
    if theme == "light":
        assert page.pdf().startswith(b"%PDF")


def _width(page: Page) -> float:
    box = page.locator(".row .name").first.bounding_box()
    assert box is not None
    return box["width"]


@pytest.mark.long
def test_the_names_are_as_wide_as_they_were_made(base: str, open_page: OpenPage) -> None:
    """The edge of the column is dragged, or moved by the arrow keys; the browser remembers, a double click forgets."""
    page = open_page(f"{base}/trace/{SHOP}")
    before = _width(page)
    grip = page.locator("#column").bounding_box()
    assert grip is not None
    page.mouse.move(grip["x"] + 4, grip["y"] + 8)
    page.mouse.down()
    page.mouse.move(grip["x"] + 104, grip["y"] + 8)
    page.mouse.up()
    assert _width(page) == pytest.approx(before + 100, abs=3)
    page.reload()
    assert _width(page) == pytest.approx(before + 100, abs=3)
    page.focus("#column")
    page.keyboard.press("ArrowLeft")
    assert _width(page) == pytest.approx(before + 76, abs=3)
    for _ in range(60):
        page.keyboard.press("ArrowLeft")
    assert _width(page) >= 100
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.dblclick("#column")
    assert _width(page) == pytest.approx(before, abs=3)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#column:visible").count() == 0
