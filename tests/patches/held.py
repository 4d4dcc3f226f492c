"""A lock of a driver that is somebody else's for a while, where nothing else makes closing linger."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["held"]


@contextmanager
def held(lock: Any, function: str, seconds: float) -> Iterator[None]:
    """A block in which another thread holds a lock until a function in this thread has waited that long for it."""
    holds, waiter = threading.Event(), threading.get_ident()

    def hold() -> None:
        with lock:
            holds.set()
            limit = time.monotonic() + 60
            while time.monotonic() < limit:
                if any(each.name == function for each in traceback.extract_stack(sys._current_frames()[waiter])):
                    break
                time.sleep(0.001)
            time.sleep(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert holds.wait(60)
        yield
    finally:
        thread.join()
