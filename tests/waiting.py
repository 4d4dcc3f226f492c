"""How tests wait: for a condition, asking again and again with a bound; and where time itself is the point, so long."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["pause", "wait_until"]

_PAUSE = 0.005


def wait_until(
    condition: Callable[[], object], why: str | Callable[[], object] = "it did not come true", seconds: float = 60.0
) -> None:
    """Ask ``condition`` again and again until it says yes.

    Args:
        condition: what is waited for.
        why: said where it does not come true; if it is a function, what that returns then.
        seconds: how long to wait at most.

    Raises:
        AssertionError: it did not come true in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {why() if callable(why) else why}")
        time.sleep(_PAUSE)


def pause(seconds: float) -> None:
    """Let time pass, where that is what the test is about. To wait for something to happen is never that."""
    time.sleep(seconds)
