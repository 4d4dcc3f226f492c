"""Garbage collections: how long each one stopped the process, and in which thread.

A collection holds the GIL from its beginning to its end, so nothing else of Python runs meanwhile, in any thread.
Those of a millisecond and more are remembered. :func:`watch` has them noted, which costs a collection about half a
microsecond.
"""

from __future__ import annotations

import gc
from _thread import get_ident
from collections import deque
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel.causality.pauses import Pauses

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["collected", "of_thread", "pauses", "watch"]

_LEAST = 1_000_000

pauses = Pauses()
"""The collections of all threads."""

_recent: deque[tuple[int, int, int]] = deque(maxlen=1024)
"""Beginning, end and thread of the latest of them."""
_watching = 0
_began = 0
_total = 0


def collected() -> int:
    """How many nanoseconds all collections together have taken, the short ones too, since somebody watches."""
    return _total


def of_thread(ident: int, start: int, end: int) -> int:
    """How many nanoseconds from ``start`` to ``end`` a thread has collected, as far as the latest are remembered."""
    found = 0
    for began, over, thread in reversed(_recent.copy()):
        if over <= start:
            break
        if thread == ident:
            found += max(0, min(over, end) - max(began, start))
    return found


def watch() -> Callable[[], None]:
    """Note collections until what is returned is called, once. Several may watch at a time."""
    global _watching
    if not _watching:
        gc.callbacks.append(_noted)
    _watching += 1

    def end() -> None:
        global _watching, _began
        _watching -= 1
        if not _watching:
            gc.callbacks.remove(_noted)
            _began = 0

    return end


def _noted(phase: str, info: dict[str, Any]) -> None:
    """Called by Python before and after each collection, of which there is one at a time."""
    global _began, _total
    if phase == "start":
        _began = perf_counter_ns()
        return
    began, _began = _began, 0
    if not began:  # it had begun before anybody watched
        return
    now = perf_counter_ns()
    _total += now - began
    if now - began >= _LEAST:
        pauses.add(began, now)
        _recent.append((began, now, get_ident()))
