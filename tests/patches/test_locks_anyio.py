"""Waits for locks of anyio, on asyncio, uvloop and trio."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import anyio
import anyio.lowlevel
import pytest
from anyio._backends import _asyncio, _trio

import causal_otel
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.locks import PATCH, LocksOptions
from causal_otel.patches.locks.anyio_locks import TARGETS
from tests.patches.lock_programs import LOOPS, PLANTED, Kind, assert_waited, hold, run, until, use, waited_for
from tests.recording import Recording, recording
from tests.span_relations import assert_span

PATCHES = {"locks": LocksOptions(slow_plumbing=0.01)}


def _waiting(lock: Any) -> int:
    found: int = lock.statistics().tasks_waiting
    return found


def _is_free(lock: Any) -> bool:
    if isinstance(lock, anyio.Lock):
        return not lock.locked()
    return bool(lock.value if isinstance(lock, anyio.Semaphore) else lock.available_tokens)


KINDS = [
    Kind("anyio.Lock", anyio.Lock, _waiting, _is_free),
    Kind("anyio.Lock", lambda: anyio.Lock(fast_acquire=True), _waiting, _is_free),
    Kind("anyio.Semaphore", lambda: anyio.Semaphore(1, max_value=1), _waiting, _is_free, 1),
    Kind("anyio.Semaphore", lambda: anyio.Semaphore(1, fast_acquire=True), _waiting, _is_free),
    Kind("anyio.CapacityLimiter", lambda: anyio.CapacityLimiter(1), _waiting, _is_free, 1),
]

each_loop = pytest.mark.parametrize("loop", [*LOOPS, "trio"])
each_kind = pytest.mark.parametrize("kind", KINDS, ids=["lock", "fast lock", "semaphore", "fast semaphore", "limiter"])


@each_loop
@each_kind
def test_a_long_wait_is_a_span(recorded: Recording, kind: Kind, loop: str) -> None:
    """It says how long it was, and who had the lock, with a link to the span of who had it."""
    run(lambda: waited_for(kind), loop)
    found = assert_waited(recorded, kind.name)
    assert found["causal.lock.waiting"] == 0
    assert found.get("causal.lock.size") == kind.size
    links = recorded.only(f"wait {kind.name.partition('.')[2]}").links
    if kind.name == "anyio.Semaphore":  # which does not know who has it
        assert "causal.lock.holder" not in found
        assert links == ()
    else:
        assert found["causal.lock.holder"] == "cache refresh"
        assert [link.context for link in links] == [recorded.only("hold").get_span_context()]


@each_loop
@each_kind
def test_a_lock_of_before_the_loop(recorded: Recording, kind: Kind, loop: str) -> None:
    """A lock that was made outside of a loop becomes one of that loop, and is told as any other."""
    lock = kind.make()
    run(lambda: waited_for(kind._replace(make=lambda: lock)), loop)
    assert_waited(recorded, kind.name)


@each_loop
@each_kind
def test_a_lock_that_is_free_tells_nothing(recorded: Recording, kind: Kind, loop: str) -> None:
    """There is no span and no attribute, whatever it is used for."""

    async def program() -> None:
        lock = kind.make()
        with causal_otel.span("use"):
            for _ in range(100):
                async with lock:
                    await anyio.lowlevel.checkpoint()

    run(program, loop)
    assert assert_span(recorded.only(), None) == {}


@each_loop
@each_kind
def test_a_timeout(recorded: Recording, kind: Kind, loop: str) -> None:
    """A wait that is over when its scope's time is up is marked as cancelled; the lock is had by others as before."""

    async def program() -> None:
        lock = kind.make()
        async with anyio.create_task_group() as tasks, lock:

            async def give_up() -> None:
                with causal_otel.span("use"), scope:
                    async with lock:
                        raise AssertionError("it was not free")

            scope = anyio.CancelScope()
            tasks.start_soon(give_up)
            await until(lambda: _waiting(lock))
            await anyio.sleep(PLANTED)
            scope.deadline = anyio.current_time()
            await until(lambda: scope.cancelled_caught)
        assert _is_free(lock)
        async with lock:
            assert not _is_free(lock)

    run(program, loop)
    assert_waited(recorded, kind.name, cancelled=True)


@each_loop
@each_kind
def test_first_come_first_served(recorded: Recording, kind: Kind, loop: str) -> None:
    """Those who wait have the lock in the order in which they came."""

    async def program() -> list[int]:
        lock, order = kind.make(), list[int]()

        async def enter(number: int) -> None:
            with causal_otel.span("use"):
                async with lock:
                    order.append(number)

        async with anyio.create_task_group() as tasks, lock:
            for number in range(5):
                tasks.start_soon(enter, number)
                await until(lambda: _waiting(lock) == number + 1)  # noqa: B023  # over before the next one
        return order

    assert run(program, loop) == list(range(5))


@each_loop
@pytest.mark.parametrize("kind", [KINDS[0], KINDS[4]], ids=["lock", "limiter"])
def test_had_already(recorded: Recording, kind: Kind, loop: str) -> None:
    """Who has it and asks again is refused with anyio's own error, and nothing is told."""

    async def program() -> None:
        lock = kind.make()
        with causal_otel.span("use"):
            async with lock:
                with pytest.raises(RuntimeError, match="already"):
                    await lock.acquire()

    run(program, loop)
    assert assert_span(recorded.only(), None) == {}


@each_loop
def test_on_behalf_of_something(recorded: Recording, loop: str) -> None:
    """A token of a limiter may belong to anything: that has no name, and who waits is told all the same."""

    async def program() -> None:
        limiter = anyio.CapacityLimiter(1)
        await limiter.acquire_on_behalf_of("somebody")

        async def wait() -> None:
            with causal_otel.span("use"):
                await limiter.acquire_on_behalf_of("somebody else")
                limiter.release_on_behalf_of("somebody else")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await until(lambda: _waiting(limiter))
            await anyio.sleep(PLANTED)
            limiter.release_on_behalf_of("somebody")

    run(program, loop)
    assert "causal.lock.holder" not in assert_waited(recorded, "anyio.CapacityLimiter")


@each_loop
def test_several_tokens(recorded: Recording, loop: str) -> None:
    """Of a limiter that several have at a time it is told how many may, and not which of them."""

    async def program() -> None:
        kind = Kind("anyio.CapacityLimiter", lambda: anyio.CapacityLimiter(2), _waiting, _is_free)
        limiter = kind.make()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: hold(kind, limiter))
            tasks.start_soon(lambda: hold(kind, limiter))
            await until(lambda: limiter.borrowed_tokens == 2)
            tasks.start_soon(use, limiter)

    run(program, loop)
    found = assert_waited(recorded, "anyio.CapacityLimiter")
    assert found["causal.lock.size"] == 2
    assert "causal.lock.holder" not in found


@each_loop
def test_outside_of_any_span(recorded: Recording, loop: str) -> None:
    """A wait begins no trace."""

    async def program() -> None:
        lock = anyio.Lock()

        async def enter() -> None:
            async with lock:
                pass

        async with anyio.create_task_group() as tasks, lock:
            tasks.start_soon(enter)
            await until(lambda: _waiting(lock))
            await anyio.sleep(PLANTED)

    run(program, loop)
    assert recorded.spans == []


def test_what_is_there_comes_back() -> None:
    """uninstall() puts the very objects back; meanwhile they are known to be coroutine functions."""

    def found() -> list[Any]:
        modules = {each.__name__: each for each in (_asyncio, _trio)}
        paths = [(modules[target.module], target.attribute.split(".")) for target in TARGETS]
        return [vars(getattr(module, owner))[name] for module, (owner, name) in paths]

    before = found()
    with recording(PATCHES):
        placed = found()
        assert not {*map(id, placed)} & {*map(id, before)}
        assert all(map(_is_async, placed))
        assert isinstance(MagicMock(spec=_asyncio.Lock).acquire, AsyncMock)
    assert [*map(id, found())] == [*map(id, before)]
    assert {*TARGETS} <= {*PATCH.targets}


def _is_async(function: Any) -> bool:
    """As Starlette, FastAPI and mocks ask."""
    if sys.version_info >= (3, 12):
        return inspect.iscoroutinefunction(function)
    return asyncio.iscoroutinefunction(function)  # noqa: TID251  # it is the one that knows of marks there


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.module}.{target.attribute}")
def test_attributes_that_are_gone(recorded: Recording, target: Wrap) -> None:
    """A version whose locks have other attributes is called as it is, and nothing is told."""
    tracing: Tracing[Any] = Tracing(recorded.tracer, LocksOptions(slow_plumbing=0.01), lambda timeout: True)

    async def original(lock: object, *borrower: object) -> tuple[object, ...]:
        await asyncio.sleep(PLANTED)
        return (lock, *borrower)

    given = (object(), "somebody") if target.attribute.endswith("_of") else (object(),)

    async def program() -> None:
        with causal_otel.span("use"):
            assert await target.wrap(tracing, original)(*given) == given

    run(program)
    assert assert_span(recorded.only(), None) == {}
