"""Locks of ``threading`` that are awaited in a thread."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio._backends import _asyncio, _trio
from starlette.concurrency import run_in_threadpool

import causal_otel
from causal_otel.instrument import jobs
from causal_otel.patches.locks import LocksOptions, thread_locks
from tests.patches.lock_programs import LOOPS, PLANTED, WAIT, assert_waited, run, until
from tests.recording import Recording, recording
from tests.slow_machine import assert_at_least
from tests.span_relations import assert_span, attributes

PATCHES = {"locks": LocksOptions(slow_plumbing=0.01), "threads": True}

Way = Callable[..., Coroutine[Any, Any, Any]]


async def _in_executor(function: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


async def _in_a_pool(function: Callable[..., Any], *args: Any) -> Any:
    with ThreadPoolExecutor(1) as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, functools.partial(function, *args))


WAYS: dict[str, tuple[Way, tuple[str, ...]]] = {
    "to_thread": (asyncio.to_thread, tuple(LOOPS)),
    "run_in_executor": (_in_executor, tuple(LOOPS)),
    "a pool": (_in_a_pool, tuple(LOOPS)),
    "anyio": (anyio.to_thread.run_sync, (*LOOPS, "trio")),
    "starlette": (run_in_threadpool, (*LOOPS, "trio")),
}
CASES = [pytest.param(way, loop, id=f"{name}-{loop}") for name, (way, loops) in WAYS.items() for loop in loops]
LOCKS: dict[str, Callable[[], Any]] = {
    "threading.Lock": threading.Lock,
    "threading.RLock": threading.RLock,
    "threading.Semaphore": threading.Semaphore,
    "threading.BoundedSemaphore": threading.BoundedSemaphore,
}


def _waiting_threads() -> bool:
    """Whether a thread is in the ``acquire()`` of a lock that is told."""
    return any(map(_is_inside, sys._current_frames().values()))


def _is_inside(frame: Any) -> bool:
    while frame is not None:
        if frame.f_code is thread_locks._Acquire.__call__.__code__:
            return True
        frame = frame.f_back
    return False


async def _use(lock: Any, way: Way) -> None:
    with causal_otel.span("use"):
        assert await way(lock.acquire) is True


async def _held(lock: Any, use: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Have ``lock``, until somebody has waited for it in a thread for as long as planted."""
    lock.acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(use)
        await until(_waiting_threads)
        await anyio.sleep(PLANTED)
        lock.release()


@pytest.mark.parametrize(("way", "loop"), CASES)
def test_a_long_wait_is_a_span(recorded: Recording, way: Way, loop: str) -> None:
    """It says how long the thread waited for the lock, whoever has handed it on."""
    lock = threading.Lock()
    run(lambda: _held(lock, lambda: _use(lock, way)), loop)
    assert "causal.lock.acquired" not in assert_waited(recorded, "threading.Lock")
    assert sorted(recorded.names()) == ["use", "wait Lock"]
    assert lock.locked()


@pytest.mark.parametrize("kind", LOCKS)
def test_each_kind(recorded: Recording, kind: str) -> None:
    """Each is called as in ``threading``."""
    lock = LOCKS[kind]()
    run(lambda: _held(lock, lambda: _use(lock, asyncio.to_thread)))
    assert assert_waited(recorded, kind).get("causal.lock.size") == (1 if "Bounded" in kind else None)


def test_a_wait_for_the_thread_is_another(recorded: Recording) -> None:
    """What a job waited until a thread was free is no wait for the lock: that began later."""

    def occupy() -> None:
        with causal_otel.span("occupied"):
            go_on.wait(60)

    lock, go_on = threading.Lock(), threading.Event()

    async def program(executor: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        lock.acquire()
        with causal_otel.span("use"):
            occupied = loop.run_in_executor(executor, occupy)
            waits = loop.run_in_executor(executor, lock.acquire)
            await asyncio.sleep(PLANTED)
            go_on.set()
            await occupied
            await until(_waiting_threads)
            await asyncio.sleep(PLANTED)
            lock.release()
            assert await waits is True

    with ThreadPoolExecutor(1) as executor:
        run(lambda: program(executor))
    assert_waited(recorded, "threading.Lock")
    wait, occupied = recorded.only("wait Lock"), recorded.only("occupied")
    assert wait.start_time >= occupied.end_time  # type: ignore[operator]


@pytest.mark.parametrize(
    ("way", "loop"),
    [
        *(pytest.param(WAYS["to_thread"][0], loop, id=f"to_thread-{loop}") for loop in LOOPS),
        *(
            pytest.param(functools.partial(anyio.to_thread.run_sync, abandon_on_cancel=True), loop, id=f"anyio-{loop}")
            for loop in (*LOOPS, "trio")
        ),
    ],
)
def test_given_up(recorded: Recording, way: Way, loop: str) -> None:
    """Who awaits it gives up, and the wait is over, marked as cancelled; the thread goes on and tells nothing more."""
    lock = threading.Lock()
    lock.acquire()

    async def give_up(scope: anyio.CancelScope) -> None:
        await until(_waiting_threads)
        await anyio.sleep(PLANTED)
        scope.cancel()

    async def program() -> None:
        async with anyio.create_task_group() as tasks:
            with causal_otel.span("use"):
                with anyio.CancelScope() as scope:
                    tasks.start_soon(give_up, scope)
                    await way(lock.acquire)
                assert scope.cancelled_caught
                lock.release()
                await until(lambda: lock.locked() and not _waiting_threads())

    run(program, loop)
    assert_waited(recorded, "threading.Lock", cancelled=True)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_timeout_of_the_locks_own(recorded: Recording, loop: str) -> None:
    """``acquire(timeout=...)`` that gives up is False, and says so."""
    lock = threading.Lock()
    lock.acquire()

    async def program() -> None:
        with causal_otel.span("use"):
            assert await asyncio.to_thread(lock.acquire, timeout=PLANTED) is False

    run(program, loop)
    assert assert_waited(recorded, "threading.Lock")["causal.lock.acquired"] is False


def test_errors_are_the_locks_own(recorded: Recording) -> None:
    """What acquire() raises comes as without us."""

    async def program() -> None:
        lock = threading.Lock()
        for way in (asyncio.to_thread, _in_executor, anyio.to_thread.run_sync):
            with pytest.raises(ValueError, match="can't specify a timeout for a non-blocking call"):
                await way(functools.partial(lock.acquire, blocking=False, timeout=5))
        with causal_otel.span("use"), pytest.raises(TypeError):
            await WAYS["to_thread"][0](lock.acquire, "a", "b", "c")

    run(program)


def test_a_job_that_is_cancelled_before_it_began(recorded: Recording) -> None:
    """``cancel()`` of what a pool has returned says what it said, and nothing is told of a job that never ran."""
    lock, go_on = threading.Lock(), threading.Event()
    with ThreadPoolExecutor(1) as executor, causal_otel.span("use"):
        executor.submit(go_on.wait, 60)
        waits = executor.submit(lock.acquire)
        assert waits.cancel() is True
        go_on.set()
    assert waits.cancelled()
    assert assert_span(recorded.only(), None) == {}


def test_a_job_that_runs_cannot_be_cancelled(recorded: Recording) -> None:
    """``cancel()`` is False then, and the wait goes on."""
    lock = threading.Lock()
    lock.acquire()

    async def program(executor: ThreadPoolExecutor) -> None:
        with causal_otel.span("use"):
            waits = executor.submit(lock.acquire)
            await until(_waiting_threads)
            assert waits.cancel() is False
            await asyncio.sleep(PLANTED)
            lock.release()
            assert waits.result(60) is True

    with ThreadPoolExecutor(1) as executor:
        run(lambda: program(executor))
    assert_waited(recorded, "threading.Lock")


@pytest.mark.parametrize("loop", [*LOOPS, "trio"])
def test_other_jobs(recorded: Recording, loop: str) -> None:
    """A job that is no acquire() of a lock is none of ours, whatever it is called."""

    class Store:
        def acquire(self) -> str:
            return "acquired"

    async def program() -> None:
        with causal_otel.span("use"):
            ways = [anyio.to_thread.run_sync] if loop == "trio" else [way for way, _ in WAYS.values()]
            for way in ways:
                assert await way(Store().acquire) == "acquired"
                assert await way(functools.partial(len, "four")) == 4
                assert await way(threading.Event().is_set) is False

    run(program, loop)
    assert assert_span(recorded.only(), None) == {}


@pytest.mark.parametrize("loop", [*LOOPS, "trio"])
def test_outside_of_any_span(recorded: Recording, loop: str) -> None:
    """A wait begins no trace."""
    lock = threading.Lock()

    async def program() -> None:
        lock.acquire()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(WAYS["anyio"][0], lock.acquire)
            await anyio.sleep(PLANTED / 5)
            lock.release()

    run(program, loop)
    assert recorded.spans == []


def test_a_full_pool_of_a_server() -> None:
    """Beside the patch ``asgi``, which tells what a job waited for a thread, the wait for the lock is told as well."""

    async def program(lock: threading.Lock) -> None:
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        lock.acquire()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_use, threading.Lock(), run_in_threadpool)
            await anyio.lowlevel.checkpoint()
            with causal_otel.span("second"):
                tasks.start_soon(run_in_threadpool, lock.acquire)
                await until(_waiting_threads)
                await anyio.sleep(PLANTED)
                lock.release()
                await until(lambda: lock.locked() and not limiter.borrowed_tokens)

    with recording({**PATCHES, "asgi": True}) as both:
        run(lambda: program(threading.Lock()))
        wait = both.only("wait Lock")
        assert_at_least(0.8 * PLANTED, assert_span(wait, both.only("second"), lasts=0.8 * PLANTED)[WAIT])
        assert WAIT not in attributes(both.only("second"))


def test_what_is_there_comes_back() -> None:
    """uninstall() puts the very objects back, and nobody looks at jobs any more."""

    def found() -> list[Any]:
        return [
            vars(_asyncio.AsyncIOBackend)["run_sync_in_worker_thread"],
            vars(_trio.TrioBackend)["run_sync_in_worker_thread"],
            anyio.to_thread.run_sync,
        ]

    before = found()
    with recording(PATCHES):
        assert _asked() is not None
        assert [each is other for each, other in zip(found(), before, strict=True)] == [False, False, True]
    assert _asked() is None
    assert all(each is other for each, other in zip(found(), before, strict=True))


def _asked() -> object:
    return jobs.ask
