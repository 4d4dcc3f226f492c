"""The chart of the days on the status page."""

from __future__ import annotations

from causal_otel.collector.web.status_page import volume_chart


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
