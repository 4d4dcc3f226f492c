"""Locks of asyncio work as they do without us: order, errors, subclasses, loops, and what is there before and after."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.locks import PATCH, LocksOptions, asyncio_locks, asyncio_queues, waiting
from causal_otel.patches.locks.asyncio_locks import reads_only
from tests.patches.lock_programs import ASYNCIO, KIND, PLANTED, Kind, assert_waited, hold, run, until, use, waited_for
from tests.recording import Recording, recording
from tests.span_relations import attributes

PATCHES = {"locks": LocksOptions(slow_plumbing=0.01)}
LOCK = ASYNCIO[0]
OWN = [
    target.attribute for target in PATCH.targets if isinstance(target, Wrap) and target.module.startswith("asyncio.")
]
"""What is replaced of asyncio."""

each_kind = pytest.mark.parametrize("kind", ASYNCIO, ids=lambda kind: kind.name)


def _waiters(lock: Any) -> int:
    return len(lock._waiters or ())


def _found(attribute: str) -> Any:
    owner, _, name = attribute.partition(".")
    return vars(getattr(asyncio, owner))[name]


# -- before and after -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", OWN)
def test_what_is_there_comes_back(attribute: str) -> None:
    """uninstall() puts the very objects back; meanwhile names, signatures and kinds are those of asyncio."""
    before = _found(attribute)
    with recording(PATCHES):
        placed = _found(attribute)
        assert placed is not before
        assert type(placed) is FunctionType
        assert (placed.__name__, placed.__qualname__) == (before.__name__, before.__qualname__)
        assert inspect.signature(placed) == inspect.signature(before)
        assert inspect.iscoroutinefunction(placed) == inspect.iscoroutinefunction(before)
    assert _found(attribute) is before


def test_this_python_is_known() -> None:
    """What stands in place of asyncio's methods where nobody waits was written for the methods of this version."""
    names = {
        "Lock.acquire": asyncio_locks._ACQUIRE_LOCK,
        "Lock.release": asyncio_locks._RELEASE_LOCK,
        "Semaphore.acquire": asyncio_locks._ACQUIRE_SEMAPHORE,
        "Queue.get": asyncio_queues._GET,
        "Queue.put": asyncio_queues._PUT,
    }
    assert [name for name, known in names.items() if not reads_only(_found(name), known)] == []


@each_kind
def test_a_lock_that_was_made_before(kind: Kind) -> None:
    """A lock of before install() is waited for as any other; who has it is known once it is acquired anew."""
    lock = kind.make()
    with recording(PATCHES) as recorded:
        run(lambda: waited_for(kind._replace(make=lambda: lock)))
        found = assert_waited(recorded, kind.name)
    known = kind.name != "asyncio.Semaphore"  # which does not remember for how many it is
    assert found.get("causal.lock.holder") == ("cache refresh" if known else None)


@each_kind
def test_a_lock_that_lives_on(kind: Kind) -> None:
    """Who waits while uninstall() is called has the lock next, and nothing more is told."""

    async def program() -> None:
        lock = kind.make()
        with recording(PATCHES) as recorded:
            holding = asyncio.create_task(hold(kind, lock, waiters=2, seconds=0))
            await until(lock.locked)
            waiting = [asyncio.create_task(use(lock)) for _ in range(2)]
            await until(lambda: kind.waiting(lock) == 2)
        await asyncio.gather(holding, *waiting)
        assert not lock.locked()
        async with lock:
            assert lock.locked()
        assert recorded.spans == []

    run(program)


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """``TRACING_LOCK_WAITS=false`` and ``lock_waits=False`` leave the patch out, and no other."""
    before = asyncio.Lock.acquire
    provider = TracerProvider()
    for given in ({}, {"lock_waits": False}):
        monkeypatch.setenv("TRACING_LOCK_WAITS", "true" if given else "false")
        installed = causal_otel.install(tracer_provider=provider, **given)  # type: ignore[arg-type]
        try:
            states = {patch.name: patch.state for patch in causal_otel.status().patches}
            assert states["locks"] == "off"
            assert states["threads"] == "on"
            assert asyncio.Lock.acquire is before
        finally:
            installed.uninstall()
    provider.shutdown()


def test_it_is_on_by_default() -> None:
    """Nobody has to ask for it."""
    with recording(None):
        (found,) = (patch for patch in causal_otel.status().patches if patch.name == "locks")
        assert str(found) == "locks: on"


# -- as without us ----------------------------------------------------------------------------------------------------


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
        await until(lambda: _waiters(closed))
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


# -- what is unknown --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", OWN)
def test_over_a_wrapper_of_somebody_elses(monkeypatch: pytest.MonkeyPatch, attribute: str) -> None:
    """It is called once for each call, and what it does for locks that are free stays."""
    owner, name = getattr(asyncio, attribute.partition(".")[0]), attribute.partition(".")[2]
    theirs, called = _found(attribute), list[str]()

    if inspect.iscoroutinefunction(theirs):

        @functools.wraps(theirs)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return await theirs(*args, **kwargs)
    else:

        @functools.wraps(theirs)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return theirs(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapper)

    async def wait(condition: asyncio.Condition) -> None:
        async with condition:
            await condition.wait()

    async def program() -> None:
        queue, condition = asyncio.Queue[int](1), asyncio.Condition()
        async with asyncio.Lock(), asyncio.Semaphore():
            await queue.put(1)
            assert await queue.get() == 1
        waits = asyncio.create_task(wait(condition))
        await until(lambda: _waiters(condition))
        async with condition:
            condition.notify()
        await waits

    run(program)
    expected, called[:] = called[:], []
    with recording(PATCHES):
        run(program)
    assert called == expected != []


@each_kind
def test_an_unknown_version(monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """Of a method that is not the one we know the wait is told, and who holds the lock is not."""
    monkeypatch.setattr(asyncio_locks, "reads_only", lambda *_: False)
    with recording(PATCHES) as recorded:
        run(lambda: waited_for(kind))
        assert "causal.lock.holder" not in assert_waited(recorded, kind.name.replace("Bounded", ""))


class Renamed:
    """A lock without any of the attributes that we read."""

    async def acquire(self, value: int) -> int:
        with causal_otel.span("inside"):
            await asyncio.sleep(PLANTED)
        return value


@pytest.mark.parametrize("busy", ["unknown", "known"])
def test_attributes_that_are_gone(recorded: Recording, busy: str) -> None:
    """Where a lock cannot be asked whether it is free the original is called; what else it cannot tell is left out."""
    asked: Callable[[Any], Any] = (lambda lock: lock._locked) if busy == "unknown" else (lambda lock: True)
    tracing: Tracing[Any] = Tracing(recorded.tracer, LocksOptions(slow_plumbing=0.01), lambda timeout: True)
    waits = waiting.Waits(tracing, "acme.Lock", lambda lock: (len(lock._waiters), None), lambda lock: lock._size)
    call: Callable[..., Awaitable[int]] = waits.around(Renamed.acquire, asked)

    async def program() -> None:
        with causal_otel.span("use"):
            assert await call(Renamed(), value=7) == 7

    run(program)
    found = [attributes(span) for span in recorded.spans if KIND in attributes(span)]
    assert [{*each} for each in found] == ([] if busy == "unknown" else [{KIND, "causal.lock.wait"}])


@pytest.mark.parametrize("place", ["current_in", "is_told_elsewhere", "unix_time"])
def test_failures_of_ours(monkeypatch: pytest.MonkeyPatch, recorded: Recording, place: str) -> None:
    """Whatever fails in us is counted, and the lock is had."""

    def fail(*_: object) -> None:
        raise LookupError

    with monkeypatch.context() as broken:
        broken.setattr(waiting, place, fail)
        before = faults.counts().get("locks: asyncio.Lock", 0)
        run(lambda: waited_for(LOCK))
        assert faults.counts()["locks: asyncio.Lock"] == before + 1
        faults._counts["locks: asyncio.Lock"] = before
    if not before:
        del faults._counts["locks: asyncio.Lock"]
    assert sorted(recorded.names()) == ["hold", "use"]
