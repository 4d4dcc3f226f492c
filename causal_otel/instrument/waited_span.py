"""A span that lasts as long as the driver is waited for, in parts: of a cursor, a stream, a pipeline, an RPC.

How long the program works on what it has got says nothing about the server, so that is not in it: see
:mod:`causal_otel.instrument.stopwatch`.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.stopwatch import Stopwatch
from causal_otel.names import CAUSAL_FETCH, CAUSAL_SERVER

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Running

__all__ = ["WaitedSpan"]


class WaitedSpan:
    """A span that lasts as long as the driver is waited for. It ends once, at the latest when nobody has it any more.

    Args:
        running: its operation.
    """

    __slots__ = ("__weakref__", "_key", "_running", "_since", "_spent", "_stopwatch")

    def __init__(self, running: Running) -> None:
        self._running: Running | None = running
        self._stopwatch = Stopwatch()
        self._key: str | None = None
        self._spent = {CAUSAL_SERVER: 0, CAUSAL_FETCH: 0}
        self._since = 0

    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self._running is not None

    def waits_for(self) -> str | None:
        """The part that the program's time is now; None: it does not wait for the driver."""
        return self._key

    def wait(self, key: str | None) -> str | None:
        """The program waits for something else from now on; None: not for the driver. Returns what it waited for."""
        now, before = perf_counter_ns(), self._key
        if before is not None:
            self._spent[before] += now - self._since
        self._key, self._since = key, now
        return before

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over, has failed, or is left (``GeneratorExit``)."""
        self.wait(None)
        running, self._running = self._running, None
        if running is None:
            return
        self._stopwatch.total = total = sum(self._spent.values())
        for key, spent in self._spent.items():
            running.part(key, spent / 1e9)
        result = self._ending(running, result, error)
        running.end(result, error, at=self._stopwatch.end_time(running.span), duration=total)

    def _ending(self, running: Running, result: Any, error: BaseException | None) -> Any:
        """What is to be told before it ends. Returns its result."""
        return result

    def __del__(self) -> None:
        try:
            self.end(error=GeneratorExit())
        except Exception:
            faults.report("a span that nobody has any more")
