"""Every page at the width of a phone, a tablet and a desk: nothing sticks out sideways, no text is squeezed away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from causal_otel.collector import web
from causal_otel.collector.reading import Reading
from causal_otel.collector.security import Access, login_routes
from causal_otel.collector.tokens import Tokens
from causal_otel.collector.web.templating import page
from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_causes import causes
from tests.collector.web.sample_logs import shop_logs
from tests.collector.web.sample_traces import Builder, shop
from tests.collector.web.sites import status_document

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

SHOP, OTHER, DEEP = "5b8aa5a2d2c872e8321cf37308d69df2", "0123456789abcdef0123456789abcdef", "de" * 16
PAGES = {
    "search": "/?lookback=1h",
    "search-nothing": "/?lookback=1h&service=nobody",
    "operations": "/operations?lookback=1h",
    "errors": "/errors?lookback=1h",
    "error-group": "/error?lookback=1h&type=error",
    "runtime": "/runtime?lookback=1h",
    "map": "/map?lookback=1h",
    "live": "/live",
    "status": "/status",
    "import": "/import",
    "trace": f"/trace/{SHOP}",
    "trace-span": f"/trace/{SHOP}?span={Builder.id(15)}&critical=answer&find=card",
    "trace-deep": f"/trace/{DEEP}?span={Builder.id(30)}",
    "compare": f"/compare?a={SHOP}&b={OTHER}",
    "compare-choose": "/compare",
    "login": "/login",
    "error": "/nowhere",
    "no-trace": f"/trace/{'ab' * 16}",
    "no-id": "/jump?trace=nothing",
}
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


def deep(start: int) -> Builder:
    """A trace that is thirty deep, whose names and services are long."""
    made = Builder(DEEP, start)
    for number in range(30):
        made.add(
            f"a-service-with-quite-a-long-name-{number % 3}", "GET /a/rather/long/{path}/with/many/{segments} " * 2,
            number or None, number, 200 - 2 * number, "server" if number % 2 else "client",
            a__key=f"{'unbroken' * 40}{number}", error="failed" if number == 29 else None,
        )  # fmt: skip
    return made


def _app(empty: bool) -> Starlette:
    now = time.time_ns() - 10**9
    traces = [] if empty else [shop(start=now), shop(OTHER, now, slower=1.6), deep(now).message, causes(now)]
    reader = MemoryReader(traces)
    for trace in () if empty else (SHOP, DEEP):
        reader.records[bytes.fromhex(trace)] = shop_logs(now)
    routes = web.routes(Reading(reader), status=status_document, put=None)
    return Starlette(routes=[*login_routes(Access(Tokens("t"))), *routes], exception_handlers=web.EXCEPTION_HANDLERS)


WIDTHS = (390, 768, 1280)


def test_no_page_is_left_out() -> None:
    """Whatever path is answered with a whole page is among those that are looked at."""
    app = _app(empty=False)
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
    _check(open_page, serve(_app(empty=False)) + PAGES[name], name, theme)


@pytest.mark.parametrize("name", ["search", "compare-choose", "live", "map", "operations", "errors", "runtime"])
def test_first_steps(open_page: OpenPage, serve: Callable[[ASGIApp], str], name: str) -> None:
    """Likewise where nothing was received yet."""
    _check(open_page, serve(_app(empty=True)) + PAGES[name].partition("?")[0], f"{name}-empty")


def test_logged_in(open_page: OpenPage, serve: Callable[[ASGIApp], str]) -> None:
    """Likewise with the button to log out."""

    def hello(request: Request) -> Response:
        request.scope["causal_otel.logged_in"] = True
        return page(request, "error.html", {"heading": "Traces", "message": ""})

    app = _app(empty=True)
    app.router.routes.insert(0, Route("/hello", hello))
    _check(open_page, f"{serve(app)}/hello", "logged-in")
