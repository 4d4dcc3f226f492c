from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from causal_otel.collector.query import Dependency
from causal_otel.collector.web.service_map import SERVICES_LIMIT, rates, service_map
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import Builder, shop
from tests.collector.web.trace_site import application, follow

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


def call(edge: str, calls: int = 10) -> Dependency:
    """The dependency that ``a>b`` stands for."""
    parent, _, child = edge.partition(">")
    return Dependency(parent, child, calls, 0)


def drawn(*edges: str) -> dict[str, tuple[float, float]]:
    """Where the services of edges such as ``a>b`` are."""
    return {node.name: (node.x, node.y) for node in service_map(map(call, edges)).nodes}


def test_services_stand_right_of_their_callers() -> None:
    """Also where there is a shorter way to one."""
    at = drawn("a>b", "b>c", "a>c", "c>d")
    assert at["a"][0] < at["b"][0] < at["c"][0] < at["d"][0]


@pytest.mark.parametrize(
    "edges", [["a>b", "b>a"], ["a>b", "b>c", "c>a"], ["a>b", "b>c", "c>b", "c>d", "d>a"], ["a>a", "a>b"]]
)
def test_cycles_are_drawn_with_one_edge_running_back(edges: list[str]) -> None:
    """Every service has a place; all edges but those of a service to itself are there."""
    result = service_map(map(call, edges))
    wanted = [edge for edge in edges if edge[0] != edge[2]]
    assert len(result.edges) == len(wanted)
    assert any(edge.back for edge in result.edges) == (edges[0] != "a>a")


@settings(max_examples=60, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=60))
def test_no_two_services_overlap_whatever_calls_what(edges: set[tuple[int, int]]) -> None:
    """Any graph is laid out, within the drawing."""
    result = service_map([Dependency(f"s{parent}", f"s{child}", 1, 0) for parent, child in edges])
    assert len({(node.x, node.y) for node in result.nodes}) == len(result.nodes)
    for node in result.nodes:
        assert 0 <= node.x <= result.width - node.width
        assert 0 <= node.y <= result.height - node.height
    for first in result.nodes:
        for second in result.nodes:
            assert first is second or first.x != second.x or abs(first.y - second.y) >= first.height


def test_very_many_services_are_bounded() -> None:
    """The busiest are drawn, the rest counted."""
    chance = random.Random(1)
    calls = [Dependency(f"s{chance.randrange(400)}", f"t{chance.randrange(400)}", 1 + n, 0) for n in range(3000)]
    result = service_map(calls)
    assert len(result.nodes) == SERVICES_LIMIT
    assert result.left_out == len({name for call in calls for name in (call.parent, call.child)}) - SERVICES_LIMIT


def test_edges_are_as_thick_as_busy_and_as_red_as_failing() -> None:
    """Width grows with calls, severity with the share of errors."""
    few, many = service_map([Dependency("a", "b", 10, 0), Dependency("a", "c", 10_000, 0)]).edges
    assert few.width < many.width
    severities = [service_map([Dependency("a", "b", 1000, failed)]).edges[0].severity for failed in (0, 5, 40, 100)]
    assert severities == [0, 1, 2, 3]


def test_rates_are_in_one_unit() -> None:
    """The unit suits the busiest; less is written in the same."""
    rate = rates(7200, 3600)
    assert (rate(7200), rate(360), rate(1)) == ("2/s", "0.1/s", "<0.01/s")
    assert rates(10, 3600)(10) == "10/h"
    assert rates(0, 3600)(0) == "0/d"


@pytest.fixture
def base(serve: Callable[[ASGIApp], str]) -> str:
    """The pages over a checkout of just now, and a failing call."""
    now = time.time_ns()
    other = Builder("dd" * 16, now)
    other.add("gateway", "GET", None, 0, 10, "client")
    other.add("stock & co", "GET", 1, 1, 8, "server", error="gone")
    return serve(application(MemoryReader([shop(start=now), other.message])))


@pytest.mark.parametrize("javascript", [True, False])
def test_the_map_shows_services_and_leads_to_their_traces(base: str, open_page: OpenPage, javascript: bool) -> None:
    """Nodes are links to a search, edges have rates and shares of errors, and the table says the same."""
    page = open_page(f"{base}/map?lookback=1h", javascript=javascript)
    assert page.locator(".node").count() == 5
    assert page.locator(".edge").count() == 4
    assert page.locator(".edge.e3").count() == 1
    assert "100" in page.locator(".label.e3").text_content()  # type: ignore[operator]
    row = page.locator("#calls tbody tr", has_text="stock & co")
    assert row.locator("td").all_inner_texts()[2:5] == ["1", "1/h", "1"]
    follow(page, ".segments >> text=7d")
    assert "lookback=7d" in page.url
    follow(page, ".node:has-text('stock & co')")
    assert "service=stock%20%26%20co" in page.url or "service=stock+%26+co" in page.url


def test_nodes_can_be_reached_by_keyboard(base: str, open_page: OpenPage) -> None:
    """Tab goes to the services, and Enter follows."""
    page = open_page(f"{base}/map")
    page.locator(".canvas").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.classList.contains('node')")
    page.keyboard.press("Enter")
    page.wait_for_url("**service=**")


def test_an_unusable_time_is_told_of() -> None:
    """The page says what to write, and shows a day."""
    client = TestClient(application(MemoryReader()))
    for lookback in ("soon", "0s", "9000d", "<b>"):
        answer = client.get("/map", params={"lookback": lookback})
        assert answer.status_code == 400
        assert "cannot be used" in answer.text
        assert "<b>" not in answer.text


def test_an_empty_map_says_so() -> None:
    """Without calls there is advice instead of a drawing."""
    answer = TestClient(application(MemoryReader())).get("/map?lookback=30d")
    assert answer.status_code == 200
    assert "No calls in the last 30d" in answer.text
    assert "<figure" not in answer.text
