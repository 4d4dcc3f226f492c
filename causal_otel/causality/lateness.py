"""Why a thread that wanted to be woken at a moment was woken later.

Code that holds the GIL, such as a long call in C, lets nothing else run, and an event loop least of all. Where there is
no free CPU, everything is slow, and nothing is wrong. But where the thread neither asked for the GIL nor was ready to
run, the whole process stood still: a debugger or SIGSTOP has stopped it, or the machine was suspended. That is no stall
of a loop: what was one before ends where that began, and what follows is another.
"""

from __future__ import annotations

import sys
import time
from enum import Enum
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel.causality.gil_holder import GilHolders
from causal_otel.causality.thread_times import times_here

if TYPE_CHECKING:
    from causal_otel.causality.thread_times import Reading

__all__ = ["Late", "Lateness"]

_SECOND = 1_000_000_000
_FROZEN = 250_000_000
"""Nanoseconds for which a process must have stood still at the least: a busy machine may keep it for less."""
_ASKED = 3
"""How many times the thread must have asked for the GIL, every 5 ms or when a CPU is free, to have waited for it."""


class Late(Enum):
    """Why the thread was woken late."""

    GIL = "another thread held the GIL"
    NO_CPU = "no CPU was free"
    FROZEN = "the whole process stood still"


class Lateness:
    """Knows why the thread that has made it was woken late.

    Attributes:
        holders: knows who has held the GIL; None: this system does not tell what threads compute.
        woken: how often the thread was woken since :meth:`refresh` has read anew: count it there.
    """

    def __init__(self) -> None:
        self._times = times_here()
        self.holders = GilHolders() if sys.platform == "linux" and self._times is not None else None
        self._at = perf_counter_ns()
        self._before = self._read()
        self.woken = 0

    def _read(self) -> Reading | int:
        """What tells it: the thread's own waits, or else the CPU time of the process."""
        times = self._times
        if times is None or not times.tells_waits:
            return time.process_time_ns()
        return times.reading(times.glance())

    def refresh(self, now: int) -> None:
        """Call it after having been in time: what was read is read anew once a second."""
        if now - self._at > _SECOND:
            self._at = now
            self.woken = 0
            self._before = self._read()
            if self.holders is not None:
                self.holders.note()

    def why(self, late: int) -> Late | None:
        """The reason for having been that late, in nanoseconds; None: none is known."""
        return _why(late, self._before, self._read(), self.woken)


def _why(late: int, before: Any, after: Any, woken: int) -> Late | None:
    """Why this thread was woken late.

    Args:
        late: by how many nanoseconds.
        before: a reading of some time before, or the CPU time of the process.
        after: another of now.
        woken: how many times it was put on a CPU in between because it had slept for long enough.
    """
    half = late // 2
    if isinstance(before, int):
        told = after - before >= half
        return Late.GIL if told else Late.FROZEN if late > _FROZEN else None
    asked, starved = after.switches - before.switches - woken, after.starved - before.starved
    if asked >= _ASKED and asked * int(sys.getswitchinterval() * 1e9) + starved >= half:
        return Late.GIL
    if starved >= half:
        return Late.NO_CPU
    return Late.FROZEN if late > _FROZEN else None
