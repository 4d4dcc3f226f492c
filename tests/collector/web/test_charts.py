from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_otel.collector.figures import MeasureSum, Series, SeriesSum
from causal_otel.collector.store.histogram import Histogram
from causal_otel.collector.store.measures import CALLED
from causal_otel.collector.trends.window import DAY, Window
from causal_otel.collector.web.addresses import operation_address, service_address
from causal_otel.collector.web.charts import TimeChart, count_ticks, duration_ticks, short, time_chart
from causal_otel.collector.web.trend_state import TrendState
from causal_otel.collector.web.trend_views import rate, trend
from tests.collector.spans import HOUR, MILLISECOND, NOON, SECOND

WEEK = Window.back(7 * DAY, NOON)
SERIES = Series("shop", "GET /", "server", "", "1", False)


def _places(chart: TimeChart) -> list[tuple[float, float]]:
    points = [point.split(",") for line in chart.lines for run in line.points for point in run.split(" ")]
    return [(float(x), float(y)) for x, y in points]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.lists(st.integers(0, 10**14), min_size=1, max_size=30))
def test_everything_is_inside(days: int, values: list[int]) -> None:
    """Whatever the time and the values, bars, lines and labels lie between the axes, bars in their columns."""
    window = Window.back(days * DAY, NOON)
    some = [values[place % len(values)] for place in range(len(window.bins))]
    chart = time_chart(
        window,
        duration_ticks(max(some)),
        ["" for _ in some],
        stacks=[[("a", each / 2), ("b", each / 2)] for each in some],
        lines={"p50": [each or None for each in some]},
        moment=NOON - HOUR,
    )
    assert len(chart.columns) == len(window.bins)
    for column in chart.columns:
        assert chart.left <= column.x <= column.bar_x
        assert column.bar_x + column.bar_width <= chart.right + 0.2
        for mark in column.marks:
            assert chart.top - 0.5 <= mark.y
            assert mark.y + mark.height <= chart.bottom + 0.5
    for x, y in _places(chart):
        assert chart.left <= x <= chart.right
        assert chart.top <= y <= chart.bottom
    assert 1 <= len(chart.times) <= 10
    assert all(chart.left <= tick.at <= chart.right for tick in chart.times)
    assert 1 <= len(chart.values) <= 7
    assert all(chart.top <= tick.at <= chart.bottom for tick in chart.values)
    assert len({tick.label for tick in chart.values}) == len(chart.values)
    assert chart.moment is not None
    assert chart.left <= chart.moment <= chart.right


def test_a_line_has_gaps_where_nothing_was_called() -> None:
    """Each run is a line of its own; a run of one hour is as long as the hour."""
    values: list[float | None] = [None] * len(WEEK.bins)
    values[3], values[4], values[9] = 1.0, 2.0, 3.0
    chart = time_chart(WEEK, duration_ticks(3), [""] * len(values), lines={"p50": values})
    (line,) = chart.lines
    assert [len(run.split(" ")) for run in line.points] == [2, 2]
    (first, _), (second, _) = (point.split(",") for point in line.points[1].split(" "))
    assert float(second) - float(first) == pytest.approx(chart.columns[0].width, abs=0.2)


def test_bars_are_stacked() -> None:
    """What comes first is at the bottom, and the next begins where it ends."""
    chart = time_chart(
        WEEK, count_ticks(10), [""] * len(WEEK.bins), stacks=[[("failed", 2.0), ("calls", 6.0)]] * len(WEEK.bins)
    )
    failed, calls = chart.columns[0].marks
    assert failed.y + failed.height == pytest.approx(chart.bottom, abs=0.2)
    assert calls.y + calls.height == pytest.approx(failed.y, abs=0.2)
    assert calls.height == pytest.approx(3 * failed.height, rel=0.05)


@settings(deadline=None)
@given(st.integers(0, 10**13))
def test_counts_have_few_round_ticks(most: int) -> None:
    """They begin with 0 and end at most at the largest count."""
    scale = count_ticks(most)
    assert [label for value, label in scale.labels if not value] == ["0"]
    assert scale.top >= most
    assert len(scale.labels) <= 6
    assert scale.labels[-1][0] <= max(1, most)


def test_numbers_are_short() -> None:
    """In thousands, millions and thousands of millions."""
    assert [short(each) for each in (0, 12, 1500, 2_000_000, 3 * 10**9)] == [
        "0", "12", "1.5\u202fk", "2\u202fM", "3\u202fG",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("calls", "seconds", "says"),
    [(0, 3600, "0/d"), (1, 86400, "1/d"), (48, 86400, "2/h"), (90, 3600, "1.5/min"), (7200, 3600, "2/s"),
     (1000, 1, "1\u202f000/s"), (3600, 3600, "1/s")],
)  # fmt: skip
def test_a_rate_is_a_number_that_a_person_reads(calls: int, seconds: int, says: str) -> None:
    """Its unit is the smallest in which there is at least one."""
    assert rate(calls / seconds) == says


def _measure(key: str, label: str, total: int) -> MeasureSum:
    return MeasureSum(SERIES, WEEK.bins[5].start, key, label, 1, total, total, bytes(16))


def test_small_parts_are_together() -> None:
    """Of many systems those with the most time have a part each, the others one together; all add up."""
    whole = 10 * SECOND
    counted = Histogram()
    counted.add(whole)
    sums = [SeriesSum(SERIES, WEEK.bins[5].start, 1, 0, whole, whole, counted, Histogram())]
    systems = [_measure(CALLED, f"http host{place}", (place + 1) * MILLISECOND) for place in range(30)]
    waits = [_measure("causal.queue.wait", "mail", SECOND), _measure("causal.threadpool.wait", "before", 7)]
    found = trend(WEEK, sums, [*systems, *waits])
    assert len(found.parts) == 10
    labels = [part.label for part in found.parts]
    assert labels[-2:] == ["own", "22 others"]
    assert "calls to host29" in labels
    assert "calls to host0" not in labels
    assert sum(part.mean for part in found.parts) == whole
    assert sum(part.share for part in found.parts) == pytest.approx(1)
    assert found.before == (("queue wait", SECOND), ("thread wait", 7))
    assert found.scaled == 0


def test_addresses_say_what_differs() -> None:
    """Parameters that are empty are left out, but for the name of an operation; no system has a word."""
    assert service_address("a b", lookback="") == "/service?service=a+b"
    assert operation_address("a", "") == "/operation?service=a&operation="
    address = operation_address("a", "GET /", kind="client", system="", version="2")
    assert address == "/operation?service=a&operation=GET+%2F&kind=client&system=none&version=2"
    state = TrendState.read({"service": "a", "operation": "x", "lookback": "never", "kind": "odd", "start": " "})
    assert (state.lookback, state.kind, state.start) == ("7d", "", "")
    assert state.address("/operation") == "/operation?service=a&operation=x&lookback=7d"
    assert not re.search("version|moment", state.address("/service", version="", moment=""))
