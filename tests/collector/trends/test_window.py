from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_otel.collector.trends.window import DAY, Window, passed
from tests.collector.spans import HOUR, MINUTE, NOON, SECOND

TIMES = st.integers(0, 4 * 10**18)


@pytest.mark.parametrize(
    ("lookback", "step", "bins"),
    [(5 * MINUTE, "hour", 1), (HOUR, "hour", 2), (DAY, "hour", 25), (7 * DAY, "hour", 169), (30 * DAY, "day", 31)],
)
def test_a_look_back_has_bins(lookback: int, step: str, bins: int) -> None:
    """To a week they are hours, then days; the one that is not over is among them."""
    now = NOON + 20 * MINUTE
    window = Window.back(lookback, now)
    assert (window.step, len(window.bins)) == (step, bins)
    assert [each.over for each in window.bins] == [True] * (bins - 1) + [False]
    assert window.bins[0].start <= now - lookback < window.bins[0].end
    assert window.bins[-1].seconds == pytest.approx((now - window.bins[-1].start) / SECOND)
    assert window.bins[0].seconds in (3600, 86400) or bins == 1


@settings(deadline=None)
@given(TIMES, TIMES, TIMES)
def test_bins_cover_whatever_time(start: int, end: int, now: int) -> None:
    """They follow each other without a gap, from before the start or a year before the end, to after the end."""
    window = Window.around(start, end, now)
    assert 1 <= len(window.bins) <= 366
    assert window.bins[0].start == window.start
    assert window.bins[-1].end == window.end > max(start, end) - 1
    assert all(one.end == other.start for one, other in zip(window.bins, window.bins[1:], strict=False))
    assert window.cut or window.start <= start
    assert not window.cut or window.end - window.start == 366 * DAY
    assert all(each.start % window.width == 0 for each in window.bins)


def test_what_has_passed() -> None:
    """Of a time that is not over, what has passed; of one to come all of it, lest anything is divided by nothing."""
    assert passed(NOON, NOON + HOUR, NOON + MINUTE) == 60
    assert passed(NOON, NOON + HOUR, NOON + 2 * HOUR) == 3600
    assert passed(NOON, NOON + HOUR, NOON - HOUR) == 3600
    assert passed(NOON, NOON + HOUR, NOON) == 3600
