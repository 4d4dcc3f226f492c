"""What a thread has spent its time with, read by another thread: computing, waiting for a CPU, waiting for the GIL.

The operating system tells. How long a thread has waited for the GIL it does not, but CPython's way of waiting does: a
thread that wants the GIL wakes up every ``sys.getswitchinterval()`` (5 ms) to ask for it. So it waited at most that
long for each time that it was put on a CPU, and not longer than the other threads of the process have computed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from itertools import pairwise
from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple

from causal_otel._internal import process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Glance", "Reading", "Shares", "ThreadTimes", "gil_wait", "shares", "times_here"]


class Reading(NamedTuple):
    """What a thread and its process have spent until a moment, in nanoseconds.

    Args:
        at: the moment, by ``perf_counter_ns()``.
        cpu: how long the thread has computed.
        others: how long the other threads of the process have, without the one that watches; -1: nobody has asked.
        starved: how long the thread was ready to run, and no CPU was free; -1: this system does not tell.
        switches: how many times it was put on a CPU; -1: likewise.
    """

    at: int
    cpu: int
    others: int = -1
    starved: int = -1
    switches: int = -1


Glance = tuple[int, "bytes | int"]
"""The moment, and what the system says, unread."""


class ThreadTimes:
    """Reads the times of the thread that has made it, for as long as that runs.

    Raises:
        AttributeError: this system does not tell one thread the CPU time of another.
    """

    _file: int | None = None

    @property
    def tells_waits(self) -> bool:
        """Whether this system tells what a thread has waited for."""
        return self._file is not None

    def __init__(self) -> None:
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        with contextlib.suppress(OSError):  # no Linux, or one without scheduler statistics
            self._file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)

    def glance(self) -> Glance:
        """Note what it has spent until now, for :meth:`reading`. It takes a tenth of the time of :meth:`read`.

        Raises:
            OSError: the thread has ended.
        """
        if self._file is None:
            return perf_counter_ns(), time.clock_gettime_ns(self._clock)
        return perf_counter_ns(), os.pread(self._file, 128, 0)

    def reading(self, glance: Glance) -> Reading:
        """What was noted. What the thread had computed since the system's last clock tick may be missing."""
        at, told = glance
        if isinstance(told, int):
            return Reading(at, told)
        cpu, starved, switches = map(int, told.split())
        return Reading(at, cpu, -1, starved, switches)

    def complete(self, glance: Glance) -> Reading:
        """What was noted just now, and what others have spent. The GIL is not given away meanwhile.

        Raises:
            OSError: the thread has ended.
        """
        cpu = time.clock_gettime_ns(self._clock)
        others = max(0, time.process_time_ns() - cpu - _watching())
        return self.reading(glance)._replace(cpu=cpu, others=others)

    def read(self) -> Reading:
        """What it has spent until now."""
        return self.complete(self.glance())


_watchdogs: list[int] = []


def not_counted() -> Callable[[], None]:
    """Do not count this thread among the others, until what is returned is called: it only watches."""
    try:
        clock = time.pthread_getcpuclockid(threading.get_ident())
    except AttributeError:
        return lambda: None
    _watchdogs.append(clock)
    return lambda: _watchdogs.remove(clock)


def _watching() -> int:
    try:
        return sum(map(time.clock_gettime_ns, _watchdogs))
    except OSError:  # one has ended just now
        return 0


process.at_fork(in_child=_watchdogs.clear)


_SEVERAL_WAITS = 1.2
"""A thread whose times add up to so much of the time that has passed has not waited in one piece."""


def gil_wait(before: Reading, after: Reading) -> int:
    """For how many nanoseconds a thread has waited in one piece for somebody who held the GIL.

    Such a thread asks for the GIL every 5 ms (``sys.getswitchinterval()``), so that its times add up. One that gets the
    GIL in between, because others give it away, is put on a CPU more often: each time it has asked, gets it, or gives
    it away. Its times would add up to more than what has passed (measured: 1.2 to 2.2 times as much).

    Args:
        before: a reading of when it did not wait yet, by a system that tells switches.
        after: one of when it goes on, or soon after.

    Returns:
        0: it has not asked, as a loop that only waits for I/O, or has got the GIL again and again.
    """
    asked = (after.switches - before.switches - 2) * int(sys.getswitchinterval() * 1e9)
    waited = asked + after.starved - before.starved
    if asked <= 0 or after.cpu - before.cpu + waited > (after.at - before.at) * _SEVERAL_WAITS:
        return 0
    return waited


class _Here(threading.local):
    """What each thread has for itself."""

    times: ThreadTimes | None = None
    process: object = None


_here = _Here()


def times_here() -> ThreadTimes | None:
    """The times of this thread; None: this system does not tell them."""
    if _here.process is not process.token:  # in a forked child they would be those of the parent's thread
        _here.process = process.token
        try:
            _here.times = ThreadTimes()
        except (AttributeError, OSError):
            _here.times = None
    return _here.times


class Shares(NamedTuple):
    """What a thread's time went to, in nanoseconds. They add up to that time.

    Args:
        cpu: computing.
        starved: ready to run, and no CPU was free; None: it is not known, and part of ``wait``.
        gil: waiting for the GIL, an estimate; None: likewise.
        wait: the rest: waiting in a call that blocks.
    """

    cpu: int
    starved: int | None
    gil: int | None
    wait: int


def shares(readings: Sequence[Reading], start: int, end: int) -> Shares:
    """What a thread has spent the time from ``start`` to ``end`` with.

    Args:
        readings: one before ``start`` and all that follow until ``end``, in their order.
        start: by ``perf_counter_ns()``.
        end: likewise; there is a reading of that moment, or soon after it.
    """
    cpu = starved = others = switches = 0
    computing = starving = None  # as shares of the time after, if that is long enough to tell
    after = 0
    elsewhere = 0.0  # likewise: what others have computed
    for first, last in reversed(list(pairwise(readings))):
        inside = min(end, last.at) - max(start, first.at)
        if inside <= 0:
            continue
        window = last.at - first.at
        if after * 2 < inside:
            computing = starving = None
        computed = _part(last.cpu - first.cpu, window, inside, computing)
        waited = min(_part(last.starved - first.starved, window, inside, starving), inside - computed)
        cpu += computed
        starved += waited
        after += inside
        computing, starving = cpu / after, starved / after
        if first.others >= 0 <= last.others:
            elsewhere = (last.others - first.others) / window
        others += int(elsewhere * inside)
        switches += last.switches - first.switches
    rest = max(0, end - start - cpu)
    if readings[0].switches < 0:
        return Shares(cpu, None, None, rest)
    rest -= starved
    # A thread that goes on after a wait for something else is put on a CPU as well, once.
    gil = max(0, min(rest, others, (switches - 1) * int(sys.getswitchinterval() * 1e9)))
    return Shares(cpu, starved, gil, rest - gil)


def _part(spent: int, window: int, inside: int, rate: float | None) -> int:
    """How much of what was spent in a window was spent in the part of it that counts.

    Args:
        spent: in the whole window.
        window: how long it is.
        inside: how long the part is, at the window's end.
        rate: the share that was spent of the time after the window; None: nothing tells. Then it is all that it can be,
            for before a turn that takes long a thread has mostly waited.
    """
    least, most = max(0, spent - (window - inside)), max(0, min(spent, inside))
    return most if rate is None else min(max(least, int(rate * inside)), most)
