"""Waits inside a driver's call: told once, as a part of the call where its patch is at work, else as what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import asyncpg
import pytest
import redis.asyncio

import causal_otel
from causal_otel.patches.asyncpg import AsyncpgOptions
from causal_otel.patches.locks import LocksOptions
from causal_otel.patches.redis import RedisOptions
from tests.patches.lock_programs import KIND, PLANTED, WAIT, run, until
from tests.recording import Recording, recording
from tests.slow_machine import assert_at_least
from tests.span_relations import attributes

_LOCKS = {"locks": LocksOptions(slow_plumbing=0.01)}


async def _asyncpg(url: str) -> None:
    """One task waits for the other's connection."""
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        connection = await pool.acquire()

        async def query() -> None:
            with causal_otel.span("use"):
                assert await pool.fetchval("SELECT 1") == 1

        waiting = asyncio.create_task(query())
        await until(lambda: pool._queue._getters)  # type: ignore[attr-defined]
        await asyncio.sleep(PLANTED)
        await pool.release(connection)
        await waiting


async def _redis(url: str) -> None:
    """Likewise."""
    pool: Any = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=1, timeout=60)
    client = redis.asyncio.Redis(connection_pool=pool)
    connection = await pool.get_connection()

    async def command() -> None:
        with causal_otel.span("use"):
            assert await client.ping()

    waiting = asyncio.create_task(command())
    await until(lambda: pool._condition._waiters)
    await asyncio.sleep(PLANTED)
    await pool.release(connection)
    await waiting
    await client.aclose()
    await pool.disconnect()


def _told(recorded: Recording) -> list[str]:
    """The kinds of locks that spans or attributes tell of."""
    found = [attributes(span) for span in recorded.spans]
    return [str(each.get(KIND, "short")) for each in found if WAIT in each]


@pytest.mark.parametrize(
    ("server", "program", "patch", "kind"),
    [
        ("postgres_url", _asyncpg, {"asyncpg": AsyncpgOptions(slow_plumbing=0.01)}, "asyncio.Queue.get"),
        ("redis_url", _redis, {"redis": RedisOptions(slow_plumbing=0.01)}, "asyncio.Condition"),
    ],
)
def test_a_pool_of_connections(
    request: pytest.FixtureRequest,
    server: str,
    program: Callable[[str], Awaitable[None]],
    patch: dict[str, Any],
    kind: str,
) -> None:
    """Where the driver's patch is at work its spans have ``causal.pool.wait``; where it is not, the lock is told."""
    url = request.getfixturevalue(server)
    with recording({**_LOCKS, **patch}) as recorded:
        run(lambda: program(url))
        assert _told(recorded) == []
        waited = sum(attributes(span).get("causal.pool.wait", 0.0) for span in recorded.spans)
        assert_at_least(0.8 * PLANTED, waited)
    with recording(_LOCKS) as recorded:
        run(lambda: program(url))
        assert kind in _told(recorded)


def test_a_thread_of_anyio() -> None:
    """Waiting for a free thread is no wait for a lock."""

    async def program() -> None:
        limiter = anyio.CapacityLimiter(1)

        async def work() -> None:
            with causal_otel.span("use"):
                await anyio.to_thread.run_sync(lambda: None, limiter=limiter)

        async with anyio.create_task_group() as tasks, limiter:
            tasks.start_soon(work)
            await until(lambda: limiter.statistics().tasks_waiting)
            await anyio.sleep(PLANTED)

    for loop in ("asyncio", "trio"):
        with recording(_LOCKS) as recorded:
            run(program, loop)
            assert _told(recorded) == []
