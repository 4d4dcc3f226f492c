"""What got slower, where, since when, for whom, why: answered by clicks alone, in a week of planted causes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.collector.week import HOUR, Planted, planted, week
from causal_otel.collector.attributes import plain
from causal_otel.collector.store.histogram import BOUNDS, bucket
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer
from causal_otel.collector.units import format_duration, moment, parse_duration
from causal_otel.collector.web.templating import count, share, utc
from tests.collector.web.browser import screenshot
from tests.collector.web.sites import site

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

pytestmark = pytest.mark.long

_DAY = 24 * HOUR
_AT_ONCE = 200
"""Requests of the week that are written as one."""


class _Told(NamedTuple):
    """A span of the week.

    Attributes:
        service: who sent it.
        version: of that.
        span: what it is.
        tags: its attributes.
        took: nanoseconds.
    """

    service: str
    version: str
    span: Span
    tags: dict[str, Any]
    took: int


class _Week(NamedTuple):
    times: Planted
    spans: list[_Told]

    def of(self, service: str, operation: str, since: int = 0, version: str | None = None) -> list[_Told]:
        """The spans of an operation, the first ones first."""
        found = [
            each
            for each in self.spans
            if (each.service, each.span.name) == (service, operation)
            and each.span.start_time_unix_nano >= since
            and version in (None, each.version)
        ]
        return sorted(found, key=lambda each: each.span.start_time_unix_nano)


@pytest.fixture(scope="module")
def bodies() -> tuple[Planted, list[bytes]]:
    """The week that ended at midnight: it is the same one whenever the test runs."""
    end = time.time_ns() // _DAY * _DAY
    return planted(end), list(week(end, per_hour=12))


@pytest.fixture(scope="module")
def told(bodies: tuple[Planted, list[bytes]]) -> _Week:
    """What the week's spans say."""
    spans = []
    for body in bodies[1]:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {pair.key: plain(pair.value) for pair in group.resource.attributes}
            for span in group.scope_spans[0].spans:
                tags = {pair.key: plain(pair.value) for pair in span.attributes}
                took = span.end_time_unix_nano - span.start_time_unix_nano
                spans.append(_Told(resource["service.name"], resource["service.version"], span, tags, took))
    return _Week(bodies[0], spans)


@pytest.fixture(scope="module")
def reader(bodies: tuple[Planted, list[bytes]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A store that is filled with it."""
    directory = tmp_path_factory.mktemp("week")
    writer = Writer(directory)
    writer.start()
    try:
        for first in range(0, len(bodies[1]), _AT_ONCE):
            # Messages of protobuf one after the other are one message.
            writer.put(b"".join(bodies[1][first : first + _AT_ONCE])).result(300)
    finally:
        writer.close(120)
    with Reader(directory) as found:
        yield found


@pytest.fixture
def start(reader: Reader, open_page: OpenPage, serve: Callable[[ASGIApp], str]) -> Page:
    """The start page: from here on nothing is done but with a mouse."""
    return open_page(serve(site(reader)))


def _click(page: Page, what: Locator) -> None:
    with page.expect_navigation():
        what.click()


def _last_week(page: Page, name: str) -> None:
    """Go to one of the pages that are on top of each, and look at the last seven days there."""
    _click(page, page.locator("header nav a", has_text=name))
    page.select_option("#lookback", label="Last 7 days")
    _click(page, page.locator("form.choose button", has_text="Show"))


def _cells(row: Locator) -> list[str]:
    return [" ".join(cell.split()) for cell in row.locator("th, td").all_inner_texts()]


def _quantile(spans: list[_Told], part: float) -> int:
    """As the pages estimate it: to a tenth."""
    lengths = sorted(each.took for each in spans)
    place = next(place for place in range(len(lengths)) if place + 1 >= part * len(lengths))
    return min(BOUNDS[bucket(lengths[place])], lengths[-1])


def _mean(spans: list[_Told]) -> int:
    return sum(each.took for each in spans) // len(spans)


def _started(page: Page) -> int:
    """When the trace that is shown began, to the second."""
    shown = page.locator("main dl time").first.get_attribute("datetime")
    assert shown
    return moment(shown)


def _trace(page: Page) -> bytes:
    return bytes.fromhex(page.url.partition("/trace/")[2][:32])


def test_a_slow_version(start: Page, told: _Week) -> None:
    """From the slowest requests to the version, its hour, its database and the customers for whom it is slow."""
    page, deployed = start, told.times.deployed
    _last_week(page, "Operations")

    # What is slow? One request in a hundred for the shop's page is, more than of all else that is served.
    _click(page, page.locator("table.operations thead a", has_text="p99"))
    served = page.locator("table.operations tbody tr", has=page.locator(".kind", has_text="server"))
    entries = {(each.service, each.span.name) for each in told.spans if each.span.kind == Span.SPAN_KIND_SERVER}
    slowest = max(entries, key=lambda key: _quantile(told.of(*key), 0.99))
    assert slowest == ("storefront", "GET /products/{id}")
    assert served.locator("a.name").first.inner_text() == slowest[1]
    screenshot(page, "week-operations")
    _click(page, served.locator("a.name").first)

    # Where? Most of its time is that of two calls: one waits for the exhausted pool, the other is looked at here.
    called = page.locator("section.called", has=page.locator("h2", has_text="What it calls"))
    most = called.locator("tbody tr").all()[:2]
    assert sorted(row.locator("small").inner_text() for row in most) == [
        "client · http stock.internal",
        "client · http users.internal",
    ]
    _click(page, called.locator("tbody tr", has_text="stock.internal").locator("a.other"))
    _click(page, called.locator("tbody a.other").first)
    assert page.locator("h1 .operation").inner_text() == "GET /stock/{sku}"
    _click(page, page.locator("h1 a.service"))

    # Since when? Since the hour in which the first call of a new version was.
    since = moment(page.locator("#chart-durations [data-at]").first.get_attribute("data-at") or "")
    sides = [told.of("stock", "GET /stock/{sku}", since, version) for version in ("2.4.0", "2.5.0")]
    first, second = (_cells(row) for row in page.locator("table.versions tbody tr").all())
    assert second[1] == utc(deployed, "%b %d %H:%M")
    assert first[2] == utc(sides[0][-1].span.start_time_unix_nano // HOUR * HOUR, "%b %d %H:%M")
    for cells, side, version in zip((first, second), sides, ("2.4.0", "2.5.0"), strict=True):
        assert cells[0].startswith(version)
        assert cells[3] == count(len(side))
        assert cells[5:] == [format_duration(_mean(side)), format_duration(_quantile(side, 0.95))]
    _click(page, page.locator("table.versions a", has_text="compare with 2.4.0"))

    # What got slower, and where in it? Its query, of which it makes as many as before.
    more = _mean(sides[1]) - _mean(sides[0])
    verdict = page.locator("#changed .verdict").inner_text()
    assert verdict.startswith(
        f"Version 2.4.0 took {format_duration(_mean(sides[0]))} on average, "
        f"version 2.5.0 took {format_duration(_mean(sides[1]))}: {format_duration(more)} more."
    )
    assert verdict.endswith("is server.")
    whole_days = since // _DAY * _DAY  # what is called is counted by the UTC day
    queries = [told.of("stock", "SELECT stock", whole_days, version) for version in ("2.4.0", "2.5.0")]
    row = page.locator("#changed tbody tr", has_text="SELECT stock")
    assert _cells(row)[1:5] == ["1", "1", *(format_duration(_mean(side)) for side in queries)]
    assert "client · postgresql" in row.inner_text()
    screenshot(page, "week-versions")

    # For whom? All of its slowest requests are of customers with one plan, few of the others are.
    _click(page, page.locator("table.of-service a.name", has_text="GET /stock/{sku}"))
    _click(page, page.locator("a", has_text="what is different in the slowest 5 %"))
    row = page.locator("table.different tbody tr").first
    plan, inside, outside = _cells(row)[:3]
    least = parse_duration(page.locator(".page-head .muted").inner_text().rpartition("from ")[2])
    # What is shown is rounded: a span that is as long as that may be on either side.
    slow = [each for each in sides[1] if each.took >= 1.001 * least]
    rest = [each for each in sides[1] if each.took < 0.999 * least]
    assert len(slow) >= len(sides[1]) / 25
    assert plan == "customer.plan = enterprise"
    assert {each.tags["customer.plan"] for each in slow} == {"enterprise"}
    assert inside == "100 %"
    of_rest = sum(each.tags["customer.plan"] == "enterprise" for each in rest) / len(rest)
    assert abs(float(outside.removesuffix(" %")) / 100 - of_rest) < 0.03
    screenshot(page, "week-different")
    _click(page, row.locator("a", has_text="with it").first)

    # Why? In their traces the database is at work for that query, beside whatever else held up one of them.
    assert page.locator("#traces .trace").count() >= min(20, len(slow))
    _click(page, page.locator("#traces a.trace-name").first)
    spans = [each for each in told.spans if each.span.trace_id == _trace(page)]
    assert {
        each.tags["customer.plan"] for each in spans if each.service == "stock" and "customer.plan" in each.tags
    } == {"enterprise"}
    (query,) = [each for each in spans if each.span.name == "SELECT stock"]
    (root,) = [each for each in spans if not each.span.parent_span_id]
    databases = sum(each.took for each in spans if each.tags.get("db.system.name") == "postgresql")
    assert query.took > 3 * (databases - query.took)
    sentence = page.locator("#why .sentence").inner_text()
    assert sentence.startswith(f"{format_duration(root.took)}: ")
    assert f"{share(databases / root.took)} PostgreSQL" in sentence
    screenshot(page, "week-why")


def test_an_exhausted_pool(start: Page, told: _Week) -> None:
    """From the runtime's pools to a request that waited for a connection, in the hours in which that was so."""
    page = start
    _last_week(page, "Runtime")
    row = page.locator("#pools tbody tr").first
    waited = [each for each in told.spans if each.tags.get("causal.pool.wait", 0) > 0.1]
    assert {each.service for each in waited} == {"users"}
    waits = [round(each.tags["causal.pool.wait"] * 1e9) for each in waited]
    pool, size, number, mean, longest = _cells(row)[:5]
    assert pool == "postgresql db.internal:5432/users users"
    assert (size, number) == ("5", count(len(waited)))
    assert [mean, longest] == [format_duration(round(sum(waits) / len(waits))), format_duration(max(waits))]
    _click(page, row.locator('[data-label="Longest"] a'))
    worst = max(waited, key=lambda each: each.tags["causal.pool.wait"])
    assert _trace(page) == worst.span.trace_id
    assert told.times.pool[0] <= _started(page) < told.times.pool[1]
    sentence = page.locator("#why .sentence").inner_text()
    assert "waiting for a PostgreSQL connection (pool 5 of 5 in use" in sentence
    screenshot(page, "week-pool")


def test_a_bank_that_fails(start: Page, told: _Week) -> None:
    """From the errors to where in the code they arise, and to a payment in the hours in which they did."""
    page = start
    _last_week(page, "Errors")
    failed = [each for each in told.of("payments", "POST /payments") if each.tags.get("error.type")]
    assert failed
    row = page.locator("table.errors tbody tr", has_text="bank.py")
    assert _cells(row)[1:3] == [count(len(failed)), count(len(failed))]
    _click(page, row.locator("a.name"))
    assert page.locator("h1").inner_text() == "httpx.HTTPStatusError"
    assert "bank.py" in page.locator(".page-head code.frame").inner_text()
    assert "POST /payments" in page.locator("section", has=page.locator("h2", has_text="Operations")).inner_text()
    assert "4.0.2" in page.locator("section", has=page.locator("h2", has_text="Versions")).inner_text()
    _click(page, page.locator(".examples tbody a").first)
    assert _trace(page) in {each.span.trace_id for each in failed}
    assert told.times.bank[0] <= _started(page) < told.times.bank[1]
    # What it called failed as well.
    assert "api.bank.example" in page.locator("main").inner_text()
    screenshot(page, "week-bank")


def test_queries_one_by_one(start: Page, told: _Week) -> None:
    """From the list of orders to the line of code that asks for each item."""
    page = start
    _last_week(page, "Operations")
    _click(page, page.locator("table.operations a.name", has_text="GET /orders"))
    assert _cells(page.locator("section.called", has_text="What it calls").locator("tbody tr").first)[0].startswith(
        "orders SELECT items"
    )
    _click(page, page.locator("section.examples li a").first)
    asked = [each for each in told.of("orders", "SELECT items") if each.span.trace_id == _trace(page)]
    finding = page.locator("#why .findings li", has_text="N+1").inner_text()
    assert finding.startswith(f"SELECT items ×{len(asked)} one after another")
    assert "orders.py:52 items()" in finding
    screenshot(page, "week-one-by-one")


def test_a_blocked_loop(start: Page, told: _Week) -> None:
    """From the runtime's stalls to the frame that blocked, and a request that had to wait meanwhile."""
    page = start
    _last_week(page, "Runtime")
    (row,) = page.locator("#stalls tbody tr").all()
    frame, number, mean, longest = _cells(row)[:4]
    since = (time.time_ns() - 7 * _DAY) // HOUR * HOUR
    blocked = told.of("storefront", "loop blocked", since)
    assert frame == "storefront/report.py:31 render() storefront"
    assert int(number) - len(blocked) in (0, 1)  # one more, if the hour has changed since
    assert (mean, longest) == ("300 ms", "300 ms")
    _click(page, row.locator('[data-label="Longest"] a'))
    assert _trace(page) in {each.span.trace_id for each in blocked}
    assert "render()" in page.locator("#why").inner_text()
    screenshot(page, "week-blocked")
