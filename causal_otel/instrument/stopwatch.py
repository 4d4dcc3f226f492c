"""How long the application waits for a driver, if it reads the answer piece by piece.

Such an answer takes as long as the application takes to read it, which says nothing about the server. So the span lasts
as long as the driver has been waited for: from the call until it returns, and then, added to that, each wait for more.
If the application works between two pieces, the span ends before the last piece is read, by as long as the application
worked. The span is exported after the last piece, because only then is it known whether the answer failed.
"""

from __future__ import annotations

from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING

from causal_otel.engine.local_trace import local_trace_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["Stopwatch", "moment_of", "unix_time"]


class Stopwatch:
    """Counts the waits of one span, in nanoseconds of the monotonic clock. It runs from the beginning.

    Attributes:
        total: what it has counted, without the wait that is under way.
    """

    __slots__ = ("_began", "_since", "_stopped", "total")

    def __init__(self) -> None:
        self.total = 0
        self._stopped = False
        self._began = self._since = perf_counter_ns()

    def pause(self) -> None:
        """The driver has returned to the application."""
        if self._since:
            self.total += perf_counter_ns() - self._since
            self._since = 0

    def resume(self) -> None:
        """The application waits for the driver again."""
        if not self._stopped and not self._since:
            self._since = perf_counter_ns()

    def stop(self) -> None:
        """Count no more: what the driver still waits for is nothing that the application reads."""
        self.pause()
        self._stopped = True

    def end_time(self, span: Span) -> int:
        """When ``span``, which began with this, ends: Unix time in nanoseconds, after as long as has been counted."""
        return moment_of(span, self._began, self.total)


def moment_of(span: Span, began: int, after: int) -> int:
    """Unix time in nanoseconds of a moment of ``span``.

    Args:
        span: the span.
        began: when it began, in nanoseconds of the monotonic clock.
        after: how many nanoseconds after that the moment is.
    """
    start = getattr(span, "start_time", None)
    if not isinstance(start, int):  # a tracer that does not tell
        start = time_ns() - (perf_counter_ns() - began)
    return start + after


def unix_time(span: Span | None, moment: int) -> int:
    """Unix time in nanoseconds of a moment of the monotonic clock, as ``span`` and others of its trace tell the time.

    So it does not come before a moment of one of theirs that was before it.

    Args:
        span: the span.
        moment: by ``perf_counter_ns()``.
    """
    local = local_trace_of(span)
    clock = 0 if local is None else local.clock
    return moment + (clock or time_ns() - perf_counter_ns())
