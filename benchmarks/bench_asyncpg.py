"""What asyncpg does besides queries: a cursor of 500 rows, and getting a connection from a pool that has one.

OpenTelemetry's instrumentation makes a span of each row, and one of there being no more; ours makes one of all. Neither
makes any of a connection that is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor

from benchmarks.rounds import on_core
from benchmarks.traced import Operation, recorded

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink

_ROWS = 500

Loop = asyncio.AbstractEventLoop


def _operation(loop: Loop, call: Callable[[], Awaitable[Any]], **options: Any) -> Operation:
    async def repeat(times: int) -> None:
        for _ in range(times):
            await call()

    def prepare(_: str, times: int) -> Callable[[], object]:
        return partial(loop.run_until_complete, repeat(times))

    return Operation(prepare=prepare, patch="asyncpg", **options)


def test_cursor(benchmark: BenchmarkFixture, record: Record, sink: Sink, loop: Loop, postgres_url: str) -> None:
    """Reading a cursor to its end, inside a transaction."""
    with on_core(0):
        connection = loop.run_until_complete(asyncpg.connect(postgres_url))
        loop.run_until_complete(connection.transaction().start())

        async def read() -> None:
            async for _ in connection.cursor(f"SELECT generate_series(1, {_ROWS})"):
                pass

        options = {"times": 16, "warm_up": 8, "rounds": 8}
        operation = _operation(loop, read, instrumentor=AsyncPGInstrumentor(), spans=_ROWS + 1, **options)
        record("asyncpg cursor", recorded(benchmark, sink, operation))
        connection.terminate()


def test_acquire(benchmark: BenchmarkFixture, record: Record, sink: Sink, loop: Loop, postgres_url: str) -> None:
    """Getting a connection that is there, which takes no turn of the event loop."""
    with on_core(0):
        pool = loop.run_until_complete(asyncpg.create_pool(postgres_url, min_size=1, max_size=1))

        async def acquire() -> None:
            connection: Any = await pool.acquire()
            connection._holder._release()  # what release() does, without asking the server to reset anything

        operation = _operation(loop, acquire, our_spans=0, times=8192, warm_up=2048)
        record("asyncpg acquire", recorded(benchmark, sink, operation))
        pool.terminate()
