from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.analysis import build
from causal_otel.collector.web.compare import Comparison, compare
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import Builder, shop
from tests.collector.web.test_trace_page import application, follow

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

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


def test_the_difference_is_blamed_on_own_time() -> None:
    """What differs most by itself comes first; a parent is not blamed for its children."""
    culprits = [(row.operation, row.own_delta) for row in compared().culprits]
    assert culprits[0] == ("query", 40_000_000)
    assert ("render", -30_000_000) in culprits


def test_a_trace_does_not_differ_from_itself() -> None:
    """All paths are alike."""
    trace = build(shop())
    result = compare(trace, trace)
    assert {row.change for row in result.rows} == {"same"}
    assert not result.culprits


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
