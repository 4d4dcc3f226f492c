from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.testclient import TestClient

from causal_otel.causality.explanation.comparison import Comparison, compare
from causal_otel.collector.analysis import build
from tests.collector.analysis.making import TRACES
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import Builder, shop
from tests.collector.web.trace_site import application, follow

if TYPE_CHECKING:
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


def test_paths_are_told_apart_by_how_they_changed() -> None:
    """A path is in one trace only, slower, faster, or alike; equal calls of one parent count together."""
    changes = {row.operation: row.change for row in compared().rows}
    assert changes == {
        "GET /": "slower",
        "cache": "only-a",
        "query": "slower",
        "render": "faster",
        "flush": "same",
        "check": "only-b",
    }
    query = next(row for row in compared().rows if row.operation == "query")
    assert (query.a.spans, query.b.spans, query.b.errors) == (1, 3, 1)
    assert query.delta == 40_000_000


def test_rows_are_a_tree_in_order_of_time() -> None:
    """Children follow their parent, by when they first happened in either trace."""
    rows = compared().rows
    assert [(row.depth, row.operation) for row in rows] == [
        (0, "GET /"), (1, "cache"), (1, "check"), (1, "query"), (1, "render"), (1, "flush"),
    ]  # fmt: skip


def test_the_whole_difference_is_explained() -> None:
    """Each path's own time on the critical path, the root's as well, adds up to what the traces differ by."""
    result = compared()
    assert [(cause.row.operation, cause.waiting, cause.delta // MS) for cause in result.causes] == [
        ("query", False, 40), ("render", False, -30), ("GET /", False, 12), ("cache", False, -10), ("check", False, 8),
    ]  # fmt: skip
    assert (result.other_causes, result.rest) == (0, 0)
    assert {row.operation: row.explains // MS for row in result.rows if row.explains} == {
        "query": 40, "render": -30, "GET /": 12, "cache": -10, "check": 8,
    }  # fmt: skip
    assert sum(row.explains for row in result.rows) == 20 * MS


def test_a_gap_in_a_queue_is_explained() -> None:
    """The time between a message's sending and its being worked on is its consumer's, as a wait."""
    a, b = Builder(A), Builder(B)
    for trace, gap in ((a, 2), (b, 40)):
        trace.add("web", "GET /", None, 0, 10, "server")
        trace.add("web", "send", 1, 5, 5, "producer")
        trace.add("worker", "run", 2, 10 + gap, 20, "consumer")
    result = compare(build(a.message), build(b.message))
    (cause,) = result.causes
    assert (cause.row.operation, cause.waiting, cause.delta) == ("run", True, 38 * MS)
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
    """For any two traces the rows explain exactly what one takes longer; by one clock, if theirs disagree."""
    sides = build(a), build(b)
    result = compare(*sides)
    assert sum(row.explains for row in result.rows) == result.difference
    assert sum(cause.delta for cause in result.causes) + result.rest == result.difference
    if not any(span.skew for side in sides for span in side.spans):
        assert result.difference == sides[1].duration - sides[0].duration


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


@pytest.fixture
def base(serve: Callable[[ASGIApp], str]) -> str:
    """The pages over the two."""
    return serve(application(MemoryReader([each.message for each in pair()])))


def test_traces_are_chosen_compared_filtered_and_swapped(base: str, open_page: OpenPage) -> None:
    """From the list of recent traces to the comparison, its filters, and the other way round."""
    page = open_page(f"{base}/compare")
    follow(page, f"a[href='/compare?a={A}']")
    follow(page, f"a[href='/compare?a={A}&b={B}']")
    assert page.inner_text(".verdict").startswith("B took 20 ms (20 %) longer than A; of 6 paths, 2 slower, 1 faster")
    assert page.locator(".diff tbody tr").count() == 6
    assert page.inner_text(".diff tfoot .explains") == "+20 ms"
    assert "waiting for it to start" not in page.inner_text(".causes")
    assert "All of it together: +20 ms" in page.inner_text(".causes")
    follow(page, ".filters >> text=Only in A")
    assert "show=only-a" in page.url
    assert page.locator(".diff tbody tr").count() == 1
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
