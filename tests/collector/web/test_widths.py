"""Every page on a phone, a tablet, a desk and a wide screen: nothing sticks out sideways, no text is squeezed away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from causal_otel.collector.web.templating import page
from tests.collector.web.browser import screenshot
from tests.collector.web.every_page import PAGES, SHOP, every_page
from tests.collector.web.sample_traces import Builder

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

SQUEEZED = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.textContent.trim()) continue;
    if (element.closest("script, style, noscript, .visually-hidden, .skip-link, [hidden]")) continue;
    if (!element.checkVisibility({ checkVisibilityCSS: true })) continue;
    let clip = element, width = Infinity;
    for (; clip && clip !== document.body; clip = clip.parentElement) {
      const { overflowX, display } = getComputedStyle(clip);
      if (overflowX !== "visible" && display !== "inline") width = Math.min(width, clip.getBoundingClientRect().width);
    }
    const range = document.createRange();
    range.selectNodeContents(node);
    const { width: own, height } = range.getBoundingClientRect();
    if (own < 1 || height < 1 || width < 1)
      found.push(`${element.tagName}.${element.className}: ${node.textContent.trim().slice(0, 40)}`);
  }
  return found;
}"""
"""Texts of no width, or within something of no width, that are meant to be seen."""


OUTSIDE = """() => [...document.querySelectorAll("body *")]
  .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
  .slice(0, 8).map((each) => `${each.tagName}.${each.className?.baseVal ?? each.className}`)"""
"""What makes a page wider than its window."""


WIDTHS = (390, 768, 1280, 1920)


def test_no_page_is_left_out() -> None:
    """Whatever path is answered with a whole page is among those that are looked at."""
    app = every_page()
    client, looked_at = TestClient(app), {path.partition("?")[0] for path in PAGES.values()}
    routes = [route for route in app.routes if isinstance(route, Route) and "GET" in (route.methods or ())]
    for route in routes:
        path = route.path.format(trace_id=SHOP, span_id=Builder.id(15))
        if path != "/ui/live":  # a stream, which has no end
            assert path in looked_at or not client.get(path).text.startswith("<!doctype html>"), path
    assert len(routes) > len(looked_at) / 2


def _check(open_page: OpenPage, url: str, name: str, theme: Literal["light", "dark"] = "light") -> None:
    page = open_page(url, theme=theme, width=WIDTHS[0], expected=("404", "400"))
    problems = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        screenshot(page, f"width-{name}-{theme}-{width}", full=False)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            problems.append((width, page.evaluate(OUTSIDE)))
        squeezed = page.evaluate(SQUEEZED)
        if squeezed:
            problems.append((width, squeezed))
    assert problems == []


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_page(open_page: OpenPage, serve: Callable[[ASGIApp], str], name: str, theme: Literal["light", "dark"]) -> None:
    """The page fits its window, and all of its text has a width."""
    _check(open_page, serve(every_page()) + PAGES[name], name, theme)


@pytest.mark.parametrize("name", ["search", "compare-choose", "live", "map", "operations", "errors", "runtime"])
@pytest.mark.long
def test_first_steps(open_page: OpenPage, serve: Callable[[ASGIApp], str], name: str) -> None:
    """Likewise where nothing was received yet."""
    _check(open_page, serve(every_page(empty=True)) + PAGES[name].partition("?")[0], f"{name}-empty")


@pytest.mark.parametrize("name", ["search", "live", "login"])
@pytest.mark.long
def test_in_trouble(open_page: OpenPage, serve: Callable[[ASGIApp], str], name: str) -> None:
    """Likewise with what is wrong with the collector, which is nobody's business who has not logged in."""
    url = serve(every_page(troubled=True)) + PAGES[name]
    _check(open_page, url, f"{name}-troubled")
    assert ("the disk is full" in TestClient(every_page(troubled=True)).get(PAGES[name]).text) is (name != "login")


def test_logged_in(open_page: OpenPage, serve: Callable[[ASGIApp], str]) -> None:
    """Likewise with the button to log out."""

    def hello(request: Request) -> Response:
        request.scope["causal_otel.logged_in"] = True
        return page(request, "error.html", {"heading": "Traces", "message": ""})

    app = every_page(empty=True)
    app.router.routes.insert(0, Route("/hello", hello))
    _check(open_page, f"{serve(app)}/hello", "logged-in")
