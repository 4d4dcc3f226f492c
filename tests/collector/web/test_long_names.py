"""Long names and deep traces on every page, at three widths: nothing sticks out, and of every text some is seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.applications import Starlette

from causal_otel.collector import web
from causal_otel.collector.reading import Reading
from causal_otel.collector.security import Access, Guard, login_routes
from causal_otel.collector.tokens import Tokens
from causal_otel.collector.web.addresses import operation_address
from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_traces import Builder, shop
from tests.collector.web.sites import status_document
from tests.collector.web.traffic import shop as traffic

if TYPE_CHECKING:
    from concurrent.futures import Future

    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

_SHOP = "5b8aa5a2d2c872e8321cf37308d69df2"
_OTHER = "0123456789abcdef0123456789abcdef"
_DEEP = "de" * 16
_TOKEN = "a-long-and-random-token"
_LONG = "com.example.checkout.internal.adapters.persistence.OrderRepositoryImplementation.findAllByCustomerIdentifier"

_PAGES = {
    "search": "/",
    "results": "/?lookback=1h&limit=100",
    "no-results": "/?tags=none%3Dnone",
    "mistakes": "/?shortest=soon&longest=later&tags=%22",
    "trace": f"/trace/{_SHOP}",
    "trace-span": f"/trace/{_SHOP}?span={Builder.id(15)},{Builder.id(7)}&critical=1&find=charge",
    "trace-deep": f"/trace/{_DEEP}?span={Builder.id(30)}",
    "no-trace": f"/trace/{'ab' * 16}",
    "no-trace-id": f"/trace/{'xyz' * 30}",
    "compare": "/compare",
    "compare-groups": "/compare?a.service=orders&b.service=" + _LONG,
    "keys": "/keys",
    "operations-filtered": "/operations?operation=o&kind=server&sort=calls&order=asc",
    "live-filtered": f"/live?service={_LONG}&first=worst",
    "compare-two": f"/compare?a={_SHOP}&b={_OTHER}",
    "compare-deep": f"/compare?a={_SHOP}&b={_DEEP}",
    "compare-missing": f"/compare?a={'ab' * 16}&b=nonsense",
    "map": "/map?lookback=1h",
    "map-empty": "/map?lookback=1ms",
    "operations": "/operations",
    "operation": operation_address(_LONG, f"GET {_LONG}"),
    "service": f"/service?service={_LONG}",
    "service-orders": "/service?service=orders&lookback=24h",
    "errors": "/errors",
    "error-group": "/error?type=error&lookback=24h",
    "runtime": "/runtime?lookback=1h",
    "different": f"/different?lookback=1h&q=service%3D{_LONG}&box.shortest=100ms",
    "live": "/live",
    "status": "/status",
    "import": "/import",
    "error": f"/{'there-is-no-such-page' * 8}",
    "jump-error": "/jump?trace=nonsense",
}

_SIDEWAYS = "document.documentElement.scrollWidth - window.innerWidth"

# What of a text can be seen is what its ancestors leave of it, those aside that can be scrolled. Text in a drawing is
# as wide as its picture, and what is for screen readers alone has no width.
_WITHOUT_ROOM = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (walker.nextNode()) {
    const text = walker.currentNode;
    const element = text.parentElement;
    if (!text.data.trim() || element.closest("script, style, noscript, option, textarea, title, svg")) continue;
    if (element.closest(".visually-hidden, .skip-link")) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    range.selectNodeContents(text);
    const whole = range.getBoundingClientRect();
    let { left, right, top, bottom } = whole;
    for (let box = element; box !== document.body; box = box.parentElement) {
      const style = getComputedStyle(box);
      if (!["hidden", "clip"].includes(style.overflowX) || style.display === "inline") continue;
      const edge = box.getBoundingClientRect();
      left = Math.max(left, edge.left);
      right = Math.min(right, edge.right);
      top = Math.max(top, edge.top);
      bottom = Math.min(bottom, edge.bottom);
    }
    if (right - left < Math.min(whole.width, 20) - 0.5 || bottom - top < 5)
      found.push(`${Math.round(right - left)} x ${Math.round(bottom - top)} px for ${text.data.trim().slice(0, 60)}`);
  }
  return found;
}"""


_CUT_WITHOUT_TITLE = """() => [...document.querySelectorAll("main *")].filter((each) => {
  const { textOverflow, overflowX, webkitLineClamp } = getComputedStyle(each);
  const clamped = webkitLineClamp !== "none" && each.scrollHeight > each.clientHeight + 1;
  const cut = textOverflow === "ellipsis" && overflowX !== "visible" && each.scrollWidth > each.clientWidth + 1;
  const text = each.textContent.trim().replace(/\\s+/g, " ");
  if (!(clamped || cut) || !each.checkVisibility({ visibilityProperty: true }) || !text) return false;
  if (each.matches(".flag[title]")) return false; // a mark says what it means
  for (let over = each; over; over = over.parentElement) {
    if (over.title && over.title.includes(text)) return false;
  }
  return true;
}).map((each) => `${each.tagName}.${each.className}: ${each.textContent.trim().slice(0, 60)}`)"""
"""What is cut and says nowhere what it is in full."""


def _deep(start: int) -> TracesData:
    """Thirty spans, each below the one before, with long names and flags."""
    built = Builder(_DEEP, start)
    built.add(_LONG, f"GET {_LONG}", None, 0, 4000, "server")
    for number in range(1, 40):
        built.add(
            _LONG if number % 2 else "db",
            f"{number} {_LONG if number % 3 else 'q'}",
            number,
            number * 10,
            3000 - number * 50,
            error="x" * 300 if number % 5 == 0 else None,
            **{f"attribute__{_LONG}": _LONG * 3},
        )
    built.add("orphaned", _LONG, 999, 10, 10)
    return built.message


def _filled(reader: MemoryReader) -> MemoryReader:
    now = time.time_ns() - 5 * 10**9
    for message in (shop(start=now), shop(_OTHER, now, slower=1.6), _deep(now)):
        reader.add(message)
    return reader


def _application(reader: MemoryReader, document: dict[str, Any]) -> ASGIApp:
    def put(_: bytes) -> Future[Any]:
        raise OSError("the disk is full")

    access = Access(Tokens(_TOKEN))
    routes = [*login_routes(access), *web.routes(Reading(reader), status=lambda: document, put=put)]
    return Guard(Starlette(routes=routes, exception_handlers=web.EXCEPTION_HANDLERS), access, pages=True)


def _problems(page: Page, name: str = "") -> list[str]:
    """What is wrong with the page at any width, each with its address."""
    found = []
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        problems: list[str] = page.evaluate(_WITHOUT_ROOM)
        sideways: int = page.evaluate(_SIDEWAYS)
        if sideways > 0:
            problems.append(f"sticks out by {sideways} px")
        if name:
            screenshot(page, f"{name}-{width}", full=False)
        found += [f"{page.url[-60:]} at {width} px: {each}" for each in problems]
    return found


def _log_in(page: Page) -> None:
    page.get_by_label("Token").fill(_TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_has_room(
    open_page: OpenPage, serve: Callable[[ASGIApp], str], theme: Literal["light", "dark"]
) -> None:
    """No page can be scrolled sideways, and every text that is shown can be seen."""
    document = status_document(
        writer={**status_document()["writer"], "last_error": f"/var/lib/{_LONG}: no space", "last_error_time": 1.0}
    )
    url = serve(_application(_filled(traffic()), document))
    page = open_page(f"{url}/", theme=theme, expected=("40", "favicon"))
    problems = _problems(page, f"login-{theme}")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    problems += _problems(page)
    _log_in(page)
    for name, path in _PAGES.items():
        page.goto(url + path)
        problems += _problems(page, f"{name}-{theme}")
    assert not problems, "\n".join(problems)


@pytest.mark.long
def test_first_steps_have_room(open_page: OpenPage, serve: Callable[[ASGIApp], str]) -> None:
    """What is shown while nothing was received fits as well."""
    url = serve(_application(MemoryReader(), status_document(days=0)))
    page = open_page(f"{url}/", expected=("40",))
    _log_in(page)
    problems = []
    for path in ("/", "/live", "/operations", "/map", "/compare", "/status"):
        page.goto(url + path)
        problems += _problems(page, "first-steps" if path == "/" else "")
    assert not problems, "\n".join(problems)


@pytest.mark.long
def test_what_is_cut_says_in_full_what_it_is(open_page: OpenPage, serve: Callable[[ASGIApp], str]) -> None:
    """A name that does not fit is cut, and has all of it as its title, on every page and width."""
    url = serve(_application(_filled(traffic()), status_document()))
    page = open_page(f"{url}/", expected=("40", "favicon"))
    _log_in(page)
    problems, cut = [], 0
    for path in _PAGES.values():
        page.goto(url + path)
        for width in (390, 768, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            problems += [f"{path} at {width} px: {each}" for each in page.evaluate(_CUT_WITHOUT_TITLE)]
            cut += page.locator("[title*='OrderRepositoryImplementation']").count()
    assert not problems, "\n".join(problems)
    assert cut
