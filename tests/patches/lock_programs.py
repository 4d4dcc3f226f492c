"""Programs that wait for locks: true event loops, tasks with names, and waits as long as the test has planted."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import anyio
import pytest
import uvloop

import causal_otel
from causal_otel.patches.locks import LocksOptions
from tests.recording import Recording
from tests.span_relations import assert_span, attributes

__all__ = [
    "ASYNCIO",
    "KIND",
    "LOCK",
    "LOOPS",
    "PATCHES",
    "PLANTED",
    "WAIT",
    "Kind",
    "assert_waited",
    "each_kind",
    "hold",
    "run",
    "until",
    "use",
    "waited_for",
    "waiters",
]

PLANTED = 0.3
KIND, WAIT = "causal.lock.kind", "causal.lock.wait"
LOOPS = ["asyncio", "uvloop"]
_PAUSE = 0.002


class Kind(NamedTuple):
    """A lock with ``async with``.

    Args:
        name: what spans call it.
        make: makes one that one task may have at a time.
        waiting: how many wait for it.
        is_free: whether somebody may have it now.
        size: what is told of how many may have it.
    """

    name: str
    make: Callable[[], Any]
    waiting: Callable[[Any], int]
    is_free: Callable[[Any], object] = lambda lock: not lock.locked()
    size: int | None = None


def waiters(lock: Any) -> int:
    """How many wait for one of asyncio's locks."""
    return len(lock._waiters or ())


ASYNCIO = [
    Kind("asyncio.Lock", asyncio.Lock, waiters),
    Kind("asyncio.Semaphore", asyncio.Semaphore, waiters, size=1),
    Kind("asyncio.BoundedSemaphore", asyncio.BoundedSemaphore, waiters, size=1),
]

LOCK = ASYNCIO[0]
PATCHES = {"locks": LocksOptions(slow_plumbing=0.01)}
"""With these a wait of ten milliseconds is a span."""

each_kind = pytest.mark.parametrize("kind", ASYNCIO, ids=lambda kind: kind.name)


def run(program: Callable[[], Awaitable[Any]], loop: str = "asyncio") -> Any:
    """Run a program to its end, on an event loop of asyncio's, uvloop's or trio's."""
    if loop == "trio":
        return anyio.run(program, backend="trio")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        return runner.run(program())  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    """Let others run until ``condition`` holds, for a minute at the most."""
    with anyio.fail_after(60):
        while not condition():  # noqa: ASYNC110  # of a lock, which sets no event
            await anyio.sleep(_PAUSE)


async def hold(kind: Kind, lock: Any, *, waiters: int = 1, seconds: float = PLANTED) -> None:
    """In a span ``hold``, have ``lock`` until so many have waited for so long."""
    with causal_otel.span("hold"):
        async with lock:
            await until(lambda: kind.waiting(lock) == waiters)
            await anyio.sleep(seconds)


async def use(lock: Any, name: str = "use") -> None:
    """In a span, have ``lock`` for a moment."""
    with causal_otel.span(name):
        async with lock:
            pass


async def waited_for(kind: Kind, *, users: int = 1) -> None:
    """One task, ``cache refresh``, has a lock, and others wait for it."""
    lock = kind.make()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(hold, kind, lock, waiters=users), name="cache refresh")
        await until(lambda: not kind.is_free(lock))
        for number in range(users):
            tasks.start_soon(use, lock)
            await until(lambda: kind.waiting(lock) == number + 1)  # noqa: B023  # it is over before the next one


def assert_waited(recorded: Recording, kind: str, *, lasts: float = PLANTED, **outcome: Any) -> dict[str, Any]:
    """Assert that one wait was a span, as long as planted, below the one span ``use``; its attributes."""
    span, use = recorded.only(f"wait {kind.partition('.')[2]}"), recorded.only("use")
    found = assert_span(span, use, lasts=0.8 * lasts, **outcome)
    assert found[KIND] == kind
    assert found[WAIT] >= 0.8 * lasts
    assert span.kind.name == "INTERNAL"
    assert WAIT not in attributes(use), "it is told twice"
    return found
