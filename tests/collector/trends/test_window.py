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


@pytest.mark.parametrize(("lookback", "bins"), [(0, 1), (SECOND, 1), (5 * MINUTE, 6), (3 * HOUR, 181)])
def test_a_short_time_has_minutes_where_they_are_asked_for(lookback: int, bins: int) -> None:
    """Up to three hours, the one that is not over among them."""
    now = NOON + 90 * SECOND
    window = Window.back(lookback, now, minutes=True)
    assert (window.step, window.width, len(window.bins)) == ("minute", MINUTE, bins)
    assert window.start <= now - lookback < window.start + MINUTE
    assert [each.over for each in window.bins] == [True] * (bins - 1) + [False]
    assert Window.back(3 * HOUR + 1, now, minutes=True).step == "hour"


@pytest.mark.parametrize(
    ("moment", "left"), [(0, 6), (NOON + MINUTE, 1), (NOON + 10 * HOUR, 1), (NOON - 2 * MINUTE - 1, 4)]
)
def test_what_was_not_read_is_not_shown(moment: int, left: int) -> None:
    """A window begins with the first bin that is known wholly, and has its last one whatever is known."""
    window = Window.back(5 * MINUTE, NOON + 90 * SECOND, minutes=True)
    known = window.since(moment)
    assert len(known.bins) == left
    assert (known.end, known.step, known.cut) == (window.end, "minute", left < 6)


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
