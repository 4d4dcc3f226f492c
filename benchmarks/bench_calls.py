"""Two calls of drivers, bare, with OpenTelemetry's instrumentation and with our patch: the CPU time that tracing adds.

The same connection serves all of them; patches are placed and taken away again in turns. Server and client share a
core: the least noise, and the least for tracing to hide behind.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import redis.asyncio
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor

from benchmarks.peers import Peer, opentelemetry, ours
from benchmarks.rounds import BARE, DDTRACE, OPENTELEMETRY, OURS, ddtrace, in_turns, on_core

if TYPE_CHECKING:
    import asyncio

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink

QUERY = ("SELECT relname FROM pg_class WHERE oid = $1", 1259)

Call = Callable[[], Awaitable[Any]]


@contextmanager
def _fetchval(loop: asyncio.AbstractEventLoop, url: str) -> Iterator[Call]:
    connection = loop.run_until_complete(asyncpg.connect(url))
    try:
        yield lambda: connection.fetchval(*QUERY)
    finally:
        loop.run_until_complete(connection.close())


@contextmanager
def _get(loop: asyncio.AbstractEventLoop, url: str) -> Iterator[Call]:
    client = redis.asyncio.Redis.from_url(url)
    try:
        loop.run_until_complete(client.set("benchmark", "x"))
        yield lambda: client.get("benchmark")
    finally:
        loop.run_until_complete(client.aclose())


@pytest.fixture(params=["asyncpg", "redis"])
def driver(request: pytest.FixtureRequest) -> str:
    """Which driver."""
    return str(request.param)


@pytest.fixture
def url(request: pytest.FixtureRequest, driver: str) -> str:
    """Its server, on the core of the client."""
    with on_core(0):
        return str(request.getfixturevalue({"asyncpg": "postgres_url", "redis": "redis_url"}[driver]))


@pytest.fixture
def call(driver: str, url: str, loop: asyncio.AbstractEventLoop) -> Iterator[Call]:
    """The call of it."""
    with on_core(0), {"asyncpg": _fetchval, "redis": _get}[driver](loop, url) as call:
        yield call


_INSTRUMENTORS: dict[str, Callable[[], Any]] = {"asyncpg": AsyncPGInstrumentor, "redis": RedisInstrumentor}


async def _repeat(call: Call, times: int, tracer: Any = None) -> None:
    if tracer is None:
        for _ in range(times):
            await call()
        return
    with tracer.start_as_current_span("root"):
        for _ in range(times):
            await call()


def test_recorded(
    benchmark: BenchmarkFixture,
    record: Record,
    sink: Sink,
    loop: asyncio.AbstractEventLoop,
    driver: str,
    url: str,
    call: Call,
) -> None:
    """Under a recorded parent: CPU time of the whole process, encoding and sending included; every span arrives.

    A round fills batches of either side's usual size, so that no request is for a few spans only.
    """
    times, rounds, before = 2048, 12, 200  # before: until the interpreter is used to the patches' coming or going

    def bare() -> float:
        loop.run_until_complete(_repeat(call, before))
        started = time.process_time()
        loop.run_until_complete(_repeat(call, times))
        return (time.process_time() - started) / times

    def traced(peer: Peer) -> Callable[[], float]:
        def run() -> float:
            with peer.patched():
                loop.run_until_complete(_repeat(call, before, peer.tracer))
                peer.flush()
                started = time.process_time()
                loop.run_until_complete(_repeat(call, times, peer.tracer))
                peer.flush()
                return (time.process_time() - started) / times

        return run

    with opentelemetry(sink.url, _INSTRUMENTORS[driver]()) as peer, ours(sink.url, driver) as mine:
        found = in_turns(benchmark, {BARE: bare, OPENTELEMETRY: traced(peer), OURS: traced(mine)}, rounds)
    sink.expect(2 * (rounds + 1) * (before + times + 2))
    record(driver, {**found, DDTRACE: ddtrace(driver, url)})


def test_nothing_recorded(
    benchmark: BenchmarkFixture, record: Record, loop: asyncio.AbstractEventLoop, driver: str, call: Call
) -> None:
    """Without a parent, where ours records nothing: CPU time of the calling thread."""
    times, rounds = 200, 150

    def bare() -> float:
        loop.run_until_complete(_repeat(call, times))  # the interpreter gets used to the patches' coming and going
        started = time.thread_time()
        loop.run_until_complete(_repeat(call, times))
        return (time.thread_time() - started) / times

    def patched(peer: Peer) -> Callable[[], float]:
        def run() -> float:
            with peer.patched():
                return bare()

        return run

    # Theirs has no such rule: it asks the sampler, which here says no.
    with opentelemetry(None, _INSTRUMENTORS[driver](), sampled=False) as peer, ours(None, driver) as mine:
        found = in_turns(benchmark, {BARE: bare, OPENTELEMETRY: patched(peer), OURS: patched(mine)}, rounds)
    record(f"{driver} unrecorded", found)
