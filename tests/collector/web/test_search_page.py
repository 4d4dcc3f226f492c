from __future__ import annotations

import re
import time
from collections.abc import Callable
from html import unescape
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.query import Found, Query
from tests.collector.oracle import MemoryReader
from tests.collector.spans import MILLISECOND, NOON, SECOND, merged, span, trace_id, traces
from tests.collector.web.sites import site, status_document
from tests.collector.web.traffic import EVIL, evil_trace, shop

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

Serve = Callable[["ASGIApp"], str]


def _rows(html: str) -> list[int]:
    """The numbers of the traces listed, in order."""
    return [int(number, 16) for number in re.findall(r'<li class="trace[^"]*" id="t([0-9a-f]{32})"', html)]


def _three() -> MemoryReader:
    """Three traces, the newest first: a failed one of two services, a quick and a long one."""
    now = time.time_ns()
    return MemoryReader(
        [
            merged(
                traces(
                    span("GET /a", trace=1, id=1, start=now - 3 * SECOND, duration=90 * MILLISECOND, error=True),
                    service="front",
                ),
                traces(
                    span("query", trace=1, id=2, parent=1, start=now - 3 * SECOND, error=True),
                    span("query", trace=1, id=3, parent=1, start=now - 3 * SECOND),
                    service="back",
                ),
            ),
            traces(span("GET /b", trace=2, start=now - 60 * SECOND, duration=MILLISECOND), service="front"),
            traces(span("job", trace=3, start=now - 120 * SECOND, duration=9 * SECOND), service="worker"),
        ]
    )


@pytest.fixture
def client() -> TestClient:
    """Asks the pages over three traces, without a browser."""
    return TestClient(site(_three()))


def test_without_conditions_all_services_are_searched(client: TestClient) -> None:
    """The first page lists the traces of all services, the newest first, each with a link to its page."""
    answer = client.get("/")
    assert answer.status_code == 200
    assert _rows(answer.text) == [1, 2, 3]
    assert f'href="/trace/{trace_id(1).hex()}"' in answer.text


def test_a_row_tells_the_trace(client: TestClient) -> None:
    """A row has the root's names, the duration, the age, and every service's spans and errors."""
    row = client.get("/?limit=1").text.partition('<ol class="card traces"')[2].partition("</ol>")[0]
    text = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", row)))
    assert "front GET /a 2 errors 90 ms" in text
    assert re.search(r"\d s ago", text)
    assert "back 2 ✕1 failed front 1 ✕1 failed" in text
    assert "3 spans" in text


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/?service=front", [1, 2]),
        ("/?service=front&operation=GET+%2Fb", [2]),
        ("/?service=back&errors=1", [1]),
        ("/?tags=otel.scope.name%3Dtests", [1, 2, 3]),
        ("/?shortest=1s", [3]),
        ("/?longest=5ms", [2]),
        ("/?limit=2", [1, 2]),
        ("/?sort=longest", [3, 1, 2]),
        ("/?sort=spans", [1, 2, 3]),
        ("/?sort=oldest", [3, 2, 1]),
        ("/?q=error+OR+duration>1s", [1, 3]),
        ("/?q=service%3Dfront&tags=!error", [2]),
        ("/?q=-service%3Dfront+-service%3Dback", [3]),
        ("/?sort=longest&limit=1", [3]),
        ("/?tags=duration>10ms+otel.scope.name~T.STS", [1, 3]),
        ("/?operation=get+*a", [1]),
        ("/?operation=GET", [1, 2]),
        ("/?service=nobody", []),
        ("/?start=2020-01-01&end=2020-01-02", []),
    ],
)
def test_the_address_is_the_search(client: TestClient, address: str, expected: list[int]) -> None:
    """Every condition and the order come from the address alone."""
    answer = client.get(address)
    assert answer.status_code == 200
    assert _rows(answer.text) == expected


def test_the_form_shows_what_was_asked(client: TestClient) -> None:
    """The form's fields hold the address's conditions, also a service that is not known."""
    html = client.get("/?service=gone&operation=x&tags=a%3D%22b+c%22&shortest=5ms&errors=1&limit=7&lookback=6h").text
    assert '<option value="gone" selected>gone</option>' in html
    assert 'name="operation" list="operations" value="x"' in html
    assert "a=&#34;b c&#34;</textarea>" in html
    assert 'value="5ms"' in html
    assert 'name="errors" value="1" checked' in html
    assert 'value="7"' in html
    assert '<option value="6h" selected>' in html


def test_a_partial_result_is_told() -> None:
    """When the reader ran out of time, the page says that there may be more."""

    class Hurried(MemoryReader):
        def search(self, query: Query, *, seconds: float = 2.0) -> Found:
            return Found(super().search(query).trace_ids, complete=False)

    assert "Partial result" not in TestClient(site(shop(3))).get("/").text
    assert "Partial result" in TestClient(site(Hurried())).get("/").text
    assert "come first of all" in TestClient(site(Hurried())).get("/?sort=spans").text


def test_what_was_compared_is_told(client: TestClient) -> None:
    """The page says which traces come first, of which; and from when on, if time did not suffice for all."""

    class Hurried(MemoryReader):
        def search(self, query: Query, *, seconds: float = 2.0) -> Found:
            return Found(super().search(query).trace_ids, complete=False, since=NOON)

    assert "the newest first" in client.get("/").text
    assert "the longest first, of all that match" in client.get("/?sort=longest").text
    html = TestClient(site(Hurried())).get("/?sort=longest").text
    assert "only traces since Nov 22 12:00 UTC were compared" in html


def test_programs_get_the_same_as_json(client: TestClient) -> None:
    """The parameters are the page's; what cannot be understood is refused, by its field."""
    answer = client.get("/search.json?sort=longest&limit=2&tags=!nothing")
    assert answer.status_code == 200
    assert answer.json()["complete"] is True
    first, second = answer.json()["traces"]
    assert (first["trace_id"], second["trace_id"]) == (trace_id(3).hex(), trace_id(1).hex())
    assert first["duration_nano"] == 9 * SECOND
    following = client.get(f"/search.json?sort=longest&limit=2&after={answer.json()['next']}").json()
    assert [each["trace_id"] for each in following["traces"]] == [trace_id(2).hex()]
    assert following["next"] is None
    refused = client.get("/search.json?tags=a%3E%3Ex&operation=%22&limit=0")
    assert refused.status_code == 400
    assert refused.json()["mistakes"].keys() == {"tags", "operation", "limit"}


def test_mistakes_are_told_at_their_fields(client: TestClient) -> None:
    """A field that cannot be understood is marked and explained, what was typed stays, and nothing is searched."""
    answer = client.get("/?tags=%22open&shortest=3&limit=9999")
    assert answer.status_code == 400
    assert _rows(answer.text) == []
    assert "column 1: this quote has no other after it" in unescape(answer.text)
    for field in ("tags", "shortest", "limit"):
        assert f'aria-invalid="true" aria-describedby="{field}-mistake"' in answer.text
        assert f'id="{field}-mistake"' in answer.text
    assert "&#34;open</textarea>" in answer.text


def test_a_search_that_finds_nothing_offers_wider_ones(client: TestClient) -> None:
    """Each suggestion drops one condition; the one that was in the way finds the traces."""
    html = client.get("/?service=front&errors=1&longest=1ns").text
    offered = {
        label: unescape(address) for address, label in re.findall(r'<a class="button" href="([^"]+)">([^<]+)</a>', html)
    }
    assert {"Search the last 30 days", "Search all services", "Search all durations"} <= offered.keys()
    assert _rows(client.get(offered["Search all durations"]).text) == [1]


def test_an_empty_collector_tells_how_to_send_traces() -> None:
    """Before the first trace, the pages say what to set, with the address where this collector takes OTLP."""
    document = status_document(addresses={"pages": "http://0.0.0.0:80", "otlp_http": "http://0.0.0.0:4444"})
    client = TestClient(site(MemoryReader(), status=document), base_url="http://tracing.example:8000")
    for path in ("/", "/live", "/operations"):
        html = client.get(path).text
        assert "causal_otel.install()" in html
        assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://tracing.example:4444" in html
        assert 'href="/import"' in html


def test_the_operations_of_a_service_are_offered(client: TestClient) -> None:
    """The names of the chosen service's operations come with the page, and as JSON for scripts."""
    assert client.get("/ui/operations?service=front").json() == ["GET /a", "GET /b"]
    assert client.get("/ui/operations?service=nobody").json() == []
    assert client.get("/ui/operations").json() == []
    assert '<option value="GET /b"></option>' in client.get("/?service=front").text


@pytest.mark.parametrize(
    "typed",
    [
        "0000000000000000abcdef0123456789",
        "  0000000000000000ABCDEF0123456789\n",
        "0xabcdef0123456789",
        "abcd-ef01-23456789",
    ],
)
def test_an_id_leads_to_its_trace(client: TestClient, typed: str) -> None:
    """An id is taken as people paste it: with spaces, in capitals, with a prefix, without leading zeros."""
    answer = client.get("/jump", params={"trace": typed}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/trace/0000000000000000abcdef0123456789"


@pytest.mark.parametrize("typed", ["", "xyz", "0" * 32, "1" * 33, "//example.com", EVIL])
def test_what_is_no_id_is_told(client: TestClient, typed: str) -> None:
    """What cannot be an id leads nowhere, and is explained."""
    answer = client.get("/jump", params={"trace": typed}, follow_redirects=False)
    assert answer.status_code == 400
    assert "32 hexadecimal digits" in answer.text


# -- in a browser -------------------------------------------------------------------------------------------------


def test_without_scripts_the_page_can_be_read_and_used(open_page: OpenPage, serve: Serve) -> None:
    """Without JavaScript the form searches and its results lead to traces."""
    page = open_page(serve(site(_three())), javascript=False)
    page.select_option("#service", "front")
    page.fill("#tags", 'otel.status_code="ERROR"')
    page.click("text=Search >> nth=-1")
    assert _rows(page.content()) == [1]
    page.click(".trace-name")
    assert page.url.endswith(f"/trace/{trace_id(1).hex()}")


@pytest.mark.parametrize("javascript", [True, False])
def test_two_results_can_be_compared(open_page: OpenPage, serve: Serve, javascript: bool) -> None:
    """Ticking two results offers to compare them, in the order of the list; a third is not taken."""
    page = open_page(serve(site(_three())), javascript=javascript)
    assert page.is_hidden(".compare")
    picks = page.locator(".pick")
    picks.nth(2).check()
    assert page.is_enabled(".compare") is not javascript
    picks.nth(0).check()
    assert picks.nth(1).is_enabled() is not javascript
    page.click(".compare")
    assert "B took" in page.inner_text(".verdict")
    assert page.input_value("[name=a]") == trace_id(1).hex()
    assert page.input_value("[name=b]") == trace_id(3).hex()
    page.go_back()
    assert page.is_enabled(".compare")
    assert picks.nth(1).is_enabled() is not javascript
    if not javascript:
        picks.nth(1).check()
        page.click(".compare")
        assert "first two of the 3" in page.inner_text(".notice")
        assert page.input_value("[name=b]") == trace_id(2).hex()


def test_the_keyboard_is_enough(open_page: OpenPage, serve: Serve) -> None:
    """Slash goes to the form, j and k through the results, Enter opens, a question mark helps."""
    page = open_page(serve(site(_three())))
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("Escape")
    focused = "document.activeElement.closest('.trace').id"
    seen = []
    for key in ("j", "j", "j", "j", "k"):
        page.keyboard.press(key)
        seen.append(int(str(page.evaluate(focused))[1:], 16))
    assert seen == [1, 2, 3, 3, 2]
    page.keyboard.press("?")
    assert "Next trace" in page.inner_text("dialog[open]")
    page.keyboard.press("Escape")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith(f"/trace/{trace_id(2).hex()}")


def test_the_first_stop_of_the_keyboard_skips_the_navigation(open_page: OpenPage, serve: Serve) -> None:
    """Tab and Enter on a fresh page lead to its content."""
    page = open_page(serve(site(_three())))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_choosing_a_service_offers_its_operations(open_page: OpenPage, serve: Serve) -> None:
    """The operations follow the service without a new page, and an address has only what was filled in."""
    page = open_page(serve(site(_three())))
    with page.expect_response("**/ui/operations?service=front"):
        page.select_option("#service", "front")
    page.wait_for_selector("#operations option", state="attached")
    assert page.eval_on_selector_all("#operations option", "all => all.map(each => each.value)") == ["GET /a", "GET /b"]
    page.fill("#operation", "GET /b")
    with page.expect_navigation():
        page.press("#operation", "Enter")
    assert page.url.endswith("/?service=front&operation=GET+%2Fb")
    assert _rows(page.content()) == [2]


def test_the_range_appears_when_it_is_chosen(open_page: OpenPage, serve: Serve) -> None:
    """The absolute range is shown when it is wanted, and forgotten when a look-back is chosen again."""
    page = open_page(serve(site(_three())))
    assert page.is_hidden("#start")
    page.select_option("#lookback", "custom")
    page.fill("#start", "2020-01-01")
    with page.expect_navigation():
        page.press("#start", "Enter")
    assert page.url.endswith("/?start=2020-01-01")
    assert page.input_value("#start") == "2020-01-01"
    assert _rows(page.content()) == [1, 2, 3]
    page.select_option("#lookback", "5m")
    with page.expect_navigation():
        page.click("#search .primary")
    assert page.url.endswith("/?lookback=5m")


def test_the_theme_is_kept(open_page: OpenPage, serve: Serve) -> None:
    """The theme follows the system until it is switched; the choice is there before the next page's first paint."""
    page = open_page(serve(site(_three())), theme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.click("#theme")
    light = page.evaluate(background)
    assert light != dark
    page.reload(wait_until="commit")
    page.wait_for_selector("body", state="attached")
    assert page.evaluate(background) == light


def test_what_spans_say_never_becomes_markup(open_page: OpenPage, serve: Serve) -> None:
    """Markup in any field of a span is shown as it is written, on every page, and nothing of it runs."""
    url = serve(site(MemoryReader([evil_trace()])))
    for path in ("/", "/?sort=errors", "/live", "/operations"):
        page = open_page(url + path)
        assert EVIL in page.inner_text("#main")
        assert page.evaluate("window.evil") is None
    page = open_page(url)
    with page.expect_response("**/ui/operations?**"):
        page.select_option("#service", EVIL)
    page.wait_for_selector("#operations option", state="attached")
    assert page.input_value("#service") == EVIL
    page.fill("#operation", EVIL)
    page.fill("#tags", EVIL.join('""').replace('onerror="window.evil=1"', "").replace("'\">", ""))
    with page.expect_navigation():
        page.press("#operation", "Enter")
    assert page.input_value("#operation") == EVIL
    assert page.evaluate("window.evil") is None
