from __future__ import annotations

import pytest

from causal_otel.collector.query import ServiceCount, Summary
from causal_otel.collector.web.scatter import Scatter, scatter
from causal_otel.collector.web.status_page import volume_chart
from tests.collector.spans import HOUR, MILLISECOND, MINUTE, NOON, SECOND


def _trace(start: int = NOON, duration: int = MILLISECOND, spans: int = 1) -> Summary:
    counts = (ServiceCount("shop", spans, 0),)
    return Summary(bytes(16), "shop", "work", "server", start, start + duration, spans, 0, 0, counts)


def _chart(*traces: Summary) -> Scatter:
    chart = scatter(traces)
    assert chart is not None
    return chart


def test_no_traces_have_no_scatter() -> None:
    """Without traces there is nothing to draw."""
    assert scatter([]) is None


@pytest.mark.parametrize("duration", [0, 1, MILLISECOND, 100 * HOUR, 2**62])
@pytest.mark.parametrize("spread", [0, 1, SECOND, 40 * MINUTE, 20 * HOUR, 700 * HOUR])
def test_every_dot_is_inside_and_both_axes_are_labelled(duration: int, spread: int) -> None:
    """Whatever the durations and times, dots lie between the axes and each axis has some ticks, inside as well."""
    chart = _chart(_trace(duration=duration), _trace(NOON + spread, duration * 3))
    for dot in chart.dots:
        assert chart.left <= dot.x <= chart.right
        assert chart.top <= dot.y <= chart.bottom
    assert 1 <= len(chart.durations) <= 8
    assert 1 <= len(chart.times) <= 8
    assert all(chart.left <= tick.at <= chart.right for tick in chart.times)
    assert all(chart.top <= tick.at <= chart.bottom for tick in chart.durations)
    assert len({tick.label for tick in chart.durations}) == len(chart.durations)


def test_durations_are_logarithmic() -> None:
    """Ten times as long is as far up wherever it is."""
    chart = _chart(_trace(duration=MILLISECOND), _trace(duration=10 * MILLISECOND), _trace(duration=100 * MILLISECOND))
    low, middle, high = sorted((dot.y for dot in chart.dots), reverse=True)
    assert low - middle == pytest.approx(middle - high, abs=0.2)


def test_later_is_to_the_right() -> None:
    """Traces stand in the order of their starts."""
    chart = _chart(*(_trace(NOON + minute * MINUTE) for minute in range(5)))
    places = [dot.x for dot in sorted(chart.dots, key=lambda dot: dot.trace.start)]
    assert places == sorted(set(places))


def test_large_traces_have_large_dots_behind_small_ones() -> None:
    """A dot's size grows with the spans, to a limit, and large ones are drawn first."""
    chart = _chart(_trace(spans=1), _trace(spans=100), _trace(spans=10**6))
    assert [dot.trace.spans for dot in chart.dots] == [10**6, 100, 1]
    assert chart.dots[0].radius <= 12


def test_the_volume_has_a_bar_for_each_day_that_holds_something() -> None:
    """Days lie where the calendar has them, gaps included; no more than sixty are shown."""
    days = [
        {"day": f"2026-{month:02}-01", "spans": 10**month, "traces": 1, "bytes": 1, "closed": True}
        for month in (1, 9, 10)
    ]
    chart = volume_chart([*days, {"day": "2026-10-02", "spans": 0, "traces": 0, "bytes": 0, "closed": False}])
    assert chart is not None
    assert [bar.day["day"] for bar in chart.bars] == ["2026-09-01", "2026-10-01"]
    assert all(chart.left <= bar.x and bar.x + bar.width <= chart.right for bar in chart.bars)
    assert [tick.label for tick in chart.counts] == ["0", "5 G", "10 G"]
    assert "start=2026-09-01T00%3A00" in chart.bars[0].address


def test_an_empty_store_has_no_volume() -> None:
    """Without spans there is nothing to draw."""
    assert volume_chart([]) is None
