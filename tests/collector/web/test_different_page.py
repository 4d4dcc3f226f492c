"""The page of what is different in a box, from the box to the search for a value."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.query import Found, Query
from causal_otel.collector.web import different_page
from tests.collector.oracle import MemoryReader
from tests.collector.spans import MILLISECOND, NOON, SECOND, span, traces
from tests.collector.test_different import planted_requests
from tests.collector.web.browser import screenshot
from tests.collector.web.trace_site import application

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

AROUND = "service=shop&start=2026-11-22T10%3A00&end=2026-11-22T12%3A00"
BOX = "box.start=2026-11-22T10%3A00&box.end=2026-11-22T12%3A00&box.shortest=500ms"


def _rows(html: str) -> list[tuple[str, str, str]]:
    """What each row is of, and its two searches."""
    return [
        (unescape(title), unescape(search), unescape(exclude))
        for title, search, exclude in re.findall(
            r'<td class="value" title="([^"]+)".*?<a href="([^"]+)" aria-label="With .*?<a href="([^"]+)"',
            html,
            re.DOTALL,
        )
    ]


def test_each_row_is_a_search_for_its_value_and_one_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the box the two find all that is there, none of them twice."""
    monkeypatch.setattr(different_page, "_SECONDS", 60.0)
    client = TestClient(application(MemoryReader(planted_requests())))
    html = client.get(f"/different?{AROUND}&{BOX}").text
    assert re.search(r"58 traces in the box were compared with 342 of\s+the rest", html)
    everything = {
        each["trace_id"] for each in client.get(f"/search.json?{AROUND}&shortest=500ms&limit=500").json()["traces"]
    }
    rows = _rows(html)
    assert "user.group = gold" in [title for title, *_ in rows]
    for _, *addresses in rows:
        found = [
            {
                each["trace_id"]
                for each in client.get(f"{address.replace('/?', '/search.json?')}&limit=500").json()["traces"]
            }
            for address in addresses
        ]
        assert found[0] | found[1] == everything
        assert not found[0] & found[1]


def test_from_the_search_to_who_is_slow(open_page: OpenPage, serve: Callable[[ASGIApp], str]) -> None:
    """By clicks alone: the slow row of the map, what is different there, the traces of that group."""
    page = open_page(serve(application(MemoryReader(planted_requests()))) + f"/?{AROUND}")
    page.click("#heat summary")
    with page.expect_navigation():
        page.locator("#heat table a").first.click()
    with page.expect_navigation():
        page.click("text=What is different here?")
    assert "user.group = gold" in page.inner_text(".different")
    assert "service.version = 2.0" in page.inner_text(".different")
    screenshot(page, "different")
    with page.expect_navigation():
        page.click("[aria-label='With user.group = gold']")
    assert page.locator("#traces .trace").count() == 20
    assert "58" in page.inner_text("#results-title")


def test_nothing_that_spans_say_becomes_markup() -> None:
    """Keys and values are text, in what is shown and in the addresses."""
    hostile = '"><img src=x onerror=alert(1)>'
    messages = [
        traces(
            span("GET", trace=number, start=NOON - number * SECOND, duration=(900 if number % 2 else 1) * MILLISECOND,
                 tags={hostile: hostile if number % 2 else "fine"}),
            service="shop",
        )
        for number in range(1, 41)
    ]  # fmt: skip
    client = TestClient(application(MemoryReader(messages)))
    html = client.get(f"/different?{AROUND}&{BOX}").text
    assert "<img" not in html
    assert unescape(html).count(hostile) > 2
    found = next(search for title, search, _ in _rows(html) if title == f"{hostile} = {hostile}")
    assert len(client.get(found.replace("/?", "/search.json?")).json()["traces"]) == 20


def test_what_is_wrong_with_an_address_is_told() -> None:
    """Nothing is compared then."""
    answer = TestClient(application(MemoryReader())).get(f"/different?{urlencode({'box.start': '<b>'})}")
    assert answer.status_code == 400
    assert "write the time in UTC" in answer.text
    assert "<b>" not in answer.text


def test_a_partial_result_is_told() -> None:
    """When there was no time for more, and when there is nothing to compare with, the page says so."""

    class Hurried(MemoryReader):
        def search(self, query: Query, *, seconds: float = 2.0) -> Found:
            return Found(super().search(query).trace_ids, complete=False)

    html = TestClient(application(Hurried(planted_requests(40)))).get(f"/different?{AROUND}&{BOX}").text
    assert "Partial result" in html
    empty = TestClient(application(MemoryReader())).get(f"/different?{AROUND}&{BOX}").text
    assert "No trace is in the box" in empty
