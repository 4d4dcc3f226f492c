"""What is measured of event loops: how late their timers are, and how often they are stuck, by what."""

from __future__ import annotations

import asyncio

import pytest

from causal_otel.metrics.cells import Cells
from causal_otel.metrics.loops import _FRAMES, LAG, STALLS, Loops
from tests.causality.blocking import nap
from tests.causality.loops import LOOPS, run
from tests.engine.forking import forked
from tests.metrics.measuring import measured
from tests.patches.blocked_loops import PATCHES, PLANTED
from tests.slow_machine import assert_at_least

FRAME = "causal.block.frame"


@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_is_measured(kind: str) -> None:
    """A stall is counted by what blocked the loop, and the timers that are late because of it are that late."""

    async def main() -> None:
        await asyncio.sleep(0.6)
        nap(PLANTED)
        await asyncio.sleep(0.6)

    with measured(PATCHES) as found:
        run(kind, main())
        stalls = {point.attributes.get(FRAME, ""): point.value for point in found.points("causal.loop.stalls")}
        (frame,) = (frame for frame in stalls if frame.endswith(" nap()"))
        assert stalls[frame] == 1
        told, lag = found.only("causal.loop.lag")
        assert told == {}
        assert lag.count >= 3
        # The timer was due within a quarter of a second after the call had begun.
        assert_at_least(0.8 * (PLANTED - 0.25), lag.max)
        assert lag.min >= 0


def test_nothing_is_measured_of_a_loop_that_has_ended() -> None:
    """Its timer is gone with it, and a loop that ends at once has none that fires."""
    with measured(PATCHES) as found:
        for kind in LOOPS:
            run(kind, asyncio.sleep(0))
        assert not found.points("causal.loop.lag")


def test_uninstalling_ends_the_timer() -> None:
    """A loop that goes on has no timer of ours any more, soon after."""
    scheduled: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with measured(PATCHES):
            await asyncio.sleep(0.6)
        await asyncio.sleep(0.3)
        for _ in range(100):
            scheduled[:] = [len(loop._scheduled)]  # type: ignore[attr-defined]
            if not scheduled[0]:
                return
            await asyncio.sleep(0.05)

    run("asyncio", main())
    assert scheduled == [0]


def test_frames_are_counted_up_to_a_bound() -> None:
    """A program that makes functions at run time does not make as many time series."""
    cells = Cells()
    loops = Loops(cells)
    for number in range(2 * _FRAMES):
        loops.stalled(f"made.py:{number} run()")
    loops.stalled("")
    found = {tuple(cell.labels.values()): cell for cell in cells.family(STALLS).known()}
    assert len(found) <= _FRAMES + 2
    for cell in found.values():
        cell.fold()
    assert found["other",].totals().total == _FRAMES + 1
    assert sum(cell.totals().total for cell in found.values()) == 2 * _FRAMES + 1


def test_a_forked_child_counts_by_itself() -> None:
    """What the parent has measured is not the child's."""
    cells = Cells()
    loops = Loops(cells)
    loops.lag(0.1)
    loops.stalled("report.py:31 render()")

    def child() -> str:
        before = len(cells.family(LAG).known()), len(cells.family(STALLS).known())
        loops.lag(0.2)
        loops.stalled("report.py:31 render()")
        return repr((before, len(cells.family(LAG).known()), len(cells.family(STALLS).known())))

    assert forked(child) == "((0, 0), 1, 1)"
