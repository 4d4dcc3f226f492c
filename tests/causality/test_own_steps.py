"""A coroutine whose steps are measured is the same to whoever awaits it, and tells what it has computed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
import uvloop

from causal_otel.causality.own_steps import OwnSteps
from tests.causality.computing import COMPUTED, compute

RUN: dict[str, Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]] = {
    "asyncio": lambda main: asyncio.run(main()),
    "uvloop": lambda main: uvloop.run(main()),
    "trio": trio.run,
}


@pytest.fixture(params=RUN)
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]:
    """Runs a coroutine on a loop of each kind."""
    return RUN[request.param]


def test_what_it_computes(run: Callable[[Any], Any]) -> None:
    """The time of its thread in its steps is told, the last of them included, and neither sleeping nor others' work."""

    async def work() -> int:
        compute()
        await anyio.sleep(0.05)
        compute()
        return steps.computed()

    steps = OwnSteps(work())

    async def main() -> tuple[int, int]:
        compute()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
            inside = await steps
            compute()
        return inside, steps.computed()

    inside, after = run(main)
    assert 2 * COMPUTED <= inside <= after < 3 * COMPUTED


def test_what_it_waits_is_not_computed(run: Callable[[Any], Any]) -> None:
    """A coroutine that sleeps for half a second has computed for less than a tenth of one."""

    async def main() -> int:
        steps = OwnSteps(anyio.sleep(0.5))
        await steps
        return steps.computed()

    assert run(main) < 100_000_000


def test_results_and_exceptions(run: Callable[[Any], Any]) -> None:
    """What it returns and raises, at once or later, is what is returned and raised."""
    error = ValueError("no")

    async def returns(later: bool) -> str:
        if later:
            await anyio.lowlevel.checkpoint()
        return "yes"

    async def raises(later: bool) -> None:
        if later:
            await anyio.lowlevel.checkpoint()
        raise error

    async def main() -> None:
        for later in (False, True):
            assert await OwnSteps(returns(later)) == "yes"
            with pytest.raises(ValueError, match="no") as raised:
                await OwnSteps(raises(later))
            assert raised.value is error

    run(main)


def test_cancellation(run: Callable[[Any], Any]) -> None:
    """A cancellation reaches it where it waits, and what it does then is measured as well."""
    cleaned = []

    async def work() -> None:
        try:
            await anyio.sleep(60)
        finally:
            compute()
            cleaned.append(True)

    async def main() -> int:
        steps = OwnSteps(work())
        with anyio.move_on_after(0.01) as scope:
            await steps
        assert scope.cancelled_caught
        return steps.computed()

    assert run(main) >= COMPUTED
    assert cleaned == [True]


def test_what_is_sent_and_thrown() -> None:
    """Values that are sent, exceptions that are thrown, and closing reach the coroutine; what it yields comes out."""

    class Asked:
        def __await__(self) -> Generator[str, int, int]:
            sent: int = yield "how many?"
            return sent

    seen: list[Any] = []

    async def work() -> int:
        try:
            seen.append(await Asked())
            await Asked()
        except KeyError as error:
            seen.append(error)
        try:
            last: int = await Asked()
            return last
        except GeneratorExit:
            seen.append("closed")
            raise

    async def outer() -> None:
        await OwnSteps(work())

    coroutine = outer()
    assert coroutine.send(None) == "how many?"
    assert coroutine.send(3) == "how many?"
    assert coroutine.throw(KeyError("x")) == "how many?"
    coroutine.close()
    assert seen[0] == 3
    assert isinstance(seen[1], KeyError)
    assert seen[2] == "closed"


def test_where_a_task_is_can_still_be_seen() -> None:
    """Tools that follow what a coroutine waits for find the one inside."""

    async def work() -> None:
        await asyncio.sleep(60)

    async def outer() -> None:
        await OwnSteps(inside)

    async def main() -> None:
        task = asyncio.ensure_future(outer())
        await asyncio.sleep(0)
        found: Any = task.get_coro()
        chain = []
        while found is not None:
            chain.append(found)
            found = getattr(found, "cr_await", None)
        assert inside in chain
        task.cancel()

    inside = work()
    asyncio.run(main())
    assert inspect.getcoroutinestate(inside) == inspect.CORO_CLOSED
