"""The page of an operation, over a planted week in which a version is slow, against the spans themselves."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from html import unescape
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.testclient import TestClient

from causal_otel.collector.store.histogram import BOUNDS, bucket
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.units import format_duration, moment
from causal_otel.collector.web.addresses import operation_address, service_address
from causal_otel.collector.web.templating import count, share
from causal_otel.collector.web.trend_state import written
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MILLISECOND, MINUTE, SECOND, span, traces
from tests.collector.web.browser import screenshot
from tests.collector.web.sites import site
from tests.collector.web.slow_version import NEW, OLD, deployed
from tests.collector.web.slow_week import PAGE, assert_told, quantile
from tests.collector.web.traffic import EVIL, evil_trace
from tests.collector.web.trend_pages import Week, link, stored, table, text, tiles

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


@pytest.fixture(scope="module")
def week() -> Week:
    """A week that ends now."""
    return Week(time.time_ns())


@pytest.fixture(scope="module")
def reader(week: Week, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """It in a store."""
    with Reader(stored(tmp_path_factory.mktemp("week"), week.messages)) as found:
        yield found


@pytest.fixture(scope="module")
def client(reader: Reader) -> TestClient:
    """Asks the pages over it."""
    return TestClient(site(reader))


def _failed(one: Span, _: str = "") -> bool:
    return one.status.code == 2


@pytest.mark.parametrize(("query", "version"), [("", ""), ("&lookback=30d", ""), (f"&version={NEW}", NEW)])
def test_figures_are_those_of_its_spans(client: TestClient, week: Week, query: str, version: str) -> None:
    """Calls, failures, mean and quantiles of all, or of a version, at steps of hours and of days."""
    found = tiles(client.get(PAGE + query).text)

    def wanted(_: Span, its: str) -> bool:
        return version in ("", its)

    lengths = week.durations(wanted)
    failed = len(week.durations(lambda one, its: wanted(one, its) and _failed(one)))
    assert found["Calls"].startswith(f"{count(len(lengths))} ")
    assert found["Failed"] == f"{share(failed / len(lengths))} {count(failed)}"
    assert found["Mean"] == format_duration(sum(lengths) // len(lengths))
    assert [found[name] for name in ("p50", "p95")] == [quantile(lengths, part) for part in (0.5, 0.95)]
    assert found["p99"] == f"{quantile(lengths, 0.99)} longest {format_duration(lengths[-1])}"


@pytest.mark.parametrize(("query", "width"), [("", HOUR), ("&lookback=30d", 24 * HOUR)])
def test_charts_and_their_table_have_every_step(client: TestClient, week: Week, query: str, width: int) -> None:
    """Each hour or day has a column in each chart and a row in the table, with the figures of its spans."""
    earliest = time.time_ns() // width * width
    html = client.get(PAGE + query).text
    rows = table(html, "The same as a table")
    titles = re.findall(r'data-at="([^"]+)"><title>([^<]*)</title>', html)
    assert len(titles) == 3 * len(rows)
    starts = [moment(at) for at, _ in titles[: len(rows)]]
    assert earliest <= starts[-1] <= time.time_ns()
    assert starts == list(range(starts[0], starts[-1] + 1, width))
    for start, row, (_, title) in zip(starts, rows, titles, strict=False):
        lengths = week.durations(lambda one, _, first=start: first <= one.start_time_unix_nano < first + width)  # type: ignore[misc]
        assert row[1] == count(len(lengths))
        assert f": {len(lengths)} call" in title
        if lengths:
            assert row[4:8] == [*(quantile(lengths, part) for part in (0.5, 0.95, 0.99)), format_duration(lengths[-1])]
    assert rows[-1][0].endswith("not over")
    assert sum(int(row[1]) for row in rows) == len(week.spans)
    assert len(re.findall(r'<rect class="mark calls', html)) == sum(row[1] != "0" for row in rows)


def test_a_short_time_is_shown_by_the_minute(client: TestClient, week: Week) -> None:
    """Three hours of it: each minute has the figures of its spans, and a moment in it is compared to the minute."""
    start = (week.now - 4 * HOUR) // MINUTE * MINUTE
    end = start + 3 * HOUR
    address = f"{PAGE}&start={written(start)}&end={written(end)}"
    html = client.get(address).text
    rows = table(html, "The same as a table")
    assert len(rows) == 180
    spans = [one for one, _ in week.spans if start <= one.start_time_unix_nano < end]
    for place, row in enumerate(rows):
        first = start + place * MINUTE
        lengths = week.durations(lambda one, _, at=first: at <= one.start_time_unix_nano < at + MINUTE)  # type: ignore[misc]
        assert row[1] == count(len(lengths))
        if lengths:
            assert row[7] == format_duration(lengths[-1])
    assert sum(int(row[1]) for row in rows) == len(spans) > 5
    assert "by the minute" in html
    moment = (spans[3].start_time_unix_nano // MINUTE + 1) * MINUTE
    changed = table(client.get(f"{address}&moment={written(moment)}").text, "What changed")
    calls = next(row for row in changed if row[0] == "Calls")
    assert calls[1:3] == [
        str(sum(one.start_time_unix_nano < moment for one in spans)),
        str(sum(one.start_time_unix_nano >= moment for one in spans)),
    ]


def test_minutes_that_were_not_read_are_not_shown(
    client: TestClient, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are more spans than there is time for, the page begins where it knows all, and says so."""
    monkeypatch.setattr("causal_otel.collector.trends.minutes._MOST_TRACES", 4)
    start = (week.now - 4 * HOUR) // MINUTE * MINUTE
    end = start + 3 * HOUR
    spans = sorted(one.start_time_unix_nano for one, _ in week.spans if start <= one.start_time_unix_nano < end)
    for address in (PAGE, service_address("shop")):
        html = client.get(f"{address}&start={written(start)}&end={written(end)}").text
        assert "there was not the time to read all" in text(html)
        rows = table(html, "The same as a table")
        assert 0 < len(rows) < 180
        assert sum(int(row[1]) for row in rows) == sum(each >= end - len(rows) * MINUTE for each in spans)


def test_versions_are_compared(client: TestClient, week: Week) -> None:
    """From one version to the other, the table says what it is that takes longer; the select has both."""
    html = client.get(f"{PAGE}&version={NEW}&against={OLD}").text
    assert_told(html, week)
    assert f"Version {OLD} took" in html
    old, new = (len(week.durations(lambda _, its, wanted=name: its == wanted)) for name in (OLD, NEW))  # type: ignore[misc]
    assert table(html, "All calls")[0] == [
        "Calls",
        count(old),
        count(new),
        f"{'+' if new > old else '−'}{count(abs(new - old))}",
    ]
    groups = client.get(link(html, "Compare the traces of both")).text
    assert re.findall(r'name="[ab].tags" value="([^"]*)"', groups) == [f"service.version={each}" for each in (OLD, NEW)]
    assert re.search(r"A trace takes .* longer in B on average", groups)
    assert re.findall(
        r'<option value="([^"]+)"[^>]*>1\.\d', html.partition('id="against"')[2].partition("</select>")[0]
    ) == [OLD, NEW]
    callees = table(html, "<h3>What it calls")
    assert [row[0].split(" client")[0] for row in callees] == ["shop SELECT orders", "shop GET"]
    assert [row[1:3] for row in callees] == [["1", "1"]] * 2


def test_before_and_after_a_moment(client: TestClient, week: Week) -> None:
    """A moment has the same told, and it is drawn in the charts."""
    html = client.get(f"{PAGE}&moment={written(deployed(week.now))}").text
    assert_told(html, week)
    assert html.count('class="moment"') == 3
    groups = client.get(link(html, "Compare the traces of both")).text
    moment = written(deployed(week.now))
    assert re.findall(r'name="b.start" value="([^"]*)"', groups) == [moment]
    (ends,) = re.findall(r'name="a.end" value="([^"]*)"', groups)
    assert ends < moment
    assert re.search(r"A trace takes .* longer in B on average", groups)
    assert "counted by the day" in html


def test_its_traces(client: TestClient, week: Week) -> None:
    """Slowest ones are among the slowest, failed ones have failed, typical ones are near to the median."""
    html = client.get(PAGE).text
    kinds = re.split(r"<h3>", html.partition('class="kinds"')[2].partition("</section>")[0])[1:]
    by_trace = {one.trace_id.hex(): one for one, _ in week.spans}
    found = {
        text(kind.partition("<small")[0]): [by_trace[each] for each in re.findall(r"/trace/([0-9a-f]{32})", kind)]
        for kind in kinds
    }
    lengths = week.durations()

    def length(one: Span) -> int:
        return one.end_time_unix_nano - one.start_time_unix_nano

    assert list(found) == ["Slowest", "Failed", "Typical"]
    assert {len(each) for each in found.values()} == {4}
    assert min(map(length, found["Slowest"])) >= BOUNDS[bucket(lengths[-4]) - 1]
    assert list(map(length, found["Slowest"])) == sorted(map(length, found["Slowest"]), reverse=True)
    assert all(map(_failed, found["Failed"]))
    median = lengths[(len(lengths) - 1) // 2]
    assert all(abs(length(each) - median) <= 0.1 * median + 1 for each in found["Typical"])
    for kind in kinds:
        answer = client.get(link(kind, "Search all of them"))
        assert answer.status_code == 200
        assert answer.text.count('<li class="trace') >= 4


def test_callers_and_callees(client: TestClient, week: Week) -> None:
    """Who calls it and what it calls, with links to their pages."""
    html = client.get(PAGE).text
    ((caller, calls, _, _, part),) = table(html, "<h2>Who calls it")
    assert (caller, calls, part) == ("gateway GET server", count(len(week.spans)), "100 %")
    callees = table(html, "<h2>What it calls")
    assert [row[0] for row in callees] == ["shop SELECT orders client · postgresql", "shop GET client · redis"]
    assert [row[1] for row in callees] == [count(len(week.spans))] * 2
    page = client.get(link(html.partition("<h2>What it calls")[2], "shop")).text
    assert tiles(page)["Calls"].startswith(f"{count(len(week.spans))} ")


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("&start=soon", 400, "The time cannot be used: write the time in UTC"),
        ("&start=2026-11-22T10:00&end=2026-11-21T10:00", 400, "the end is before the start"),
        ("&moment=then", 400, "Before and after cannot be compared"),
        ("&moment=1999-01-01T00:00", 400, "the moment is not within the time that is shown"),
        (f"&against={OLD}", 200, "What changed"),
        (f"&version={OLD}&against={OLD}", 400, "Choose two versions"),
        (f"&version=9&against={OLD}", 200, "It was not called"),
        ("&version=none", 200, "It was not called"),
        ("&lookback=3y&kind=server", 200, "What changed"),
        ("&start=1970-01-01T00:00", 200, "Only the last year of this time is shown"),
        ("&end=2262-01-01T00:00", 200, "It was not called"),
        ("&start=1971-01-01T00:00&end=1971-01-02T00:00", 200, "It was not called"),
    ],
)
def test_odd_addresses(client: TestClient, query: str, status: int, says: str) -> None:
    """What cannot be understood is told of, and what does not exist is not called."""
    answer = client.get(PAGE + query)
    assert answer.status_code == status
    assert says in unescape(answer.text)


def test_an_operation_must_be_named(client: TestClient) -> None:
    """Without a service or an operation in the address there is nothing to show."""
    for address in ("/operation", "/operation?service=shop", "/service", "/service?service="):
        assert client.get(address).status_code == 400
    assert "It sent nothing" in client.get("/service?service=nobody").text


def test_a_span_without_a_name_has_a_page() -> None:
    """Its address is that of any other, and so are the links of its page."""
    client = TestClient(site(MemoryReader([traces(span("", start=time.time_ns() - SECOND))])))
    address = operation_address("shop", "", kind="internal", system="", lookback="24h")
    html = client.get(address).text
    assert tiles(html)["Calls"].startswith("1 ")
    assert "(no name)" in html
    assert 'name="operation" value=""' in html
    assert client.get(link(html, "Search all its traces")).text.count('<li class="trace') == 1


def test_nothing_that_spans_say_becomes_markup() -> None:
    """Names of services, operations and versions, systems and parameters are text on both pages."""
    start = time.time_ns() - SECOND
    evil = span(EVIL, trace=2, id=2, parent=1, start=start, kind=Span.SPAN_KIND_SERVER, duration=MILLISECOND,
                tags={"db.system.name": EVIL, "causal.pool.wait": 0.1, "db.namespace": EVIL})  # fmt: skip
    above = span(EVIL, trace=2, id=1, start=start, kind=Span.SPAN_KIND_CLIENT)
    messages = [
        evil_trace(start=start),
        traces(evil, above, service=EVIL, resource={"service.version": EVIL}),
    ]
    client = TestClient(site(MemoryReader(messages)))
    for address in (
        operation_address(EVIL, EVIL, system=None, lookback="24h"),
        operation_address(EVIL, EVIL, kind="server", system=EVIL, version=EVIL, against="none", lookback="24h"),
        service_address(EVIL, version=EVIL, against="none", lookback="24h"),
        service_address(EVIL, moment=EVIL, start=EVIL, end=EVIL),
        operation_address(EVIL, EVIL, kind=EVIL, lookback=EVIL, moment=EVIL),
    ):
        html = client.get(address).text
        assert EVIL not in html
        assert "<img" not in html
        assert "<script>" not in html
        assert EVIL in unescape(html)


def test_a_click_on_a_chart_compares(
    reader: Reader, week: Week, serve: Callable[[ASGIApp], str], open_page: OpenPage
) -> None:
    """A click where the version came sets the moment, and the page tells what changed; without scripts a form does."""
    base, came = serve(site(reader)), written(deployed(week.now))
    page = open_page(base + PAGE)
    screenshot(page, "operation")
    with page.expect_navigation():
        page.locator(f'#chart-durations [data-at="{came}"] .reach').click()
    assert f"moment={came.replace(':', '%3A')}" in page.url
    assert_told(page.content(), week)
    screenshot(page, "operation-moment")
    plain = open_page(base + PAGE, javascript=False)
    assert not plain.locator(".hint").is_visible()
    plain.fill("#moment", came)
    with plain.expect_navigation():
        plain.locator("form:has(#moment) button").click()
    assert_told(plain.content(), week)
