"""Since when a loop has been in its turn, as another thread sees it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from causal_otel._internal import faults
from causal_otel.causality import turns
from causal_otel.causality.turns import Turn, turns_of
from tests.causality.blocking import nap
from tests.causality.loops import LOOPS, run
from tests.waiting import wait_until

if TYPE_CHECKING:
    from types import FrameType

KINDS = list(LOOPS)
MS = 1_000_000


def _callback(turn: Turn | None) -> list[str]:
    """The functions of the callback, the innermost first."""
    names: list[str] = []
    frame: Any = turn and turn.inside
    while turn is not None and frame is not turn.outside:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


class Watcher:
    """A thread that looks at this one's loop again and again, and notes each turn with the moment."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, caller: FrameType | None) -> None:
        self.turns = turns_of(loop, caller)
        assert self.turns is not None
        self.seen: list[tuple[int, Turn | None, int]] = []
        self.callbacks: list[list[str]] = []
        self._ident = threading.get_ident()
        self._over = False
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        assert self.turns is not None
        while not self._over:
            before = perf_counter_ns()
            turn = self.turns(sys._current_frames()[self._ident])
            self.seen.append((before, turn, perf_counter_ns()))
            self.callbacks.append(_callback(turn))
            time.sleep(0.002)

    def close(self) -> None:
        self._over = True
        self._thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_begins_where_the_wait_before_it_has_ended(kind: str) -> None:
    """While something blocks, the turn is one, and began between the end of the wait and the blocking call."""

    async def main() -> tuple[Watcher, int, int, int]:
        watcher = Watcher(asyncio.get_running_loop(), caller=None)
        await asyncio.sleep(0.05)
        waiting = perf_counter_ns()
        await asyncio.sleep(0.05)
        blocking = perf_counter_ns()
        nap(0.3)
        over = perf_counter_ns()
        await asyncio.sleep(0.05)
        watcher.close()
        return watcher, waiting, blocking, over

    watcher, waiting, blocking, over = run(kind, main())
    stuck = [turn for before, turn, after in watcher.seen if blocking <= before and after <= over]
    assert len(stuck) > 3
    assert None not in stuck
    assert len({turn.key for turn in stuck if turn}) == 1
    for turn in stuck:
        assert turn is not None
        assert waiting < turn.start <= blocking + 2 * MS  # libuv counts milliseconds
        assert (turn.handle is not None) is (kind == "asyncio")
    names = next(names for names in watcher.callbacks if names[:1] == ["nap"])
    assert names[:2] == ["nap", "main"]
    assert not {"run_forever", "run_until_complete", "run"} & set(names)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_waits_is_in_no_turn(kind: str) -> None:
    """Waiting for I/O or for a timer is what a loop is for."""

    async def main() -> Watcher:
        watcher = Watcher(asyncio.get_running_loop(), caller=None)
        await asyncio.sleep(0.05)  # until it is known on uvloop
        watcher.seen.clear()
        await asyncio.sleep(0.3)
        watcher.close()
        return watcher

    watcher = run(kind, main())
    assert len(watcher.seen) > 3
    busy = [turn for _, turn, _ in watcher.seen if turn is not None]
    assert len(busy) <= 2, "only where a wait began or ended just then"


@pytest.mark.parametrize("kind", KINDS)
def test_turns_differ(kind: str) -> None:
    """A task that blocks in two turns blocks in two."""

    async def main() -> Watcher:
        watcher = Watcher(asyncio.get_running_loop(), caller=None)
        await asyncio.sleep(0.05)
        watcher.seen.clear()
        for _ in range(2):
            nap(0.1)
            await asyncio.sleep(0)
        watcher.close()
        return watcher

    watcher = run(kind, main())
    keys = [turn.key for _, turn, _ in watcher.seen if turn is not None]
    assert len(set(keys)) >= 2
    starts = {turn.key: turn.start for _, turn, _ in watcher.seen if turn is not None}
    assert list(starts.values()) == sorted(starts.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_turn_of_a_loop(kind: str) -> None:
    """What blocks before the loop has waited at all is seen as well, if whoever runs the loop says so."""

    async def main() -> tuple[int, int]:
        before = perf_counter_ns()
        nap(0.2)
        return before, perf_counter_ns()

    loop = LOOPS[kind]()
    began = perf_counter_ns()
    watcher = Watcher(loop, caller=sys._getframe())
    try:
        blocking, over = loop.run_until_complete(main())
    finally:
        watcher.close()
        loop.close()
    stuck = [turn for before, turn, after in watcher.seen if blocking <= before and after <= over]
    assert len(stuck) > 3
    for turn in stuck:
        assert turn is not None
        assert began - MS <= turn.start <= blocking + 2 * MS
    assert ["nap", "main"] in [names[:2] for names in watcher.callbacks]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_does_not_run_is_in_no_turn(kind: str) -> None:
    """Also not if other code runs in its thread."""
    loop = LOOPS[kind]()
    try:
        found = turns_of(loop, None)
        assert found is not None
        assert found(sys._getframe()) is None
        assert found(None) is None
    finally:
        loop.close()


def test_a_call_that_renews_the_time_of_libuv() -> None:
    """It makes a turn look shorter than it is, never longer, and leaves it the same turn."""

    async def main() -> tuple[Watcher, int, int]:
        loop = asyncio.get_running_loop()
        watcher = Watcher(loop, caller=None)
        await asyncio.sleep(0.05)
        blocking = perf_counter_ns()
        for _ in range(4):
            nap(0.05)
            loop.time()
        over = perf_counter_ns()
        watcher.close()
        return watcher, blocking, over

    watcher, blocking, over = run("uvloop", main())
    stuck = [turn for before, turn, after in watcher.seen if blocking <= before and after <= over]
    assert len({turn.key for turn in stuck if turn}) == 1
    assert all(turn.start >= blocking - 60 * MS for turn in stuck if turn)


def test_a_loop_inside_another_ones_callback() -> None:
    """The outer loop is in the turn that began before the inner loop; the inner one in its own."""

    async def inner() -> None:
        await asyncio.sleep(0.05)
        nap(0.2)

    async def main() -> tuple[Watcher, Watcher]:
        outer = Watcher(asyncio.get_running_loop(), caller=None)
        await asyncio.sleep(0.05)
        outer.seen.clear()
        loop = asyncio.new_event_loop()
        watcher = Watcher(loop, caller=None)
        running, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        asyncio._leave_task(running, task)
        asyncio._set_running_loop(None)
        try:
            loop.run_until_complete(inner())
        finally:
            asyncio._set_running_loop(running)
            asyncio._enter_task(running, task)
            watcher.close()
            outer.close()
            loop.close()
        return outer, watcher

    outer, watcher = run("asyncio", main())
    assert len({turn.key for _, turn, _ in outer.seen if turn is not None}) == 1
    both = zip(watcher.seen, watcher.callbacks, strict=True)
    (first,) = {turn.key for (_, turn, _), names in both if turn is not None and names[:1] == ["nap"]}
    assert first not in {turn.key for _, turn, _ in outer.seen if turn is not None}


class _MadeUp(asyncio.SelectorEventLoop):
    """A loop whose time a test makes."""

    def time(self) -> float:
        return 0.0


def test_loops_that_do_not_tell() -> None:
    """One with a clock of its own, and one of another kind, are not watched."""
    loop = _MadeUp()
    try:
        assert turns_of(loop, None) is None
    finally:
        loop.close()
    foreign: Any = object()
    assert turns_of(foreign, None) is None


def test_a_libuv_without_its_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A uvloop that is built in another way is not watched, which is said once."""

    def refuse() -> None:
        raise AttributeError("uv_now")

    monkeypatch.setattr(turns, "_Libuv", refuse)
    turns._libuv.cache_clear()
    before = faults.counts().get("event_loop: uvloop", 0)
    loop = uvloop.new_event_loop()
    try:
        assert turns_of(loop, None) is None
        assert turns_of(loop, None) is None
        assert faults.counts()["event_loop: uvloop"] == before + 1
    finally:
        loop.close()
        turns._libuv.cache_clear()


def test_a_libuv_that_counts_no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before uvloop 0.18 a turn is known by when it began."""
    libuv = turns._libuv()
    assert libuv is not None
    monkeypatch.setattr(libuv, "_info", None)
    loop = uvloop.new_event_loop()
    try:
        found = turns_of(loop, sys._getframe())
        assert found is not None
        turn = found(sys._getframe())
        assert turn is not None
        assert isinstance(turn.key, int)
        assert turn.start <= perf_counter_ns()
    finally:
        loop.close()


def test_a_closed_loop_is_not_read() -> None:
    """Once it is said that a loop is to be closed, no turn is told: its memory is freed."""
    loop = uvloop.new_event_loop()
    try:
        found = turns_of(loop, sys._getframe())
        assert found is not None
        assert found(sys._getframe()) is not None
        found.end()
    finally:
        loop.close()
    assert found(sys._getframe()) is None


def test_an_ended_loop_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells the turns keeps the loop for as long as it is asked, and no longer."""
    import weakref

    for make in LOOPS.values():
        loop = make()
        found = turns_of(loop, None)
        kept = weakref.ref(loop)
        loop.close()
        del loop
        assert kept() is not None
        del found
        wait_until(lambda kept=kept: kept() is None, "the loop is kept", 10)  # type: ignore[misc]
