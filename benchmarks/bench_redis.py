"""A pipeline of 100 commands, bare, with OpenTelemetry's instrumentation and with our patch: what describing it adds.

As in ``bench_calls.py``, one client serves all of them, and its server shares its core.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from opentelemetry.instrumentation.redis import RedisInstrumentor

from benchmarks.rounds import on_core
from benchmarks.traced import Operation, recorded

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink

COMMANDS = 100


@pytest.fixture(params=["redis pipeline", "redis pipeline mixed"])
def row(request: pytest.FixtureRequest) -> str:
    """Which it is: of one command, or of two in turn."""
    return str(request.param)


@pytest.fixture
def operation(row: str, redis_url: str, loop: asyncio.AbstractEventLoop) -> Iterator[Operation]:
    """Executing it."""
    with on_core(0):
        client: Any = redis.asyncio.Redis.from_url(redis_url)
        mixed = row.endswith("mixed")

        async def repeat(times: int) -> None:
            for _ in range(times):
                pipeline = client.pipeline(transaction=False)
                for number in range(COMMANDS):
                    if mixed and number % 2:
                        pipeline.get("benchmark")
                    else:
                        pipeline.set("benchmark", number)
                await pipeline.execute()

        def prepare(_: str, times: int) -> Callable[[], object]:
            return partial(loop.run_until_complete, repeat(times))

        yield Operation(prepare=prepare, patch="redis", instrumentor=RedisInstrumentor())
        loop.run_until_complete(client.aclose())


def test_pipeline(benchmark: BenchmarkFixture, record: Record, sink: Sink, row: str, operation: Operation) -> None:
    """In a recorded trace."""
    record(row, recorded(benchmark, sink, operation))
