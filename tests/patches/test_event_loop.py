"""A blocked event loop: who blocked it, for how long and why, in the trace of whoever did it, and who had to wait."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from _thread import get_ident
from contextvars import Context
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import causal_otel
from causal_otel.causality.pauses import pauses_of_thread
from causal_otel.engine import context
from tests.causality.blocking import burn, collect, hogged, nap
from tests.causality.loops import LOOPS, run
from tests.patches.blocked_loops import GRACE, PATCHES, PLANTED, THRESHOLD, assert_blocked, blocked
from tests.recording import Recording, recording
from tests.slow_machine import assert_at_least, assert_below
from tests.span_relations import attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Span

KINDS = list(LOOPS)


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording(PATCHES) as found:
        yield found


def _in_span(kind: str, block: Callable[[], None], name: str = "request") -> Span:
    """Run a task that blocks inside a span, after a wait."""

    async def main() -> Span:
        with causal_otel.span(name) as span:
            await asyncio.sleep(GRACE)
            block()
            await asyncio.sleep(GRACE)
        return span

    return run(kind, main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_waits(kind: str, recorded: Recording) -> None:
    """It is told by file, line and function, as waiting, in the span that it was called in, with its stack."""
    span = _in_span(kind, lambda: nap(PLANTED))
    told = assert_blocked(recorded.spans, "nap", span)
    line = nap.__code__.co_firstlineno + 2
    assert told["causal.block.frame"] == f"causality/blocking.py:{line} nap()"
    assert_at_least(0.8 * PLANTED, told.get("causal.block.wait", 0.0))
    assert "causal.task.name" not in told, "asyncio's own names are none"
    stack = told["code.stacktrace"].splitlines()
    assert stack[0] == "Stack (most recent call last):"
    assert stack[-1].endswith(f'blocking.py", line {line}, in nap')
    assert "sleep" not in "".join(stack)[:-3], "there are no source lines"
    assert "run_forever" not in told["code.stacktrace"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_computes(kind: str, recorded: Recording) -> None:
    """It is told as computing."""
    span = _in_span(kind, lambda: burn(PLANTED))
    told = assert_blocked(recorded.spans, "burn", span)
    assert_at_least(0.8 * PLANTED, told.get("causal.block.cpu", 0.0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_collection_of_garbage(kind: str, recorded: Recording) -> None:
    """It is told as such, and as computing, in the function in which it came.

    Here a collection is one long call that does not give the GIL away: what is to see it may come too late, beside
    others at work. What is seen is right, and is seen the next time.
    """
    for _ in range(5):
        recorded.clear()
        span = _in_span(kind, lambda: collect(PLANTED))
        if blocked(recorded.spans, "collect"):
            break
    told = assert_blocked(recorded.spans, "collect", span)
    # Each of the collections is told from a millisecond on.
    assert_at_least(0.5 * PLANTED, told.get("causal.block.gc", 0.0))
    assert_at_least(
        0.5 * PLANTED, told.get("causal.block.cpu", 0.0)
    )  # beside others at work a collection does not compute all the time


@pytest.mark.parametrize("kind", KINDS)
def test_another_thread_that_takes_the_gil(kind: str, recorded: Recording) -> None:
    """A call that computes, and takes longer because another thread computes as well, waits for the GIL in between."""
    with hogged():
        span = _in_span(kind, lambda: burn(PLANTED))
    told = assert_blocked(recorded.spans, "burn", span)
    assert_at_least(0.8 * PLANTED, told.get("causal.block.cpu", 0.0))
    assert_at_least(0.1 * PLANTED, told.get("causal.block.gil", 0.0))


def _library() -> Callable[[Callable[[], None]], None]:
    """A function of an installed package, which calls what it is given."""
    found: dict[str, Any] = {}
    exec(compile("def execute(call):\n    call()\n", "/srv/site-packages/acme/db.py", "exec"), found)
    execute: Callable[[Callable[[], None]], None] = found["execute"]
    return execute


@pytest.mark.parametrize("kind", KINDS)
def test_a_library_is_not_the_users_code(kind: str, recorded: Recording) -> None:
    """What is named is the user's function that has called it; the stack tells the library."""
    execute = _library()

    def load() -> None:
        execute(functools.partial(time.sleep, PLANTED))

    span = _in_span(kind, load)
    told = assert_blocked(recorded.spans, "load", span)
    assert told["code.stacktrace"].splitlines()[-1].endswith('acme/db.py", line 2, in execute')


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_users_own(kind: str, recorded: Recording) -> None:
    """Where no frame is the user's, the deepest one is told."""
    execute = _library()

    async def main() -> None:
        await asyncio.sleep(GRACE)
        asyncio.get_running_loop().call_soon(execute, functools.partial(time.sleep, PLANTED))
        await asyncio.sleep(GRACE)

    run(kind, main())
    assert_blocked(recorded.spans, "execute", None)


@pytest.mark.parametrize("kind", KINDS)
def test_outside_any_span(kind: str, recorded: Recording) -> None:
    """A stall that nobody's span is the parent of is a root."""

    async def main() -> None:
        await asyncio.sleep(GRACE)
        nap(PLANTED)

    run(kind, main())
    assert_blocked(recorded.spans, "nap", None)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_and_the_last_turn(kind: str, recorded: Recording) -> None:
    """A task that blocks at once and ends then is told, though no turn of the loop comes after it."""

    async def main() -> Span:
        with causal_otel.span("only") as span:
            nap(PLANTED)
        return span

    span = run(kind, main())
    assert_blocked(recorded.spans, "nap", span)


@pytest.mark.parametrize("kind", KINDS)
def test_the_task_that_blocks_and_those_that_do_not(kind: str, recorded: Recording) -> None:
    """The span is in the trace of the task that blocks, with the name that the program gave it, and in no other."""

    async def request(name: str, seconds: float) -> Span:
        with causal_otel.span(name) as span:
            await asyncio.sleep(GRACE)
            if seconds:
                nap(seconds)
            await asyncio.sleep(GRACE)
        return span

    async def main() -> list[Span]:
        tasks = [
            asyncio.create_task(request(f"request {each}", PLANTED * (each == 1)), name=f"job {each}")
            for each in range(3)
        ]
        return await asyncio.gather(*tasks)

    spans = run(kind, main())
    told = assert_blocked(recorded.spans, "nap", spans[1])
    assert told["causal.task.name"] == "job 1"


@pytest.mark.parametrize("kind", KINDS)
def test_those_who_wait_know_of_it_at_once(kind: str, recorded: Recording) -> None:
    """What of a time lies in the stall can be asked right after the blocking call, before the loop has gone on."""
    asked: dict[str, int] = {}

    async def victim() -> None:
        began = perf_counter_ns()
        await asyncio.sleep(GRACE * 1.2)
        pauses = pauses_of_thread(get_ident())
        assert pauses is not None
        asked["victim"] = pauses.between(began, perf_counter_ns())

    async def main() -> None:
        other = asyncio.create_task(victim())
        start = perf_counter_ns()
        await asyncio.sleep(GRACE)
        began = perf_counter_ns()
        nap(PLANTED)
        pauses = pauses_of_thread(get_ident())
        assert pauses is not None
        asked["culprit"] = pauses.between(began, perf_counter_ns())
        await other
        asked["before"] = pauses.between(start, began)
        later = perf_counter_ns()
        await asyncio.sleep(GRACE)
        asked["later"] = pauses.between(later, perf_counter_ns())

    run(kind, main())
    assert_at_least(0.8 * PLANTED, asked["culprit"] / 1e9)
    assert_at_least(0.8 * PLANTED, asked["victim"] / 1e9)
    # Only a machine that is too busy blocks the loop at other times.
    others = [span for span in recorded.spans if span not in blocked(recorded.spans, "nap")]
    if not others:
        assert_below(THRESHOLD * 1e9, asked["before"], asked["later"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_span_that_begins_in_the_middle(kind: str, recorded: Recording) -> None:
    """The parent is the span that was current for most of the time, and the stall's span begins inside it."""

    async def main() -> tuple[Span, Span]:
        with causal_otel.span("request") as request:
            await asyncio.sleep(GRACE)
            nap(PLANTED)
            with causal_otel.span("render") as render:
                nap(0.01)
            await asyncio.sleep(GRACE)
        return request, render

    request, _ = run(kind, main())
    assert_blocked(recorded.spans, "nap", request)


@pytest.mark.parametrize("kind", KINDS)
def test_two_tasks_of_one_turn(kind: str, recorded: Recording) -> None:
    """Each that blocks for long enough is told by itself, in its own span."""

    async def one() -> Span:
        with causal_otel.span("one") as span:
            nap(PLANTED)
        return span

    async def two() -> Span:
        with causal_otel.span("two") as span:
            burn(PLANTED)
        return span

    async def main() -> tuple[Span, Span]:
        await asyncio.sleep(GRACE)
        return await asyncio.gather(one(), two())

    first, second = run(kind, main())
    assert_blocked(recorded.spans, "nap", first)
    assert_blocked(recorded.spans, "burn", second)


@pytest.mark.parametrize("kind", KINDS)
def test_many_tasks_of_one_turn(kind: str, recorded: Recording) -> None:
    """None of them blocks for long, and together they do: one span says so, how many there were, and what they did."""

    async def one() -> None:
        nap(THRESHOLD / 10)

    async def main() -> None:
        await asyncio.sleep(GRACE)
        await asyncio.gather(*(one() for _ in range(20)))

    run(kind, main())
    found = blocked(recorded.spans, "nap")
    assert found
    assert any(attributes(span).get("causal.block.callbacks", 0) > 2 for span in found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_callback_of_the_loop(kind: str, recorded: Recording) -> None:
    """On asyncio it is told in the span whose context it runs in; uvloop does not say which context that is."""

    async def main() -> Span:
        with causal_otel.span("request") as span:
            await asyncio.sleep(GRACE)
            asyncio.get_running_loop().call_soon(nap, PLANTED)
            await asyncio.sleep(2 * GRACE)
        return span

    span = run(kind, main())
    assert_blocked(recorded.spans, "nap", span if kind == "asyncio" else None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_of_its_own(kind: str, recorded: Recording) -> None:
    """A task that is given another context blocks in that one's span, or in none."""

    async def work() -> None:
        await asyncio.sleep(GRACE)
        nap(PLANTED)

    async def main() -> None:
        with causal_otel.span("request"):
            await asyncio.create_task(work(), context=Context())

    run(kind, main())
    assert_blocked(recorded.spans, "nap", None)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_suppressed_or_not_sampled(kind: str, recorded: Recording) -> None:
    """Where nothing is to be traced, or the trace is not sampled, no span is made of a stall; those who wait know."""

    async def main() -> int:
        began = perf_counter_ns()
        with context.suppress():
            await asyncio.sleep(GRACE)
            nap(PLANTED)
            await asyncio.sleep(GRACE)
        pauses = pauses_of_thread(get_ident())
        assert pauses is not None
        return pauses.between(began, perf_counter_ns())

    assert_at_least(0.8 * PLANTED, run(kind, main()) / 1e9)
    assert not blocked(recorded.spans, "nap")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("debug", [False, True])
def test_several_loops_in_several_threads(kind: str, debug: bool, recorded: Recording) -> None:
    """Each is watched by itself, in debug mode too: what blocks one says nothing of the others."""
    paused: dict[str, int] = {}

    async def main(name: str) -> None:
        began = perf_counter_ns()
        with causal_otel.span(name):
            await asyncio.sleep(GRACE)
            if name == "blocked":
                nap(PLANTED)
            else:
                await asyncio.sleep(PLANTED)
        pauses = pauses_of_thread(get_ident())
        assert pauses is not None
        paused[name] = pauses.between(began, perf_counter_ns())

    threads = [
        threading.Thread(target=lambda name=name: run(kind, main(name), debug=debug)) for name in ("blocked", "well")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (span,) = [each for each in recorded.spans if each.name == "blocked"]
    assert_blocked(recorded.spans, "nap", span)
    assert_at_least(0.8 * PLANTED, paused["blocked"] / 1e9)
    assert paused["well"] < paused["blocked"]
    watching = [thread for thread in threading.enumerate() if thread.name == "causal-otel-loops"]
    assert len(watching) == 1


def test_anyio_on_asyncio(recorded: Recording) -> None:
    """A task of anyio's is a task, and so is what blocks in a task group."""

    async def work() -> None:
        with causal_otel.span("work"):
            await anyio.sleep(GRACE)
            nap(PLANTED)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(work, name="a job")

    anyio.run(main)
    (span,) = [each for each in recorded.spans if each.name == "work"]
    assert assert_blocked(recorded.spans, "nap", span)["causal.task.name"] == "a job"


def test_trio_is_not_watched(recorded: Recording) -> None:
    """There is nothing of asyncio in it, and nothing fails."""
    anyio.run(anyio.sleep, 0.01, backend="trio")
    assert not blocked(recorded.spans, "nap")
