"""The page of a service, over a planted week in which a version is slow, against the spans themselves."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.store.reader import Reader
from causal_otel.collector.units import format_duration
from causal_otel.collector.web import service_page
from causal_otel.collector.web.addresses import service_address
from causal_otel.collector.web.templating import count
from tests.collector.web.browser import screenshot
from tests.collector.web.sites import site
from tests.collector.web.slow_version import NEW, OLD, POOL, ROUTE
from tests.collector.web.slow_week import PAGE, assert_told, quantile
from tests.collector.web.trend_pages import Week, link, stored, table, tiles

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


def test_the_service_leads_to_it(client: TestClient, week: Week) -> None:
    """From the service's page two clicks answer what got slower, since when and why."""
    html = client.get(service_address("shop")).text
    assert tiles(html)["Calls"].startswith(f"{count(len(week.spans))} ")
    versions = {row[0].split()[0]: row for row in table(html, 'class="versions"')}
    for name in (OLD, NEW):
        lengths = week.durations(lambda _, its, wanted=name: its == wanted)  # type: ignore[misc]
        assert versions[name][3] == count(len(lengths))
        assert versions[name][5] == format_duration(sum(lengths) // len(lengths))
    assert_told(client.get(link(html, f"compare with {OLD}")).text, week)
    operation = client.get(link(html, ROUTE)).text
    assert tiles(operation) == tiles(html)


def test_the_service_tells_of_its_operations_and_pools(client: TestClient, week: Week) -> None:
    """Operations with their figures and sparklines, what begins in the service first; pools with their waits."""
    html = client.get(service_address("shop")).text
    rows = table(html, 'class="of-service"')
    assert [row[0] for row in rows] == [
        f"{ROUTE} server · begins here",
        "SELECT orders client · postgresql",
        "GET client · redis",
    ]
    for row, operation in zip(rows, (ROUTE, "SELECT orders"), strict=False):
        lengths = Week(week.now, operation).durations()
        assert row[1] == count(len(lengths))
        assert row[3:6] == [
            format_duration(sum(lengths) // len(lengths)), quantile(lengths, 0.5), quantile(lengths, 0.95)
        ]  # fmt: skip
    assert html.count("<polyline points=") == len(rows)
    ((pool, size, waits, mean, longest, waiting),) = table(html, 'class="pools"')
    told = [
        round(pair.value.double_value * 1e9)
        for one, _ in Week(week.now, "SELECT orders").spans
        for pair in one.attributes
        if pair.key == "causal.pool.wait"
    ]
    assert (pool, size, waits, waiting) == (POOL, "5", str(len(told)), "9")
    assert (mean, longest) == (format_duration(sum(told) // len(told)), format_duration(max(told)))


def test_the_service_has_callers_callees_and_traces(client: TestClient, week: Week) -> None:
    """As its one operation that is called: the same figures, and traces that are as slow, failed, and typical."""
    html, of_operation = client.get(service_address("shop")).text, client.get(PAGE).text
    for title in ("<h2>Who calls it", "<h2>What it calls"):
        assert table(html, title)
        assert table(html, title) == table(of_operation, title)
    sections = [each.partition('class="kinds"')[2].partition("</section>")[0] for each in (html, of_operation)]
    found, expected = (re.findall(r"<h3>(\w+) |/trace/([0-9a-f]{32})", each) for each in sections)
    assert len(found) == 3 * (1 + 4)
    assert found == expected
    for part in sections[0].split("<h3>")[1:]:
        assert client.get(link(part, "Search all of them")).text.count('<li class="trace') >= 4


def test_a_service_with_very_many_operations(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures are by the day, which takes less to read, and the page says so; rows left out are counted."""
    by_hour = client.get(service_address("shop")).text
    monkeypatch.setattr(service_page, "MANY", 2)
    monkeypatch.setattr(service_page, "_MOST_OPERATIONS", 1)
    html = client.get(service_address("shop")).text
    assert "more than 2 operations" in html
    assert "2 operations with less time are not shown" in html
    assert tiles(html)["Mean"] == tiles(by_hour)["Mean"]
    assert len(table(html, "The same as a table")) in (8, 9)


def test_versions_are_chosen_without_scripts(
    reader: Reader, week: Week, serve: Callable[[ASGIApp], str], open_page: OpenPage
) -> None:
    """Two selects and a button compare versions, on the page of a service as well."""
    page = open_page(serve(site(reader)) + service_address("shop"), javascript=False)
    page.select_option("#against", OLD)
    page.select_option("#to-version", NEW)
    with page.expect_navigation():
        page.locator("form:has(#against) button").click()
    assert_told(page.content(), week)
    screenshot(page, "service-versions")
