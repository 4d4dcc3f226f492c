"""Locks of asyncio work as they do without us: order, results, errors, subclasses, loops."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

import causal_otel
from tests.patches.lock_programs import (
    LOCK,
    PATCHES,
    Kind,
    assert_waited,
    each_kind,
    hold,
    run,
    until,
    use,
    waited_for,
    waiters,
)
from tests.recording import Recording, recording


@each_kind
@pytest.mark.parametrize("patched", [True, False])
def test_first_come_first_served(kind: Kind, patched: bool) -> None:
    """Those who wait have the lock in the order in which they came; one that gives up is passed over."""

    async def program() -> list[int]:
        lock, order = kind.make(), list[int]()

        async def enter(number: int) -> None:
            with causal_otel.span("use"):
                async with lock:
                    order.append(number)
                    await asyncio.sleep(0)

        async with lock:
            tasks = [asyncio.create_task(enter(number)) for number in range(10)]
            await until(lambda: kind.waiting(lock) == len(tasks))
            for number in (0, 4, 9):
                tasks[number].cancel()
            await until(lambda: kind.waiting(lock) == len(tasks) - 3)
            late = asyncio.create_task(enter(10))
        await asyncio.gather(*tasks, late, return_exceptions=True)
        assert not lock.locked()
        return order

    with recording(PATCHES if patched else []):
        assert run(program) == [1, 2, 3, 5, 6, 7, 8, 10]


@each_kind
def test_what_is_returned(recorded: Recording, kind: Kind) -> None:
    """acquire() is True, at once and after waiting; release() is None."""

    async def program() -> None:
        lock = kind.make()
        assert await lock.acquire() is True
        with causal_otel.span("use"):
            second = asyncio.create_task(lock.acquire())
            await until(lambda: kind.waiting(lock))
        assert lock.release() is None
        assert await second is True
        assert lock.release() is None

    run(program)


@pytest.mark.parametrize("name", ["Lock", "BoundedSemaphore"])
def test_released_once_too_often(recorded: Recording, name: str) -> None:
    """The error is asyncio's own, and the lock works as before."""
    expected = {"Lock": (RuntimeError, "Lock is not acquired."), "BoundedSemaphore": (ValueError, "released too many")}
    kind, text = expected[name]

    async def program() -> None:
        lock = getattr(asyncio, name)()
        with pytest.raises(kind, match=text):
            lock.release()
        async with lock:
            assert lock.locked()

    run(program)


@each_kind
def test_a_lock_of_another_loop(recorded: Recording, kind: Kind) -> None:
    """It is refused with asyncio's own error where it is waited for, and can be had where it is free."""
    lock = kind.make()
    run(lambda: waited_for(kind._replace(make=lambda: lock)))

    async def elsewhere() -> None:
        async with lock:
            with causal_otel.span("use"), pytest.raises(RuntimeError, match="is bound to a different event loop"):
                await lock.acquire()

    run(elsewhere)
    assert not lock.locked()


@each_kind
def test_without_a_loop(recorded: Recording, kind: Kind) -> None:
    """A lock that is free can be had in a coroutine that no loop runs."""
    lock = kind.make()
    for _ in range(2):
        with pytest.raises(StopIteration) as done:
            lock.acquire().send(None)
        assert done.value.value is True
        assert lock.locked()
        lock.release()
        assert not lock.locked()


if sys.version_info >= (3, 12):

    def test_eager_tasks(recorded: Recording) -> None:
        """A task that runs before anybody awaits it has the lock, and waits for it, as any other."""

        async def program() -> None:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
            lock = asyncio.Lock()
            holding = asyncio.create_task(hold(LOCK, lock), name="cache refresh")
            assert lock.locked()
            using = asyncio.create_task(use(lock))
            assert LOCK.waiting(lock) == 1
            await asyncio.gather(holding, using)

        run(program)
        assert assert_waited(recorded, "asyncio.Lock")["causal.lock.holder"] == "cache refresh"


def test_a_cancellation_says_why(recorded: Recording) -> None:
    """The exception is the one that cancelled the wait, with its message."""

    async def program() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        task = asyncio.create_task(use(lock))
        await until(lambda: LOCK.waiting(lock))
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match=r"^enough$"):
            await task
        assert not LOCK.waiting(lock)

    run(program)


def test_a_lock_keeps_no_task_alive(recorded: Recording) -> None:
    """A task that had a lock goes when it is over, so that asyncio tells of an exception that nobody has asked for."""
    told: list[str] = []

    async def fail(lock: Any) -> None:
        async with lock:
            await asyncio.sleep(0)
        raise ValueError("nobody asks")

    async def program() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        for lock in (asyncio.Lock(), asyncio.Semaphore()):
            tasks = [weakref.ref(asyncio.create_task(fail(lock))) for _ in range(2)]
            await until(lambda: all(task() is None or task().done() for task in tasks))  # type: ignore[union-attr]  # noqa: B023
            gc.collect()
            assert [task() for task in tasks] == [None, None]
            assert not lock.locked()

    run(program)
    assert told == ["Task exception was never retrieved"] * 4


@each_kind
def test_a_loop_in_another_thread(recorded: Recording, kind: Kind) -> None:
    """A task that runs in another thread meanwhile is never taken for the one that has the lock."""
    begun, go_on = threading.Event(), threading.Event()

    async def busy() -> None:
        with causal_otel.span("busy"):
            begun.set()
            go_on.wait(60)  # it runs, and lets other threads run

    thread = threading.Thread(target=lambda: run(busy))
    thread.start()
    assert begun.wait(60)
    try:
        run(lambda: waited_for(kind))
    finally:
        go_on.set()
        thread.join(60)
    found = assert_waited(recorded, kind.name)
    (wait,) = (span for span in recorded.spans if span.name.startswith("wait "))
    known = sys.version_info >= (3, 12)
    assert found.get("causal.lock.holder") == ("cache refresh" if known else None)
    assert len(wait.links) == known


class Counting(asyncio.Lock):
    """Adds to both methods, as a program may."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    async def acquire(self) -> Any:
        self.calls.append("acquire")
        return await super().acquire()

    def release(self) -> None:
        self.calls.append("release")
        super().release()


class Closed(asyncio.Semaphore):
    """Is never free until it is opened, whatever its value is."""

    closed = True

    def locked(self) -> bool:
        return self.closed or super().locked()


class Reserved(asyncio.Queue[int]):
    """Counts itself empty while there is one item."""

    def empty(self) -> bool:
        return self.qsize() < 2


def test_subclasses(recorded: Recording) -> None:
    """What a subclass overrides is asked as without us, once."""

    async def program() -> None:
        counting = Counting()
        await waited_for(LOCK._replace(make=lambda: counting))
        assert counting.calls == ["acquire", "acquire", "release", "release"]
        closed = Closed(1)
        waits = asyncio.create_task(closed.acquire())
        await until(lambda: waiters(closed))
        closed.closed = False
        closed.release()
        assert await waits is True
        reserved = Reserved()
        reserved.put_nowait(1)
        getting = asyncio.create_task(reserved.get())
        await until(lambda: reserved._getters)  # type: ignore[attr-defined]
        reserved.put_nowait(2)
        assert await getting == 1

    run(program)
    assert assert_waited(recorded, "asyncio.Lock")["causal.lock.holder"] == "cache refresh"


def test_mocks() -> None:
    """Mocks that are made from asyncio's classes know which of their methods are awaited."""
    with recording(PATCHES):
        assert isinstance(MagicMock(spec=asyncio.Queue).get, AsyncMock)
        assert isinstance(MagicMock(spec=asyncio.Lock).acquire, AsyncMock)
