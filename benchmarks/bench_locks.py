"""Locks and queues of asyncio inside a span: bare, and with our patch.

Those that are free, which nobody waits for, and a lock that each of two tasks always has to wait for: a turn of the
event loop each, too short to be recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from benchmarks.peers import Peer, ours
from benchmarks.rounds import BARE, OURS, in_turns

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record

Work = Callable[[int], Awaitable[None]]

_ROUNDS = 60


async def _enter(times: int) -> None:
    lock = asyncio.Lock()
    for _ in range(times):
        async with lock:
            pass


async def _acquire(times: int) -> None:
    lock = asyncio.Lock()
    for _ in range(times):
        await lock.acquire()
        lock.release()


async def _enter_semaphore(times: int) -> None:
    semaphore = asyncio.Semaphore(10)
    for _ in range(times):
        async with semaphore:
            pass


async def _put_and_get(times: int) -> None:
    queue = asyncio.Queue[int](10)
    for number in range(times):
        await queue.put(number)
        await queue.get()


async def _contend(times: int) -> None:
    lock = asyncio.Lock()

    async def work() -> None:
        for _ in range(times // 2):
            async with lock:
                await asyncio.sleep(0)

    await asyncio.gather(work(), work())


def _round(peer: Peer | None, work: Work, times: int) -> float:
    async def run() -> float:
        await work(times)
        started = time.thread_time()
        await work(times)
        return (time.thread_time() - started) / times

    with (
        nullcontext() if peer is None else peer.patched(),
        nullcontext() if peer is None else peer.tracer.start_as_current_span("root"),
    ):
        return asyncio.run(run())


@pytest.mark.parametrize(
    ("row", "work", "times"),
    [
        ("lock", _enter, 20_000),
        ("lock acquire", _acquire, 20_000),
        ("semaphore", _enter_semaphore, 20_000),
        ("queue", _put_and_get, 10_000),
        ("lock contended", _contend, 2_000),
    ],
)
def test_locks(benchmark: BenchmarkFixture, record: Record, row: str, work: Work, times: int) -> None:
    """A lock is acquired and released, or an item put and taken, inside a span."""
    with ours(None, "locks") as mine:
        variants: dict[str, Callable[[], float]] = {
            name: lambda peer=peer: _round(peer, work, times)  # type: ignore[misc]
            for name, peer in ((BARE, None), (OURS, mine))
        }
        record(row, in_turns(benchmark, variants, _ROUNDS))
