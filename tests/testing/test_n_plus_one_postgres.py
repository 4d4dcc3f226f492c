"""N+1 and queries that are counted, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from causal_otel.patches.asyncpg import AsyncpgOptions
from causal_otel.testing import Traces
from tests.testing.traced import Suite, suite

_STATEMENT = "SELECT pg_sleep($1), $2::int AS item"


async def _one_by_one(pool: asyncpg.Pool) -> None:
    for item in range(4):
        await pool.fetchrow(_STATEMENT, 0.0, item)


async def _at_once(pool: asyncpg.Pool) -> None:
    await asyncio.gather(*(pool.fetchrow(_STATEMENT, 0.1, item) for item in range(4)))


async def _all_in_one(pool: asyncpg.Pool) -> None:
    await pool.fetch("SELECT item FROM generate_series(1, $1) AS item", 4)


def _run(shop: Suite, url: str, load: Callable[[asyncpg.Pool], Awaitable[None]]) -> Traces:
    async def main() -> Traces:
        async with asyncpg.create_pool(url, min_size=4, max_size=4) as pool:
            with shop.test() as traces, shop.tracer.start_as_current_span("GET /orders"):
                await load(pool)
        return traces

    return asyncio.run(main())


def test_loop_of_queries_is_n_plus_one_and_a_gather_is_not(postgres_url: str) -> None:
    """The same query in a loop is told with the line that issues it; gathered it is not, nor is one query for all."""
    with suite({"asyncpg": AsyncpgOptions(code_origin=True)}) as shop:
        traces = _run(shop, postgres_url, _one_by_one)
        with pytest.raises(AssertionError) as caught:
            traces.assert_no_n_plus_one()
        said = str(caught.value)
        assert said.startswith("N+1: 4× SELECT pg_sleep(?), ?::int AS item  from ")
        assert "test_n_plus_one_postgres.py" in said
        assert said.endswith("_one_by_one(), one after another in GET /orders")
        traces.assert_max_queries(4, operation="GET /orders")
        with pytest.raises(AssertionError, match="4 queries in GET /orders, at most 3 allowed:"):
            traces.assert_max_queries(3, operation="GET /orders")

        traces = _run(shop, postgres_url, _at_once)
        traces.assert_no_n_plus_one()
        assert len(traces.spans) == 5

        traces = _run(shop, postgres_url, _all_in_one)
        traces.assert_no_n_plus_one()
        traces.assert_max_queries(1)
        traces.assert_no_orphans()
        assert traces.snapshot() == "GET /orders [internal]\n╰╴SELECT generate_series [postgresql]"
