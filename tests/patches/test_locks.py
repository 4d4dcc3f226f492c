"""Waits for locks of asyncio: where they are told, who held the lock, and what is left alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import causal_otel
from causal_otel.engine.context import suppress
from causal_otel.patches.locks import LocksOptions
from tests.patches.lock_programs import (
    ASYNCIO,
    KIND,
    LOCK,
    LOOPS,
    PATCHES,
    PLANTED,
    WAIT,
    Kind,
    assert_waited,
    each_kind,
    hold,
    run,
    until,
    use,
    waited_for,
)
from tests.recording import Recording, recording
from tests.slow_machine import assert_at_least
from tests.span_relations import assert_span, attributes, seconds
from tests.waiting import cancelled_after

TIMEOUT = 1.0
"""Runs from before the wait, which is as long as the machine has left of it."""

each_loop = pytest.mark.parametrize("loop", LOOPS)


# -- what is told -----------------------------------------------------------------------------------------------------


@each_loop
@each_kind
def test_a_long_wait_is_a_span(recorded: Recording, kind: Kind, loop: str) -> None:
    """It says how long it was, who had the lock and how many may, with a link to the span of who had it."""
    run(lambda: waited_for(kind), loop)
    found = assert_waited(recorded, kind.name)
    assert found["causal.lock.holder"] == "cache refresh"
    assert found["causal.lock.waiting"] == 0
    assert found.get("causal.lock.size") == kind.size
    (link,) = recorded.only(f"wait {kind.name.partition('.')[2]}").links
    assert dict(link.attributes or {}) == {"causal.link": "holder"}
    assert link.context == recorded.only("hold").get_span_context()


@each_kind
def test_who_waits_first_holds_it_next(recorded: Recording, kind: Kind) -> None:
    """The holder is known too of a lock that was had after waiting, and those before in the queue are counted."""

    async def program() -> None:
        lock = kind.make()
        first = asyncio.create_task(hold(kind, lock, seconds=0), name="first")
        await until(lock.locked)
        second = asyncio.create_task(hold(kind, lock), name="second")
        await first
        await until(lambda: not kind.waiting(lock))
        await asyncio.gather(use(lock), second)

    run(program)
    found = [attributes(span) for span in recorded.spans if KIND in attributes(span)]
    (last,) = (each for each in found if each[WAIT] >= 0.8 * PLANTED)
    assert last["causal.lock.holder"] == "second"


def test_a_hundred_tasks_add_up(recorded: Recording) -> None:
    """Each of a hundred tasks has waited as long as all before it have held the lock, and counts those before it."""
    held, tasks = 0.002, 100

    async def work(number: int, lock: asyncio.Lock) -> None:
        with causal_otel.span("use", {"number": number}):
            async with lock:
                await asyncio.sleep(held)

    async def program() -> None:
        lock = asyncio.Lock()
        await asyncio.gather(*(work(number, lock) for number in range(tasks)))

    run(program)
    by_parent = {span.parent.span_id: span for span in recorded.spans if span.parent is not None}
    uses = [span for span in recorded.spans if span.name == "use"]
    assert len(uses) == tasks
    for before, span in enumerate(sorted(uses, key=lambda span: attributes(span)["number"])):
        wait = by_parent.get(span.get_span_context().span_id)  # type: ignore[union-attr]
        told = attributes(span if wait is None else wait).get(WAIT, 0.0)
        assert_at_least(0.8 * held * before - 0.001, told)
        assert told <= seconds(span)
        if wait is not None:
            assert attributes(wait)["causal.lock.waiting"] == before - 1


def test_short_waits_add_up() -> None:
    """Waits that are no spans are added up on the span that was current, also where each is under a millisecond."""
    each, times = 0.0005, 20

    async def program() -> None:
        lock = asyncio.Lock()

        async def disturb() -> None:
            for _ in range(times):
                async with lock:
                    await until(lambda: LOCK.waiting(lock))
                    await asyncio.sleep(each)
                await asyncio.sleep(0)

        disturbing = asyncio.create_task(disturb())
        with causal_otel.span("use"):
            for _ in range(times):
                await until(lock.locked)
                async with lock:
                    pass
        await disturbing

    with recording({"locks": LocksOptions(slow_plumbing=60.0)}) as recorded:
        run(program)
        found = assert_span(recorded.only(), None)
    assert_at_least(0.8 * each * times, found[WAIT])
    assert set(found) == {WAIT}


def test_waits_at_the_same_time_count_once() -> None:
    """Of gathered calls that wait together, the span of all tells no more than the time that has passed."""

    async def enter(lock: asyncio.Lock) -> None:
        async with lock:
            pass

    async def program() -> None:
        lock = asyncio.Lock()
        holding = asyncio.create_task(hold(LOCK, lock, waiters=10))
        await until(lock.locked)
        with causal_otel.span("use"):
            await asyncio.gather(*(enter(lock) for _ in range(10)))
        await holding

    with recording({"locks": LocksOptions(slow_plumbing=60.0)}) as recorded:
        run(program)
        span = recorded.only("use")
    assert 0.8 * PLANTED <= attributes(span)[WAIT] <= seconds(span)


@each_kind
def test_cancelled(recorded: Recording, kind: Kind) -> None:
    """A wait that is cancelled is marked so and is no error; the lock is had by others as before."""

    async def program() -> None:
        lock = kind.make()
        await lock.acquire()
        await cancelled_after(PLANTED, use(lock))
        lock.release()
        await lock.acquire()

    run(program)
    assert_waited(recorded, kind.name, cancelled=True)


@pytest.mark.parametrize("way", ["wait_for", "timeout"])
def test_timeout(recorded: Recording, way: str) -> None:
    """A wait that times out is marked as cancelled: what failed is the call around it."""

    async def within_timeout(lock: asyncio.Lock) -> None:
        async with asyncio.timeout(TIMEOUT):
            await lock.acquire()

    ways = {"wait_for": lambda lock: asyncio.wait_for(lock.acquire(), TIMEOUT), "timeout": within_timeout}

    async def program() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        with causal_otel.span("use"), pytest.raises(TimeoutError):
            await ways[way](lock)

    run(program)
    assert_waited(recorded, "asyncio.Lock", lasts=0.0, cancelled=True)


def test_wait_for_that_is_in_time(recorded: Recording) -> None:
    """``wait_for(lock.acquire(), ...)`` makes no name up: Python 3.11 acquires in a task that is over at once."""

    async def holding(lock: asyncio.Lock) -> None:
        await asyncio.wait_for(lock.acquire(), 60)
        await until(lambda: LOCK.waiting(lock))
        await asyncio.sleep(PLANTED)
        lock.release()

    async def program() -> None:
        lock = asyncio.Lock()
        task = asyncio.create_task(holding(lock), name="cache refresh")
        await until(lock.locked)
        await asyncio.gather(use(lock), task)

    run(program)
    assert assert_waited(recorded, "asyncio.Lock").get("causal.lock.holder") in (None, "cache refresh")


# -- what is not ------------------------------------------------------------------------------------------------------


@each_kind
def test_a_lock_that_is_free_tells_nothing(recorded: Recording, kind: Kind) -> None:
    """There is no span and no attribute, whatever it is used for."""

    async def program() -> None:
        lock = kind.make()
        with causal_otel.span("use"):
            for _ in range(100):
                async with lock:
                    await asyncio.sleep(0)

    run(program)
    assert assert_span(recorded.only(), None) == {}


@each_kind
def test_outside_of_any_span(recorded: Recording, kind: Kind) -> None:
    """A wait begins no trace."""

    async def enter(lock: Any) -> None:
        async with lock:
            pass

    async def program() -> None:
        lock = kind.make()
        holding = asyncio.create_task(hold(kind, lock))
        await until(lock.locked)
        await asyncio.gather(enter(lock), holding)

    run(program)
    assert recorded.names() == ["hold"]


def test_below_a_span_that_has_ended(recorded: Recording) -> None:
    """A task that has outlived the span that it was started in tells nothing, whenever that span ended."""

    async def enter(lock: asyncio.Lock) -> None:
        async with lock:
            pass

    async def program() -> None:
        lock = asyncio.Lock()
        holding = asyncio.create_task(hold(LOCK, lock, waiters=2))
        await until(lock.locked)
        with causal_otel.span("request"):
            waiting = asyncio.create_task(enter(lock))
            await until(lambda: LOCK.waiting(lock))
            later = asyncio.create_task(enter(lock))  # begins when the span has ended
        await asyncio.gather(holding, waiting, later)

    run(program)
    assert sorted(recorded.names()) == ["hold", "request"]
    assert attributes(recorded.only("request")) == {}


def test_a_trace_that_is_not_sampled() -> None:
    """Nothing is recorded, and the lock works."""
    with recording(PATCHES, ALWAYS_OFF) as recorded:
        run(lambda: waited_for(LOCK))
        assert recorded.spans == []


def test_suppressed(recorded: Recording) -> None:
    """Where nothing is to be traced, no wait is."""

    async def enter(lock: asyncio.Lock) -> None:
        with causal_otel.span("use"), suppress():
            async with lock:
                pass

    async def program() -> None:
        lock = asyncio.Lock()
        holding = asyncio.create_task(hold(LOCK, lock))
        await until(lock.locked)
        await asyncio.gather(enter(lock), holding)

    run(program)
    assert attributes(recorded.only("use")) == {}


def test_excluded() -> None:
    """The option ``excluded`` names kinds that nothing is told of."""
    with recording({"locks": LocksOptions(excluded=("*.Lock",), slow_plumbing=0.01)}) as recorded:
        run(lambda: waited_for(LOCK))
        run(lambda: waited_for(ASYNCIO[1]))
        assert [name for name in recorded.names() if name.startswith("wait")] == ["wait Semaphore"]


def test_how_slow_is_slow() -> None:
    """``slow_plumbing`` says from which length on a wait is a span; a shorter one is on the span around it."""
    with recording({"locks": LocksOptions(slow_plumbing=60.0)}) as recorded:
        run(lambda: waited_for(LOCK))
        assert_at_least(0.8 * PLANTED, attributes(recorded.only("use"))[WAIT])
        assert sorted(recorded.names()) == ["hold", "use"]


def test_another_provider() -> None:
    """On the spans of another provider it is told as on ours."""
    provider, exporter = SdkProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    installed = causal_otel.install(patches=PATCHES, tracer_provider=provider)
    try:
        run(lambda: waited_for(LOCK))
    finally:
        installed.uninstall()
        provider.shutdown()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    found = assert_span(spans["wait Lock"], spans["use"], lasts=0.8 * PLANTED)
    assert found["causal.lock.holder"] == "cache refresh"
    assert spans["wait Lock"].links[0].context == spans["hold"].get_span_context()
