"""How long a step was ready before it began, on loops whose turns are known."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import uvloop

from causal_otel.causality.own_steps import OwnSteps
from causal_otel.causality.turn_clock import SelectorClock, clock_here, keep_clock, note_turns
from tests.causality.computing import COMPUTED, compute


def test_what_runs_before_a_step_in_its_turn() -> None:
    """A step that is ready waits for those before it in its turn, and the time is told; the first has not waited."""

    async def work() -> None:
        compute()
        for _ in range(2):
            await asyncio.sleep(0)

    async def other() -> None:
        for _ in range(3):
            compute()
            await asyncio.sleep(0)

    async def main() -> int:
        clock = SelectorClock(asyncio.get_running_loop()._selector)  # type: ignore[attr-defined]
        end = keep_clock(clock)
        try:
            steps = OwnSteps(work())

            async def awaiting() -> None:
                await steps

            await asyncio.gather(other(), awaiting())
            return steps.waited
        finally:
            end()
            clock.remove()

    assert asyncio.run(main()) >= 2 * COMPUTED


def test_without_a_clock_nothing_is_told() -> None:
    """Where nobody knows the loop's turns, no wait is told, whatever there was."""

    async def work() -> None:
        await asyncio.sleep(0)

    async def main() -> int:
        assert clock_here() is None
        steps = OwnSteps(work())
        asyncio.get_running_loop().call_soon(compute)
        await steps
        return steps.waited

    assert asyncio.run(main()) == 0


def test_the_selector_is_as_it_was() -> None:
    """Once the clock is removed the selector has its own method again; one that somebody has wrapped since stays."""

    async def main() -> None:
        selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        clock = SelectorClock(selector)
        assert "select" in vars(selector)
        await asyncio.sleep(0)
        clock.remove()
        assert "select" not in vars(selector)
        clock = SelectorClock(selector)
        ours = selector.select
        theirs = selector.select = lambda timeout=None: ours(timeout)
        clock.remove()
        assert selector.select is theirs
        del selector.select

    asyncio.run(main())


def test_each_thread_has_its_own() -> None:
    """The clock of a loop is known in its thread alone, and one inside another comes back."""

    class Still:
        def age(self) -> int:
            return 0

    outer, inner = Still(), Still()
    seen: list[object] = []
    end_outer = keep_clock(outer)
    end_inner = keep_clock(inner)
    thread = threading.Thread(target=lambda: seen.append(clock_here()))
    thread.start()
    thread.join()
    assert seen == [None]
    assert clock_here() is inner
    end_inner()
    assert clock_here() is outer
    end_outer()
    assert clock_here() is None


def test_on_uvloop() -> None:
    """Uvloop tells when a turn began, to the millisecond."""

    async def work() -> None:
        for _ in range(2):
            await asyncio.sleep(0)

    async def other() -> None:
        for _ in range(3):
            compute()
            await asyncio.sleep(0)

    async def main() -> int:
        end = note_turns(asyncio.get_running_loop())
        try:
            steps = OwnSteps(work())

            async def awaiting() -> None:
                await steps

            await asyncio.gather(other(), awaiting())
            return steps.waited
        finally:
            end()

    assert uvloop.run(main()) >= 2 * (COMPUTED - 2_000_000)
