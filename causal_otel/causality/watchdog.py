"""The thread that looks at event loops while they are stuck: one for all loops of a process.

It looks at each loop a little more often than once in the time from which on a loop counts as stuck, and more often
while one is. It is started with the first loop and ends some seconds after the last one. A forked child has none until
a loop runs there.

It tells three reasons apart for which it is woken late itself. Code that holds the GIL, such as a long call in C, lets
nothing else run: that is what it is here for. Where there is no free CPU, everything is slow, and nothing is wrong.
But where it neither asked for the GIL nor was ready to run, the whole process stood still: a debugger or SIGSTOP has
stopped it, or the machine was suspended. That is no stall of a loop, and what was one before ends where that began.
"""

from __future__ import annotations

import sys
import threading
import time
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

from causal_otel._internal import faults, process
from causal_otel.causality.thread_times import not_counted, times_here

if TYPE_CHECKING:
    from types import FrameType

    from causal_otel.causality.thread_times import Reading

__all__ = ["Watchdog", "Watched", "frame_of"]

_SECOND = 1_000_000_000
_LINGER = 5 * _SECOND
_LATE = 250_000_000
"""From so many nanoseconds on it is asked why it was late. A machine that is busy with others may take less away."""


class Watched(Protocol):
    """What is looked at.

    Attributes:
        key: what it is known by, such as the ``id()`` of what is kept alive by it.
    """

    key: int

    def look(self, planned: int) -> int:
        """Look at the thread.

        Args:
            planned: when it was to be looked at, by ``perf_counter_ns()``.

        Returns:
            When to look again, by ``perf_counter_ns()``; 0: never.
        """

    def froze(self, start: int, end: int) -> None:
        """The process stood still from ``start`` to ``end``."""


def frame_of(ident: int) -> FrameType | None:
    """The innermost frame of another thread."""
    frames = sys._current_frames()
    del frames[threading.get_ident()]  # or this frame would hold itself, and those of all threads with it
    return frames.get(ident)


class Watchdog:
    """Looks at what it is given, from :meth:`add` until :meth:`remove`.

    Args:
        period: how many nanoseconds it sleeps at the most.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._watched: dict[int, Watched] = {}
        self._closed = False
        self._begin()
        process.at_fork(in_child=self._forked)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._bell = threading.Lock()  # locked is silent
        self._bell.acquire()
        self._thread: threading.Thread | None = None

    def _forked(self) -> None:
        self._watched = {}
        self._begin()

    def find(self, key: int) -> Watched | None:
        """What is looked at under that key."""
        return self._watched.get(key)

    def add(self, watched: Watched) -> bool:
        """Look at ``watched`` from now on; whether that is still possible."""
        with self._lock:
            if self._closed:
                return False
            self._watched[watched.key] = watched
            if self._thread is None:
                self._thread = thread = threading.Thread(target=self._run, name="causal-otel-loops", daemon=True)
                thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
                thread.start()
            return True

    def remove(self, watched: Watched) -> None:
        """Look at ``watched`` no more."""
        if self._watched.get(watched.key) is watched:
            del self._watched[watched.key]

    def close(self) -> list[Watched]:
        """End, and tell what was looked at until now."""
        with self._lock:
            self._closed = True
            watched, self._watched = list(self._watched.values()), {}
            thread, self._thread = self._thread, None
        if thread is not None:
            self._bell.release()
            if thread is not threading.current_thread():
                thread.join(1.0)
        return watched

    def _run(self) -> None:
        count = not_counted()
        try:
            self._until_done()
        except Exception:
            faults.report("event_loop: watchdog")
        finally:
            count()

    def _until_done(self) -> None:
        looks: dict[int, int] = {}
        excuses = _Excuses()
        needed = perf_counter_ns()
        while True:
            now = perf_counter_ns()
            if self._watched:
                needed = now
            elif now - needed > _LINGER:
                with self._lock:
                    if not self._watched:
                        self._thread = None
                        return
            planned = min(looks.values(), default=now + self._period)
            if self._bell.acquire(timeout=max(0.001, (planned - now) / 1e9)):
                return
            now = perf_counter_ns()
            if not excuses.woken(now, now - planned):
                for each in list(self._watched.values()):
                    each.froze(planned, now)
            looks = self._look(looks, now)

    def _look(self, looks: dict[int, int], now: int) -> dict[int, int]:
        """Look at all that is to be looked at now, and tell when each is to be next."""
        after: dict[int, int] = {}
        for key, each in list(self._watched.items()):
            planned = looks.get(key, 0)
            if planned > now:
                after[key] = planned
                continue
            try:
                again = each.look(planned or now)
            except Exception:
                faults.report("event_loop: watchdog")
                again = now + self._period
            if again:
                after[key] = again
            else:
                self.remove(each)
        return after


class _Excuses:
    """Why this thread was woken late."""

    def __init__(self) -> None:
        self._times = times_here()
        self._before = self._read()
        self._at = perf_counter_ns()
        self._woken = 0

    def _read(self) -> Reading | int:
        """What tells it: the thread's own waits, or else the CPU time of the process."""
        times = self._times
        if times is None or not times.tells_waits:
            return time.process_time_ns()
        return times.reading(times.glance())

    def woken(self, now: int, late: int) -> bool:
        """Whether there is an excuse for having been woken so late; False: the process stood still."""
        self._woken += 1
        excused = late <= _LATE or _is_excused(late, self._before, self._read(), self._woken)
        if now - self._at > _SECOND:  # seldom, for it takes longer than all else that is done in between
            self._before = self._read()
            self._at = now
            self._woken = 0
        return excused


def _is_excused(late: int, before: Any, after: Any, woken: int) -> bool:
    """Whether this thread waited for the GIL, or for a CPU.

    Args:
        late: how many nanoseconds it was late.
        before: a reading of some time before, or the CPU time of the process.
        after: another of now.
        woken: how many times it was put on a CPU in between because it had slept for long enough.
    """
    half = late // 2
    if isinstance(before, int):
        return bool(after - before >= half)
    asked = (after.switches - before.switches - woken) * int(sys.getswitchinterval() * 1e9)
    return bool(asked >= half or after.starved - before.starved >= half)
