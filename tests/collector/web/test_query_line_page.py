"""The query line of the search page: pages of results, their total, what is offered, and searches that are kept."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.query import Counted, Query
from tests.collector.oracle import MemoryReader
from tests.collector.spans import MILLISECOND, SECOND, span, trace_id, traces
from tests.collector.web.browser import screenshot
from tests.collector.web.sites import site
from tests.collector.web.traffic import EVIL, evil_trace

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

Serve = Callable[["ASGIApp"], str]


def _many(count: int = 50) -> MemoryReader:
    """So many traces, the first one the newest; each has its number, and how long it took goes up and down."""
    now = time.time_ns()
    return MemoryReader(
        traces(
            span(
                "GET /orders" if number % 2 else "POST /orders",
                trace=number,
                start=now - number * SECOND,
                duration=(number * 37 % 101) * MILLISECOND,
                error=number % 10 == 0,
                tags={"number": number, "user.name": "Ada B" if number % 2 else "ümit"},
            ),
            service="shop" if number % 3 else "cart",
        )
        for number in range(1, count + 1)
    )


class _Hurried(MemoryReader):
    """Counts no more than it has the time for: a hundredth of a second for a trace."""

    def count(self, query: Query, *, seconds: float = 0.5) -> Counted:
        whole = super().count(query)
        most = int(seconds * 100)
        return whole if whole.traces <= most else Counted(most, complete=False)


def _rows(html: str) -> list[int]:
    return [int(number, 16) for number in re.findall(r'<li class="trace[^"]*" id="t([0-9a-f]{32})"', html)]


def _heading(html: str) -> str:
    text = re.sub(r"<[^>]+>", "", html.partition('<h1 id="results-title">')[2].partition("</h1>")[0])
    return " ".join(unescape(text).split())


def _link(html: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}" href="([^"]*)"', html)
    return unescape(found[1]) if found else ""


@pytest.mark.parametrize("sort", ["newest", "oldest", "longest", "errors"])
@pytest.mark.parametrize("line", ["", "service=shop OR error"])
def test_pages_lead_through_all_results_and_back(sort: str, line: str) -> None:
    """Each tells which of how many it shows; what arrives meanwhile shifts none of them."""
    reader = _many()
    client = TestClient(site(reader))
    everything = _rows(client.get("/", params={"sort": sort, "limit": "500", "q": line}).text)
    html = client.get("/", params={"sort": sort, "limit": "20", "q": line}).text
    pages = [html]
    while address := _link(html, "next"):
        html = client.get(address).text
        pages.append(html)
        if len(pages) == 2:
            start = time.time_ns() - (3000 if sort == "oldest" else 0) * SECOND
            reader.add(traces(*(span(trace=99, id=n, start=start, duration=SECOND, error=True) for n in (1, 2, 3))))
    assert [number for page in pages for number in _rows(page)] == everything
    assert _heading(pages[0]) == f"20 of {len(everything)} traces"
    assert _heading(pages[1]).startswith(f"21–{min(40, len(everything))} of {len(everything)}")
    for page, before in zip(pages[:0:-1], pages[-2::-1], strict=True):
        if before is not pages[0]:
            assert _rows(client.get(_link(page, "prev")).text) == _rows(before)
    back = client.get(_link(pages[1], "prev")).text
    assert _rows(back) == _rows(pages[0])


def test_a_page_behind_the_last_one_leads_back() -> None:
    """As where what was on it has been removed meanwhile."""
    client = TestClient(site(_many(20)))
    place = f"20-0-1-{trace_id(1).hex()}"
    html = client.get(f"/?limit=10&after={place}").text
    assert "No more traces" in html
    assert _rows(client.get("/?limit=10").text) == list(range(1, 11))
    # A list that has become shorter begins with its first page.
    assert _rows(client.get(f"/?limit=10&before=3-0-{time.time_ns()}-{trace_id(1).hex()}").text) == list(range(1, 11))


def test_all_that_are_shown_are_counted_without_asking() -> None:
    """Where there is one page only, its heading says just how many."""
    html = TestClient(site(_many(7))).get("/").text
    assert _heading(html) == "7 traces"
    assert "More traces" not in html
    assert _heading(TestClient(site(_many(7))).get("/?q=service%3Dnobody").text) == "Traces"


def test_programs_can_ask_for_the_count() -> None:
    """By the parameters of the page; it says whether it is the whole one, and refuses what cannot be understood."""
    client = TestClient(site(_many()))
    assert client.get("/ui/count?q=error&limit=1").json() == {"traces": 5, "complete": True, "says": "5"}
    hurried = TestClient(site(_Hurried([*map(_message, range(1, 90))])))
    assert hurried.get("/ui/count").json() == {"traces": 50, "complete": False, "says": "more than 50"}
    refused = client.get("/ui/count?q=(")
    assert refused.status_code == 400
    assert refused.json()["mistakes"].keys() == {"q"}


def _message(number: int) -> Any:
    return traces(span(trace=number, start=time.time_ns() - number * SECOND))


def _complete(client: TestClient, line: str, at: int | None = None, **more: str) -> tuple[str, list[str]]:
    """The part of the line that would be replaced, and what by."""
    parameters = {"q": line, "at": str(len(line) if at is None else at), **more}
    found = client.get("/ui/complete", params=parameters).json()
    replaced = line.encode("utf-16-le")[2 * found["begin"] : 2 * found["end"]].decode("utf-16-le")
    return replaced, [offer["text"] for offer in found["offers"]]


def test_keys_and_values_are_offered_where_they_belong() -> None:
    """The most frequent first; what is typed narrows them; values with spaces come in quotes."""
    client = TestClient(site(_many()))
    assert _complete(client, "") == ("", _complete(client, "")[1])
    assert {"service=", "error ", "duration>", "number=", "user.name="} <= set(_complete(client, "")[1])
    assert _complete(client, "serv")[1][:2] == ["service=", "service.name="]
    assert _complete(client, "error (num") == ("num", ["number="])
    assert _complete(client, "service=") == ("", ["shop ", "cart "])
    assert _complete(client, "!service=c") == ("c", ["cart "])
    assert _complete(client, "name=") == ("", ['"GET /orders" ', '"POST /orders" '])
    assert _complete(client, 'name="pos')[1] == ['"POST /orders" ']
    assert _complete(client, "user.name=") == ("", ['"Ada B" ', '"ümit" '])
    assert _complete(client, "user.name!=ü")[1] == ['"ümit" ']
    assert _complete(client, "status=")[1] == ["error ", "ok ", "unset "]
    assert _complete(client, "kind=se")[1] == ["server "]
    assert _complete(client, "nobody=") == ("", [])
    line = "service=ca error"
    assert _complete(client, line, len("service=c")) == ("ca", ["cart "])
    assert _complete(client, "x=\U0001f600 num", at=8) == ("num", ["number="])
    assert _complete(client, "\U0001f600" * 5000)[1] == []
    assert client.get("/ui/complete").json()["begin"] == 0


def test_operations_are_those_of_the_service() -> None:
    """The one that the line names, or else the one that is chosen in the form."""
    now = time.time_ns()
    reader = MemoryReader(
        traces(span(name, trace=number, start=now), service=service)
        for number, (service, name) in enumerate((("shop", "buy"), ("shop", "buy"), ("cart", "pay")), 1)
    )
    client = TestClient(site(reader))
    assert _complete(client, "name=")[1] == ["buy ", "pay "]
    assert _complete(client, "service=cart name=")[1] == ["pay "]
    assert _complete(client, "operation=", service="cart")[1] == ["pay "]
    assert _complete(client, "service=shop operation=", service="cart")[1] == ["buy "]


# -- in a browser -------------------------------------------------------------------------------------------------


def _offered(page: Page) -> list[str]:
    page.wait_for_selector("#offers:not([hidden])")
    return page.locator("#offers .text").all_text_contents()


def test_the_line_is_completed_by_keyboard(open_page: OpenPage, serve: Serve) -> None:
    """Arrows choose, Enter and Tab take, Escape closes the list and then leaves; the address has the line."""
    page = open_page(serve(site(_many())))
    page.keyboard.press("/")
    page.keyboard.type("serv")
    assert _offered(page)[0] == "service="
    screenshot(page, "query-line-offers")
    page.keyboard.press("ArrowDown")
    active = page.get_attribute("#q", "aria-activedescendant")
    assert page.get_attribute(f"#{active}", "aria-selected") == "true"
    page.keyboard.press("Enter")
    assert page.input_value("#q") == "service="
    page.wait_for_function("() => document.querySelector('#offers .text')?.textContent === 'shop'")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    assert page.input_value("#q") == "service=cart "
    assert page.get_attribute("#q", "aria-expanded") == "false"
    page.keyboard.type("num")
    page.wait_for_selector("#offers:not([hidden])")
    page.keyboard.press("Escape")
    assert page.is_hidden("#offers")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("ber<10")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith("/?q=service%3Dcart+number%3C10")
    assert _rows(page.content()) == [3, 6, 9]
    assert page.input_value("#q") == "service=cart number<10"


@pytest.mark.parametrize("javascript", [True, False])
def test_the_line_and_the_form_are_one_search(open_page: OpenPage, serve: Serve, javascript: bool) -> None:
    """Both are in the address, and both have to hold; next and previous are links."""
    page = open_page(serve(site(_many())), javascript=javascript)
    page.fill("#q", "number<=30 (error OR duration>50ms)")
    page.select_option("#service", "shop")
    page.fill("#limit", "5")
    with page.expect_navigation():
        page.press("#q", "Enter")
    first = _rows(page.content())
    assert len(first) == 5
    assert page.input_value("#q") == "number<=30 (error OR duration>50ms)"
    assert page.input_value("#service") == "shop"
    page.click("[rel=next]")
    second = _rows(page.content())
    assert min(second) > max(first)
    assert page.inner_text("#results-title").startswith("6–")
    page.click("[rel=prev]")
    assert _rows(page.content()) == first


def test_a_mistake_in_the_line_is_shown_with_its_place(open_page: OpenPage, serve: Serve) -> None:
    """The line stays as it was typed."""
    page = open_page(serve(site(_many())), expected=("400",))
    page.fill("#q", "error (a=1 OR")
    with page.expect_navigation():
        page.press("#q", "Enter")
    assert page.inner_text("#q-mistake") == "column 14: a condition is missing here"
    assert page.input_value("#q") == "error (a=1 OR"
    assert page.get_attribute("#q", "aria-invalid") == "true"


def test_a_count_that_took_too_long_is_bettered(open_page: OpenPage, serve: Serve) -> None:
    """The page says how many there are at least, and its script how many there are."""
    reader = _Hurried([*map(_message, range(1, 41))])
    assert "more than 20</span> traces" in TestClient(site(reader)).get("/").text
    page = open_page(serve(site(reader)))
    page.wait_for_function("() => document.getElementById('total').textContent === '40'")
    assert page.inner_text("#results-title") == "20 of 40 traces"


def test_searches_are_kept_in_the_browser(open_page: OpenPage, serve: Serve) -> None:
    """Recent ones by themselves, others under a name; they can be opened, exported and deleted."""
    url = serve(site(_many()))
    page = open_page(f"{url}/?q=error&sort=longest")
    page.goto(f"{url}/?q=service%3Dcart&limit=5")
    page.click("[rel=next]")
    page.click("#kept-open")
    assert page.eval_on_selector_all("#recent a", "all => all.map(each => each.textContent)") == [
        "service=cart · limit: 5",
        "error · sort: longest",
    ]
    page.fill("#keep-name", "<b>the cart</b>")
    page.press("#keep-name", "Enter")
    assert page.inner_text("#saved a") == "<b>the cart</b>"
    assert page.get_attribute("#saved a", "href") == "/?q=service%3Dcart&limit=5"
    screenshot(page, "query-line-kept")
    page.click("#kept-export")
    assert page.input_value("#kept-text").splitlines() == [
        f"<b>the cart</b>\t{url}/?q=service%3Dcart&limit=5",
        f"service=cart · limit: 5\t{url}/?q=service%3Dcart&limit=5",
        f"error · sort: longest\t{url}/?q=error&sort=longest",
    ]
    with page.expect_navigation():
        page.click("#recent a >> nth=1")
    assert page.input_value("#q") == "error"
    page.click("#kept-open")
    page.click("#saved button")
    assert page.inner_text("#saved") == "none"
    page.click("#kept-clear")
    assert page.inner_text("#recent") == "none"
    page.keyboard.press("Escape")
    assert page.is_hidden("#kept-menu")
    page.reload()
    page.click("#kept-open")
    assert page.inner_text("#saved") == "none"


def test_what_is_offered_is_text(open_page: OpenPage, serve: Serve) -> None:
    """Keys, values and names with markup in them are shown as they are written, and nothing of it runs."""
    page = open_page(serve(site(MemoryReader([evil_trace()]))))
    for typed in ("img", "service=", "name="):
        page.fill("#q", "")
        page.focus("#q")
        page.keyboard.type(typed)
        page.wait_for_selector("#offers:not([hidden])")
        assert "onerror" in page.inner_text("#offers")
        if typed != "name=":
            page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert EVIL in page.inner_text("#traces")
    assert page.evaluate("window.evil") is None


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_the_line_fits(open_page: OpenPage, serve: Serve, width: int) -> None:
    """Nothing scrolls sideways, neither with the list of offers nor with the menu open."""
    page = open_page(serve(site(_many())), width=width)
    wide = "document.documentElement.scrollWidth > innerWidth"
    page.focus("#q")
    page.keyboard.type("s")
    page.wait_for_selector("#offers:not([hidden])")
    assert not page.evaluate(wide)
    page.keyboard.press("Escape")
    page.click("#kept-open")
    assert not page.evaluate(wide)
    screenshot(page, f"query-line-{width}")
