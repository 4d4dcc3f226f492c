"""What is replaced of asyncio's locks: what was there comes back, and what we do not know is left alone."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any

import pytest

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.locks import PATCH, LocksOptions, asyncio_locks, asyncio_queues, waiting
from causal_otel.patches.locks.asyncio_locks import reads_only
from tests.patches.lock_programs import (
    KIND,
    LOCK,
    PATCHES,
    PLANTED,
    Kind,
    assert_waited,
    each_kind,
    run,
    until,
    use,
    waited_for,
    waiters,
)
from tests.recording import Recording, recording
from tests.span_relations import attributes

OWN = [
    target.attribute for target in PATCH.targets if isinstance(target, Wrap) and target.module.startswith("asyncio.")
]
"""What is replaced of asyncio."""


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
            await lock.acquire()
            waiting = [asyncio.create_task(use(lock)) for _ in range(2)]
            await until(lambda: kind.waiting(lock) == 2)
        lock.release()
        await asyncio.gather(*waiting)
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
        await until(lambda: waiters(condition))
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
