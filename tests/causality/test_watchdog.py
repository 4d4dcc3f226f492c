"""The thread that looks: one for all, there while it is needed, and aware of when nobody could look."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from time import perf_counter_ns
from typing import TYPE_CHECKING

import pytest

from causal_otel._internal import faults
from causal_otel.causality import watchdog
from causal_otel.causality.thread_times import Reading
from causal_otel.causality.watchdog import Watchdog, frame_of
from tests.engine.forking import forked
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

MS = 1_000_000
PERIOD = 10 * MS


class Watched:
    """Something in this thread."""

    def __init__(self, again: int = PERIOD) -> None:
        self.key = id(self)
        self._ident = threading.get_ident()
        self.looks: list[tuple[str, int]] = []
        self.frozen: list[tuple[int, int]] = []
        self._again = again

    def look(self, planned: int) -> int:
        assert frame_of(self._ident) is not None
        self.looks.append((threading.current_thread().name, planned))
        return perf_counter_ns() + self._again if self._again else 0

    def froze(self, start: int, end: int) -> None:
        self.frozen.append((start, end))


@pytest.fixture
def dog() -> Iterator[Watchdog]:
    """One that is closed in the end."""
    found = Watchdog(PERIOD)
    yield found
    found.close()


def threads() -> list[threading.Thread]:
    """Those that watch."""
    return [thread for thread in threading.enumerate() if thread.name == "causal-otel-loops"]


def test_one_thread_for_all(dog: Watchdog) -> None:
    """However many are watched, one thread looks at each of them again and again, and debuggers leave it alone."""
    before = threads()
    watched = [Watched() for _ in range(5)]
    for each in watched:
        assert dog.add(each)
        assert dog.find(each.key) is each
    (thread,) = set(threads()) - set(before)
    assert thread.daemon
    assert thread.pydev_do_not_trace  # type: ignore[attr-defined]
    wait_until(lambda: all(len(each.looks) >= 3 for each in watched), "they are not looked at")
    for each in watched:
        dog.remove(each)
    wait_until(lambda: not dog._watched, "they are still there")
    counted = [len(each.looks) for each in watched]
    time.sleep(0.1)
    assert [len(each.looks) - before for each, before in zip(watched, counted, strict=True)] <= [1] * 5


def test_who_says_never_is_forgotten(dog: Watchdog) -> None:
    """What has ended is looked at no more, and not kept."""
    watched = Watched(again=0)
    kept = weakref.ref(watched)
    dog.add(watched)
    wait_until(lambda: watched.looks, "it is not looked at")
    wait_until(lambda: dog.find(watched.key) is None, "it is not forgotten")
    watched = Watched()
    wait_until(lambda: kept() is None, "it is kept")


def test_who_is_replaced_cannot_take_away_the_other(dog: Watchdog) -> None:
    """The key of what has ended may be that of something new."""
    first, second = Watched(), Watched()
    second.key = first.key
    dog.add(first)
    dog.add(second)
    dog.remove(first)
    assert dog.find(first.key) is second


def test_the_thread_ends_with_its_work_and_begins_again(dog: Watchdog, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits a little, because work that ends often begins again at once; what comes later gets a new thread."""
    monkeypatch.setattr(watchdog, "_LINGER", 50 * MS)
    before = set(threads())
    first = Watched()
    dog.add(first)
    (thread,) = set(threads()) - before
    dog.remove(first)
    again = Watched()
    dog.add(again)
    assert set(threads()) - before == {thread}
    dog.remove(again)
    wait_until(lambda: not thread.is_alive(), "the thread has not ended")
    dog.add(first)
    (other,) = set(threads()) - before
    assert other is not thread
    wait_until(lambda: len(first.looks) >= 2, "it is not looked at")


def test_it_ends_at_once_when_it_is_closed(dog: Watchdog) -> None:
    """Nothing is looked at any more, and nothing new is taken."""
    before = set(threads())
    watched = Watched()
    dog.add(watched)
    (thread,) = set(threads()) - before
    assert dog.close() == [watched]
    wait_until(lambda: not thread.is_alive(), "the thread has not ended")
    assert not dog.add(Watched())
    assert set(threads()) - before == set()


def test_one_that_fails_keeps_nobody_from_being_looked_at(dog: Watchdog) -> None:
    """It is counted, and looked at again later."""

    class Failing(Watched):
        def look(self, planned: int) -> int:
            super().look(planned)
            raise ValueError("a loop's")

    before = faults.counts().get("event_loop: watchdog", 0)
    failing, watched = Failing(), Watched()
    dog.add(failing)
    dog.add(watched)
    wait_until(lambda: len(failing.looks) >= 2 and len(watched.looks) >= 2, "they are not looked at")
    assert faults.counts()["event_loop: watchdog"] >= before + 2


def test_a_forked_child_has_no_thread_until_there_is_work(dog: Watchdog) -> None:
    """What the parent watches is not the child's; what the child adds is looked at there."""
    dog.add(Watched())

    def child() -> str:
        before = len(threads()), len(dog._watched)
        own = Watched()
        dog.add(own)
        wait_until(lambda: len(own.looks) >= 2, "it is not looked at", 30)
        return repr((before, len(threads())))

    assert forked(child) == "((0, 0), 1)"


def _reading(starved: int = 0, switches: int = 0) -> Reading:
    return Reading(0, 0, -1, starved * MS, switches)


def test_why_it_was_late() -> None:
    """It waited for the GIL, or for a CPU; if neither, the whole process stood still."""
    late = 1000 * MS
    asking = int(1.0 / sys.getswitchinterval())
    none = _reading()
    assert watchdog._is_excused(late, none, _reading(switches=asking), 20)
    assert watchdog._is_excused(late, none, _reading(starved=900), 20)
    assert not watchdog._is_excused(late, none, _reading(starved=100, switches=22), 20)
    assert not watchdog._is_excused(late, none, _reading(switches=20), 20)


def test_why_it_was_late_where_the_system_does_not_tell() -> None:
    """Then a process that has computed meanwhile did not stand still."""
    assert not watchdog._is_excused(1000 * MS, 0, 30 * MS, 1)
    assert watchdog._is_excused(1000 * MS, 0, 900 * MS, 1)


def test_a_watchdog_can_be_given_back() -> None:
    """Nothing keeps one that is closed, though forks are told to it."""
    found = Watchdog(PERIOD)
    found.add(Watched())
    found.close()
    kept = weakref.ref(found)
    del found
    wait_until(lambda: gc.collect() >= 0 and kept() is None, "it is kept")
