"""Calls of drivers and clients, bare, with OpenTelemetry's instrumentation and with our patch: what tracing adds.

The same connection serves all of them. Server and client share a core: the least noise, and the least for tracing to
hide behind. neo4j has no instrumentation of OpenTelemetry's.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import aiokafka
import asyncpg
import httpx
import neo4j
import pytest
import redis.asyncio
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor

from benchmarks.rounds import DDTRACE, ddtrace, on_core
from benchmarks.traced import Operation, recorded, unsampled

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink
    from causal_otel.testing.servers import BoltServer

QUERY = ("SELECT relname FROM pg_class WHERE oid = $1", 1259)

Loop = asyncio.AbstractEventLoop
Call = Callable[[], Awaitable[Any]]


@contextmanager
def _fetchval(loop: Loop, url: str) -> Iterator[Call]:
    connection = loop.run_until_complete(asyncpg.connect(url))
    try:
        yield lambda: connection.fetchval(*QUERY)
    finally:
        loop.run_until_complete(connection.close())


@contextmanager
def _get(loop: Loop, url: str) -> Iterator[Call]:
    client = redis.asyncio.Redis.from_url(url)
    try:
        loop.run_until_complete(client.set("benchmark", "x"))
        yield lambda: client.get("benchmark")
    finally:
        loop.run_until_complete(client.aclose())


@contextmanager
def _request(loop: Loop, url: str) -> Iterator[Call]:
    """Of a short JSON document, at another URL each time."""
    client = httpx.AsyncClient(base_url=url, trust_env=False)
    numbers = itertools.count(1_000_000)

    async def call() -> None:
        (await client.get(f"/spans?since={next(numbers)}")).raise_for_status()

    try:
        yield call
    finally:
        loop.run_until_complete(client.aclose())


@contextmanager
def _aiohttp_request(loop: Loop, url: str) -> Iterator[Call]:
    """The same of aiohttp. OpenTelemetry's instrumentation is of sessions that are made after it."""
    numbers = itertools.count(1_000_000)
    session: aiohttp.ClientSession | None = None
    made_by: Any = None

    async def call() -> None:
        nonlocal session, made_by
        if session is None or made_by is not aiohttp.ClientSession.__init__:
            if session is not None:
                await session.close()
            session, made_by = aiohttp.ClientSession(url, raise_for_status=True), aiohttp.ClientSession.__init__
        async with session.get(f"/spans?since={next(numbers)}") as response:
            await response.read()

    yield call
    assert session is not None
    loop.run_until_complete(session.close())


@contextmanager
def _send_and_wait(loop: Loop, address: str) -> Iterator[Call]:
    async def started() -> Any:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=address)
        await producer.start()
        await producer.send_and_wait("benchmark", b"x")
        return producer

    producer = loop.run_until_complete(started())
    try:
        yield lambda: producer.send_and_wait("benchmark", b"x")
    finally:
        loop.run_until_complete(producer.stop())


@contextmanager
def _run_and_consume(loop: Loop, server: BoltServer) -> Iterator[Call]:
    driver = neo4j.AsyncGraphDatabase.driver(server.url, auth=(server.user, server.password))
    session = driver.session(database=server.database)

    async def call() -> None:
        await (await session.run("RETURN $number AS number", number=1)).consume()

    async def close() -> None:
        await session.close()
        await driver.close()

    try:
        yield call
    finally:
        loop.run_until_complete(close())


@dataclass(frozen=True)
class Driver:
    """A driver: the fixture that is its server, its call, its instrumentation, and how often it is called."""

    server: str
    call: Callable[[Loop, Any], AbstractContextManager[Call]]
    instrumentor: Callable[[], Any] | None
    rounds: dict[str, Any] = field(default_factory=dict)


_QUICK = {"times": 2048, "unsampled_rounds": 150}

DRIVERS = {
    "asyncpg": Driver("postgres_url", _fetchval, AsyncPGInstrumentor, _QUICK),
    "redis": Driver("redis_url", _get, RedisInstrumentor, _QUICK),
    "httpx": Driver("http_url", _request, HTTPXClientInstrumentor),
    "aiohttp": Driver("http_url", _aiohttp_request, AioHttpClientInstrumentor),
    "aiokafka": Driver("kafka_address", _send_and_wait, AIOKafkaInstrumentor),
    "neo4j": Driver("bolt_server", _run_and_consume, None),
}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    """Which driver."""
    return str(request.param)


@pytest.fixture
def server(request: pytest.FixtureRequest, driver: str) -> Any:
    """Its server, on the core of the client."""
    with on_core(0):
        return request.getfixturevalue(DRIVERS[driver].server)


@pytest.fixture
def operation(driver: str, server: Any, loop: Loop) -> Iterator[Operation]:
    """The call of it."""
    kind = DRIVERS[driver]
    with on_core(0), kind.call(loop, server) as call:

        async def repeat(times: int) -> None:
            for _ in range(times):
                await call()

        def prepare(_: str, times: int) -> Callable[[], object]:
            return partial(loop.run_until_complete, repeat(times))

        instrumentor = None if kind.instrumentor is None else kind.instrumentor()
        yield Operation(prepare=prepare, patch=driver, instrumentor=instrumentor, **kind.rounds)


def test_recorded(
    benchmark: BenchmarkFixture, record: Record, sink: Sink, driver: str, server: Any, operation: Operation
) -> None:
    """In a recorded trace."""
    found = recorded(benchmark, sink, operation)
    if driver in ("asyncpg", "redis"):
        found[DDTRACE] = ddtrace(driver, server)
    record(driver, found)


def test_unsampled(benchmark: BenchmarkFixture, record: Record, driver: str, operation: Operation) -> None:
    """In a trace that is not sampled."""
    record(f"{driver} unsampled", unsampled(benchmark, operation))


@pytest.mark.parametrize("driver", ["asyncpg", "redis"], indirect=True)
def test_nothing_recorded(benchmark: BenchmarkFixture, record: Record, driver: str, operation: Operation) -> None:
    """Outside any trace, with a sampler that lets none begin: ours knows it before, theirs asks it each time."""
    record(f"{driver} unrecorded", unsampled(benchmark, replace(operation, in_span=False)))
