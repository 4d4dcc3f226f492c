from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.testclient import TestClient

from causal_otel.causality.critical_path import critical_path
from causal_otel.causality.explanation.comparison import Comparison, compare, folded
from causal_otel.collector.analysis import build
from tests.collector.analysis.making import TRACES
from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_traces import Builder, shop
from tests.collector.web.trace_site import application, follow

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

MS = 1_000_000
A, B = "aa" * 16, "bb" * 16


def pair() -> tuple[Builder, Builder]:
    """Two traces: b has three queries where a has one, no cache, another step, and a quicker end."""
    a, b = Builder(A), Builder(B)
    a.add("web", "GET /", None, 0, 100, "server")
    a.add("web", "cache", 1, 0, 10)
    a.add("web", "query", 1, 10, 20, "client")
    a.add("web", "render", 1, 40, 50)
    a.add("web", "flush", 1, 92, 5)
    b.add("web", "GET /", None, 0, 120, "server")
    for number in range(3):
        b.add("web", "query", 1, 10 + 25 * number, 20, "client", error="no" if number == 2 else None)
    b.add("auth", "check", 1, 0, 8)
    b.add("web", "render", 1, 90, 20)
    b.add("web", "flush", 1, 112, 5)
    return a, b


def compared() -> Comparison:
    a, b = pair()
    return compare(build(a.message), build(b.message))


def test_calls_of_one_name_to_different_systems_are_different_paths() -> None:
    """Redis' GET does not make up for HTTP's, nor one host's for another's."""
    a, b = Builder(A), Builder(B)
    for each, length in ((a, 10), (b, 40)):
        each.add("web", "GET /", None, 0, 100, "server", http__request__method="GET")
        each.add("web", "GET", 1, 0, length, "client", http__request__method="GET", server__address="a.example")
        each.add("web", "GET", 1, 50, 5, "client", http__request__method="GET", server__address="b.example")
        each.add("web", "GET", 1, 60, 50 - length, "client", db__system__name="redis")
    rows = compare(build(a.message), build(b.message)).rows
    assert [(row.system, row.change) for row in rows] == [
        ("http", "same"),
        ("http a.example", "slower"),
        ("http b.example", "same"),
        ("redis", "faster"),
    ]


def test_calls_are_told_apart_by_how_they_changed() -> None:
    """A call is in one trace only, slower, faster, or alike: each is compared with the one at its place."""
    rows = compared().rows
    assert [(row.depth, row.operation, row.change) for row in rows] == [
        (0, "GET /", "slower"),
        (1, "cache", "only-a"),
        (1, "check", "only-b"),
        (1, "query", "same"),
        (1, "query", "only-b"),
        (1, "query", "only-b"),
        (1, "render", "faster"),
        (1, "flush", "same"),
    ]
    assert [row.b.errors for row in rows if row.operation == "query"] == [0, 0, 1]


def test_paths_add_up_equal_calls() -> None:
    """Calls of one operation below one parent are one path, by when they first happened in either trace."""
    paths = compared().paths
    assert [(path.depth, path.operation) for path in paths] == [
        (0, "GET /"), (1, "cache"), (1, "check"), (1, "query"), (1, "render"), (1, "flush"),
    ]  # fmt: skip
    query = next(path for path in paths if path.operation == "query")
    assert (query.a.spans, query.b.spans, query.b.errors, query.change) == (1, 3, 1, "slower")
    assert query.delta == 40_000_000


def test_the_whole_difference_is_explained() -> None:
    """Each call's own time on the critical path, the root's as well, adds up to what the traces differ by."""
    result = compared()
    assert [(cause.row.operation, cause.kind, cause.delta // MS) for cause in result.causes] == [
        ("query", "remote", 40), ("render", "own_code", -30), ("GET /", "own_code", 12),
        ("cache", "own_code", -10), ("check", "own_code", 8),
    ]  # fmt: skip
    assert (result.other_causes, result.rest, result.clocks) == (0, 0, 0)
    assert [(row.operation, row.explains // MS) for row in result.rows if row.explains] == [
        ("GET /", 12), ("cache", -10), ("check", 8), ("query", 20), ("query", 20), ("render", -30),
    ]  # fmt: skip
    assert sum(row.explains for row in result.rows) == result.difference == 20 * MS


def test_a_wait_is_told_from_own_time() -> None:
    """What a call waited for before the server was at work is its wait, by name."""
    a, b = Builder(A), Builder(B)
    for trace, wait in ((a, 1), (b, 31)):
        trace.add("web", "GET /", None, 0, 50 + wait, "server")
        trace.add("web", "q", 1, 10, 20 + wait, "client", db__system__name="postgresql", causal__pool__wait=wait / 1000)
    row = compare(build(a.message), build(b.message)).rows[1]
    assert (row.own, row.waits, row.explains) == (0, 30 * MS, 30 * MS)
    assert [(part.kind, part.label, part.a, part.b) for part in row.parts] == [
        ("pool_wait", "waiting for a PostgreSQL connection", 1 * MS, 31 * MS)
    ]


def test_a_gap_in_a_queue_is_explained() -> None:
    """The time between a message's sending and its being worked on is its consumer's, as a wait."""
    a, b = Builder(A), Builder(B)
    for trace, gap in ((a, 2), (b, 40)):
        trace.add("web", "GET /", None, 0, 10, "server")
        trace.add("web", "send", 1, 5, 5, "producer")
        trace.add("worker", "run", 2, 10 + gap, 20, "consumer")
    result = compare(build(a.message), build(b.message))
    (cause,) = result.causes
    assert (cause.row.operation, cause.kind, cause.delta) == ("run", "queue_wait", 38 * MS)
    assert sum(row.explains for row in result.rows) == 38 * MS


def test_small_causes_are_told_together() -> None:
    """What is not listed by itself is one sum, so that the list adds up as well."""
    a, b = Builder(A), Builder(B)
    for trace, longer in ((a, 0), (b, 1)):
        trace.add("web", "GET /", None, 0, 200, "server")
        for number in range(12):
            trace.add("web", f"step {number}", 1, 10 * number, 2 + longer)
    result = compare(build(a.message), build(b.message))
    assert (len(result.causes), result.other_causes) == (8, 5)
    assert sum(cause.delta for cause in result.causes) + result.rest == 0
    assert result.causes[0].delta == -12 * MS


@given(TRACES, TRACES)
def test_rows_add_up_whatever_the_traces_are(a: TracesData, b: TracesData) -> None:
    """Rows, paths and causes add up exactly to what one trace takes longer, with what clocks disagree by."""
    sides = build(a), build(b)
    result = compare(*sides)
    assert result.difference == sides[1].duration - sides[0].duration
    for rows in (result.rows, result.paths, folded(result.rows)):
        assert sum(row.explains for row in rows) + result.clocks == result.difference
        assert all(row.own + row.waits == row.explains for row in rows)
        assert all(sum(part.delta for part in row.parts) == row.explains for row in rows)
    assert sum(cause.delta for cause in result.causes) + result.rest + result.clocks == result.difference
    if not any(span.skew for side in sides for span in side.spans):
        assert result.clocks == 0


@given(TRACES, TRACES)
def test_each_row_is_what_its_spans_are_on_the_path(a: TracesData, b: TracesData) -> None:
    """Each side of a row has what the critical path spends in its one span; nobody's time is lost or told twice."""
    sides = build(a), build(b)
    rows = compare(*sides).rows
    for side, trace in zip("ab", sides, strict=True):
        of_rows = [getattr(row, side) for row in rows]
        assert sorted(each.total for each in of_rows if each.spans) == sorted(span.duration for span in trace.spans)
        assert sum(each.on_path for each in of_rows) == sum(each.duration for each in critical_path(trace, None, "end"))


def test_a_trace_does_not_differ_from_itself() -> None:
    """All paths are alike."""
    trace = build(shop())
    result = compare(trace, trace)
    assert {row.change for row in result.rows} == {"same"}
    assert not result.causes


def test_a_very_deep_trace_can_be_compared() -> None:
    """Depth is not bounded by Python's stack."""
    deep = Builder(A)
    for number in range(3000):
        deep.add("web", "again", number or None, number, 4000 - number)
    trace = build(deep.message)
    assert len(compare(trace, trace).rows) == 3000


def added_up(page: Page) -> int:
    """What the rows of the table, but for the total, add up to in nanoseconds; it is what the total says."""
    cells = page.locator(".diff tr:not(.total) [data-nanoseconds]").all()
    found = sum(int(cell.get_attribute("data-nanoseconds") or "") for cell in cells)
    assert page.get_attribute(".diff .total [data-nanoseconds]", "data-nanoseconds") == str(found)
    return found


@pytest.mark.parametrize("query", ["", "&show=slower", "&show=only-b&unfold=1"])
def test_the_rows_add_up_on_the_page(open_page: OpenPage, serve: Callable[[ASGIApp], str], query: str) -> None:
    """Whichever rows are shown, and with clocks that disagree: to the difference of the durations above them."""
    a, b = shop(A), shop(B, slower=1.7)
    for each in b.resource_spans[1].scope_spans[0].spans:  # a service's clock is ahead
        each.start_time_unix_nano += 5000 * MS
        each.end_time_unix_nano += 5000 * MS
    page = open_page(serve(application(MemoryReader([a, b]))) + f"/compare?a={A}&b={B}{query}")
    assert added_up(page) == build(b).duration - build(a).duration
    screenshot(page, f"compare-rows{query.count('&')}")


def test_equal_calls_are_one_row_that_opens(open_page: OpenPage, serve: Callable[[ASGIApp], str]) -> None:
    """Forty calls more in a row are one line, of which each can be seen; the address says so."""
    a, b = Builder(A), Builder(B)
    for trace, count in ((a, 3), (b, 43)):
        trace.add("web", "GET /", None, 0, 500, "server")
        for number in range(count):
            trace.add("web", "query", 1, 10 * number, 8, "client")
    page = open_page(serve(application(MemoryReader([a.message, b.message]))) + f"/compare?a={A}&b={B}")
    assert page.locator(".diff tbody tr").count() == 1 + 3 + 1
    assert page.inner_text(".diff tr.only-b .path").split() == ["web", "query", "×40"]
    follow(page, "text=Each call in a row of its own")
    assert page.url.endswith("&unfold=1")
    assert page.locator(".diff tbody tr").count() == 1 + 43
    follow(page, "text=Equal calls as one row")
    assert page.locator(".diff tbody tr").count() == 5


@pytest.fixture
def base(serve: Callable[[ASGIApp], str]) -> str:
    """The pages over the two."""
    return serve(application(MemoryReader([each.message for each in pair()])))


def test_traces_are_chosen_compared_filtered_and_swapped(base: str, open_page: OpenPage) -> None:
    """From the list of recent traces to the comparison, its filters, and the other way round."""
    page = open_page(f"{base}/compare")
    follow(page, f"a[href='/compare?a={A}']")
    follow(page, f"a[href='/compare?a={A}&b={B}']")
    assert page.inner_text(".verdict").startswith("B took 20 ms (20 %) longer than A; of 8 calls, 1 slower, 1 faster")
    assert page.locator(".diff tbody tr").count() == 8
    assert page.inner_text(".diff .total .explains") == "+20 ms"
    assert "own code" in page.inner_text(".causes")
    assert "All of it together: +20 ms" in page.inner_text(".causes")
    follow(page, ".filters >> text=Only in A")
    assert "show=only-a" in page.url
    assert page.locator(".diff tbody tr").count() == 1
    assert added_up(page) == 20 * MS  # with a row for what is not shown
    follow(page, ".filters >> text=All")
    follow(page, "[aria-label='Swap A and B']")
    assert "less than A" in page.inner_text(".verdict")
    follow(page, ".side a >> nth=0")
    assert page.url == f"{base}/trace/{B}"


def test_ids_can_be_typed_or_pasted_as_addresses(base: str, open_page: OpenPage) -> None:
    """The form takes ids and addresses of trace pages."""
    page = open_page(f"{base}/compare")
    page.fill("input[name=a]", f"  {A.upper()} ")
    page.fill("input[name=b]", f"{base}/trace/{B}?span=1#s-1")
    follow(page, "button.primary")
    assert "20 ms" in page.inner_text(".verdict")


def test_what_cannot_be_compared_is_said() -> None:
    """No id, and an id of nothing, are told with what is wrong."""
    client = TestClient(application(MemoryReader()))
    answer = client.get("/compare", params={"a": "<b>", "b": "cc" * 16})
    assert answer.status_code == 404
    assert "A is no trace id" in answer.text
    assert "B is not here" in answer.text
    assert "<b>" not in answer.text.split("<main")[1].replace("<b>web", "")
    assert "nothing to choose from" in client.get("/compare").text
