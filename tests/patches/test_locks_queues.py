"""Waits for items of queues, for room in them, and for conditions of asyncio."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

import causal_otel
from causal_otel.patches.locks import LocksOptions
from tests.patches.lock_programs import LOOPS, PLANTED, WAIT, assert_waited, run, until
from tests.recording import Recording
from tests.span_relations import assert_span, attributes

PATCHES = {"locks": LocksOptions(slow_plumbing=0.01)}

each_loop = pytest.mark.parametrize("loop", LOOPS)
each_queue = pytest.mark.parametrize("make", [asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue])


@each_loop
@each_queue
def test_an_item_is_waited_for(recorded: Recording, make: Any, loop: str) -> None:
    """It says how long it took until there was an item, and how many wanted one already."""

    async def program() -> None:
        queue: asyncio.Queue[int] = make()
        first = asyncio.create_task(queue.get())
        await until(lambda: queue._getters)  # type: ignore[attr-defined]

        async def get() -> int:
            with causal_otel.span("use"):
                return await queue.get()

        second = asyncio.create_task(get())
        await until(lambda: len(queue._getters) == 2)  # type: ignore[attr-defined]
        await asyncio.sleep(PLANTED)
        queue.put_nowait(1)
        queue.put_nowait(2)
        assert [await first, await second] == ([2, 1] if make is asyncio.LifoQueue else [1, 2])

    run(program, loop)
    found = assert_waited(recorded, "asyncio.Queue.get")
    assert found["causal.lock.waiting"] == 1
    assert "causal.lock.holder" not in found


@each_loop
@each_queue
def test_room_is_waited_for(recorded: Recording, make: Any, loop: str) -> None:
    """It says how long a queue was full, how many items it takes and how many had one to put already."""

    async def program() -> None:
        queue: asyncio.Queue[int] = make(maxsize=2)
        await queue.put(1)
        await queue.put(2)

        async def put() -> None:
            with causal_otel.span("use"):
                await queue.put(item=3)

        putting = asyncio.create_task(put())
        await until(lambda: queue._putters)  # type: ignore[attr-defined]
        await asyncio.sleep(PLANTED)
        taken = [queue.get_nowait()]
        await putting
        assert sorted([*taken, queue.get_nowait(), queue.get_nowait()]) == [1, 2, 3]

    run(program, loop)
    found = assert_waited(recorded, "asyncio.Queue.put")
    assert (found["causal.lock.waiting"], found["causal.lock.size"]) == (0, 2)


def test_nobody_waits(recorded: Recording) -> None:
    """Of a queue that has items, and room, nothing is told."""

    async def program() -> None:
        queue = asyncio.Queue[int](1)
        with causal_otel.span("use"):
            for number in range(100):
                await queue.put(number)
                assert await queue.get() == number

    run(program)
    assert assert_span(recorded.only(), None) == {}


def test_a_consumer_that_a_request_has_started(recorded: Recording) -> None:
    """A consumer that outlives the request is no part of its trace; nor is one outside of any span."""

    async def consume(queue: asyncio.Queue[int]) -> None:
        while await queue.get():
            queue.task_done()

    async def program() -> None:
        queue = asyncio.Queue[int]()
        outside = asyncio.create_task(consume(queue))
        with causal_otel.span("request"):
            consumer = asyncio.create_task(consume(queue))
            await until(lambda: len(queue._getters) == 2)  # type: ignore[attr-defined]
        for item in (1, 1, 1, 0, 0):
            await asyncio.sleep(PLANTED / 5)
            queue.put_nowait(item)
        await asyncio.gather(consumer, outside)

    run(program)
    assert assert_span(recorded.only(), None) == {}


@each_loop
def test_a_get_is_cancelled(recorded: Recording, loop: str) -> None:
    """``wait_for(queue.get(), ...)`` that times out is marked as cancelled, and the queue loses nothing."""

    async def program() -> None:
        queue = asyncio.Queue[int]()
        with causal_otel.span("use"):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(queue.get(), 1.0)
            queue.put_nowait(1)
            assert await queue.get() == 1

    run(program, loop)
    assert_waited(recorded, "asyncio.Queue.get", lasts=0.0, cancelled=True)


if sys.version_info >= (3, 13):

    def test_a_queue_is_shut_down(recorded: Recording) -> None:
        """Who waits for an item then is told by an exception, which is no error."""

        async def program() -> None:
            queue = asyncio.Queue[int]()

            async def get() -> None:
                with causal_otel.span("use"), pytest.raises(asyncio.QueueShutDown):  # type: ignore[attr-defined]
                    await queue.get()

            getting = asyncio.create_task(get())
            await until(lambda: queue._getters)  # type: ignore[attr-defined]
            await asyncio.sleep(PLANTED)
            queue.shutdown()  # type: ignore[attr-defined]
            await getting

        run(program)
        assert_waited(recorded, "asyncio.Queue.get")


# -- conditions -------------------------------------------------------------------------------------------------------


@each_loop
def test_a_condition_is_waited_for(recorded: Recording, loop: str) -> None:
    """Until it is notified and has its lock back: one wait, of which the lock is no other."""

    async def program() -> None:
        condition = asyncio.Condition()

        async def wait() -> None:
            with causal_otel.span("use"):
                async with condition:
                    assert await condition.wait() is True
                    assert condition.locked()

        waiting = asyncio.create_task(wait())
        await until(lambda: condition._waiters)
        async with condition:
            await asyncio.sleep(PLANTED / 2)
            condition.notify()
            await asyncio.sleep(PLANTED / 2)
        await waiting

    run(program, loop)
    assert assert_waited(recorded, "asyncio.Condition")["causal.lock.waiting"] == 0
    assert sorted(recorded.names()) == ["use", "wait Condition"]


def test_a_condition_that_has_no_lock(recorded: Recording) -> None:
    """The error is asyncio's own, and nothing is told of it."""

    async def program() -> None:
        with causal_otel.span("use"), pytest.raises(RuntimeError, match=r"^cannot wait on un-acquired lock$"):
            await asyncio.Condition().wait()

    run(program)
    assert assert_span(recorded.only(), None) == {}


def test_a_condition_is_cancelled(recorded: Recording) -> None:
    """It is marked so, and has its lock back before."""

    async def program() -> None:
        condition = asyncio.Condition()

        async def wait() -> None:
            with causal_otel.span("use"):
                async with condition:
                    try:
                        await condition.wait_for(lambda: False)
                    finally:
                        assert condition.locked()

        waiting = asyncio.create_task(wait())
        await until(lambda: condition._waiters)
        await asyncio.sleep(PLANTED)
        waiting.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not condition.locked()

    run(program)
    span = recorded.only("wait Condition")
    assert assert_span(span, recorded.only("use").get_span_context(), lasts=PLANTED, cancelled=True)[WAIT] >= PLANTED
    assert attributes(recorded.only("use")) == {"causal.cancelled": True}


@pytest.mark.parametrize("shared", [False, True])
def test_the_lock_of_a_condition(recorded: Recording, shared: bool) -> None:
    """Waiting to enter one is waiting for its lock, with its holder, whoever has made that."""

    async def program() -> None:
        condition = asyncio.Condition(asyncio.Lock()) if shared else asyncio.Condition()

        async def enter() -> None:
            with causal_otel.span("use"):
                async with condition:
                    condition.notify_all()

        async def holding() -> None:
            async with condition:
                await until(lambda: condition._lock._waiters)  # type: ignore[attr-defined]
                await asyncio.sleep(PLANTED)

        task = asyncio.create_task(holding(), name="cache refresh")
        await until(condition.locked)
        await asyncio.gather(task, enter())

    run(program)
    assert assert_waited(recorded, "asyncio.Lock")["causal.lock.holder"] == "cache refresh"


def test_a_barrier(recorded: Recording) -> None:
    """Waiting for the others at a barrier is waiting for its condition."""

    async def program() -> None:
        barrier = asyncio.Barrier(2)

        async def first() -> None:
            with causal_otel.span("use"):
                await barrier.wait()

        waiting = asyncio.create_task(first())
        await until(lambda: barrier.n_waiting)
        await asyncio.sleep(PLANTED)
        await asyncio.gather(waiting, barrier.wait())

    run(program)
    assert_waited(recorded, "asyncio.Condition")
