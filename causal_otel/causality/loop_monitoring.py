"""All event loops of a process that are watched, from when they begin until they end, and what is recorded of them."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.causality import gc_pauses
from causal_otel.causality.loop_lag import LoopLag
from causal_otel.causality.loop_monitor import LoopMonitor
from causal_otel.causality.turns import turns_of
from causal_otel.causality.watchdog import Watchdog
from causal_otel.engine import context

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from types import FrameType

    from causal_otel.causality.loop_lag import LoopMetrics
    from causal_otel.causality.stall import Record

__all__ = ["LoopMonitoring"]

_SECOND = 1_000_000_000


class LoopMonitoring:
    """Watches all loops that are attached to it, until it is closed.

    Args:
        threshold: from how many seconds on a turn is a stall.
        emit: records one.
        metrics: measures loops; None: nothing does.

    Attributes:
        threshold: the same in nanoseconds.
        suspicious: after how many a turn is looked at more closely.
        period: how often a loop is looked at.
        left_out: how many stalls were not recorded since the last one that was, because there were too many.
    """

    def __init__(self, threshold: float, emit: Callable[[Record], None], metrics: LoopMetrics | None = None) -> None:
        self.threshold = int(threshold * _SECOND)
        # What looks later than it wants to, because it has to wait for the GIL, still comes before the threshold.
        self.suspicious = self.threshold * 6 // 10
        self.period = min(_SECOND, self.threshold * 8 // 10)
        self.watchdog = Watchdog(self.period, self.threshold)
        self.left_out = 0
        self._emit = emit
        self._metrics = metrics
        self._all, self._roots = _Budget(50, 10.0), _Budget(10, 0.2)
        self._unwatch = gc_pauses.watch()

    def attach(self, loop: AbstractEventLoop, caller: FrameType | None = None) -> LoopMonitor | None:
        """Watch a loop that runs in this thread, or is about to. Never raises.

        Args:
            loop: which one.
            caller: the frame that is about to run the loop, and will call :meth:`LoopMonitor.detach` when that has
                stopped; None: the loop runs already, and its end is found out.

        Returns:
            None: it is watched already, or cannot be.
        """
        try:
            if loop.is_closed() or (self.watchdog.find(id(loop)) is not None and loop.is_running()):
                return None
            turns = turns_of(loop, caller)
            if turns is None:
                return None
            monitor = LoopMonitor(loop, turns, self, entered=caller is not None)
            if not self.watchdog.add(monitor):
                return None
            if self._metrics is not None:
                monitor.lag = LoopLag(loop, self._metrics.lag)
        except Exception:
            faults.report("event_loop: a loop that begins")
            return None
        return monitor

    def closes(self, loop: AbstractEventLoop) -> None:
        """A loop is about to be closed. It may be watched still, if it has run since before it could be seen."""
        monitor = self.watchdog.find(id(loop))
        if isinstance(monitor, LoopMonitor) and not loop.is_running():
            monitor.detach()

    def record(self, record: Record) -> None:
        """Record a stall, unless there are too many. Never raises."""
        try:
            if self._metrics is not None:
                self._metrics.stalled(record.frame)
            now = perf_counter_ns()
            parent = context.current_span(record.context)
            is_root = parent is None or not parent.get_span_context().is_valid
            if (is_root and not self._roots.take(now)) or not self._all.take(now):
                self.left_out += 1
                return
            if self.left_out:
                record.attributes[names.CAUSAL_BLOCK_LEFT_OUT] = self.left_out
                self.left_out = 0
            self._emit(record)
        except Exception:
            faults.report("event_loop: a stall")

    def close(self) -> None:
        """Watch nothing any more."""
        for monitor in self.watchdog.close():
            if isinstance(monitor, LoopMonitor):
                monitor.abandon()
        self._unwatch()


class _Budget:
    """How many may be recorded: so many at once, and then so many a second."""

    def __init__(self, most: int, rate: float) -> None:
        self._most = most
        self._rate = rate
        self._left = float(most)
        self._at = perf_counter_ns()

    def take(self, now: int) -> bool:
        """Whether one more may be."""
        self._left = min(self._most, self._left + (now - self._at) / _SECOND * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
