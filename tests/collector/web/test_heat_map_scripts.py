"""The heat map in a browser: cells, dragged boxes, keys, and without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import screenshot
from tests.collector.web.test_heat_map import RANGE, busy
from tests.collector.web.trace_site import application, follow

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

Serve = Callable[["ASGIApp"], str]
SERVICE = f"/?q=root%3Dtrue&{RANGE}"


@pytest.fixture
def url(serve: Serve) -> str:
    """The pages over the traces of an hour."""
    return serve(application(MemoryReader(busy())))


def _places(page: Page) -> dict[str, list[Any]]:
    places: dict[str, list[Any]] = json.loads(page.locator("#heat").get_attribute("data-places") or "")
    return places


def _asked(page: Page) -> dict[str, str]:
    """The time and the durations of the page's address."""
    given = parse_qs(urlsplit(page.url).query)
    return {name: given[name][0] for name in ("start", "end", "shortest", "longest") if name in given}


def _box(places: dict[str, list[Any]], left: int, right: int, low: int, high: int) -> dict[str, str]:
    """What the address of a box has."""
    found = {
        "start": places["start"][left],
        "end": places["end"][right],
        "shortest": places["shortest"][low],
        "longest": places["longest"][high],
    }
    return {name: value for name, value in found.items() if value}


def _counted(page: Page) -> int:
    """How many the map says there are."""
    match = re.search(r"(\d+)\s+(?:root )?span", page.inner_text("#heat figcaption"))
    assert match
    return int(match[1])


def _drag(page: Page, places: dict[str, list[Any]], left: int, right: int, low: int, high: int) -> None:
    """From the middle of the top left cell to the middle of the bottom right one."""
    map_ = page.locator("#heat > svg")
    map_.scroll_into_view_if_needed()
    at = map_.bounding_box()
    assert at is not None
    scale = at["width"] / 960

    def point(column: int, row: int) -> tuple[float, float]:
        height = places["y"][0] - places["y"][1]
        x = (places["x"][column] + places["x"][column + 1]) / 2
        return at["x"] + x * scale, at["y"] + (places["y"][row] + height / 2) * scale

    page.mouse.move(*point(left, high))
    page.mouse.down()
    page.mouse.move(*point(right, low), steps=4)
    assert page.locator("#heat .box").is_visible()
    with page.expect_navigation():
        page.mouse.up()


def test_a_box_that_is_dragged_is_searched_in(open_page: OpenPage, url: str) -> None:
    """Its columns and rows are the address, the map then counts what its cells had, and zooming out leads back."""
    page = open_page(url + SERVICE)
    places = _places(page)
    inside = 0
    for cell in page.locator("#heat [data-at]").all():
        column, row = map(int, str(cell.get_attribute("data-at")).split(","))
        if 10 <= column <= 40 and 2 <= row <= 9:
            title = cell.locator("title").text_content() or ""
            inside += int(title.split(" ")[0])
    assert inside
    _drag(page, places, 10, 40, 2, 9)
    assert _asked(page) == _box(places, 10, 40, 2, 9)
    assert _counted(page) == inside
    with page.expect_navigation():
        page.click("#heat [rel=up]")
    assert page.url == url + SERVICE


@pytest.mark.parametrize("javascript", [True, False])
def test_two_boxes_are_compared(open_page: OpenPage, url: str, javascript: bool) -> None:
    """By clicks alone, with what each had found: one is put aside while the other is looked for."""
    page = open_page(url + SERVICE, javascript=javascript)
    cells = page.locator("#heat [data-at]").all()
    first, other = (cells[place].get_attribute("href") or "" for place in (0, -1))
    follow(page, "#heat [data-at] >> nth=0")
    inside = [_counted(page)]
    follow(page, "text=Compare with others")
    assert _counted(page) > inside[0]
    assert _asked(page) == {"start": "2026-11-22T11:00", "end": "2026-11-22T13:00"}
    follow(page, "#heat [data-at] >> nth=-1")
    inside.append(_counted(page))
    said = page.inner_text(".beside .asked")
    assert "start" in said
    page.fill("#q", page.input_value("#q"))
    follow(page, "#search button.primary")
    assert page.inner_text(".beside .asked") == said
    follow(page, ".beside .primary")
    counts = [int(str(each.inner_text()).split()[0]) for each in page.locator(".side p:first-of-type").all()]
    assert counts == inside
    sides = [page.input_value(f"[name='{side}.start']") for side in "ab"]
    assert sides == [parse_qs(urlsplit(address).query)["start"][0] for address in (first, other)]


def test_a_click_on_a_cell_searches_in_it(open_page: OpenPage, url: str) -> None:
    """A click that moves little is no box."""
    page = open_page(url + SERVICE)
    cell = page.locator("#heat [data-at]").first
    column, row = map(int, str(cell.get_attribute("data-at")).split(","))
    expected = _box(_places(page), column, column, row, row)
    with page.expect_navigation():
        cell.locator("rect").click()
    assert _asked(page) == expected


def test_a_box_is_chosen_with_the_keyboard(open_page: OpenPage, url: str) -> None:
    """Arrows move, with Shift they make a box, Escape drops it, Enter searches in it; the map is one tab stop."""
    page = open_page(url + SERVICE)
    places = _places(page)
    page.focus("#heat > svg")
    page.keyboard.press("ArrowLeft")
    newest = page.locator("#heat [data-at]").last
    column, row = map(int, str(newest.get_attribute("data-at")).split(","))
    assert "found" in page.inner_text("#heat .says")
    page.keyboard.press("Escape")
    assert page.locator("#heat .box").count() == 0
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    step = "ArrowUp" if row == 0 else "ArrowDown"
    page.keyboard.press(f"Shift+{step}")
    assert "Box of 3 by 2" in page.inner_text("#heat .says")
    low, high = sorted((row, row + (1 if row == 0 else -1)))
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert _asked(page) == _box(places, column - 3, column - 1, low, high)
    assert page.locator("#heat > svg a:not([tabindex='-1'])").count() == 0


def test_it_works_without_scripts(open_page: OpenPage, url: str) -> None:
    """Cells and rows of the table are links, and so is the way back."""
    page = open_page(url + SERVICE, javascript=False)
    total = _counted(page)
    with page.expect_navigation():
        page.locator("#heat [data-at] rect").first.click()
    assert 0 < _counted(page) < total
    with page.expect_navigation():
        page.click("#heat [rel=up]")
    assert _counted(page) == total
    page.click("#heat summary")
    with page.expect_navigation():
        page.locator("#heat table a").first.click()
    assert 0 < _counted(page) < total


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "width", [390, 768, pytest.param(1280, marks=pytest.mark.long), pytest.param(1920, marks=pytest.mark.long)]
)
def test_nothing_sticks_out(open_page: OpenPage, url: str, width: int, theme: Literal["light", "dark"]) -> None:
    """At every width the map is as wide as the page, with its table open; failed cells have a mark."""
    page = open_page(url + SERVICE, width=width, theme=theme)
    page.click("#heat summary")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#heat [data-at].f3 path").count() > 0
    assert page.evaluate(
        "[...document.querySelectorAll('#heat text')].every((each) => each.getBoundingClientRect().left >= 0)"
    )
    screenshot(page, f"heat-{width}-{theme}")
