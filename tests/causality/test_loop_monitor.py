"""What a loop's monitor makes of what the watchdog tells it, besides what it sees itself."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from time import perf_counter_ns
from typing import TYPE_CHECKING

import pytest

from causal_otel.causality.loop_monitoring import LoopMonitoring
from tests.causality.blocking import burn, hogged, nap
from tests.causality.loops import LOOPS, run
from tests.slow_machine import assert_at_least, assert_below

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.causality.loop_monitor import LoopMonitor
    from causal_otel.causality.stall import Record

MS = 1_000_000
KINDS = list(LOOPS)


def _stalls(kind: str, block: Callable[[], None], tell: Callable[[LoopMonitor], None]) -> list[Record]:
    """The stalls of a loop that ``block`` keeps, and those of nobody, while something is told after 0.3 s."""
    found: list[Record] = []
    monitoring = LoopMonitoring(0.1, found.append)

    async def main() -> None:
        monitor = monitoring.attach(asyncio.get_running_loop())
        assert monitor is not None
        await asyncio.sleep(0.01)
        teller = threading.Timer(0.3, tell, (monitor,))
        teller.start()
        block()
        teller.join()
        await asyncio.sleep(0.01)

    try:
        run(kind, main())
    finally:
        monitoring.close()
    return [record for record in found if not record.frame or record.frame.endswith((" nap()", " burn()"))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_in_which_the_machine_stood_still(kind: str) -> None:
    """What came before is one stall, and what came after is another; nothing of the time in between is one."""
    frozen: list[tuple[int, int]] = []

    def freeze(monitor: LoopMonitor) -> None:
        start = perf_counter_ns()
        time.sleep(0.2)
        frozen.append((start, perf_counter_ns()))
        monitor.froze(*frozen[0])

    records = _stalls(kind, functools.partial(nap, 1.0), freeze)
    first, second = records
    assert (first.end, second.start) == frozen[0]
    assert_at_least(0.25, (first.end - first.start) / 1e9)
    assert_at_least(0.4, (second.end - second.start) / 1e9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_that_gets_the_gil_every_other_time_is_not_held_up(kind: str) -> None:
    """It is one stall, however late the watchdog gets the GIL: what others take of the time is its part."""

    def come_late(monitor: LoopMonitor) -> None:
        monitor._monitoring.watchdog.remove(monitor)
        time.sleep(0.3)
        monitor.waited_for_gil(None)

    with hogged():
        records = _stalls(kind, functools.partial(burn, 0.6), come_late)
    (record,) = records  # and none that names nobody
    assert_at_least(1.0, (record.end - record.start) / 1e9)
    assert_at_least(0.3, record.attributes["causal.block.gil"])
    assert_below(0.75 * (record.end - record.start) / 1e9, record.attributes["causal.block.gil"])
