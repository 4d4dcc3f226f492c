from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.figures import Dependency
from causal_otel.collector.web import map_layout
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, merged
from tests.collector.trends.platform import orders
from tests.collector.web.browser import screenshot
from tests.collector.web.map_sites import dense_spans
from tests.collector.web.sample_traces import Builder, shop
from tests.collector.web.sites import site
from tests.collector.web.test_widths import OUTSIDE
from tests.collector.web.trace_site import application, follow
from tests.collector.web.traffic import EVIL

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

RECTANGLES = """selector => [...document.querySelectorAll(selector)].map((each) => {
  const { left, top, right, bottom } = each.getBoundingClientRect();
  return [left, top, right, bottom];
})"""
FONT_SIZES = """() => [...document.querySelectorAll("svg.drawing text")].map(
  (each) => parseFloat(getComputedStyle(each).fontSize) * each.getScreenCTM().a)"""


def _platform() -> MemoryReader:
    """Requests of just now to the platform of the tests of trends, and a service whose name is markup."""
    chance, now = random.Random(1), time.time_ns() - 10**9
    requests = [each for number in range(1, 13) for each in orders(number, now, chance)]
    other = Builder("dd" * 16, now)
    other.add("gateway", "GET", None, 0, 10, "client")
    other.add("stock & co", "GET", 1, 1, 8, "server", error="gone")
    return MemoryReader([merged(*requests), shop(start=now), other.message])


@pytest.fixture
def base(serve: Callable[[ASGIApp], str]) -> str:
    """The pages over a small platform."""
    return serve(application(_platform()))


def _overlapping(page: Page, selector: str, other: str = "") -> list[tuple[int, int]]:
    first = page.evaluate(RECTANGLES, selector)
    pairs = itertools.product(enumerate(first), enumerate(page.evaluate(RECTANGLES, other or selector)))
    return [
        (i, j)
        for (i, one), (j, two) in pairs
        if (other or i < j)
        and one[0] < two[2] - 1
        and two[0] < one[2] - 1
        and one[1] < two[3] - 1
        and two[1] < one[3] - 1
    ]


def parameter_of_address(page: Page, name: str) -> str | None:
    """A parameter of the page's address, also without JavaScript."""
    return next(iter(parse_qs(urlsplit(page.url).query).get(name, [])), None)


@pytest.mark.parametrize("javascript", [True, False])
def test_the_map_leads_from_a_node_to_its_traces(base: str, open_page: OpenPage, javascript: bool) -> None:
    """Nodes focus on themselves; there, links lead on; a table says the same as the drawing."""
    page = open_page(f"{base}/map?lookback=1h", javascript=javascript)
    document = TestClient(application(_platform())).get("/map.json?lookback=1h").json()
    assert page.locator(".node").count() == len(document["nodes"]) == page.locator("#nodes tbody tr").count()
    assert page.locator(".edge").count() == len(document["edges"]) == page.locator("#calls tbody tr").count()
    row = page.locator("#calls tbody tr", has_text="stock & co")
    assert row.locator("td").all_inner_texts()[2] == "1"
    assert row.locator("td").all_inner_texts()[4] == "100 %"
    follow(page, ".segments >> text=7d")
    assert parameter_of_address(page, "lookback") == "7d"
    follow(page, ".node[data-name='stock & co']")
    assert parameter_of_address(page, "focus") == "stock & co"
    assert page.locator(".node").count() == 2
    links = page.locator("#focus .links a")
    addresses = dict(zip(links.all_inner_texts(), (each.get_attribute("href") for each in links.all()), strict=True))
    assert addresses["Service"] == "/service?service=stock+%26+co&lookback=7d"
    assert addresses["Operations"] == "/operations?service=stock+%26+co&lookback=7d"
    follow(page, "#focus >> text=Traces")
    assert parameter_of_address(page, "service") == "stock & co"


def test_a_broker_tells_its_wait_and_a_host_its_searches(base: str, open_page: OpenPage) -> None:
    """The mean and the longest, which leads to its trace; a search for what goes to a host."""
    page = open_page(f"{base}/map?lookback=1h&focus=celery")
    assert (page.locator(".node.kind-broker .wait").text_content() or "").startswith("waits ")
    follow(page, "#focus dd a")
    assert "/trace/" in page.url
    page = open_page(f"{base}/map?lookback=1h&focus=api.example.com")
    follow(page, "#focus >> text=Traces")
    assert parameter_of_address(page, "system") == "http api.example.com"
    assert page.locator(".traces tbody tr, .trace, ol.traces li").count() > 0


def test_lines_and_rows_lead_to_searches(base: str, open_page: OpenPage) -> None:
    """Each to what its figures are of: a line of the drawing, the calls and the errors of a row, a service's page."""
    page = open_page(f"{base}/map?lookback=1h")
    row = page.locator("#calls tr", has=page.locator("td:nth-child(2) a[title='api.example.com']"))
    caller = row.locator("td:nth-child(1) a").get_attribute("title") or ""
    line = page.locator(f"a.to-search:has([data-from='{caller}'][data-to='api.example.com'])")
    address = row.locator("td:nth-child(3) a").get_attribute("href") or ""
    assert parse_qs(urlsplit(address).query) == {"service": [caller], "system": ["http api.example.com"]}
    assert line.get_attribute("href") == address
    with page.expect_navigation():
        line.locator(".reach").dispatch_event("click")
    assert page.locator("#traces .trace").count() > 0
    page = open_page(f"{base}/map?lookback=1h")
    row = page.locator("#nodes tr", has=page.locator("td:nth-child(1) a[title='stock & co']"))
    assert row.locator("td:nth-child(5) a").get_attribute("href") == "/?service=stock+%26+co&errors=1"
    assert row.locator("td:nth-child(3) a").get_attribute("href") == "/?service=stock+%26+co"
    row.locator("td:nth-child(2) a").click()
    page.wait_for_url("**/service?service=stock+%26+co&lookback=1h")


def test_nodes_can_be_reached_by_keyboard(base: str, open_page: OpenPage) -> None:
    """Tab goes to the nodes, what they call stands out, and Enter follows."""
    page = open_page(f"{base}/map")
    page.locator(".canvas").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.outerHTML.slice(0, 60)").startswith('<a href="/map?focus=')
    assert page.locator("svg.drawing.dimmed").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_url("**focus=**")


def test_zoom_by_buttons_keys_and_wheel(base: str, open_page: OpenPage) -> None:
    """The drawing grows and shrinks, its text with it, and the address keeps it."""
    page = open_page(f"{base}/map?lookback=1h")

    def width() -> float:
        return float(page.evaluate("document.querySelector('svg.drawing').getBoundingClientRect().width"))

    whole = width()
    page.click("#zoom-in")
    assert width() == pytest.approx(1.25 * whole, rel=0.01)
    assert parameter_of_address(page, "zoom") == "125"
    page.keyboard.press("+")
    assert width() == pytest.approx(1.5 * whole, rel=0.01)
    page.keyboard.press("0")
    assert width() == pytest.approx(whole, rel=0.01)
    assert parameter_of_address(page, "zoom") is None
    page.locator(".canvas").hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, 100)
    page.keyboard.up("Control")
    page.wait_for_function("new URL(location.href).searchParams.get('zoom') === '75'")
    page.click("#zoom-fit")
    assert width() <= page.evaluate("document.querySelector('.canvas').clientWidth") + 1
    page.reload()
    assert parameter_of_address(page, "zoom") == "fit"
    assert width() <= page.evaluate("document.querySelector('.canvas').clientWidth") + 1


def test_zoom_without_javascript(base: str, open_page: OpenPage) -> None:
    """The buttons are links."""
    page = open_page(f"{base}/map?lookback=1h", javascript=False)
    follow(page, "#zoom-in")
    assert parameter_of_address(page, "zoom") == "125"
    svg = page.locator("svg.drawing")
    natural = float((svg.get_attribute("viewBox") or "").split()[2])
    assert float(svg.get_attribute("width") or 0) == pytest.approx(1.25 * natural, rel=0.01)


def test_find_marks_nodes_and_filters_leave_edges_out(base: str, open_page: OpenPage) -> None:
    """By a form, whose state is in the address."""
    page = open_page(f"{base}/map?lookback=1h")
    page.fill("#find", "ORDER")
    page.locator("#find").press("Enter")
    page.wait_for_url("**find=ORDER**")
    assert page.locator(".node.hit").count() == page.locator("#found a").count() > 0
    whole = page.locator(".edge").count()
    page.check("[name=errors]")
    page.click(".map-form button")
    page.wait_for_url("**errors=1**")
    assert 0 < page.locator(".edge").count() < whole
    assert page.locator(".edge.e0").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ten_services_are_legible(
    serve: Callable[[ASGIApp], str], open_page: OpenPage, theme: Literal["light", "dark"]
) -> None:
    """No box and no label overlaps another, and no text is smaller than 11 px, as the page is opened."""
    page = open_page(f"{serve(application(MemoryReader(dense_spans(10, 18))))}/map?lookback=1h", theme=theme)
    assert page.locator(".node").count() >= 10
    assert _overlapping(page, ".node .box") == []
    assert _overlapping(page, "text.label", ".node .box") == []
    assert min(page.evaluate(FONT_SIZES)) >= 11
    screenshot(page, f"map-ten-{theme}")


def test_fifty_dense_services_are_legible(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Likewise of two hundred calls; the page itself is not wider than its window; one is focused on by a click."""
    page = open_page(f"{serve(application(MemoryReader(dense_spans(50, 200))))}/map?lookback=1h")
    assert page.locator(".node").count() >= 50
    assert _overlapping(page, ".node .box") == []
    assert _overlapping(page, "text.label", ".node .box") == []
    assert min(page.evaluate(FONT_SIZES)) >= 11
    assert page.evaluate(OUTSIDE) == [] or page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    screenshot(page, "map-fifty")
    page.click("#zoom-fit")
    screenshot(page, "map-fifty-fit", full=False)
    follow(page, "#nodes td:first-child a >> nth=3")
    assert 1 < page.locator(".node").count() < 40
    assert _overlapping(page, ".node .box") == []
    screenshot(page, "map-fifty-focus", full=False)


def test_a_phone_shows_the_table_first(base: str, open_page: OpenPage) -> None:
    """And the drawing on demand, within the page's width."""
    page = open_page(f"{base}/map?lookback=1h", width=390)
    assert page.locator("#nodes").is_visible()
    assert not page.locator("svg.drawing").is_visible()
    follow(page, ".on-demand a")
    assert page.locator("svg.drawing").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tables, drawing = (page.evaluate(RECTANGLES, each)[0] for each in ("#nodes", ".map"))
    assert tables[1] < drawing[1]
    screenshot(page, "map-phone")


def test_markup_in_names_is_text(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Of services, of systems and of hosts, in the drawing and in addresses."""
    evil = Builder("ee" * 16, time.time_ns() - 10**9)
    evil.add(EVIL, "GET", None, 0, 10, "server")
    evil.add(EVIL, "GET", 1, 1, 8, "client", db__system__name=EVIL)
    evil.add(EVIL, "GET", 1, 1, 8, "client", http__request__method="GET", server__address=EVIL)
    evil.add("next", "GET", 1, 1, 8, "server")
    base = serve(application(MemoryReader([evil.message])))
    page = open_page(f"{base}/map?lookback=1h")
    assert page.locator("#nodes a[title^='<img']").count() == 3
    follow(page, "#nodes a[title^='<img'] >> nth=0")
    assert page.locator("#focus").count() == 1
    page.goto(page.url + "&find=%3Cscript%3Ewindow.evil%3D1")
    assert page.evaluate("window.evil") is None
    assert page.locator("main img, main script").count() == 0


def test_the_tables_are_there_without_a_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it could not be made."""
    monkeypatch.setattr(map_layout, "_PROGRAM", "raise SystemExit(3)")
    map_layout._layout.cache_clear()
    answer = TestClient(application(_platform())).get("/map?lookback=1h")
    map_layout._layout.cache_clear()
    assert answer.status_code == 200
    assert "could not be drawn" in answer.text
    assert 'id="calls"' in answer.text


def test_what_takes_long_to_read_is_read_once_for_several_clicks() -> None:
    """A focus and a zoom are of what was read for the page before."""

    class Slow(MemoryReader):
        asked = 0

        def dependencies(self, start: int, end: int) -> list[Dependency]:
            self.asked += 1
            time.sleep(0.3)
            return super().dependencies(start, end)

    reader = Slow(dense_spans(5, 6))
    client = TestClient(application(reader))
    for query in ("", "&focus=service-001", "&zoom=200"):
        assert client.get(f"/map?lookback=1h{query}").status_code == 200
    assert reader.asked == 1
    client.get("/map?lookback=6h")
    assert reader.asked == 2


def test_an_unusable_time_is_told_of() -> None:
    """The page says what to write, and shows a day; so does the document."""
    client = TestClient(application(MemoryReader()))
    for lookback in ("soon", "0s", "9000d", "<b>"):
        answer = client.get("/map", params={"lookback": lookback})
        assert answer.status_code == 400
        assert "cannot be used" in answer.text
        assert "<b>" not in answer.text
        answer = client.get("/map.json", params={"lookback": lookback})
        assert (answer.status_code, list(answer.json()["mistakes"])) == (400, ["lookback"])


def test_a_focus_on_what_is_not_there_shows_all() -> None:
    """And says so."""
    answer = TestClient(application(_platform())).get("/map?lookback=1h&focus=nobody")
    assert answer.status_code == 200
    assert "Nothing here is called <b>nobody</b>" in answer.text
    assert "gateway" in answer.text


def test_the_document_is_what_the_page_shows() -> None:
    """Nodes, edges and when they were counted, filtered likewise."""
    client = TestClient(application(_platform()))
    whole = client.get("/map.json?lookback=1h").json()
    assert set(whole) == {"nodes", "edges", "start_unix_nano", "end_unix_nano"}
    assert whole["start_unix_nano"] % HOUR == 0
    seconds = (whole["end_unix_nano"] - whole["start_unix_nano"]) / 10**9
    for edge in whole["edges"]:
        assert edge["per_second"] == pytest.approx(edge["calls"] / seconds)
    focused = client.get("/map.json?lookback=1h&focus=celery").json()
    near = {name for edge in whole["edges"] for name in (edge["parent"], edge["child"]) if "celery" in edge.values()}
    assert {node["name"] for node in focused["nodes"]} == near >= {"celery", "orders", "worker"}
    assert "queue_wait_nano" in next(node for node in focused["nodes"] if node["name"] == "celery")


def test_an_empty_map_says_so() -> None:
    """Without services there is advice instead of a drawing."""
    answer = TestClient(site(MemoryReader())).get("/map?lookback=30d")
    assert answer.status_code == 200
    assert "No calls in the last 30d" in answer.text
    assert "<figure" not in answer.text
