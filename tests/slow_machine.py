"""Bounds of times, which a test may assert only if a busy machine cannot fail it for good.

What has been planted is a bound from below of the whole. It is none of a part, whose beginning is noticed late on a
busy machine; and there is no bound from above at all.

A test that asserts such a bound is run again where it was not kept, twice at the most and some seconds later: a fault
of ours fails it each time.
"""

from __future__ import annotations

import pytest

__all__ = ["SlowMachine", "assert_at_least", "assert_below", "run_again"]


class SlowMachine(AssertionError):
    """Something took longer, or was seen to begin later, than it should, which a busy machine explains."""


def assert_below(bound: float, *times: float) -> None:
    """Assert that none of these times is as long as ``bound``.

    Raises:
        SlowMachine: One of them is.
    """
    if any(time >= bound for time in times):
        raise SlowMachine(f"below {bound:g} s should be {', '.join(f'{time:g}' for time in times)}")


def assert_at_least(bound: float, *times: float) -> None:
    """Assert that each of these times, parts of something longer, is at least ``bound``.

    Raises:
        SlowMachine: One of them is shorter.
    """
    if any(time < bound for time in times):
        raise SlowMachine(f"at least {bound:g} s should be {', '.join(f'{time:g}' for time in times)}")


_ASSERT = {"SlowMachine", "assert_at_least", "assert_below", "assert_blocked", "assert_no_part", "assert_part"}


def run_again(items: list[pytest.Item]) -> None:
    """Have those tests run again, where only the machine was too busy for them, whose modules assert such bounds."""
    again = pytest.mark.flaky(reruns=2, reruns_delay=5, only_rerun=["SlowMachine"])
    for item in items:
        if isinstance(item, pytest.Function) and vars(item.module).keys() & _ASSERT:
            item.add_marker(again)
