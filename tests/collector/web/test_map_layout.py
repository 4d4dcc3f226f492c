from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_otel.collector.trends.topology import Edge, Node, Topology
from causal_otel.collector.units import rate
from causal_otel.collector.web import map_layout
from causal_otel.collector.web.map_layout import BOX_HEIGHT, BOX_WIDTH, LABEL_HEIGHT, LABEL_WIDTH, Layout, layout
from causal_otel.collector.web.map_view import EDGES, NODES, MapState, draw, shown
from tests.collector.web.map_sites import dense

Rectangle = tuple[float, float, float, float]


def topology(edges: dict[str, int], errors: int = 0) -> Topology:
    """The map of edges such as ``a>b``, in an hour."""
    pairs = {tuple(edge.split(">")): calls for edge, calls in edges.items()}
    names = sorted({name for pair in pairs for name in pair})
    return Topology(
        tuple(Node(name, "service", "", sum(pairs.values()), 0, 0) for name in names),
        tuple(Edge(parent, child, calls, errors, 0) for (parent, child), calls in sorted(pairs.items())),
        0,
        3600 * 10**9,
    )


def boxes(made: Layout) -> list[Rectangle]:
    """Left, top, right and bottom of each box."""
    return [(x, y, x + BOX_WIDTH, y + BOX_HEIGHT) for x, y in made.boxes]


def labels(made: Layout) -> list[Rectangle]:
    """The same of the labels."""
    middles = [line.label for line in made.lines if line.label]
    return [(x - LABEL_WIDTH / 2, y - LABEL_HEIGHT / 2, x + LABEL_WIDTH / 2, y + LABEL_HEIGHT / 2) for x, y in middles]


def overlap(one: Rectangle, other: Rectangle) -> bool:
    """Whether they share more than what rounding explains."""
    slack = 0.2
    return (
        one[0] < other[2] - slack
        and other[0] < one[2] - slack
        and one[1] < other[3] - slack
        and other[1] < one[3] - slack
    )


def assert_sound(made: Layout | None, count: int, edges: list[tuple[int, int]]) -> None:
    """Nothing overlaps, all is within the drawing, every edge goes from its box to its other box."""
    assert made is not None
    assert (len(made.boxes), len(made.lines)) == (count, len(edges))
    drawn = [*boxes(made), *labels(made)]
    assert not [pair for pair in itertools.combinations(drawn, 2) if overlap(*pair)]
    assert all(
        left >= 0 and top >= 0 and right <= made.width and bottom <= made.height for left, top, right, bottom in drawn
    )
    for line, edge in zip(made.lines, edges, strict=True):
        for (x, y), place in zip((line.points[0], line.points[-1]), edge, strict=True):
            left, top, right, bottom = boxes(made)[place]
            assert left - 0.2 <= x <= right + 0.2
            assert top - 0.2 <= y <= bottom + 0.2
        assert all(0 <= x <= made.width and 0 <= y <= made.height for x, y in line.points)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=40))
def test_any_graph_is_laid_out(count: int, found: set[tuple[int, int]]) -> None:
    """Boxes and labels overlap nothing, every edge is drawn once, cycles and all."""
    edges = sorted(edge for edge in found if edge[0] != edge[1] and max(edge) < count)
    assert_sound(layout(count, edges), count, edges)


@pytest.mark.parametrize(("count", "calls"), [(10, 18), (50, 200), (60, 250)])
def test_large_maps_are_laid_out(count: int, calls: int) -> None:
    """Also where services call services without any order."""
    chance = random.Random(count)
    pairs = [(a, b) for a in range(count) for b in range(count) if a < b or (a > b and chance.random() < 0.1)]
    edges = sorted(chance.sample(pairs, calls))
    assert_sound(layout(count, edges), count, edges)


def test_most_calls_of_fifty_dense_services_have_a_label() -> None:
    """There is room for nearly all of two hundred."""
    found = draw(dense(50, 200))
    assert found is not None
    assert sum(edge.label is not None for edge in found.edges) >= 190


def test_called_services_stand_right_of_their_callers() -> None:
    """Also where there is a shorter way to one."""
    found = draw(topology(dict.fromkeys(("a>b", "b>c", "a>c", "c>d"), 1)))
    assert found is not None
    assert [each.node.name for each in sorted(found.nodes, key=lambda each: each.x)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("edges", [("a>b", "b>a"), ("a>b", "b>c", "c>a"), ("a>b", "b>c", "c>b", "c>d", "d>a")])
def test_cycles_are_drawn_with_an_edge_that_runs_back(edges: tuple[str, ...]) -> None:
    """All of their edges are there."""
    found = draw(topology(dict.fromkeys(edges, 1)))
    assert found is not None
    assert [f"{each.edge.parent}>{each.edge.child}" for each in found.edges] == sorted(edges)
    assert any(each.back for each in found.edges)
    assert not all(each.back for each in found.edges)


def test_the_same_calls_are_drawn_in_the_same_way() -> None:
    """A drawing does not depend on figures, nor on the process that made it."""
    edges = [(0, 1), (1, 2), (0, 2), (3, 1)]
    first = layout(4, edges)
    map_layout._layout.cache_clear()
    assert layout(4, edges) == first
    few, many = (draw(topology(dict.fromkeys(("a>b", "b>c"), calls))) for calls in (1, 10**6))
    assert few is not None
    assert many is not None
    assert [edge.path for edge in few.edges] == [edge.path for edge in many.edges]


def test_very_large_maps_are_bounded() -> None:
    """The busiest nodes and edges are drawn, the rest counted."""
    whole = dense(150, 600)
    found = draw(whole)
    assert found is not None
    assert len(found.nodes) == NODES
    assert found.nodes_left_out == 150 - NODES
    assert len(found.edges) <= EDGES
    drawn = {each.node.name for each in found.nodes}
    assert len(found.edges) + found.edges_left_out == sum({e.parent, e.child} <= drawn for e in whole.edges)


def test_without_the_library_there_is_no_drawing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why."""
    monkeypatch.setattr(map_layout, "_PROGRAM", "import a_library_that_is_not_there")
    map_layout._layout.cache_clear()
    assert draw(topology({"a>b": 1})) is None
    assert "a_library_that_is_not_there" in caplog.text
    map_layout._layout.cache_clear()


def test_a_drawing_that_takes_too_long_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its process is ended."""
    monkeypatch.setattr(map_layout, "_PROGRAM", "import time; time.sleep(600)")
    monkeypatch.setattr(map_layout, "_SECONDS", 0.2)
    map_layout._layout.cache_clear()
    assert layout(2, [(0, 1)]) is None
    assert "longer than 0.2 seconds" in caplog.text
    map_layout._layout.cache_clear()


def test_edges_are_as_thick_as_busy_and_as_red_as_failing() -> None:
    """Width grows with calls, severity with the share of errors."""
    found = draw(topology({"a>b": 10, "a>c": 10_000}))
    assert found is not None
    few, many = found.edges
    assert few.width < many.width
    severities = []
    for failed in (0, 5, 40, 100):
        found = draw(topology({"a>b": 1000}, errors=failed))
        assert found is not None
        severities.append(found.edges[0].severity)
    assert severities == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("calls", "seconds", "written"),
    [
        (7200, 3600, "2/s"),
        (3_600_000, 3600, "1\u202f000/s"),
        (360, 3600, "6/min"),
        (3599, 3600, "1/s"),
        (30, 3600, "30/h"),
        (1, 3600, "1/h"),
        (12, 86400, "12/d"),
        (1, 30 * 86400, "<1/d"),
        (0, 3600, "0/h"),
    ],
)
def test_rates_are_in_the_unit_that_can_be_read(calls: int, seconds: int, written: str) -> None:
    """A second if there is one in each, else a minute, an hour or a day."""
    assert rate(calls, seconds) == written


def test_focus_and_filters_leave_what_they_say() -> None:
    """A node and what is one call away; edges that are busy enough, or fail; a node without any is gone."""
    whole = topology({"a>b": 7200, "b>c": 10, "c>d": 7200})

    def left(**changes: str) -> list[str]:
        return [f"{each.parent}>{each.child}" for each in shown(whole, MapState(**changes)).edges]

    assert left() == ["a>b", "b>c", "c>d"]
    assert left(focus="b") == ["a>b", "b>c"]
    assert [node.name for node in shown(whole, MapState(focus="b")).nodes] == ["a", "b", "c"]
    assert left(rate="1s") == ["a>b", "c>d"]
    assert left(rate="10s") == left(errors="1") == []
    assert shown(whole, MapState(errors="1")).nodes == ()


def test_a_state_is_its_address() -> None:
    """What does not exist is as by default, and zoom ends at both ends."""
    state = MapState.read({"lookback": " 7d ", "focus": "a b", "rate": "1s", "errors": "1", "zoom": "200"})
    assert state.address() == "/map?lookback=7d&focus=a+b&rate=1s&errors=1&zoom=200"
    assert state.zoomed(1) == state.address()
    assert "zoom=150" in state.zoomed(-1)
    assert MapState.read({"rate": "many", "zoom": "9"}).address() == "/map"
