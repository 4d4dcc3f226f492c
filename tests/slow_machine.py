"""Bounds from above, which a test may assert of a time only if a busy machine cannot fail it for good.

A test that asserts one is run again where it was not kept, twice at the most: a fault of ours fails it each time.
"""

from __future__ import annotations

import pytest

__all__ = ["SlowMachine", "assert_below", "run_again"]


class SlowMachine(AssertionError):
    """Something took longer than it should, which a busy machine explains."""


def assert_below(bound: float, *times: float) -> None:
    """Assert that none of these times is as long as ``bound``.

    Raises:
        SlowMachine: One of them is.
    """
    if any(time >= bound for time in times):
        raise SlowMachine(f"below {bound:g} s should be {', '.join(f'{time:g}' for time in times)}")


_ASSERT = {"SlowMachine", "assert_below", "assert_no_part", "assert_part"}


def run_again(items: list[pytest.Item]) -> None:
    """Have those tests run again, where only the machine was too busy for them, whose modules assert such bounds."""
    again = pytest.mark.flaky(reruns=2, only_rerun=["SlowMachine"])
    for item in items:
        if isinstance(item, pytest.Function) and vars(item.module).keys() & _ASSERT:
            item.add_marker(again)
