"""Ways to block an event loop: each is a function of its own, for that is what is told."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["burn", "collect", "graph", "hogged", "nap"]

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
