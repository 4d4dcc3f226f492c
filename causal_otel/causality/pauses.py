"""Intervals in which a thread stood still, and how much of a span's time lies in them.

An event loop that is stuck stops all that is open on it. Whoever notices it notes one interval; a span that ends asks
once how much of its own time lies in intervals. So nobody keeps a list of open spans, and a span's start costs nothing.

Times are nanoseconds of ``time.perf_counter_ns()``.
"""

from __future__ import annotations

import threading
from _thread import get_ident
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from causal_otel._internal import process

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pauses", "pauses_here", "pauses_of_thread"]

_KEPT = 4096
"""Intervals that are remembered: those of several minutes of a loop that is stuck all the time."""
_JITTER = 1_000_000
"""By how much the start of one and the same pause may be read differently."""


class Pauses:
    """The intervals in which one thread stood still, in the order of time; the last few thousand of them.

    One thread adds them. Any thread may ask, and any thread may tell that one has begun: each step is a single
    operation on a list or an attribute, in an order that leaves whoever asks in between with what is true.

    Args:
        least: how long something must have gone on to be a pause, where :meth:`begin` says that it goes on.
    """

    __slots__ = ("__weakref__", "_begun", "_known", "_settled", "least")

    def __init__(self, least: int = 0) -> None:
        self.least = least
        # Starts, ends, and the length of all before: one tuple, so that whoever asks has lists that fit each other.
        self._known: tuple[list[int], list[int], list[int]] = ([], [], [0])
        self._begun = -_JITTER
        self._settled = 0

    def begin(self, start: int) -> None:
        """Say that the thread stands still since ``start``. It is a pause as soon as that has gone on for ``least``.

        This holds until :meth:`add` or :meth:`dismiss` has been called with a time after ``start``. If that has
        happened already, nothing has begun: another thread saw the end first.
        """
        self._begun = start

    def add(self, start: int, end: int) -> None:
        """Note an interval that is over. It may contain earlier ones, which it then replaces."""
        starts, ends, sums = self._known
        if ends and start < ends[-1]:
            starts, ends, sums = starts.copy(), ends.copy(), sums.copy()
            while ends and start < ends[-1]:
                start, end = min(start, starts.pop()), max(end, ends.pop())
                sums.pop()
        elif len(starts) >= 2 * _KEPT:
            starts, ends, sums = starts[_KEPT:], ends[_KEPT:], sums[_KEPT:]
        # The start comes last: whoever has found it finds the rest.
        sums.append(sums[-1] + end - start)
        ends.append(end)
        starts.append(start)
        self._known = starts, ends, sums
        self._settled = end

    def dismiss(self, now: int) -> None:
        """Say that what has begun before ``now`` was no pause."""
        self._settled = now

    def between(self, start: int, end: int) -> int:
        """How many nanoseconds from ``start`` to ``end`` lie in pauses, with the one that is under way."""
        starts, ends, sums = self._known
        paused = 0
        if ends and ends[-1] > start:
            first = bisect_right(ends, start)
            last = bisect_left(starts, end) - 1
            if first <= last:
                paused = sums[last + 1] - sums[first]
                paused -= max(0, start - starts[first]) + max(0, ends[last] - end)
        begun = self._begun
        if begun > self._settled - _JITTER and end - begun >= self.least:
            paused += max(0, end - max(start, begun))
        return paused


_known: dict[int, Pauses] = {}

pauses_of_thread: Callable[[int], Pauses | None] = _known.get
"""The pauses of a thread by its ``get_ident()``, or None: no event loop that is monitored has run there."""


class _Ident:
    """A thread's number while the thread lives. When it ends, its pauses go: the number is given to another one."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = get_ident()

    def __del__(self, forget: Callable[[int, None], object] = _known.pop) -> None:
        forget(self.value, None)


class _Here(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.ident = _Ident()


_here = _Here()


def pauses_here() -> Pauses:
    """The pauses of this thread, which begin to be kept. They outlive a loop: a span around it ends after it."""
    ident = _here.ident.value
    found = _known.get(ident)
    if found is None:
        found = _known[ident] = Pauses()
    return found


process.at_fork(in_child=_known.clear)
