"""Why a thread was woken late: three reasons, of which one is no stall of anything."""

from __future__ import annotations

import sys
from time import perf_counter_ns

import pytest

from causal_otel.causality.lateness import Late, Lateness, _why
from causal_otel.causality.thread_times import Reading
from tests.causality.blocking import burn, hold

MS = 1_000_000
LATE = 1000 * MS
ASKING = int(1.0 / sys.getswitchinterval())
"""How many times a thread asks for the GIL in a second."""


def _reading(starved: int = 0, switches: int = 0) -> Reading:
    return Reading(0, 0, -1, starved * MS, switches)


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (_reading(switches=20 + ASKING), Late.GIL),
        (_reading(starved=600, switches=20 + ASKING // 4), Late.GIL),
        (_reading(starved=900, switches=21), Late.NO_CPU),
        (_reading(starved=100, switches=22), Late.FROZEN),
        (_reading(switches=20), Late.FROZEN),
    ],
)
def test_the_reason(after: Reading, why: Late) -> None:
    """It waited for the GIL, or for a CPU, or for both; if for neither, the whole process stood still."""
    assert _why(LATE, _reading(), after, 20) is why


@pytest.mark.parametrize(("computed", "why"), [(30, Late.FROZEN), (900, Late.GIL)])
def test_a_system_that_does_not_tell(computed: int, why: Late) -> None:
    """There a process that has computed meanwhile did not stand still."""
    assert _why(LATE, 0, computed * MS, 1) is why


def test_a_short_time_proves_nothing() -> None:
    """A machine that is busy, or not there for a moment, is no process that somebody has stopped."""
    assert _why(100 * MS, _reading(), _reading(switches=1), 1) is None
    assert _why(100 * MS, 0, 0, 1) is None


def test_what_was_read_is_read_anew() -> None:
    """Once a second is enough for what takes longer than all the rest."""
    lateness = Lateness()
    lateness.woken = 25
    lateness.refresh(perf_counter_ns())
    assert lateness.woken == 25
    lateness.refresh(perf_counter_ns() + 2000 * MS)
    assert lateness.woken == 0


def test_who_held_the_gil() -> None:
    """Of all threads it is the one that has computed most, wherever it is now."""
    import threading

    lateness = Lateness()
    over, done = threading.Event(), threading.Event()

    def holds() -> None:
        hold(0.3)
        done.set()
        over.wait(60)

    thread = threading.Thread(target=holds, name="counting")
    thread.start()
    done.wait(60)
    assert lateness.holders is not None
    found = lateness.holders.found()
    over.set()
    thread.join()
    assert found is not None
    assert (found.ident, found.thread) == (thread.ident, "counting")
    assert str(found.place).endswith(" holds()")
    lateness.holders.note()
    burn(0.3)  # this thread, which is the one that asks
    assert lateness.holders.found() is None
