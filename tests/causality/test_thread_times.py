"""What a thread has spent its time with: computed from readings, and read from the operating system."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from time import perf_counter_ns

import pytest

from causal_otel.causality import thread_times
from causal_otel.causality.loop_monitor import LoopMonitor
from causal_otel.causality.loop_monitoring import LoopMonitoring
from causal_otel.causality.thread_times import Reading, Shares, ThreadTimes, gil_wait, not_counted, shares, times_here
from tests.causality.blocking import burn, hogged, nap
from tests.engine.forking import forked
from tests.slow_machine import SlowMachine
from tests.waiting import wait_until

MS = 1_000_000


def reading(at: int, cpu: int = 0, others: int = 0, starved: int = 0, switches: int = 0) -> Reading:
    """A reading, in milliseconds."""
    return Reading(at * MS, cpu * MS, others * MS, starved * MS, switches)


def in_milliseconds(readings: list[Reading], start: int, end: int) -> tuple[int | None, ...]:
    found = shares(readings, start * MS, end * MS)
    return tuple(None if part is None else round(part / MS) for part in found)


def test_a_thread_that_waits() -> None:
    """What is neither computing nor anything else is waiting, whatever the thread did before."""
    readings = [reading(0), reading(40, cpu=15), reading(50, cpu=15), reading(150, cpu=15)]
    assert in_milliseconds(readings, 30, 150) == (0, 0, 0, 120)


def test_a_thread_that_computes() -> None:
    """All that it has computed since counts, and what it must have computed before does not."""
    readings = [reading(0), reading(40, cpu=35), reading(140, cpu=135)]
    assert in_milliseconds(readings, 20, 140) == (120, 0, 0, 0)


def test_what_is_not_known_of_the_beginning_is_as_it_went_on() -> None:
    """Within what is possible: half of the time in the beginning, for it was half of the time later."""
    readings = [reading(0), reading(40, cpu=20), reading(140, cpu=70)]
    assert in_milliseconds(readings, 20, 140) == (60, 0, 0, 60)


def test_a_thread_that_has_no_cpu() -> None:
    """Being ready to run is no waiting."""
    readings = [reading(0), reading(40), reading(140, cpu=30, starved=70, switches=9)]
    assert in_milliseconds(readings, 40, 140) == (30, 70, 0, 0)


def test_a_thread_that_waits_for_the_gil() -> None:
    """It waits for it at most as long as it has asked for it, and as the others have computed."""
    interval = sys.getswitchinterval() * 1000
    asking = int(60 / interval) + 1
    readings = [reading(0), reading(100, cpu=20, others=75, switches=asking)]
    assert in_milliseconds(readings, 0, 100) == (20, 0, 60, 20)
    readings = [reading(0), reading(100, cpu=20, others=30, switches=asking)]
    assert in_milliseconds(readings, 0, 100) == (20, 0, 30, 50)
    readings = [reading(0), reading(100, cpu=20, others=75, switches=1)]
    assert in_milliseconds(readings, 0, 100) == (20, 0, 0, 80)


def test_a_system_that_does_not_tell() -> None:
    """Without the scheduler's statistics only computing is known."""
    readings = [Reading(0, 0, 0), Reading(100 * MS, 20 * MS, 80 * MS)]
    assert shares(readings, 0, 100 * MS) == Shares(20 * MS, None, None, 80 * MS)


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_add_up(seed: int) -> None:
    """Whatever the readings say, no part is negative, and all together they are the time."""
    import random

    chance = random.Random(seed)
    for _ in range(200):
        readings = [reading(0)]
        for _ in range(chance.randrange(1, 6)):
            last = readings[-1]
            readings.append(
                Reading(
                    last.at + chance.randrange(1, 60) * MS,
                    last.cpu + chance.randrange(60) * MS,
                    last.others + chance.randrange(60) * MS,
                    last.starved + chance.randrange(60) * MS,
                    last.switches + chance.randrange(20),
                )
            )
        end = readings[-1].at
        start = chance.randrange(readings[1].at)
        found = shares(readings, start, end)
        parts = [part for part in found if part is not None]
        assert min(parts) >= 0
        assert sum(parts) == end - start, (readings, start, found)


def test_what_this_thread_does() -> None:
    """Computing is computing, and a wait is none; what another thread computes is the others'."""
    times = times_here()
    assert times is not None
    assert times_here() is times
    first = times.read()
    burn(0.1)
    second = times.read()
    nap(0.1)
    third = times.read()
    assert second.cpu - first.cpu >= 100 * MS
    assert 0 <= third.cpu - second.cpu < 100 * MS
    assert third.at - second.at >= 100 * MS
    with hogged():
        nap(0.3)
        burn(0.05)
    assert times.read().others > third.others


def test_waits_in_one_piece() -> None:
    """Asking every 5 ms explains how often it was put on a CPU, whatever it computed before, or however busy it is."""
    asking = int(400 / (sys.getswitchinterval() * 1e3)) + 2
    first = reading(0)
    assert gil_wait(first, reading(405, cpu=4, switches=asking)) == 400 * MS
    assert gil_wait(first, reading(485, cpu=80, switches=asking)) == 400 * MS
    assert gil_wait(first, reading(560, cpu=80, starved=75, switches=asking)) == 475 * MS


def test_waits_in_several_pieces() -> None:
    """It has asked, got the GIL, and given it away: each time it was put on a CPU."""
    often = int(400 / (sys.getswitchinterval() * 1e3)) + 2
    assert gil_wait(reading(0), reading(250, cpu=125, switches=often)) == 0
    assert gil_wait(reading(0), reading(250, cpu=60, starved=100, switches=often * 2 // 3)) == 0


def test_who_waits_for_one_that_holds_the_gil() -> None:
    """It has waited in one piece. On a busy machine it may be put on a CPU more often, but not every time."""
    for _ in range(10):
        took, waited = _held_up()
        if waited >= 0.5 * took:
            return
    raise SlowMachine(f"at least {0.5 * took / 1e9:g} s should be {waited / 1e9:g}")


def _held_up() -> tuple[int, int]:
    """For how many nanoseconds another thread was in one call in C, and for how many this one has waited for it."""

    def work() -> None:
        holding.wait()
        started = perf_counter_ns()
        sum(numbers)
        took.append(perf_counter_ns() - started)

    times, holding, numbers = times_here(), threading.Event(), range(20_000_000)
    took: list[int] = []
    assert times is not None
    thread = threading.Thread(target=work)
    thread.start()
    first = times.reading(times.glance())
    holding.set()
    while not took:
        pass
    waited = gil_wait(first, times.reading(times.glance()))
    thread.join()
    return took[0], waited


@pytest.mark.parametrize("others", [1, 2])
def test_who_gets_the_gil_again_and_again(others: int) -> None:
    """It has not waited in one piece, though others have computed most of the time."""
    times = times_here()
    assert times is not None
    with contextlib.ExitStack() as hogs:
        for _ in range(others):
            hogs.enter_context(hogged())
        burn(0.05)
        before = times.reading(times.glance())
        burn(0.2)
        after = times.reading(times.glance())
    assert after.at - before.at >= 200 * MS
    assert gil_wait(before, after) == 0


def test_who_only_waits_for_something_else() -> None:
    """It has not asked for the GIL."""
    times = times_here()
    assert times is not None
    before = times.reading(times.glance())
    nap(0.1)
    assert gil_wait(before, times.reading(times.glance())) == 0


def test_who_only_watches_is_not_counted() -> None:
    """What the watchdog computes itself keeps nobody waiting."""
    times = times_here()
    assert times is not None

    def watch() -> None:
        end = not_counted()
        counted.append(times.read().others)
        burn(0.2)
        counted.append(times.read().others)
        end()

    counted: list[int] = []
    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert counted[1] - counted[0] < 200 * MS
    assert not thread_times._watchdogs
    assert times.read().others - counted[1] >= 200 * MS  # the thread is over, and was one of the others


def test_a_forked_child_reads_its_own() -> None:
    """The parent's file tells of the parent's thread."""
    times = times_here()

    def child() -> str:
        own = times_here()
        assert own is not None
        before = own.read()
        burn(0.05)
        return repr((own is times, own.read().cpu - before.cpu >= 50 * MS))

    assert forked(child) == "(False, True)"


def test_a_system_without_clocks_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS and Windows nothing is known of another thread, and nothing fails."""
    monkeypatch.delattr("time.pthread_getcpuclockid")
    found = []
    thread = threading.Thread(target=lambda: found.extend([times_here(), not_counted()()]))
    thread.start()
    thread.join()
    assert found == [None, None]


def test_a_system_without_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such file, computing is known all the same."""

    def refuse(*_: object) -> int:
        raise FileNotFoundError

    found = []

    def run() -> None:
        monkeypatch.setattr("os.open", refuse)
        times = times_here()
        monkeypatch.undo()
        assert times is not None
        found.append(times.read())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert (found[0].starved, found[0].switches) == (-1, -1)
    assert 0 < found[0].at <= perf_counter_ns()


def test_what_others_did_before_anybody_asked() -> None:
    """It is taken to be as it went on: where nobody else computes, nobody has waited for the GIL."""
    first, second = Reading(0, 0, -1, 0, 0), Reading(40 * MS, 0, -1, 0, 9)
    readings = [first, second, reading(50, switches=10), reading(100, switches=10)]
    assert in_milliseconds(readings, 0, 100) == (0, 0, 0, 100)
    readings = [first, second, reading(50, switches=20), reading(100, others=50, switches=40)]
    found = in_milliseconds(readings, 0, 100)
    assert found == (0, 0, 100, 0)


def _has_ended(times: ThreadTimes) -> bool:
    try:
        times.read()
    except OSError:
        return True
    return False


def test_a_loop_whose_thread_has_ended() -> None:
    """It is not looked at any more, and that is no fault: the system has no times of such a thread."""
    monitoring = LoopMonitoring(3600.0, emit=lambda record: None)
    monitors: list[LoopMonitor | None] = []

    def attach() -> None:
        loop = asyncio.new_event_loop()
        monitors.append(monitoring.attach(loop, sys._getframe()))
        loop.close()

    thread = threading.Thread(target=attach)
    thread.start()
    thread.join()
    [monitor] = monitors
    assert monitor is not None
    assert monitor._times is not None
    times = monitor._times
    try:
        wait_until(lambda: _has_ended(times))
        assert monitor.look(perf_counter_ns()) == 0
        monitor.waited_for_gil(None)
    finally:
        monitor.detach()
        monitoring.close()
