"""Intervals in which a thread stood still: what of a span lies in them, while others add and forget."""

from __future__ import annotations

import random
import threading
from _thread import get_ident

from causal_otel.causality.pauses import _KEPT, Pauses, pauses_here, pauses_of_thread
from tests.engine.forking import forked

MS = 1_000_000
"""Nanoseconds."""


def _overlap(intervals: list[tuple[int, int]], start: int, end: int) -> int:
    return sum(max(0, min(end, last) - max(start, first)) for first, last in intervals)


def test_a_span_is_told_what_of_it_lies_in_pauses() -> None:
    """Whole intervals count, those that it begins or ends in by the part that it has, others not at all."""
    pauses = Pauses()
    assert pauses.between(0, 1000) == 0
    pauses.add(100, 200)
    pauses.add(300, 340)
    cases = [(0, 1000, 140), (150, 320, 70), (120, 130, 10), (0, 100, 0), (200, 300, 0), (340, 900, 0), (330, 900, 10)]
    assert [(start, end, pauses.between(start, end)) for start, end, _ in cases] == cases


def test_any_intervals_and_any_span() -> None:
    """The sum is that of all overlaps, whichever intervals there are."""
    chance = random.Random(7)
    for _ in range(50):
        pauses, intervals, now = Pauses(), [], 0
        for _ in range(chance.randrange(20)):
            start = now + chance.randrange(5)
            now = start + 1 + chance.randrange(9)
            intervals.append((start, now))
            pauses.add(start, now)
        for _ in range(50):
            start = chance.randrange(now + 10)
            end = start + chance.randrange(now + 10)
            assert pauses.between(start, end) == _overlap(intervals, start, end), (intervals, start, end)


def test_an_interval_replaces_what_it_contains() -> None:
    """A loop that runs inside another one's callback is stuck before the outer one knows: no time counts twice."""
    pauses = Pauses()
    pauses.add(10, 20)
    pauses.add(110, 120)
    pauses.add(130, 140)
    pauses.add(100, 135)
    assert pauses.between(0, 1000) == 10 + 40
    assert pauses.between(138, 1000) == 2


def test_what_is_under_way_counts_as_well() -> None:
    """A span that ends before anybody knows the pause's end is told of it, up to the span's own end."""
    pauses = Pauses()
    pauses.add(0, 50 * MS)
    pauses.begin(100 * MS)
    assert pauses.between(20 * MS, 150 * MS) == (30 + 50) * MS
    assert pauses.between(120 * MS, 150 * MS) == 30 * MS
    assert pauses.between(60 * MS, 90 * MS) == 0
    pauses.add(100 * MS, 160 * MS)
    assert pauses.between(20 * MS, 500 * MS) == (30 + 60) * MS


def test_what_is_under_way_is_none_before_it_is_long_enough() -> None:
    """Whether it will be a pause need not be known when it begins."""
    pauses = Pauses(least=50 * MS)
    pauses.begin(100 * MS)
    assert pauses.between(110 * MS, 149 * MS) == 0
    assert pauses.between(110 * MS, 150 * MS) == 40 * MS


def test_a_beginning_that_comes_too_late_is_none() -> None:
    """The watchdog may be stopped between what it sees and what it says: the pause is over by then, or was none."""
    pauses = Pauses()
    pauses.add(100 * MS, 160 * MS)
    pauses.begin(100 * MS)
    assert pauses.between(0, 500 * MS) == 60 * MS
    pauses.begin(200 * MS)
    pauses.dismiss(300 * MS)
    assert pauses.between(0, 500 * MS) == 60 * MS
    pauses.begin(250 * MS)
    assert pauses.between(0, 500 * MS) == 60 * MS


def test_one_that_begins_where_the_last_one_ends() -> None:
    """Two readings of that moment may differ by some microseconds: the second pause counts all the same."""
    pauses = Pauses()
    pauses.add(100 * MS, 160 * MS)
    pauses.begin(160 * MS - 20_000)
    assert pauses.between(0, 200 * MS) == 100 * MS + 20_000
    pauses.add(160 * MS - 20_000, 200 * MS)
    assert pauses.between(0, 500 * MS) == 100 * MS


def test_old_intervals_are_forgotten() -> None:
    """The latest thousands are known, and sums stay right when older ones go."""
    pauses = Pauses()
    for each in range(5 * _KEPT):
        pauses.add(10 * each, 10 * each + 1)
    end = 10 * 5 * _KEPT
    assert len(pauses._known[0]) <= 2 * _KEPT
    assert pauses.between(end - 10 * _KEPT, end) == _KEPT
    assert _KEPT <= pauses.between(0, end) <= 2 * _KEPT


def test_whoever_asks_meanwhile_gets_what_was_or_is_true() -> None:
    """A thread that asks while another one adds never fails, and never counts more than there is."""
    pauses, over = Pauses(), threading.Event()
    wrong: list[object] = []

    def ask() -> None:
        try:
            while not over.is_set():
                found = pauses.between(0, 1_000_000)
                if not 0 <= found <= 1_000_000:
                    wrong.append(found)
        except Exception as error:
            wrong.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    for each in range(50_000):
        pauses.begin(10 * each)
        pauses.add(10 * each, 10 * each + 1 + each % 12)  # some reach into the next one
    over.set()
    thread.join()
    assert not wrong


def test_each_thread_has_its_own_until_it_ends() -> None:
    """They are found by the thread's number, stay the same, and go with the thread, whose number is used again."""
    before = pauses_of_thread(get_ident())
    assert pauses_here() is pauses_here() is pauses_of_thread(get_ident())
    assert before is None or before is pauses_here()
    found = []

    def run() -> None:
        found.append((get_ident(), pauses_of_thread(get_ident()), pauses_here(), pauses_of_thread(get_ident())))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    ((ident, none, own, same),) = found
    assert none is None
    assert own is same is not pauses_here()
    assert pauses_of_thread(ident) is None


def test_a_forked_child_has_none() -> None:
    """What the parent's loop has suffered is not the child's, whose own pauses are found again."""
    pauses_here().begin(0)
    assert forked(lambda: repr((pauses_of_thread(get_ident()), pauses_here() is pauses_of_thread(get_ident())))) == (
        "(None, True)"
    )
    pauses_here().dismiss(1)
