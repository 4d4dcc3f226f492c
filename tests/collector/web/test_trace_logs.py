"""Log records on the page of a trace: in their place, coloured, found, hidden, harmless; and search by their words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from starlette.applications import Starlette
from starlette.testclient import TestClient

from causal_otel.collector.analysis import LogView, log_views
from causal_otel.collector.query import TraceLogs
from causal_otel.collector.web.templating import count
from tests.collector.oracle import MemoryReader
from tests.collector.records import log_request, record
from tests.collector.running import Running, running
from tests.collector.spans import NOON, request, span, traces
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_logs import attack_logs, shop_logs
from tests.collector.web.sample_traces import Builder, attack, shop
from tests.collector.web.trace_site import ATTACKED, FAILED, SHOP, application, parameter

if TYPE_CHECKING:
    from tests.collector.web.browser import OpenPage

_ALONE = "77" * 16
_SPANS = {Builder.id(number) for number in range(1, 24)}


def _records() -> tuple[LogView, ...]:
    return log_views(shop_logs()).records


@pytest.fixture(scope="module")
def app() -> Starlette:
    """The pages over traces with log records."""
    reader = MemoryReader([shop(), attack()])
    reader.records = {bytes.fromhex(each): shop_logs() for each in (SHOP, _ALONE)}
    reader.records[bytes.fromhex(ATTACKED)] = attack_logs()
    return application(reader)


def test_a_span_marks_and_tells_its_records(base: str, open_page: OpenPage) -> None:
    """A row says how many it has, coloured by the worst; the details list them by time, with level and logger."""
    page = open_page(f"{base}/trace/{SHOP}?span={FAILED}", width=390)
    mark = page.locator(f"#s-{FAILED} .logs-mark")
    assert mark.inner_text() == "2 logs"
    assert "level-error" in str(mark.get_attribute("class"))
    assert page.locator(".logs-mark").count() == len({each.span_id for each in _records() if each.span_id in _SPANS})
    under = page.locator(".details .records li")
    assert [each.split("\n")[0] for each in under.locator(".said").all_inner_texts()] == [
        "shop.cart paying with a card",
        "shop.cart card declined",
    ]
    assert under.locator(".at").all_inner_texts() == ["20 ms", "30 ms"]
    assert under.locator(".level").all_inner_texts() == ["INFO", "ERROR"]
    colours = under.locator(".level").evaluate_all("all => all.map((each) => getComputedStyle(each).color)")
    assert len(set(colours)) == 2
    assert under.nth(1).locator("details").count() >= 1
    screenshot(page, "trace-logs-390")
    page.fill("#find input[name=find]", "declined")
    page.wait_for_selector(f"#s-{FAILED}.hit")


@pytest.mark.parametrize("javascript", [True, False])
def test_the_tab_has_all_by_time(base: str, open_page: OpenPage, javascript: bool) -> None:
    """The tab lists every record, with those whose span is not here; each leads to its span, and a span to its own."""
    page = open_page(f"{base}/trace/{SHOP}", javascript=javascript)
    page.click("#tab-logs")
    page.wait_for_selector(".logs.all")
    assert parameter(page, "tab") == "logs"
    ordered = sorted(_records(), key=lambda each: each.time)
    said = [each.split("\n")[0] for each in page.locator(".records .said").all_inner_texts()]
    assert len(said) == len(ordered)
    assert all(text.startswith(f"{each.service} {each.logger} ") for text, each in zip(said, ordered, strict=True))
    assert [bool(each.locator(".in").count()) for each in page.locator(".records > li").all()] == [
        each.span_id in _SPANS for each in ordered
    ]
    page.click(".records .in >> nth=0")
    page.wait_for_selector(".details")
    assert parameter(page, "span") == next(each.span_id for each in ordered if each.span_id in _SPANS)
    page.click(f"#s-{FAILED} .logs-mark")
    page.wait_for_selector(".logs.all")
    assert page.locator(".records > li").count() == 2
    page.click("text=All of the trace")
    page.wait_for_function(f"() => document.querySelectorAll('.records > li').length === {len(ordered)}")
    if javascript:
        page.click("#tab-waterfall")
        page.wait_for_selector("#waterfall")
        page.keyboard.press("g")
        page.wait_for_selector(".logs.all")


def test_they_attack_nobody(base: str, open_page: OpenPage) -> None:
    """Nothing that a sender has written into a record becomes part of the page."""
    for tab in ("?tab=logs", f"?span={Builder.id(1)},{Builder.id(2)}"):
        page = open_page(f"{base}/trace/{ATTACKED}{tab}")
        assert page.locator(".records li").count() >= 1
        assert page.evaluate("window.pwned") is None
        assert page.evaluate("document.querySelectorAll('main img, main [onload]').length") == 0


def test_of_a_trace_without_spans(client: TestClient) -> None:
    """The page that says that there are no spans shows what was logged; JSON has it as OTLP; others are not found."""
    answer = client.get(f"/trace/{_ALONE}")
    assert answer.status_code == 404
    assert "card declined" in answer.text
    document = client.get(f"/trace/{_ALONE}/logs.json").json()
    assert len(document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]) == 4
    assert client.get(f"/trace/{'ee' * 16}/logs.json").status_code == 404
    assert client.get("/trace/nonsense/logs.json").status_code == 404


def test_of_one_span_a_page_shows_some() -> None:
    """Of a hundred thousand records the page shows the first, and says how many more there are."""
    reader = MemoryReader([shop()])
    many = [record(f"number {number}", span=1, at=NOON + number) for number in range(130)]
    reader.records = {bytes.fromhex(SHOP): TraceLogs(LogsData.FromString(log_request(*many)), left_out=99_870)}
    client = TestClient(application(reader))
    text = client.get(f"/trace/{SHOP}/span/{Builder.id(1)}").text
    assert "number 99<" in text.replace(" <", "<")
    assert "number 100" not in text
    assert "30 more" in text
    assert f"{count(99_870)} more" in client.get(f"/trace/{SHOP}?tab=logs").text


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    """A collector in a process, with two traces, of which one has a record."""
    directory = tmp_path_factory.mktemp("search")
    with running(directory) as found:
        assert found.post(request(traces(span(trace=1)), traces(span(trace=2)))).status_code == 200
        body = log_request(record("card declined"))
        assert found.post(body, path="/v1/logs").status_code == 200
        yield found, directory


def test_search_by_words(collector: tuple[Running, Path], open_page: OpenPage) -> None:
    """The form and its JSON find a trace by words of one of its records; what is no word is a mistake."""
    found, _ = collector
    address = f"{found.pages}/?lookback=custom&start=2000-01-01"
    page = open_page(address)
    assert page.locator(".traces > li").count() == 2
    page.fill("#logs", "Declined card")
    page.click("button.primary")
    page.wait_for_url("**logs=Declined*")
    assert page.locator(".traces > li").count() == 1
    page.click(".traces > li a")
    page.click("#tab-logs")
    page.wait_for_selector(".logs .said")
    assert page.inner_text(".logs .said") == "shop shop.cart card declined"  # no span of this id is here
    for words, expected in (("declined", 1), ("absent", 0)):
        document = found.get(f"/search.json?start=2000-01-01&logs={words}").json()
        assert len(document["traces"]) == expected
    mistake = found.get("/search.json?logs=!!")
    assert (mistake.status_code, "one word" in mistake.json()["mistakes"]["logs"]) == (400, True)
