"""How tests wait: for a condition, asking again and again with a bound; and where time itself is the point, so long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

__all__ = ["cancelled_after", "pause", "wait_until"]

_PAUSE = 0.005
_TURNS = 10
"""Of the event loop, in which a call begins, also in tasks of the driver's own."""


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


async def cancelled_after(seconds: float, call: Awaitable[object]) -> None:
    """Cancel ``call``, which waits, when it has waited for so long.

    The time until it has begun is not counted: ``asyncio.timeout()`` around it would count that too, and so leave less
    for the call on a busy machine.
    """
    task = asyncio.ensure_future(call)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def pause(seconds: float) -> None:
    """Let time pass, where that is what the test is about. To wait for something to happen is never that."""
    time.sleep(seconds)
