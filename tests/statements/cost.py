"""What describing a text costs."""

from __future__ import annotations

import time
from collections.abc import Callable


def cost(describe: Callable[[str], object], query: str) -> float:
    """The seconds of this thread's time that describing ``query`` takes, the least of three tries."""
    tries = []
    for _ in range(3):
        start = time.thread_time()
        describe(query)
        tries.append(time.thread_time() - start)
    return min(tries)
