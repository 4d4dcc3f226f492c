"""Tells when an event loop is stuck, by what, and whom that has kept waiting. For asyncio and uvloop alike.

While a loop is well, nothing of this runs on it: a watchdog thread looks from time to time since when the loop has been
in its current turn (:mod:`~causal_otel.causality.turns`). If that is long, the watchdog notes in the thread's
:class:`~causal_otel.causality.pauses.Pauses` that a pause has begun, looks at what runs, again and again, and asks the
loop to say when it is over. So a span that ends right after the blocking call is told of it, as are all others that
were open meanwhile: each asks the pauses when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
from contextvars import Context
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel._internal import faults, process
from causal_otel.causality.gil_holder import held_up
from causal_otel.causality.pauses import pauses_here
from causal_otel.causality.stall import NOTHING, Sample, Stall, looked_at
from causal_otel.causality.thread_times import gil_wait, times_here
from causal_otel.causality.watchdog import frame_of
from causal_otel.engine import context
from causal_otel.engine.span import Span
from causal_otel.engine.thread_contexts import context_of_task

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Handle
    from types import FrameType

    from opentelemetry.context import Context as OtelContext

    from causal_otel.causality.gil_holder import Holder
    from causal_otel.causality.loop_lag import LoopLag
    from causal_otel.causality.loop_monitoring import LoopMonitoring
    from causal_otel.causality.thread_times import Glance, Reading
    from causal_otel.causality.turns import Turn, Turns

__all__ = ["LoopMonitor"]

_PAUSE = 10_000_000
_LONGEST_PAUSE = 500_000_000
_UNNAMED = re.compile(r"Task-\d+")


class _Busy(NamedTuple):
    """A turn in which the loop was seen.

    Args:
        key: the turn's.
        start: when it began, as far as it counts.
        glances: at what the thread had spent: before it, and when it was first seen.
        settled: how many turns were found to be over before this one was seen.
    """

    key: object
    start: int
    glances: tuple[Glance | None, ...]
    settled: int


class LoopMonitor:
    """Watches one loop while it runs, in the thread that has made this.

    Args:
        loop: which one.
        turns: what tells its turns.
        monitoring: what this belongs to.
        entered: whether :meth:`detach` will be called when the loop stops.
    """

    __slots__ = (
        "_asked",
        "_busy",
        "_entered",
        "_last",
        "_lock",
        "_loop",
        "_monitoring",
        "_not_before",
        "_pauses",
        "_process",
        "_settled",
        "_stall",
        "_times",
        "_turns",
        "ident",
        "key",
        "lag",
        "parked",
    )

    def __init__(self, loop: AbstractEventLoop, turns: Turns, monitoring: LoopMonitoring, *, entered: bool) -> None:
        self.key = id(loop)
        self.ident = threading.get_ident()
        self.lag: LoopLag | None = None
        self.parked: FrameType | None = None
        self._loop = loop
        self._turns = turns
        self._monitoring = monitoring
        self._entered = entered
        self._pauses = pauses_here()
        self._pauses.least = monitoring.threshold
        self._times = times_here()
        self._last: Glance | None = None if self._times is None else self._times.glance()
        self._busy: _Busy | None = None
        self._not_before = perf_counter_ns()
        self._stall: Stall | None = None
        self._settled = 0
        self._asked: Handle | None = None
        self._lock = threading.Lock()
        self._process = process.token

    # -- in the watchdog's thread --------------------------------------------------------------------------------------

    def look(self, planned: int) -> int:
        """See :class:`~causal_otel.causality.watchdog.Watched`."""
        if not (self._entered or self._loop.is_running()):
            return 0
        try:
            return self._look(planned)
        except OSError:  # the loop and its thread have ended since, which has no times any more
            return 0

    def _look(self, planned: int) -> int:
        monitoring, settled, last, times = self._monitoring, self._settled, self._last, self._times
        self._last = glance = None if times is None else times.glance()
        # From here on nothing gives the GIL away, so that the loop stays where it is.
        frame = frame_of(self.ident)
        turn = self._turns(frame)
        now = perf_counter_ns()
        if turn is None:
            self._busy = None
            self.parked = frame
            return now + monitoring.period
        self.parked = None
        busy = self._busy
        if busy is None or busy.key != turn.key or busy.settled != settled:
            self._busy = busy = _Busy(turn.key, max(turn.start, self._not_before), (last, glance), settled)
        stall = self._stall
        if stall is None or stall.key != busy.key:
            if now - busy.start < monitoring.suspicious:
                return min(now + monitoring.period, busy.start + monitoring.threshold * 8 // 10)
            self._suspect(stall, busy, self._sample(turn, busy, glance, planned))
        elif not stall.debugged:
            self._note(stall, self._sample(turn, busy, glance, planned))
        stall = self._stall
        if stall is None or stall.debugged:
            return now + monitoring.period
        return now + min(_LONGEST_PAUSE, max(_PAUSE, (now - busy.start) // 8))

    def _sample(self, turn: Turn, busy: _Busy, glance: Glance | None, planned: int) -> Sample | None:
        """What is seen of a turn that takes long; None: somebody is debugging."""
        seen = looked_at(turn)
        if seen.debugged:
            return None
        reading = None if self._times is None or glance is None else self._times.complete(glance)
        task = asyncio.current_task(self._loop)
        name = "" if task is None else task.get_name()
        return Sample(
            max(planned, busy.start),
            reading,
            task if turn.handle is None else turn.handle,
            "" if _UNNAMED.fullmatch(name) else name,
            _at_work(_current(task, turn.handle), busy.start),
            seen.place,
            seen.stack,
        )

    def _note(self, stall: Stall, sample: Sample | None) -> None:
        if sample is None:
            stall.debugged = True
            self._pauses.dismiss(perf_counter_ns())
        else:
            stall.add(sample)

    def _suspect(self, before: Stall | None, busy: _Busy, sample: Sample | None) -> None:
        """A turn has taken so long that it may become a stall."""
        if before is not None:  # the loop has not come to say that it is over, as it was when this turn began
            self._settle(before, busy.start)
            busy = self._busy = busy._replace(settled=self._settled)
        with self._lock:
            if busy.settled != self._settled:  # it has ended while it was looked at
                return
            self._stall = stall = Stall(busy.key, busy.start, self._readings(busy))
        self._pauses.begin(busy.start)
        self._note(stall, sample)
        with contextlib.suppress(RuntimeError):  # the loop has been closed since
            self._asked = self._loop.call_soon_threadsafe(self._over, stall, context=Context())

    def _readings(self, busy: _Busy) -> list[Reading]:
        times = self._times
        return [] if times is None else [times.reading(each) for each in busy.glances if each is not None]

    def froze(self, start: int, end: int) -> None:
        """See :class:`~causal_otel.causality.watchdog.Watched`."""
        self._split(start, end)
        self._pauses.dismiss(end)

    def _split(self, start: int, end: int) -> None:
        """What a turn has done until ``start`` is told by itself, and so is what it does from ``end`` on."""
        self._not_before = end
        self._busy = None
        stall = self._stall
        if stall is not None:
            self._settle(stall, start)

    def waited_for_gil(self, holder: Holder | None) -> None:
        """See :class:`~causal_otel.causality.watchdog.Watched`."""
        times, last = self._times, self._last
        if times is None or last is None or not times.tells_waits:
            return
        if holder is not None and holder.ident == self.ident:
            return  # what it did itself is a turn that takes long
        before = times.reading(last)
        try:
            now = times.reading(times.glance())
        except OSError:  # the thread has ended since
            return
        turn = self._turns(frame_of(self.ident))
        end = now.at
        start = max(before.at, end - gil_wait(before, now))
        if turn is not None and turn.start > start:
            end = min(end, turn.start)  # it has got the GIL before the thread that asks has
        if end - start < self._monitoring.threshold:
            return
        self._split(start, end)
        with self._lock:
            self._pauses.add(start, end)
        self._monitoring.record(held_up(start, end, holder))

    # -- in the loop's thread ------------------------------------------------------------------------------------------

    def _over(self, stall: Stall) -> None:
        """A turn has come after that of ``stall``."""
        try:
            turn = self._turns(sys._getframe())
            end = perf_counter_ns() if turn is None or turn.key == stall.key else turn.start
            del turn  # or this frame would hold itself, and with it all that has called it
            self._settle(stall, end)
        except Exception:
            faults.report("event_loop: a stall")

    def detach(self) -> None:
        """The loop has stopped, or is about to be closed. Never raises."""
        try:
            self._monitoring.watchdog.remove(self)
            self._turns.end()
            if self.lag is not None:
                self.lag.end()
            if self._asked is not None:
                self._asked.cancel()  # or it would keep all of this until the loop is closed
            stall = self._stall
            if stall is not None:
                self._settle(stall, perf_counter_ns())
        except Exception:
            faults.report("event_loop: a loop that ends")

    def abandon(self) -> None:
        """Nothing is watched any more, in whatever thread that is found out."""
        self._turns.end()
        if self.lag is not None:
            self.lag.over = True

    # -- in either -----------------------------------------------------------------------------------------------------

    def _settle(self, stall: Stall, end: int) -> None:
        if self._process is not process.token:
            return  # a fork inside the loop, while somebody may have held the lock
        with self._lock:
            if self._stall is not stall:
                return
            self._stall = None
            self._settled += 1
            end = max(stall.start, end)
            least = self._monitoring.threshold
            if stall.debugged or end - stall.start < least:
                self._pauses.dismiss(end)
                return
            self._pauses.add(stall.start, end)
        reading = None if self._times is None else self._times.read()
        for record in stall.records(end, reading, self.ident, least):
            self._monitoring.record(record)


def _current(task: Any, handle: Any) -> OtelContext:
    """What is current in a task, or else in a callback, read by another thread."""
    if context.variable is None:
        return NOTHING
    found = context_of_task(task) if task is not None else getattr(handle, "_context", None)
    return NOTHING if found is None else found.get(context.variable, NOTHING)


def _at_work(found: OtelContext, start: int) -> OtelContext:
    """The same with the span that has been current for most of a stall until now: one that began later is inside it.

    Args:
        found: what is current now.
        start: when the stall began.
    """
    span: Any = context.current_span(found)
    latest = start + (perf_counter_ns() - start) // 5
    chosen = span
    while isinstance(chosen, Span) and chosen._start > latest and isinstance(chosen._parent_span, Span):
        chosen = chosen._parent_span
    return found if chosen is span else context.with_span(chosen, found)
