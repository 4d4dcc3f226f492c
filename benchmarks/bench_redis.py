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

    from benchmarks.conftest import Sink

COMMANDS = 100


@pytest.fixture(params=["of one command", "mixed"])
def operation(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop) -> Iterator[Operation]:
    """Executing it."""
    with on_core(0):
        client: Any = redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url"))
        mixed = request.param == "mixed"

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


def test_pipeline(benchmark: BenchmarkFixture, sink: Sink, operation: Operation) -> None:
    """In a recorded trace; what was measured is with the benchmark, as seconds an operation."""
    benchmark.extra_info.update(recorded(benchmark, sink, operation))
