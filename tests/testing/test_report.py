"""The report of the slowest tests: one file, opened in Chromium without a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AnyValue

from causal_otel.names import DB_QUERY_TEXT, DB_SYSTEM_NAME, ERROR_TYPE, HTTP_RESPONSE_STATUS_CODE, SERVER_ADDRESS
from causal_otel.testing.report import Slowest, Test, packed, write
from tests.collector.web.browser import OpenPage, chromium, open_page, screenshot, serve
from tests.testing.traced import Suite, suite
from tests.waiting import pause

__all__ = ["chromium", "open_page", "serve"]

_ATTACK = "<script>document.title='taken'</script>"


@pytest.fixture
def shop() -> Iterator[Suite]:
    with suite() as made:
        yield made


def _order(shop: Suite, name: str) -> None:
    request: dict[str, AnyValue] = {HTTP_RESPONSE_STATUS_CODE: 500, "note": _ATTACK}
    query = {DB_SYSTEM_NAME: "postgresql", DB_QUERY_TEXT: "SELECT * FROM items WHERE id = ?"}
    call: dict[str, AnyValue] = {
        SERVER_ADDRESS: "stock.example",
        "http.request.method": "GET",
        HTTP_RESPONSE_STATUS_CODE: 200,
    }
    with shop.tracer.start_as_current_span(name, kind=SpanKind.SERVER, attributes=request) as span:
        for _ in range(4):
            with shop.tracer.start_as_current_span("SELECT items", kind=SpanKind.CLIENT, attributes=query):
                pause(0.01)
        with shop.tracer.start_as_current_span("render"):
            pause(0.01)
        with shop.tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes=call):
            pause(0.02)
        span.set_attribute(ERROR_TYPE, "OutOfStock")
        span.record_exception(ValueError("out of stock"))
        span.set_status(StatusCode.ERROR)


@pytest.fixture
def file(shop: Suite, tmp_path: Path) -> Path:
    """A report of two tests."""
    tests = []
    for number, (name, outcome) in enumerate([("GET /orders", "failed"), (f"GET /{_ATTACK}", "passed")]):
        with shop.test() as traces:
            _order(shop, name)
        tests.append(Test(1.5 - number, f"tests/test_shop.py::test_{name}", outcome, packed(traces.messages())))
    path = tmp_path / "reports" / "causal-report.html"
    write(path, tests)
    return path


def test_report_opens_without_a_server(file: Path, open_page: OpenPage) -> None:
    """The page shows each test with its sentence and rows, by a click all attributes; it asks nobody for anything."""
    page = open_page(file.as_uri())
    assert page.title() == "The slowest tests"
    assert page.locator(".tests tbody tr").count() == 2
    first = page.locator("#test-1")
    assert first.locator("h2").inner_text() == "tests/test_shop.py::test_GET /orders"
    assert re.search(r"\d+% PostgreSQL|\d+ % PostgreSQL", first.locator("p").nth(1).inner_text())
    rows = first.locator(".row")
    assert [rows.nth(number).locator(".name").inner_text() for number in range(rows.count())] == [
        "GET /orders [server] 500 ERROR OutOfStock",
        "4× SELECT items [postgresql]",
        "render [internal]",
        "GET [http stock.example] 200",
    ]
    assert rows.nth(1).locator("rect").count() == 4
    assert rows.nth(1).locator("dl").is_hidden()
    rows.nth(1).locator("summary").click()
    assert "SELECT * FROM items WHERE id = ?" in rows.nth(1).locator("dl").inner_text()
    screenshot(page, "pytest-report")
    page.locator(".tests a").nth(1).click()
    assert page.url.endswith("#test-2")
    assert page.locator("#test-2 .row").first.locator("dl").text_content().count("<script>")  # type: ignore[union-attr]


def test_report_is_read_in_the_dark_and_on_a_phone(file: Path, open_page: OpenPage) -> None:
    """The page follows the dark theme, and nothing of it is wider than a phone."""
    page = open_page(file.as_uri(), theme="dark", width=390)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    screenshot(page, "pytest-report-dark")


def test_report_without_traces_says_so(tmp_path: Path, open_page: OpenPage) -> None:
    """A report of a suite that records nothing is a page that says so."""
    write(tmp_path / "report.html", [])
    page = open_page((tmp_path / "report.html").as_uri(), javascript=False)
    assert page.locator("main p").inner_text() == "No test has recorded a trace."


def test_slowest_of_all_tests_are_kept() -> None:
    """Of many tests the twenty slowest are kept, the slowest first, whichever order they come in."""
    slowest = Slowest()
    for number in range(50):
        slowest.add(float(number * 7 % 50), f"test_{number}", "passed")
    assert [test.seconds for test in slowest.all()] == [float(each) for each in range(49, 29, -1)]
    assert slowest.is_one(30.5)
    assert not slowest.is_one(29.0)
