"""Metrics of redis-py's pools of connections: the conventions' names, of both halves and of every kind of pool."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio

from tests.metrics.measuring import Measurements, measured
from tests.patches.either import settle
from tests.waiting import wait_until

NAME = "db.client.connection."

POOLS = [redis.ConnectionPool, redis.BlockingConnectionPool]
ASYNC_POOLS = [redis.asyncio.ConnectionPool, redis.asyncio.BlockingConnectionPool]


def _states(found: Measurements, name: str) -> dict[str, int]:
    points = found.points(f"{NAME}count")
    assert {point.attributes["db.client.connection.pool.name"] for point in points} == {name}
    return {point.attributes["db.client.connection.state"]: point.value for point in points}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [*POOLS, *ASYNC_POOLS])
async def test_a_pool_tells_what_happens_in_it(redis_url: str, kind: Any) -> None:
    """How many connections there are, and how long it took to make one, to get one and until it was given back."""
    port = urlsplit(redis_url).port
    name = f"127.0.0.1:{port}/0"
    with measured(["redis"]) as found:
        pool = kind(host="127.0.0.1", port=port, max_connections=2)
        client = (redis.Redis if kind in POOLS else redis.asyncio.Redis)(connection_pool=pool)
        for _ in range(3):
            await settle(client.get("k"))
        assert _states(found, name) == {"idle": 1, "used": 0}
        connection = await settle(pool.get_connection())
        assert _states(found, name) == {"idle": 0, "used": 1}
        await settle(pool.release(connection))
        for metric, times in {"create_time": 1, "wait_time": 4, "use_time": 4}.items():
            labels, point = found.only(NAME + metric)
            assert (labels, point.count) == ({"db.client.connection.pool.name": name}, times), metric
            assert point.sum > 0
        await settle(pool.disconnect())


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [POOLS[1], ASYNC_POOLS[1]])
async def test_who_waits_in_vain(redis_url: str, kind: Any) -> None:
    """Who waits for a connection is pending for so long, and a timeout if there is none in time."""
    with measured(["redis"]) as found:
        pool = kind(host="127.0.0.1", port=urlsplit(redis_url).port, max_connections=1, timeout=0.1)
        held = await settle(pool.get_connection())

        def pending() -> Any:
            return found.points(f"{NAME}pending_requests")

        loop = asyncio.get_running_loop()

        def wait() -> Any:
            got = pool.get_connection()
            return got if kind in POOLS else asyncio.run_coroutine_threadsafe(got, loop).result()

        waiting = asyncio.ensure_future(asyncio.to_thread(wait))
        await asyncio.to_thread(wait_until, lambda: (pending() and pending()[0].value == 1) or waiting.done())
        with pytest.raises(redis.ConnectionError):
            await waiting
        assert found.only(f"{NAME}timeouts")[1].value == 1
        assert found.only(f"{NAME}pending_requests")[1].value == 0
        await settle(pool.release(held))
        await settle(pool.disconnect())
