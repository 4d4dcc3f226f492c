"""A time in steps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_otel.collector.trends.periods import DAY, HOUR, Period
from tests.collector.spans import MINUTE, NOON

TIMES = st.integers(400 * DAY, 30_000 * DAY)
LENGTHS = st.integers(0, 360 * DAY)


@given(TIMES, LENGTHS)
def test_a_period_has_few_steps_that_cover_it(start: int, length: int) -> None:
    """Each begins where the one before ends; of more than two days they are days."""
    period = Period(start, start + length)
    steps = period.steps
    size = HOUR if period.step == "hour" else DAY
    assert all(after - before == size for before, after in pairwise(steps))
    assert steps[0] <= start < steps[0] + size
    assert steps[-1] <= start + length < steps[-1] + size
    assert len(steps) <= 49 or period.step == "day"
    assert period.step == "hour" or length > 2 * DAY - HOUR


@given(TIMES, LENGTHS)
def test_the_time_before_shares_no_hour_with_it(start: int, length: int) -> None:
    """It is as long, and ends with the hour before."""
    period = Period(start, start + length)
    before = period.before
    assert before.end - before.start == length
    assert before.end // HOUR == start // HOUR - 1


@given(TIMES, LENGTHS, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1000))))
def test_a_trend_has_every_amount_once(start: int, length: int, amounts: list[tuple[float, int]]) -> None:
    """Each in the step that it begins in."""
    period = Period(start, start + length)
    steps = period.steps
    placed = [(steps[int(share * (len(steps) - 1))], amount) for share, amount in amounts]
    trend = period.trend(placed)
    assert trend == tuple(sum(amount for at, amount in placed if at == step) for step in steps)


def test_what_is_no_period_is_refused() -> None:
    """One that ends before it begins, and one of more than a year."""
    assert Period.checked(NOON, NOON + MINUTE) == Period(NOON, NOON + MINUTE)
    with pytest.raises(ValueError, match="before the start"):
        Period.checked(NOON, NOON - 1)
    with pytest.raises(ValueError, match="longer than a year"):
        Period.checked(NOON - 400 * DAY, NOON)
