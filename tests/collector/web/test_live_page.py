from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.testclient import TestClient

from causal_otel.collector.query import Query
from causal_otel.collector.units import parse_duration
from causal_otel.collector.web.live_feed import SHOWN
from tests.collector.oracle import MemoryReader
from tests.collector.spans import SECOND, merged, span, trace_id, traces
from tests.collector.web.browser import serving
from tests.collector.web.sites import site
from tests.collector.web.traffic import EVIL, evil_trace, shop

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

Serve = Callable[["ASGIApp"], str]


def _one(trace: int, name: str = "work", service: str = "shop", *, error: bool = False, id: int = 1) -> TracesData:
    return traces(span(name, trace=trace, id=id, start=time.time_ns() - SECOND, error=error), service=service)


def _slow(trace: int, name: str, duration: int, *, error: bool = False) -> TracesData:
    return traces(span(name, trace=trace, start=time.time_ns() - SECOND, duration=duration, error=error))


def _shown(page: Page) -> list[str]:
    return [row.get_attribute("id") or "" for row in page.locator(".trace").all()]


def _row(number: int) -> str:
    return f"#t{trace_id(number).hex()}"


def test_traces_appear_as_they_come(open_page: OpenPage, serve: Serve) -> None:
    """A new trace goes on top; one that gets more spans is brought up to date, not listed twice."""
    reader = MemoryReader([_one(1)])
    page = open_page(serve(site(reader)) + "/live")
    page.wait_for_selector("#state.on")
    assert page.locator(".trace").count() == 1
    reader.add(_one(2, "GET /new"))
    page.wait_for_selector(_row(2))
    assert page.locator(".trace").first.get_attribute("id") == _row(2)[1:]
    reader.add(_one(1, id=7, error=True))
    page.wait_for_selector(f"{_row(1)}.failed")
    assert page.locator(".trace").count() == 2
    assert "2 spans" in page.inner_text(_row(1))


def test_a_paused_page_stands_still(open_page: OpenPage, serve: Serve) -> None:
    """While paused nothing moves, what came is counted, the address says so, and resuming shows it."""
    reader = MemoryReader([_one(1)])
    page = open_page(serve(site(reader)) + "/live?service=shop")
    page.keyboard.press("p")
    assert page.url.endswith("/live?service=shop&paused=1")
    reader.add(_one(2))
    page.wait_for_selector("#state:has-text('1 new')")
    assert page.locator(".trace").count() == 1
    page.reload()
    page.wait_for_selector("#pause[aria-pressed=true]")
    page.click("#pause")
    page.wait_for_selector(_row(2))
    assert page.url.endswith("/live?service=shop")


def test_the_list_is_bounded(open_page: OpenPage, serve: Serve) -> None:
    """However much comes, the page keeps as many rows as it says."""
    reader = MemoryReader([_one(number) for number in range(1, SHOWN + 1)])
    page = open_page(serve(site(reader)) + "/live")
    for number in range(1, 31):
        reader.add(_one(1000 + number))
    page.wait_for_selector(_row(1030))
    assert page.locator(".trace").count() == SHOWN
    assert page.locator(_row(1)).count() == 0


def test_only_what_was_chosen_is_shown(open_page: OpenPage, serve: Serve) -> None:
    """A service, or errors only, hold for what is there and for what comes."""
    reader = MemoryReader([_one(1), _one(2, service="other", error=True)])
    page = open_page(serve(site(reader)) + "/live")
    with page.expect_navigation():
        page.check("[name=errors]")
    assert page.url.endswith("/live?errors=1")
    reader.add(_one(3))
    reader.add(_one(4, error=True))
    page.wait_for_selector(_row(4))
    assert [row.get_attribute("id") for row in page.locator(".trace").all()] == [_row(4)[1:], _row(2)[1:]]


def test_what_is_shown_is_what_a_search_would_find(open_page: OpenPage, serve: Serve) -> None:
    """An operation and a least duration hold for what is there and for what comes, on one span, before it is cut."""
    reader = MemoryReader([_slow(1, "GET /slow", SECOND), _slow(2, "GET /slow", 10), _slow(3, "POST /slow", SECOND)])
    page = open_page(serve(site(reader)) + "/live")
    page.fill("[name=operation]", "GET*")
    page.fill("[name=shortest]", "500ms")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith("/live?operation=GET*&shortest=500ms")
    page.wait_for_selector("#state.on")
    assert _shown(page) == [_row(1)[1:]]
    # One that is wanted among many more than are shown, which are not.
    reader.add(merged(_slow(9, "GET /slow", 2 * SECOND), *(_one(1000 + number) for number in range(2 * SHOWN))))
    page.wait_for_selector(_row(9))
    wanted = Query(0, 1 << 64, operation_like="GET*", shortest=SECOND // 2, limit=100)
    assert set(_shown(page)) == {f"t{each.hex()}" for each in reader.search(wanted).trace_ids}
    assert page.inner_text("#state") == "receiving"


def test_the_worst_are_first_if_asked(open_page: OpenPage, serve: Serve) -> None:
    """Those with errors are on top, then the slowest, also of what comes, however much comes."""
    reader = MemoryReader([_slow(1, "a", 20), _slow(2, "b", 90), _slow(3, "c", 10, error=True)])
    page = open_page(serve(site(reader)) + "/live")
    with page.expect_navigation():
        page.check("[name=first]")
    page.wait_for_selector("#state.on")
    assert _shown(page) == [_row(number)[1:] for number in (3, 2, 1)]
    reader.add(merged(*(_slow(100 + n, "d", 5) for n in range(SHOWN)), _slow(4, "e", 50), _slow(5, "f", 1, error=True)))
    page.wait_for_selector(_row(5))
    assert _shown(page)[:5] == [_row(number)[1:] for number in (3, 5, 2, 4, 1)]
    assert page.locator(".trace").count() == SHOWN


def test_fields_that_are_not_understood_are_named(open_page: OpenPage, serve: Serve) -> None:
    """The page says what a field takes, and nothing is received."""
    url = serve(site(MemoryReader([_one(1)])))
    page = open_page(f"{url}/live?shortest=soon", expected=("400",))
    with pytest.raises(ValueError, match="soon") as mistake:
        parse_duration("soon")
    assert page.inner_text("#shortest-mistake") == str(mistake.value)
    assert page.get_attribute("[name=shortest]", "aria-invalid") == "true"
    assert page.is_hidden("#pause")
    assert httpx.get(f"{url}/ui/live?shortest=soon", trust_env=False).status_code == 400


def test_the_first_trace_replaces_the_advice(open_page: OpenPage, serve: Serve) -> None:
    """A page that waits for the first trace shows it when it comes, markup in it as text."""
    reader = MemoryReader()
    page = open_page(serve(site(reader)) + "/live")
    assert "No traces yet" in page.inner_text("#main")
    reader.add(evil_trace())
    page.wait_for_selector(".trace")
    assert page.is_hidden("#nothing")
    assert EVIL in page.inner_text(".trace")
    assert page.evaluate("window.evil") is None


def test_the_keyboard_stays_with_its_trace(open_page: OpenPage, serve: Serve) -> None:
    """A trace that is focused keeps the focus when it moves up."""
    reader = MemoryReader([_one(1), _one(2)])
    page = open_page(serve(site(reader)) + "/live")
    page.keyboard.press("j")
    page.keyboard.press("j")
    reader.add(_one(1, id=9))
    page.wait_for_selector(f"{_row(1)}:first-child")
    assert page.evaluate("document.activeElement.closest('.trace').id") == _row(1)[1:]


def test_a_quiet_service_is_shown_beside_a_busy_one(open_page: OpenPage, serve: Serve) -> None:
    """What is there and what comes of it is shown, whatever else comes; too much at once is counted."""
    reader = MemoryReader([_one(1, service="quiet"), *(_one(100 + number) for number in range(2 * SHOWN))])
    url = serve(site(reader))
    quiet, all_of_them = open_page(f"{url}/live?service=quiet"), open_page(f"{url}/live")
    assert quiet.locator(".trace").count() == 1
    quiet.wait_for_selector("#state.on")
    all_of_them.wait_for_selector("#state.on")
    messages = [_one(2, service="quiet"), *(_one(1000 + number) for number in range(SHOWN + 20))]
    reader.add(merged(*messages))
    quiet.wait_for_selector(_row(2))
    assert quiet.locator(".trace").count() == 2
    all_of_them.wait_for_selector("#state:has-text('more a second')")
    assert all_of_them.locator(".trace").count() == SHOWN
    # It is a rate: told as long as more come, and no longer.
    all_of_them.wait_for_selector("#state:text-is('receiving')")


def test_without_scripts_there_is_a_list_to_refresh() -> None:
    """The page itself lists what came last, of what is asked for, and has a link that loads it again."""
    client = TestClient(site(shop(5)))
    assert client.get("/live").text.count('<li class="trace') == 5
    reader = MemoryReader([_one(1, "GET /a"), _one(2, "GET /b")])
    html = TestClient(site(reader)).get("/live?operation=/b").text
    assert html.count('<li class="trace') == 1
    assert 'href="/live?operation=%2Fb">Refresh</a>' in html


def test_a_collector_that_stops_is_told(open_page: OpenPage) -> None:
    """When the stream breaks off the page says so, and tries again."""
    with serving(site(MemoryReader([_one(1)]))) as url:
        page = open_page(f"{url}/live", expected=("Failed to load resource",))
        page.wait_for_selector("#state.on")
    page.wait_for_selector("#state:has-text('trying again')")


@pytest.mark.parametrize("query", ["", "?errors=1"])
def test_the_stream_repeats_nothing(serve: Serve, query: str) -> None:
    """After the first events, an unchanged trace is not sent again; comments keep the connection alive."""
    url = serve(site(MemoryReader([_one(1, error=True)])))
    with httpx.stream("GET", f"{url}/ui/live{query}", timeout=60, trust_env=False) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = []
        for line in answer.iter_lines():
            lines.append(line)
            if lines.count(": nothing new") == 2:
                break
    assert sum('<li class="trace' in line for line in lines) == 1
    assert all(not line or line.startswith(("data: ", ": ", "retry: ")) for line in lines)
