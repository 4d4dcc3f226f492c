"""How long a step was ready before it began, on loops whose turns are known."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from causal_otel.causality.own_steps import OwnSteps
from causal_otel.causality.turn_clock import SelectorClock, clock_here, note_turns
from tests.causality.computing import COMPUTED, compute
from tests.causality.loops import run
from tests.waiting import wait_until


@pytest.mark.parametrize(("kind", "exact_to"), [("asyncio", 0), ("uvloop", 2_000_000)])
def test_what_runs_before_a_step_in_its_turn(kind: str, exact_to: int) -> None:
    """A step that is ready waits for those before it in its turn, and the time is told; the first has not waited.

    Uvloop tells when a turn began to the millisecond.
    """

    async def work() -> None:
        compute()
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

    assert run(kind, main()) >= 2 * (COMPUTED - exact_to)


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


class _Own(uvloop.Loop):
    """A loop that somebody has made of uvloop's."""


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop, _Own], ids=["asyncio", "uvloop", "made of uvloop's"]
)
def test_each_loop_has_its_own(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A loop's clock is known where that loop runs, until it is to be forgotten; it does not keep the loop."""

    async def ask() -> object:
        return clock_here()

    one, other = new_loop(), new_loop()
    try:
        end = note_turns(one)
        found = one.run_until_complete(ask())
        assert found is not None
        note_turns(one)()  # there is one already
        assert one.run_until_complete(ask()) is found
        assert other.run_until_complete(ask()) is None
        assert clock_here() is None
        end()
        assert one.run_until_complete(ask()) is None
        end = note_turns(one)
    finally:
        one.close()
        other.close()
    kept = weakref.ref(one)
    del one
    wait_until(lambda: gc.collect() is not None and kept() is None, "the loop is kept", 10)
    end()
