"""The thread that looks at event loops while they are stuck: one for all loops of a process.

It looks at each loop a little more often than once in the time from which on a loop counts as stuck, and more often
while one is. It is started with the first loop and ends some seconds after the last one. A forked child has none until
a loop runs there.
"""

from __future__ import annotations

import sys
import threading
import time
from time import perf_counter_ns
from typing import TYPE_CHECKING, Protocol

from causal_otel._internal import faults, process
from causal_otel.causality.lateness import Late, Lateness
from causal_otel.causality.thread_times import not_counted

if TYPE_CHECKING:
    from types import FrameType

    from causal_otel.causality.gil_holder import Holder

__all__ = ["Watchdog", "Watched", "frame_of"]

_SECOND = 1_000_000_000
_LINGER = 5 * _SECOND
_LEAST = 0.001


class Watched(Protocol):
    """What is looked at.

    Attributes:
        key: what it is known by, such as the ``id()`` of what is kept alive by it.
        ident: the thread's.
        parked: the innermost frame of a thread that waits for I/O. As long as it is that one, there is nothing to see;
            None: it does not wait.
    """

    key: int
    ident: int
    parked: FrameType | None

    def look(self, planned: int) -> int:
        """Look at the thread.

        Args:
            planned: when it was to be looked at, by ``perf_counter_ns()``.

        Returns:
            When to look again, by ``perf_counter_ns()``; 0: never.
        """

    def froze(self, start: int, end: int) -> None:
        """The process stood still from ``start`` to ``end``."""

    def waited_for_gil(self, holder: Holder | None) -> None:
        """Until now nobody could look, because ``holder`` has held the GIL; None: somebody has."""


def frame_of(ident: int) -> FrameType | None:
    """The innermost frame of another thread."""
    frames = sys._current_frames()
    del frames[threading.get_ident()]  # or this frame would hold itself, and those of all threads with it
    return frames.get(ident)


class Watchdog:
    """Looks at what it is given, from :meth:`add` until :meth:`remove`.

    Args:
        period: how many nanoseconds it sleeps at the most.
        tolerated: by how many it may be woken late before anybody is told why.
    """

    def __init__(self, period: int, tolerated: int) -> None:
        self._period = period
        self._tolerated = tolerated
        self._watched: dict[int, Watched] = {}
        self._closed = False
        self._changed = False
        self._begin()
        process.at_fork(in_child=self._forked)

    def _begin(self) -> None:
        self._lock = threading.Lock()
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
            self._changed = True
            if self._thread is None:
                self._thread = thread = threading.Thread(target=self._run, name="causal-otel-loops", daemon=True)
                thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
                thread.start()
            return True

    def remove(self, watched: Watched) -> None:
        """Look at ``watched`` no more."""
        if self._watched.get(watched.key) is watched:
            del self._watched[watched.key]
            self._changed = True

    def close(self) -> list[Watched]:
        """End, and tell what was looked at until now. The thread is gone when it wakes up next."""
        with self._lock:
            self._closed = self._changed = True
            watched, self._watched = list(self._watched.values()), {}
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
        lateness = Lateness()
        needed = perf_counter_ns()
        while not self._closed:
            now = perf_counter_ns()
            if self._watched:
                needed = now
            elif now - needed > _LINGER and self._is_over():
                return
            planned = min(looks.values()) if looks else now + self._period
            # To wait for a lock with a timeout, as for an event, takes half as much again.
            time.sleep(max(_LEAST, (planned - now) / 1e9))
            lateness.woken += 1
            now = perf_counter_ns()
            if now - planned > self._tolerated:
                self._tell(lateness, planned, now)
            lateness.refresh(now)
            looks = self._look(looks, now)
            if looks and all(each.parked is not None for each in list(self._watched.values())):
                planned = self._doze(lateness)
                now = perf_counter_ns()
                if now - planned > self._tolerated:
                    self._tell(lateness, planned, now)
                looks = self._look({}, now)

    def _doze(self, lateness: Lateness) -> int:
        """Sleep as long as all loops wait for I/O, but for a second at the most; tells when this was to wake up last.

        This is all that a process that does nothing has to pay for. With cold caches each line of it takes some
        microseconds, and each function that is called takes ten.
        """
        clock, sleep, frames_of_all = perf_counter_ns, time.sleep, sys._current_frames
        own, period = threading.get_ident(), self._period
        seconds = period / 1e9
        slack = period + self._tolerated
        self._changed = False
        parked = [(each.ident, each.parked) for each in list(self._watched.values())]
        woken, most = 0, _SECOND // period
        latest = clock() + slack
        while True:
            sleep(seconds)
            woken += 1
            now = clock()
            frames = frames_of_all()
            del frames[own]  # or this frame would hold itself, and those of all threads with it
            for ident, frame in parked:
                if frames.get(ident) is not frame:
                    self._changed = True
            del frames  # nobody's frames are kept while this sleeps
            if self._changed or now > latest or woken > most:
                lateness.woken += woken
                return latest - self._tolerated
            latest = now + slack

    def _is_over(self) -> bool:
        with self._lock:
            if self._watched:
                return False
            self._thread = None
            return True

    def _tell(self, lateness: Lateness, planned: int, now: int) -> None:
        """Tell why nobody has been looked at for a while."""
        why = lateness.why(now - planned)
        if why is None or why is Late.NO_CPU:
            return
        holder = lateness.holders.found() if why is Late.GIL and lateness.holders is not None else None
        for each in list(self._watched.values()):
            try:
                if why is Late.FROZEN:
                    each.froze(planned, now)
                else:
                    each.waited_for_gil(holder)
            except Exception:
                faults.report("event_loop: watchdog")

    def _look(self, looks: dict[int, int], now: int) -> dict[int, int]:
        """Look at all that is to be looked at now, and tell when each is to be next."""
        after: dict[int, int] = {}
        for key, each in list(self._watched.items()):
            planned = looks.get(key, now)
            if planned <= now:
                try:
                    planned = each.look(planned)
                except Exception:
                    faults.report("event_loop: watchdog")
                    planned = now + self._period
                if not planned:
                    self.remove(each)
                    continue
            after[key] = planned
        return after
