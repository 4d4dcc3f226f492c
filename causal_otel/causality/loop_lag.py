"""How late the timers of an event loop are: what a loop's users feel, measured by a timer of our own."""

from __future__ import annotations

from contextvars import Context
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from causal_otel._internal import faults

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

__all__ = ["LoopLag", "LoopMetrics"]

_INTERVAL = 0.1


class LoopMetrics(Protocol):
    """Measures loops. Never raises."""

    def lag(self, seconds: float) -> None:
        """A timer of a loop was that late."""

    def stalled(self, frame: str) -> None:
        """A loop was stuck in ``frame``; empty: it is not known where."""


class LoopLag:
    """Measures the lag of one loop, from now until :meth:`end`.

    Args:
        loop: which one; it runs in this thread, or is about to.
        told: is called with each lag, in seconds.

    Attributes:
        over: set it, in another thread, to end without :meth:`end`.
    """

    __slots__ = ("_context", "_due", "_handle", "_loop", "_told", "over")

    def __init__(self, loop: AbstractEventLoop, told: Callable[[float], None]) -> None:
        self._loop = loop
        self._told = told
        self.over = False
        self._context = Context()  # or each timer would keep the span that was current when the first one was set
        self._set()

    def _set(self) -> None:
        self._due = perf_counter() + _INTERVAL
        self._handle = self._loop.call_later(_INTERVAL, self._beat, context=self._context)

    def _beat(self) -> None:
        if self.over:
            return
        try:
            self._told(max(0.0, perf_counter() - self._due))
            self._set()
        except Exception:
            faults.report("event_loop: lag")

    def end(self) -> None:
        """Measure no more; in the loop's thread."""
        self._handle.cancel()
