"""What is measured of event loops: how late their timers are, and how often one is stuck. No convention has these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel import names
from causal_otel._internal import faults, process
from causal_otel.instrument.measured import Instrument

if TYPE_CHECKING:
    from causal_otel.metrics.cells import Cell, Cells

__all__ = ["INSTRUMENTS", "LAG", "STALLS", "Loops"]

_FRAMES = 200
"""How many frames are counted by themselves. Code that is made at run time may have any number of names."""
_OTHERS = "other"

LAG = Instrument(
    names.CAUSAL_LOOP_LAG,
    "s",
    "How late a timer of the event loop was, asked ten times a second.",
    (),
    boundaries=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
STALLS = Instrument(
    names.CAUSAL_LOOP_STALLS,
    "{stall}",
    "The number of times that an event loop was stuck, by what blocked it.",
    (names.CAUSAL_BLOCK_FRAME,),
    monotonic=True,
)
INSTRUMENTS = (LAG, STALLS)
"""Both of them."""


class Loops:
    """The event loops of an installation; see :class:`causal_otel.causality.loop_lag.LoopMetrics`.

    Args:
        cells: where the measurements go.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._begin()
        process.at_fork(in_child=self._begin)  # a forked child counts in cells of its own

    def _begin(self) -> None:
        self._lag: Cell | None = None
        self._frames: dict[str, Cell] = {}

    def lag(self, seconds: float) -> None:
        """A timer of a loop was that late."""
        try:
            if self._lag is None:
                self._lag = self._cells.family(LAG).cell({})
            self._lag.add(seconds)
        except Exception:
            faults.report("metrics: a loop")

    def stalled(self, frame: str) -> None:
        """A loop was stuck in ``frame``."""
        try:
            found = self._frames.get(frame)
            if found is None:
                if len(self._frames) >= _FRAMES:
                    frame = _OTHERS
                labels = {names.CAUSAL_BLOCK_FRAME: frame} if frame else {}
                found = self._frames[frame] = self._cells.family(STALLS).cell(labels)
            found.add(1)
        except Exception:
            faults.report("metrics: a loop")
