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
from causal_otel.collector.web.operations import COLUMNS, ROWS
from tests.collector.oracle import MemoryReader
from tests.collector.spans import SECOND, span, traces
from tests.collector.web.sites import site
from tests.collector.web.trace_site import follow

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from causal_otel.collector.query import OperationStatistics
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
    found = [each for each in reader().statistics(0, NOW) if wants(each)]
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
