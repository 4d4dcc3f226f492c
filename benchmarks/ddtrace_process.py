"""ddtrace's share of the comparison, in a process of its own: it patches and configures whatever it is imported into.

    python -m benchmarks.ddtrace_process span | asyncpg URL | redis URL

Prints the seconds that it adds to one operation. What it writes traces with is replaced by something that drops them,
so encoding and sending, which the other columns may include, are not in its figures. Run it through
:func:`benchmarks.rounds.ddtrace`, which sets the environment so that nothing is sent to anybody.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import ddtrace
import redis.asyncio
from ddtrace.internal.writer import TraceWriter
from ddtrace.trace import tracer

_ROUNDS = 20
_SPANS = 1000
_CALLS = 500


class _NullWriter(TraceWriter):
    def recreate(self, appsec_enabled: bool | None = None, llmobs_enabled: bool | None = None) -> TraceWriter:
        return self

    def stop(self, timeout: float | None = None) -> None:
        pass

    def write(self, spans: Any = None) -> None:
        pass

    def flush_queue(self) -> None:
        pass


def _span() -> float:
    from benchmarks.peers import ATTRIBUTES, NAME

    tags: Any = ATTRIBUTES  # typed for strings, takes numbers

    def run() -> float:
        with tracer.trace("root"):
            started = time.thread_time()
            for _ in range(_SPANS):
                with tracer.trace("postgres.query", resource=NAME) as span:
                    span.set_tags(tags)
            return (time.thread_time() - started) / _SPANS

    run()
    return min(run() for _ in range(_ROUNDS))


async def _rounds(call: Callable[[], Awaitable[Any]]) -> float:
    async def run() -> float:
        started = time.process_time()
        with tracer.trace("root"):
            for _ in range(_CALLS):
                await call()
        return (time.process_time() - started) / _CALLS

    await run()
    gc.collect()
    return min([await run() for _ in range(_ROUNDS)])


async def _asyncpg(url: str) -> float:
    from benchmarks.bench_calls import QUERY

    async def measure() -> float:
        connection = await asyncpg.connect(url)
        try:
            return await _rounds(lambda: connection.fetchval(*QUERY))
        finally:
            await connection.close()

    bare = await measure()
    ddtrace.patch(asyncpg=True)
    return await measure() - bare


async def _redis(url: str) -> float:
    async def measure() -> float:
        async with redis.asyncio.Redis.from_url(url) as client:
            return await _rounds(lambda: client.get("benchmark"))

    bare = await measure()
    ddtrace.patch(redis=True)
    return await measure() - bare


def main(what: str, *arguments: str) -> None:
    """Measure and print."""
    tracer._span_aggregator.writer = _NullWriter()
    if what == "span":
        print(_span())
    else:
        print(asyncio.run({"asyncpg": _asyncpg, "redis": _redis}[what](*arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
