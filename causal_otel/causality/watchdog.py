"""The thread that looks at event loops while they are stuck: one for all loops of a process.

It looks at each loop a little more often than once in the time from which on a loop counts as stuck, and more often
while one is. It is started with the first loop and ends some seconds after the last one. A forked child has none until
a loop runs there.
"""

from __future__ import annotations

import sys
import threading
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
        lateness = Lateness(self._tolerated)
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
            self._tell(lateness, planned, now)
            looks = self._look(looks, now)

    def _tell(self, lateness: Lateness, planned: int, now: int) -> None:
        """Tell why nobody has been looked at for a while."""
        late = now - planned
        why = lateness.woken(now, late)
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
