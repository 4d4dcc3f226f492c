"""Times of day in the viewer's zone or in UTC, clocks that are corrected, and times that cannot be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.analysis import Explained, build
from causal_otel.collector.units import format_duration
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_logs import shop_logs
from tests.collector.web.sample_traces import START, Builder, broken, large, shop
from tests.collector.web.trace_site import BROKEN, SHOP, application, parameter

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

_SKEWED = "5c" * 16
_UNTIMED = "4d" * 16


def _skewed() -> Builder:
    """A server whose clock is 300 ms behind its client's, and whose own calls are on another machine again."""
    b = Builder(_SKEWED)
    b.add("web", "GET /", None, 0, 100, "server")
    b.add("web", "POST", 1, 10, 80, "client")
    b.add("pay", "POST /charge", 2, -270, 40, "server")
    b.add("pay", "INSERT", 3, -260, 10, "client")
    b.add("pay", "COMMIT", 3, -245, 10, "client")
    return b


def _untimed() -> Builder:
    """A span that starts in 1970, and one that ends before it starts."""
    b = Builder(_UNTIMED)
    b.add("web", "GET /", None, 0, 100, "server")
    b.add("web", "lost", 1, 0, 10).start_time_unix_nano = 5
    b.add("web", "backwards", 1, 60, -20)
    return b


@pytest.fixture
def base(serve: Callable[[ASGIApp], str]) -> str:
    """Where a browser finds the pages over these traces."""
    reader = MemoryReader([_skewed().message, shop(), _untimed().message])
    reader.records[bytes.fromhex(SHOP)] = shop_logs()
    return serve(application(reader))


@pytest.mark.parametrize("message", [_skewed().message, broken(), shop(), large(500)])
def test_corrected_spans_lie_where_their_parents_allow(message: object) -> None:
    """What was added is what each span's clock seems to differ by; nothing else about a span is changed."""
    view = build(message)  # type: ignore[arg-type]
    after = Explained(view).corrected.view
    assert len(after.spans) == len(view.spans)
    moved = {id(span.message): span for span in after.spans}
    for span in view.spans:
        now = moved[id(span.message)]
        assert (now.start, now.end) == (span.start + span.skew, span.end + span.skew)
        assert (now.service, now.kind, now.system, now.error) == (span.service, span.kind, span.system, span.error)
        assert (now.task, now.detached, now.untimed) == (span.task, span.detached, span.untimed)
        assert now.message.start_time_unix_nano == span.message.start_time_unix_nano
    assert not any(span.skew for span in after.spans)


def test_a_trace_whose_clocks_agree_is_the_same() -> None:
    """Nothing is moved, and no switch is offered."""
    view = build(shop())
    assert [span.span_id for span in Explained(view).corrected.view.spans] == [span.span_id for span in view.spans]
    client = TestClient(application(MemoryReader([shop()])))
    assert 'id="clocks"' not in client.get(f"/trace/{SHOP}").text


@pytest.mark.long
@pytest.mark.parametrize("javascript", [True, False])
def test_a_switch_corrects_clocks_and_says_by_how_much(base: str, open_page: OpenPage, javascript: bool) -> None:
    """A line tells by how much each service's clock differs; a link adds that, and another takes it back."""
    skew = next(span.skew for span in build(_skewed().message).spans if span.service == "pay")
    page = open_page(f"{base}/trace/{_SKEWED}", javascript=javascript)
    told = page.inner_text(".notice.warn")
    assert f"pay +{format_duration(skew)}" in told
    assert "as they were received" in told
    before = page.locator(f"#s-{Builder.id(3)} .bar").get_attribute("x")
    page.click("#clocks")
    page.wait_for_selector(".notice:has-text('was added to their times')")
    assert before == "0.0%"
    assert page.locator(f"#s-{Builder.id(3)} .bar").get_attribute("x") == "30.0%"
    page.click(f"#s-{Builder.id(4)} .op")
    page.wait_for_selector(".details .warn-text")
    assert f"+{format_duration(skew)} was added" in page.inner_text(".details .warn-text")
    page.click("#clocks")
    page.wait_for_selector(".notice:has-text('as they were received')")


def test_times_that_cannot_be_are_at_the_edge_and_marked(base: str, open_page: OpenPage) -> None:
    """Such a span has a mark, a bar without a length at the edge, and a line above that counts them."""
    page = open_page(f"{base}/trace/{_UNTIMED}")
    assert "1 span has an impossible time and stands at the edge." in page.inner_text(".notice.warn")
    lost = page.locator(f"#s-{Builder.id(2)}")
    assert "untimed" in str(lost.get_attribute("class"))
    assert lost.locator(".flag.warning").count() == 1
    assert lost.locator(".bar").get_attribute("x") == "0.0%"
    assert lost.locator(".took").inner_text() == "0 ns"


def test_local_time_by_default_and_utc_by_a_switch(base: str, open_page: OpenPage) -> None:
    """The time of day is the viewer's; a button shows UTC, which the browser remembers and the address can say."""
    page = open_page(f"{base}/trace/{SHOP}?zone=utc")
    time = page.locator("time.zoned")
    utc = time.inner_text()
    assert utc == "2026-11-23 00:00:00 UTC"
    assert START == 1_795_392_000 * 10**9
    context = page.context.browser
    assert context is not None
    elsewhere = context.new_context(timezone_id="Asia/Kolkata").new_page()
    elsewhere.goto(f"{base}/trace/{SHOP}")
    assert elsewhere.inner_text("time.zoned") == "2026-11-23 05:30:00 (UTC+05:30)"
    assert elsewhere.get_attribute("time.zoned", "title") == utc
    elsewhere.click("#zone")
    assert elsewhere.inner_text("time.zoned") == utc
    assert parameter(elsewhere, "zone") == "utc"
    elsewhere.goto(f"{base}/trace/{SHOP}?tab=logs")
    assert elsewhere.inner_text("time.zoned") == utc, "the browser remembers it"
    first = elsewhere.locator(".records time").first
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d\d UTC", str(first.get_attribute("title")))
    elsewhere.click("#zone")
    assert elsewhere.inner_text("time.zoned") == "2026-11-23 05:30:00 (UTC+05:30)"
    elsewhere.context.close()


def test_without_scripts_times_are_utc_and_say_so(base: str, open_page: OpenPage) -> None:
    """There is no button that would do nothing."""
    page = open_page(f"{base}/trace/{SHOP}", javascript=False)
    assert page.inner_text("time.zoned") == "2026-11-23 00:00:00 UTC"
    assert not page.locator("#zone").is_visible()


def test_broken_traces_are_corrected_too() -> None:
    """Orphans, circles and spans that end before they start are no obstacle."""
    client = TestClient(application(MemoryReader([broken()])))
    text = client.get(f"/trace/{BROKEN}?clocks=corrected&span={Builder.id(2)},{Builder.id(6)}").text
    assert "was added to their times" in text
    assert "ends 20 ms before it starts" in text
