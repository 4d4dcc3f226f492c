"""Ways to block an event loop: each is a function of its own, for that is what is told."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["burn", "collect", "graph", "hogged", "hold", "nap"]

_OBJECTS = 300_000


def nap(seconds: float) -> None:
    """Wait in a call that blocks."""
    time.sleep(seconds)


def burn(seconds: float) -> None:
    """Compute, until this thread has computed for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@contextmanager
def graph() -> Iterator[None]:
    """Have many objects, so that a collection of garbage takes some milliseconds."""
    kept: list[Any] = [[] for _ in range(_OBJECTS)]
    yield
    kept.clear()


def collect(seconds: float) -> None:
    """Collect garbage, until this thread has done so for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        gc.collect()


@contextmanager
def hogged() -> Iterator[None]:
    """Have another thread compute meanwhile, which takes the GIL every other time."""
    over = threading.Event()

    def hog() -> None:
        while not over.is_set():
            pass

    thread = threading.Thread(target=hog)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _times(seconds: float) -> int:
    """How far :func:`hold` has to count to take so long."""
    once = 1_000_000
    started = time.thread_time()
    sum(range(once))
    return int(once * seconds / (time.thread_time() - started))


def hold(seconds: float) -> float:
    """Compute for about so long in one call in C, which does not give the GIL away; gives how long that took.

    It goes on for a moment after that, so that whoever gets the GIL then sees who had it.
    """
    numbers = range(_times(seconds))
    started = time.perf_counter()
    sum(numbers)
    took = time.perf_counter() - started
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
    return took
