"""The page of a trace: what it shows, with scripts or without, and what does it no harm."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.analysis.where_time_went import BEFORE_LABELS, LABELS
from causal_otel.collector.receive import otlp_json
from causal_otel.collector.web.legend import PARTS
from causal_otel.collector.web.templating import STATIC
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_causes import CAUSES, causes, holder
from tests.collector.web.sample_traces import ATTACK, Builder, large, shop
from tests.collector.web.trace_site import (
    ATTACKED,
    BROKEN,
    FAILED,
    LARGE,
    RESERVE,
    SELECT,
    SHOP,
    application,
    current,
    follow,
    parameter_of,
    visible,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

SELECT_ORDERS = Builder.id(2)


def test_it_shows_every_span_with_its_depth_and_duration(client: TestClient) -> None:
    """Each span is a row, at its level of the tree."""
    text = client.get(f"/trace/{SHOP}").text
    assert len(re.findall(r'class="row ', text)) == 23
    assert re.search(rf'id="s-{SELECT}" role="row" aria-level="4"', text)
    assert "412 ms" in text


@pytest.mark.parametrize("written", [SHOP.upper(), SHOP])
def test_an_id_may_be_in_capitals(client: TestClient, written: str) -> None:
    """Hexadecimal digits of either case name a trace."""
    assert client.get(f"/trace/{written}").status_code == 200


def test_a_short_id_stands_for_one_with_leading_zeros() -> None:
    """Sixteen digits are a trace id as older tracers have them."""
    client = TestClient(application(MemoryReader([shop("0" * 16 + "00ff00ff00ff00ff")])))
    assert client.get("/trace/00ff00ff00ff00ff").status_code == 200


@pytest.mark.parametrize(
    ("trace_id", "advice"),
    [
        ("ef" * 16, "Look again"),
        ("0" * 32, "no trace id"),
        ("nonsense", "no trace id"),
        ("%3Cscript%3E", "no trace id"),
    ],
)
def test_an_unknown_trace_is_a_page_that_says_what_to_do(client: TestClient, trace_id: str, advice: str) -> None:
    """What is not there, and what is no id, is a 404 with advice."""
    for path in (f"/trace/{trace_id}", f"/trace/{trace_id}.json"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert advice in answer.text
        assert "<script>" not in answer.text


def test_the_json_is_the_trace(client: TestClient) -> None:
    """What is downloaded is OTLP JSON of all spans, with a name of its own."""
    answer = client.get(f"/trace/{SHOP}.json")
    assert answer.headers["content-disposition"] == f'attachment; filename="trace-{SHOP}.json"'
    assert otlp_json.loads(answer.content) == shop()


def test_a_span_that_is_not_there_is_not_found(client: TestClient) -> None:
    """Its details are a 404, and the page ignores it."""
    assert client.get(f"/trace/{SHOP}/span/{'9' * 16}").status_code == 404
    assert client.get(f"/trace/{'9' * 32}/span/{SELECT}").status_code == 404
    assert client.get(f"/trace/{'9' * 32}/find?text=x").status_code == 404
    assert client.get(f"/trace/{SHOP}?span={'9' * 16},<b>").status_code == 200


def test_no_page_has_inline_scripts_or_styles(client: TestClient) -> None:
    """Nothing that the content security policy would block is in any page."""
    for trace_id in (SHOP, BROKEN, ATTACKED):
        text = client.get(f"/trace/{trace_id}?span={Builder.id(2)}").text
        assert not re.search(r"<[a-z][^<>]*\sstyle=", text)
        for script in re.findall(r"<script\b[^>]*>", text):
            assert "src=" in script or 'type="application/json"' in script


def test_parts_of_the_time_are_drawn_and_said(client: TestClient) -> None:
    """Where the time went is in the bars, each part with its title, and in the details."""
    text = client.get(f"/trace/{SHOP}").text
    for kind in ("pool-wait", "connect", "server", "fetch", "loop-blocked", "queue-wait"):
        assert f'class="part {kind}"' in text
    assert "<title>pool wait 38 ms, 41.3 %</title>" in text
    assert "pool wait 38 ms, 41.3 %" in client.get(f"/trace/{SHOP}/span/{SELECT}").text


def test_every_part_has_a_pattern_and_a_line_in_the_legend() -> None:
    """No part that can be measured is drawn in black, or unexplained."""
    styles = (STATIC / "trace.css").read_text()
    for label in (*LABELS.values(), *BEFORE_LABELS.values()):
        kind = label.replace(" ", "-")
        assert PARTS[kind][0] == label
        assert re.search(rf"\.part[^{{]*\.{kind}\b[^{{]*{{ fill: ", styles), kind


def test_a_wait_before_a_short_span_is_drawn() -> None:
    """A task that ran for a moment only has lain in its queue for all to see; its other parts are too short."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 1000, "server")
    b.add("worker", "job", 1, 900, 0.5, "consumer", causal__queue__wait=0.4, causal__server=0.0004)
    text = TestClient(application(MemoryReader([b.message]))).get(f"/trace/{SHOP}").text
    assert re.findall(r'class="part ([a-z-]+)" x="50.0%" width="40.0%"', text) == ["queue-wait"]
    assert 'class="part server"' not in text


def test_stalls_are_hatched_where_they_were() -> None:
    """A stall of another request is drawn at its place in the bar of who suffered, and the other parts around it."""
    client = TestClient(application(MemoryReader([causes(), holder()])))
    text = client.get(f"/trace/{CAUSES}").text
    row = text[text.index(f'id="s-{SELECT_ORDERS}"') :].partition("</svg>")[0]
    drawn = re.findall(r'class="part ([a-z-]+)" x="([0-9.]+)%" width="([0-9.]+)%"', row)
    whole = 1330  # milliseconds of the trace
    assert [(kind, round(float(x) * whole / 100), round(float(width) * whole / 100)) for kind, x, width in drawn] == [
        ("pool-wait", 20, 20),
        ("pool-wait", 100, 80),
        ("connect", 180, 10),
        ("server", 190, 50),
        ("fetch", 430, 20),
        ("loop-blocked", 40, 60),
        ("loop-blocked", 250, 150),
    ]
    assert "loop blocked 210 ms, 48.8 %" in client.get(f"/trace/{CAUSES}/span/{SELECT_ORDERS}").text
    stall = client.get(f"/trace/{CAUSES}/span/{Builder.id(5)}").text
    assert "<li>computing 45 ms, 75 %</li><li>garbage collection 10 ms, 17 %</li><li>a blocking call 5 ms, 8 %" in stall


def test_what_is_broken_is_marked(client: TestClient) -> None:
    """Orphans, differing clocks, circles and impossible times are flagged and explained."""
    text = client.get(f"/trace/{BROKEN}?span={','.join(map(Builder.id, (2, 3, 4, 6)))}").text
    assert ">orphan</span>" in text
    assert ">clock</span>" in text
    assert ">warning</span>" in text
    assert "spans have a warning" in text
    assert "clocks of some services seem to differ from their callers&#39;: back +40 ms" in text.replace("'", "&#39;")
    assert "1 span names a parent that is not here" in text
    assert "not received" in text
    assert "go in a circle" in text
    assert "ends 20 ms before it starts" in text


def test_find_looks_at_services_names_and_attributes(client: TestClient) -> None:
    """The text may be anywhere in a span, in any case, also as key=value."""

    def found(text: str) -> list[str]:
        answer = client.get(f"/trace/{SHOP}/find", params={"text": text}).json()
        assert answer["count"] == len(answer["stops"])
        return [span_id for span_id, _, _ in answer["stops"]]

    assert found("SEND_receipt") == [Builder.id(18), Builder.id(19)]
    assert found("user.id=u-4711") == [Builder.id(1)]
    assert found("pool grew") == [SELECT]
    assert found("timed out") == [FAILED]
    assert found("") == []
    assert found("no such thing") == []


def test_without_scripts_links_open_collapse_and_step(base: str, open_page: OpenPage) -> None:
    """Everything but copying works by links and forms alone."""
    page = open_page(f"{base}/trace/{SHOP}", javascript=False)
    follow(page, f"#s-{SELECT} .op")
    assert "SELECT id, name" in page.inner_text(".details")
    follow(page, f"#s-{RESERVE} .fold")
    assert parameter_of(page.url, "collapsed") == RESERVE
    assert visible(page) == 19
    follow(page, "#critical")
    assert "critical=answer" in page.url
    assert page.locator(".path:visible").count() > 10
    page.fill("#find input[name=find]", "charge card")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.inner_text("#find-count") == "2 found"
    follow(page, "#find-next")
    assert f"span={FAILED}" in page.url
    follow(page, "#collapse-all")
    assert visible(page) == 2
    follow(page, "#error-next")
    assert page.locator(f"#s-{FAILED}:visible").count() == 1
    follow(page, "#expand-all")
    assert visible(page) == 23
    follow(page, f"#s-{FAILED} .op")
    assert page.locator(".details").count() == 0
    assert "critical=answer" in page.url


def test_scripts_in_any_field_are_inert(base: str, open_page: OpenPage) -> None:
    """What attacks is shown as the text it is, and no link leads anywhere but to these pages."""
    page = open_page(f"{base}/trace/{ATTACKED}?span={Builder.id(2)}&find={ATTACK[:60]}")
    page.click(f"#s-{Builder.id(1)} .op")
    page.wait_for_selector(f"#s-{Builder.id(1)} + .details .facts")
    for path in ("/compare", f"/compare?a={ATTACKED}&b={ATTACKED}", f"/trace/{ATTACKED}"):
        page.goto(base + path)
        assert page.evaluate("window.pwned") is None
        assert ATTACK in page.inner_text("main")
        assert page.evaluate("[...document.links].every(link => link.href.startsWith(location.origin + '/'))")
        assert page.evaluate("document.querySelectorAll('main img, main [onload], main [onerror]').length") == 0


def test_scripts_in_rows_out_of_view_are_inert(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Rows that are text until they are scrolled to are escaped like all others."""
    many = Builder(ATTACKED)
    for number in range(400):
        many.add(ATTACK, f"{ATTACK}{number % 2}", 1 if number else None, number, 1, error=ATTACK)
    page = open_page(f"{serve(application(MemoryReader([many.message])))}/trace/{ATTACKED}")
    page.keyboard.press("p")
    assert current(page) == Builder.id(400)
    assert page.locator(".row.current b").inner_text() == f"{ATTACK}1"
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.querySelectorAll('main img, main [onload]').length") == 0


def test_a_large_trace_becomes_elements_as_it_is_scrolled(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Of a long trace the rows out of view are text until they are needed: by scrolling, keys, find, or an error."""
    reader = MemoryReader()
    message = large(900, LARGE)
    reader._traces[bytes.fromhex(LARGE)] = message
    page = open_page(f"{serve(application(reader))}/trace/{LARGE}")
    assert page.locator(".row").count() < 500
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height > 900 * 26
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight / 2)")
    page.wait_for_function("() => document.querySelectorAll('.row').length > 250")
    page.keyboard.press("p")
    last = max(number for number in range(1, 901) if number % 97 == 0)
    assert page.locator(f"#s-{Builder.id(last)}").count() <= 1
    assert "err" in str(page.locator(".row.current").get_attribute("class"))
    page.fill("#find input", "r-899")
    page.wait_for_function("() => document.getElementById('find-count').textContent === '1 found'")
    page.keyboard.press("Enter")
    assert current(page) == Builder.id(899)
    assert page.locator(".row.current.hit:visible").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("w")
    assert visible(page) == 1


def test_a_trace_with_more_spans_than_a_page_has_rows_is_cut(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[[ASGIApp], str], open_page: OpenPage
) -> None:
    """The page says how many spans it lacks, and collapsing asks the server, which then shows later ones."""
    monkeypatch.setattr("causal_otel.collector.web.layout.ROWS_LIMIT", 10)
    page = open_page(f"{serve(application(MemoryReader([shop()])))}/trace/{SHOP}")
    assert "13 more spans" in page.inner_text(".notice")
    assert page.locator(".row").count() == 10
    follow(page, f"#s-{Builder.id(6)} .fold")
    assert page.locator(f"#s-{Builder.id(22)}").count() == 1
    assert page.locator(".notice").count() == 0


def test_the_first_rows_of_a_large_trace_come_first(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[[ASGIApp], str], open_page: OpenPage
) -> None:
    """What comes before the explanation has some rows, which fold; those to come are told of, with a link to them."""
    monkeypatch.setattr("causal_otel.collector.web.layout.FIRST_ROWS", 10)
    monkeypatch.setattr("causal_otel.collector.web.trace_screen.EXPLAINED_AT_ONCE", 22)
    site = serve(application(MemoryReader([shop()])))
    page = open_page(f"{site}/trace/{SHOP}", javascript=False)
    assert page.inner_text(".notice") == "13 more spans come with why it took so long: show them now."
    assert page.locator(".row:not(.gap)").count() == 10
    follow(page, ".notice a")
    assert page.locator(".row:not(.gap)").count() == 23
    assert page.locator(".notice").count() == 0
    page = open_page(f"{site}/trace/{SHOP}?span={Builder.id(22)}", javascript=False)
    assert page.locator(f"#s-{Builder.id(22)}").count() == 1, "what is asked for is there"
    page = open_page(f"{site}/trace/{SHOP}")
    page.wait_for_selector("#why:not(.later)")
    assert page.locator(".row:not(.gap)").count() == 23


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_works_on_a_narrow_screen(base: str, open_page: OpenPage, theme: Any) -> None:
    """Nothing sticks out to the right on a small window in either theme."""
    page = open_page(f"{base}/trace/{SHOP}?span={SELECT},{FAILED}", theme=theme, width=700)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
