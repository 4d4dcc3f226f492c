"""The page of operations filters, sorts and pages on the server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from html import unescape
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.testclient import TestClient

from causal_otel.collector.conditions import is_like
from causal_otel.collector.trends.periods import Period
from causal_otel.collector.trends.slower import change_text, compared
from causal_otel.collector.web.operations import COLUMNS, ROWS
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, SECOND, span, traces
from tests.collector.trends.slowing import slowing, went
from tests.collector.web.browser import screenshot
from tests.collector.web.sites import site
from tests.collector.web.trace_site import follow

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from causal_otel.collector.figures import OperationStatistics
    from tests.collector.web.browser import OpenPage

NOW = time.time_ns()
KINDS = (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
COUNT = 2 * ROWS + 37


def reader() -> MemoryReader:
    """Many operations, of which some talk to a database, each called another number of times."""
    found = MemoryReader()
    for number in range(COUNT):
        tags = {"db.system.name": "redis"} if number % 4 == 1 else {}
        name = f"{'GET' if number % 3 else 'POST'} /thing/{number:03}"
        calls = [
            span(
                name, trace=1 + number, id=1 + each, start=NOW - SECOND, duration=1000 * (number + 1),
                kind=KINDS[number % 2], tags=tags, error=number % 10 == 0,
            )
            for each in range(1 + number % 5)
        ]  # fmt: skip
        found.add(traces(*calls, service=f"service-{number % 7}"))
    return found


def shown(html: str) -> list[tuple[str, str]]:
    """Service and operation of the rows."""
    rows = re.findall(r'<a class="name"[^>]*>(.*?)</a>\s*<small class="service">(?:<a[^>]*>)?([^<\s]+)', html)
    return [(service, unescape(name)) for name, service in rows]


def expected(wants: Callable[[OperationStatistics], bool], sort: str, descending: bool) -> list[tuple[str, str]]:
    """All that are wanted, in order, from the statistics of all."""
    everything = reader()
    found = compared(everything, filter(wants, everything.statistics(0, NOW)), Period(0, NOW), None)
    found.sort(key=lambda each: (each.service, each.operation, each.kind, each.system))
    found.sort(key=COLUMNS[sort][2], reverse=descending)
    return [(each.service, each.operation) for each in found]


@pytest.mark.parametrize(
    ("query", "wants"),
    [
        ("", lambda each: True),
        ("operation=thing/00", lambda each: "thing/00" in each.operation),
        ("operation=post*5", lambda each: is_like("post*5", each.operation)),
        ("kind=client", lambda each: each.kind == "client"),
        ("system=redis", lambda each: each.system == "redis"),
        ("system=none", lambda each: each.system == ""),
        ("service=service-3", lambda each: each.service == "service-3"),
        ("service=service-3&kind=server&operation=GET", lambda each: each.service == "service-3"
         and each.kind == "server" and "GET" in each.operation),
        ("operation=nothing", lambda each: False),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("sort", "order"), [("p95", "desc"), ("calls", "asc"), ("failing", "desc")])
def test_all_that_are_wanted_are_on_the_pages_in_order(
    query: str, wants: Callable[[OperationStatistics], bool], sort: str, order: str
) -> None:
    """Page after page, by the links, each operation that the filters leave once, in the order of the column."""
    client = TestClient(site(reader()))
    address: str | None = f"/operations?{query}&sort={sort}&order={order}"
    found, pages = [], 0
    while address:
        html = client.get(address).text
        found += shown(html)
        pages += 1
        link = re.search(r'href="([^"]+)" rel="next"', html)
        address = unescape(link[1]) if link else None
    right = expected(wants, sort, order == "desc")
    assert found == right
    assert pages == max(1, -(-len(right) // ROWS))


def test_the_form_keeps_the_order_and_pages_keep_the_filters(
    open_page: OpenPage, serve: Callable[[ASGIApp], str]
) -> None:
    """What is typed is in the address, whichever way the page was come by; how many there are is said."""
    page = open_page(serve(site(reader())) + "/operations?sort=calls")
    page.fill("[name=operation]", "get")
    page.select_option("[name=kind]", "client")
    follow(page, "form.choose button")
    count = len(expected(lambda each: "GET" in each.operation and each.kind == "client", "calls", True))
    assert f"1–{min(count, ROWS)} of {count}" in page.inner_text(".page-head")
    assert "sort=calls" in page.url
    follow(page, "thead a >> text=p50")
    assert page.input_value("[name=operation]") == "get"
    assert "kind=client" in page.url
    follow(page, "thead a >> text=p50")
    assert page.locator("th[aria-sort=ascending]").inner_text() == "p50"


@pytest.mark.parametrize(
    ("number", "first"), [("0", 0), ("-1", 0), ("x", 0), ("9" * 40, 0), ("２", 0), ("2", ROWS), ("999", 2 * ROWS)]
)
def test_a_page_that_is_not_there_shows_one_that_is(number: str, first: int) -> None:
    """Beyond the last one the last, and for what is no number the first."""
    html = TestClient(site(reader())).get("/operations", params={"page": number}).text
    assert shown(html) == expected(lambda each: True, "p95", True)[first : first + ROWS]


# -- what got slower --------------------------------------------------------------------------------------------------

SLOWING = list(slowing(NOW))
WENT = went(SLOWING, NOW)


def by_change(descending: bool) -> list[str]:
    """The operations in order: one whose change cannot be told is taken to be as before."""
    return sorted(sorted(WENT), key=lambda name: WENT[name].change or 1.0, reverse=descending)


def changes(page: Page) -> dict[str, str]:
    """What the column says of each operation, in the order of the rows."""
    names = page.locator("table.operations a.name").all_inner_texts()
    column = list(COLUMNS).index("change") + 2
    cells = page.locator(f"table.operations tbody td:nth-child({column})").all_inner_texts()
    return dict(zip(names, cells, strict=True))


def test_what_got_slower_is_a_click_away(open_page: OpenPage, serve: Callable[[ASGIApp], str]) -> None:
    """p95 as a multiple of that of the day before, the largest first, then the smallest; what is new says so."""
    page = open_page(serve(site(MemoryReader(SLOWING))) + "/operations?lookback=24h&sort=calls")
    follow(page, "thead a >> text=Change")
    shown = changes(page)
    assert list(shown) == by_change(True)
    for name, each in WENT.items():
        told = "–" if each.before else "new"
        assert shown[name] == (told if each.change is None else change_text(each.change))
    slowest = page.locator("table.operations tbody tr").first.locator(".delta.slower")
    calls = len(WENT[by_change(True)[0]].before)
    assert (slowest.get_attribute("title") or "").endswith(f" before, of {calls} calls")
    screenshot(page, "operations-slower")
    for width in (390, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    follow(page, "thead a >> text=Change")
    assert list(changes(page)) == by_change(False)
    assert page.locator("table.operations tbody tr").first.locator(".delta.faster").count() == 1


class _Late(MemoryReader):
    """A reader that had no time for what started more than thirty hours ago."""

    @property
    def since(self) -> int:
        return NOW - 30 * HOUR


@pytest.mark.parametrize(
    ("kind", "lookback", "said"),
    [
        (MemoryReader, "24h", ""),
        (MemoryReader, "7d", "Nothing is kept of the time before, so no change is told."),
        (_Late, "24h", "There was no time to read the time before, so no change is told."),
        (_Late, "7d", "Partial result."),
    ],
)
def test_where_no_change_is_known_the_page_says_why(kind: type[MemoryReader], lookback: str, said: str) -> None:
    """Below the table, for all rows at once; figures of the time itself that are missing are told above it."""
    html = TestClient(site(kind(SLOWING))).get(f"/operations?lookback={lookback}&sort=change").text
    assert [each for each in ("so no change is told", "Partial result.") if each in html] == [
        each for each in ("so no change is told", "Partial result.") if each in said
    ]
    assert said in html
