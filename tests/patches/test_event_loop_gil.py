"""A thread that does not give the GIL away blocks every loop of the process, though these only wait for I/O."""

from __future__ import annotations

import asyncio
import threading
from _thread import get_ident
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import causal_otel
from causal_otel.causality.pauses import pauses_of_thread
from tests.causality.blocking import burn, hold, nap
from tests.causality.loops import LOOPS, run
from tests.patches.blocked_loops import GRACE, PATCHES, blocked
from tests.recording import Recording, recording
from tests.slow_machine import SlowMachine, assert_at_least, assert_below
from tests.span_relations import assert_span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Span

KINDS = [pytest.param(kind, marks=[pytest.mark.long] * (kind == "uvloop")) for kind in LOOPS]
HELD = 1.0
"""Seconds."""
_ATTEMPTS = 10


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording({**PATCHES, "threads": True}) as found:
        yield found


def _held(recorded: Recording, scenario: Callable[[], tuple[float, int, Span | None]]) -> dict[str, Any]:
    """Assert that a function in C has blocked the loop for most of the time that it took, in the scenario's span.

    Where several threads wait for the GIL, it is not said who gets it first when it is free again: the one that is to
    see who had it may come too late, on a busy machine more often. What is seen is right, and is seen the next time.

    Args:
        recorded: what is recorded.
        scenario: gives how long the call took, how much of it the loop's thread knows as a pause, and the span.
    """
    for _ in range(_ATTEMPTS):
        recorded.clear()
        took, paused, parent = scenario()
        found = [span for span in blocked(recorded.spans, "hold") if seconds(span) >= 0.5 * took]
        if found:
            break
    if not found:
        raise SlowMachine("nothing has seen who held the GIL")
    assert len(found) == 1, [(span.name, dict(span.attributes or {})) for span in recorded.spans]
    assert_at_least(0.5 * took, paused / 1e9)
    told = assert_span(found[0], None if parent is None else parent.get_span_context())
    # It was waited for by asking every 5 ms, or a little less often on a busy machine.
    assert_at_least(0.5 * took, told.get("causal.block.gil", 0.0))
    assert "in hold" in told["code.stacktrace"].splitlines()[-1]
    return told


def _paused(since: int) -> int:
    pauses = pauses_of_thread(get_ident())
    assert pauses is not None
    return pauses.between(since, perf_counter_ns())


async def _other() -> None:
    """Something that wants to go on meanwhile; without that, nobody is kept waiting."""
    while True:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_of_ones_own(kind: str, recorded: Recording) -> None:
    """The thread and what it called are told, in no span, for nobody knows whose work it is."""

    async def main() -> tuple[float, int, None]:
        began, took = perf_counter_ns(), list[float]()
        thread = threading.Thread(target=lambda: took.append(hold(HELD)), name="counting")
        await asyncio.sleep(2 * GRACE)
        thread.start()
        while thread.is_alive():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(2 * GRACE)
        return took[0], _paused(began), None

    told = _held(recorded, lambda: run(kind, main()))
    assert told["causal.block.thread"] == "counting"


async def _to_thread(job: Callable[[], float]) -> float:
    return await asyncio.to_thread(job)


async def _anyio(job: Callable[[], float]) -> float:
    return await anyio.to_thread.run_sync(job)


async def _executor(job: Callable[[], float]) -> float:
    with ThreadPoolExecutor(1) as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, job)


@pytest.mark.parametrize("ask", [_to_thread, _anyio, _executor])
@pytest.mark.parametrize("kind", KINDS)
def test_a_job_of_a_pool(kind: str, ask: Callable[..., Any], recorded: Recording) -> None:
    """It is told in the span of whoever has given the job to the pool."""

    async def main() -> tuple[float, int, Span]:
        began = perf_counter_ns()
        kept_waiting = asyncio.create_task(_other(), context=Context())
        with causal_otel.span("request") as span:
            await asyncio.sleep(2 * GRACE)
            took = await ask(lambda: hold(HELD))
            await asyncio.sleep(2 * GRACE)
        kept_waiting.cancel()
        return took, _paused(began), span

    _held(recorded, lambda: run(kind, main()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_that_comes_in_between(kind: str, recorded: Recording) -> None:
    """A turn that another thread has kept from ending is not told as the work of what the loop did then.

    It depends on who gets the GIL first when it is free again: either the thread is told as what blocked the loop, or
    the turn is, with the time that it waited for the GIL.
    """

    async def main() -> float:
        took = list[float]()
        thread = threading.Thread(target=lambda: took.append(hold(HELD)), name="counting")
        await asyncio.sleep(2 * GRACE)
        thread.start()
        burn(0.1)
        await asyncio.sleep(2 * GRACE)
        thread.join()
        return took[0]

    took = run(kind, main())
    by_thread = [dict[str, Any](span.attributes or {}) for span in blocked(recorded.spans, "hold")]
    of_turn = [dict[str, Any](span.attributes or {}) for span in blocked(recorded.spans, "burn")]
    assert all(told["causal.block.thread"] == "counting" for told in by_thread)
    # Of another's time nothing is said to be computing here, beside what was computed.
    assert all(told.get("causal.block.cpu", 0.0) <= 0.1 + 0.5 * took for told in of_turn)
    # It is an estimate from below, from how often the GIL was asked for: beside others at work that is less often.
    assert_at_least(0.2 * took, sum(told.get("causal.block.gil", 0.0) for told in by_thread + of_turn))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loop_itself(kind: str, recorded: Recording) -> None:
    """A loop that holds the GIL is told once, as computing."""
    took: list[float] = []

    async def main() -> Span:
        with causal_otel.span("request") as span:
            await asyncio.sleep(2 * GRACE)
            took.append(hold(HELD))
            await asyncio.sleep(GRACE)
        return span

    span = run(kind, main())
    (found,) = (each for each in blocked(recorded.spans, "hold") if seconds(each) >= 0.5 * took[0])
    told = assert_span(found, span.get_span_context(), lasts=0.8 * took[0])
    assert "causal.block.cpu" in told
    assert "causal.block.thread" not in told


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_kept_waiting(kind: str, recorded: Recording) -> None:
    """A loop that waits for nothing but the job is not blocked by it."""

    async def main() -> tuple[float, int]:
        began = perf_counter_ns()

        def job() -> float:
            nap(2 * GRACE)  # until the loop waits
            return hold(HELD)

        took = await asyncio.to_thread(job)
        return took, _paused(began)

    took, paused = run(kind, main())
    assert_below(0.5 * took * 1e9, paused)


@pytest.mark.parametrize("kind", KINDS)
def test_another_loop(kind: str, recorded: Recording) -> None:
    """A loop that holds the GIL blocks the loops of other threads as well."""

    def scenario() -> tuple[float, int, None]:
        took: list[float] = []
        go_on = threading.Event()

        async def held() -> int:
            began = perf_counter_ns()
            await asyncio.sleep(2 * GRACE)
            go_on.set()
            while not took:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(2 * GRACE)
            return _paused(began)

        async def holds() -> None:
            await asyncio.to_thread(go_on.wait, 60)
            took.append(hold(HELD))

        thread = threading.Thread(target=lambda: run(kind, holds()))
        thread.start()
        paused = run(kind, held())
        thread.join()
        return took[0], paused, None

    for _ in range(_ATTEMPTS):
        took, paused, _ = scenario()
        if paused >= 0.5 * took * 1e9:
            return
    raise SlowMachine("the loop that was kept waiting does not know of it")
