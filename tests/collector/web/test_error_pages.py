"""The pages of errors: which there are, and one of them with its examples."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.testclient import TestClient

from causal_otel.collector.attributes import service_name
from causal_otel.collector.own_frames import own_frame
from causal_otel.collector.web.templating import count, utc
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MINUTE, event, span, traces
from tests.collector.web.browser import screenshot
from tests.collector.web.failing import ERRORS, failing, raised, stack_of
from tests.collector.web.sites import site
from tests.collector.web.trace_site import follow
from tests.collector.web.traffic import EVIL

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


class Failed(NamedTuple):
    """A span that failed, as it was sent."""

    span: Span
    service: str
    kind: str
    frame: str


def failures(reader: MemoryReader) -> Iterator[Failed]:
    """The spans that failed, read from what was sent. They are of less than the two days that pages are asked for."""
    for trace_id in reader.trace_ids(0, 2**63 - 1):
        message = reader.trace(trace_id)
        assert message is not None
        for group in message.resource_spans:
            for each in group.scope_spans[0].spans:
                if each.status.code != Status.STATUS_CODE_ERROR:
                    continue
                told = {pair.key: pair.value.string_value for pair in each.attributes}
                for happened in each.events:
                    told |= {pair.key: pair.value.string_value for pair in happened.attributes}
                kind = told.get("exception.type") or told.get("error.type") or "error"
                yield Failed(each, service_name(group.resource), kind, own_frame(told.get("exception.stacktrace", "")))


@pytest.fixture(scope="module")
def reader() -> MemoryReader:
    """Requests of two days, most of which failed."""
    return MemoryReader(failing(time.time_ns()))


@pytest.fixture
def base(reader: MemoryReader, serve: Callable[[ASGIApp], str]) -> str:
    """Where a browser finds the pages."""
    return serve(site(reader))


@pytest.mark.parametrize("javascript", [True, False])
def test_errors_are_grouped_by_type_and_own_frame(
    base: str, reader: MemoryReader, open_page: OpenPage, javascript: bool
) -> None:
    """Each with how many spans and requests failed so, most first."""
    page = open_page(f"{base}/errors?lookback=2d", javascript=javascript)
    screenshot(page, f"errors-{javascript}")
    expected: Counter[tuple[str, str]] = Counter()
    requests: Counter[tuple[str, str]] = Counter()
    for each in failures(reader):
        expected[each.kind, each.frame] += 1
        requests[each.kind, each.frame] += each.span.kind == Span.SPAN_KIND_SERVER
    shown = {}
    for row in page.locator(".errors tbody tr").all():
        frame = row.locator("code.frame")
        key = row.locator(".name").inner_text(), frame.inner_text() if frame.count() else ""
        shown[key] = [row.locator(f'td[data-label="{name}"]').inner_text() for name in ("Spans", "Requests")]
    assert len(expected) == len(ERRORS)
    assert shown == {key: [count(number), count(requests[key])] for key, number in expected.items()}
    counts = [int(spans) for spans, _ in shown.values()]
    assert counts == sorted(counts, reverse=True)


def test_an_error_leads_to_its_examples_and_their_stack(base: str, reader: MemoryReader, open_page: OpenPage) -> None:
    """The group's page has its operations, versions, and the newest traces, whose innermost failed span is opened."""
    page = open_page(f"{base}/errors?lookback=2d")
    kind, path, function, said = ERRORS[1]
    row = page.locator(".errors tbody tr", has_text="orders.py load()")
    assert said in row.locator(".message").inner_text()
    with page.expect_navigation():
        row.locator(".name").click()
    screenshot(page, "error-group")
    found = [each for each in failures(reader) if (each.kind, each.frame) == (kind, "shop/orders.py load()")]
    operations = Counter((each.service, each.span.name) for each in found)
    shown = {}
    for line in page.locator("section:has(h2:text-is('Operations')) tbody tr").all():
        service = line.locator(".service").inner_text().split()[0]
        shown[service, line.locator("td:first-child a").inner_text()] = int(line.locator(".number").inner_text())
    assert shown == operations
    assert stack_of(path, function, kind, said).strip() == page.locator(".stack").inner_text().strip()
    newest = max(found, key=lambda each: each.span.start_time_unix_nano).span
    first = page.locator(".examples tbody tr").first
    inner = [each.span for each in found if each.span.trace_id == newest.trace_id and each.span.parent_span_id]
    span_id = (inner[0] if inner else newest).span_id.hex()
    assert first.locator("a").get_attribute("href") == f"/trace/{newest.trace_id.hex()}?span={span_id}"
    assert first.locator("a").inner_text() == utc((inner[0] if inner else newest).start_time_unix_nano)
    follow(page, ".examples tbody tr:first-child a")
    assert page.locator(f"#s-{span_id}").count() == 1


def test_columns_sort_and_services_filter(base: str, reader: MemoryReader, open_page: OpenPage) -> None:
    """A click on a column's head, and the form, each in the address."""
    page = open_page(f"{base}/errors?lookback=2d")
    follow(page, "th.requests a")
    assert page.locator("th.requests").get_attribute("aria-sort") == "descending"
    requests = [int(each) for each in page.locator('td[data-label="Requests"]').all_inner_texts()]
    assert requests == sorted(requests, reverse=True)
    page.select_option("#service", "bank")
    follow(page, ".choose button")
    spans = sum(int(each) for each in page.locator('td[data-label="Spans"]').all_inner_texts())
    found = [each for each in failures(reader) if each.service == "bank"]
    assert spans == len(found)
    assert "sort=requests" in page.url


@pytest.mark.parametrize("path", ["/errors", "/runtime"])
def test_on_a_desk_the_form_is_one_line(serve: Callable[[ASGIApp], str], open_page: OpenPage, path: str) -> None:
    """Beside the heading, so that what was asked for comes first."""
    page = open_page(serve(site(MemoryReader([traces(span(start=time.time_ns() - MINUTE))]))) + path)
    boxes = [each.bounding_box() for each in page.locator("form.choose select, form.choose button, h1").all()]
    middles = [box["y"] + box["height"] / 2 for box in boxes if box]
    assert len(middles) == 4
    assert max(middles) - min(middles) < 10


def test_the_trend_has_a_bar_for_each_hour_with_errors(reader: MemoryReader) -> None:
    """As many bars as there are hours in which spans failed so, and each tells its number."""
    text = TestClient(site(reader)).get("/error?type=TimeoutError&lookback=2d").text
    hours = Counter(each.span.start_time_unix_nano // HOUR for each in failures(reader) if each.kind == "TimeoutError")
    bars = re.findall(r"<title>([^<]*): (\d+)</title></rect>", text)
    assert {at: int(number) for at, number in bars} == {
        utc(hour * HOUR, "%b %d %H:%M"): number for hour, number in hours.items()
    }


def test_what_was_not_there_before_is_marked_as_new() -> None:
    """Compared with a time as long before it; where nothing is kept of that, nothing is said."""
    now = time.time_ns()
    old, new = ERRORS[1], ERRORS[2]
    before = span(trace=1, start=now - 30 * HOUR, **raised(old))
    both = [span(trace=number, start=now - MINUTE, **raised(each)) for number, each in ((2, old), (3, new))]
    text = TestClient(site(MemoryReader([traces(before, *both)]))).get("/errors?lookback=24h").text
    rows = {own_frame(stack_of(*each[1:3], each[0], "")): each for each in (old, new)}
    marked = {frame: "badge warn" in row for frame in rows for row in text.split("<tr")[1:] if frame in row}
    assert marked == {"shop/orders.py load()": False, "shop/bills.py print_bill()": True}
    alone = TestClient(site(MemoryReader([traces(*both)]))).get("/errors?lookback=24h").text
    assert "badge warn" not in alone


def test_further_pages_have_the_other_groups() -> None:
    """Fifty groups a page, each on one page only."""
    now = time.time_ns()
    spans = [
        span(trace=number, start=now - MINUTE, tags={"error.type": f"Error{number:03}"}, error=True)
        for number in range(1, 121)
    ]
    client = TestClient(site(MemoryReader([traces(*spans)])))
    pages = [client.get(f"/errors?page={number}").text for number in (1, 2, 3)]
    found = [re.findall(r'class="name"[^>]* title="(Error\d+)"', text) for text in pages]
    assert [len(each) for each in found] == [50, 50, 20]
    assert len(set().union(*found)) == 120
    assert "Page 2 of 3" in pages[1]
    assert client.get("/errors?page=99").text.count('class="what"') == 20


def test_what_errors_say_is_no_markup(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Types, frames, messages, services, operations, versions and stacks are shown as they are."""
    values = {
        "exception.type": EVIL[:60],
        "exception.message": EVIL,
        "exception.stacktrace": stack_of(f"/a/{EVIL[:9]}", EVIL, EVIL, EVIL),
    }
    evil = span(EVIL, trace=9, start=time.time_ns() - MINUTE, error=EVIL, events=[event("exception", values)])
    page = open_page(
        f"{serve(site(MemoryReader([traces(evil, service=EVIL, resource={'service.version': EVIL})])))}/errors"
    )
    assert page.locator(".errors .name").inner_text() == EVIL[:60]
    assert page.locator("img, main script").count() == 0
    follow(page, ".errors .name")
    assert page.locator("h1").inner_text() == EVIL[:60]
    assert EVIL in page.locator(".stack").inner_text()
    assert page.locator("img, main script").count() == 0
    assert page.evaluate("window.evil") is None


def test_a_group_that_is_not_there_is_told_of() -> None:
    """With the way to all errors, and as not found."""
    answer = TestClient(site(MemoryReader())).get("/error?type=<b>&frame=x")
    assert answer.status_code == 404
    assert "Not seen in the last 24h" in answer.text
    assert "<b>" not in answer.text


def test_without_errors_the_page_says_so(reader: MemoryReader) -> None:
    """And without any span, how to send some."""
    well = MemoryReader([traces(span(start=time.time_ns() - MINUTE))])
    assert "Nothing has failed" in TestClient(site(well)).get("/errors").text
    assert "Nothing has failed" not in TestClient(site(MemoryReader())).get("/errors").text
