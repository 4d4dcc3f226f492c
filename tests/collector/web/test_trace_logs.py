"""Log records on the page of a trace: in their place, coloured, found, hidden, harmless; and search by their words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from starlette.applications import Starlette
from starlette.testclient import TestClient

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


@pytest.fixture(scope="module")
def app() -> Starlette:
    """The pages over traces with log records."""
    reader = MemoryReader([shop(), attack()])
    reader.records = {bytes.fromhex(each): shop_logs() for each in (SHOP, _ALONE)}
    reader.records[bytes.fromhex(ATTACKED)] = attack_logs()
    return application(reader)


@pytest.mark.long
def test_in_their_place(base: str, open_page: OpenPage) -> None:
    """Records stand under their span, by time, with level and logger, and are hidden with it, or by themselves."""
    page = open_page(f"{base}/trace/{SHOP}?span={FAILED}", width=390)
    under = page.locator(f"#s-{FAILED} + .details + .logs li")
    assert [each.split("\n")[0] for each in under.locator(".said").all_inner_texts()] == [
        "shop.cart paying with a card",
        "shop.cart card declined",
    ]
    assert under.locator(".at").all_inner_texts() == ["20 ms", "30 ms"]
    assert under.locator(".level").all_inner_texts() == ["INFO", "ERROR"]
    colours = under.locator(".level").evaluate_all("all => all.map((each) => getComputedStyle(each).color)")
    assert len(set(colours)) == 2
    assert under.nth(1).locator("details").count() >= 1
    assert "slow answer" in page.inner_text(f"#s-{Builder.id(1)} + .logs")
    assert page.inner_text(".logs.elsewhere .said").split("\n")[0] == "shop shop.cart unplaced"
    screenshot(page, "trace-logs-390")
    page.fill("#find input[name=find]", "declined")
    page.wait_for_selector(f"#s-{FAILED}.hit")
    page.click("#collapse-all")
    assert not under.first.is_visible()
    page.click("#expand-all")
    page.click("#show-logs")
    assert parameter(page, "logs") == "off"
    assert not page.locator(".logs").first.is_visible()
    page.reload()
    assert page.get_attribute("#show-logs", "aria-pressed") == "false"
    page.click("#show-logs")
    assert page.locator(".logs").first.is_visible()


def test_without_scripts(base: str, open_page: OpenPage) -> None:
    """The page has them as it comes, and its button hides them."""
    page = open_page(f"{base}/trace/{SHOP}", javascript=False)
    assert page.locator(f"#s-{FAILED} + .logs li").count() == 2
    page.click("#show-logs")
    assert parameter(page, "logs") == "off"
    assert not page.locator(".logs").first.is_visible()


def test_they_attack_nobody(base: str, open_page: OpenPage) -> None:
    """Nothing that a sender has written into a record becomes part of the page."""
    page = open_page(f"{base}/trace/{ATTACKED}")
    assert page.locator(".logs li").count() == 2
    assert page.evaluate("window.pwned") is None


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
    text = TestClient(application(reader)).get(f"/trace/{SHOP}").text
    assert "number 99<" in text.replace(" <", "<")
    assert "number 100" not in text
    assert "30 more" in text
    assert f"{count(99_870)} more" in text


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
    assert page.inner_text(".logs .said") == "shop shop.cart card declined"  # no span of this id is here
    for words, expected in (("declined", 1), ("absent", 0)):
        document = found.get(f"/search.json?start=2000-01-01&logs={words}").json()
        assert len(document["traces"]) == expected
    mistake = found.get("/search.json?logs=!!")
    assert (mistake.status_code, "one word" in mistake.json()["mistakes"]["logs"]) == (400, True)
