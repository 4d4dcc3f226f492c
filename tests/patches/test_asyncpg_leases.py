"""A method of a pool that has a connection ready uses it alone, and only as long as it goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from causal_otel.names import CAUSAL_SERVER
from causal_otel.patches.asyncpg.leases import leases
from tests.recording import Recording
from tests.span_relations import assert_children, assert_span, attributes
from tests.waiting import cancelled_after

PATCHES = ["asyncpg"]


@pytest.mark.asyncio
async def test_however_a_method_ends_its_connection_is_free(recorded: Recording, postgres_url: str) -> None:
    """After a result, an error, a timeout and a cancellation, what is done with the connection is a span again."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        outcomes: list[tuple[Any, str | None]] = []

        async def call(query: str, **options: Any) -> None:
            recorded.clear()
            with recorded.tracer.start_as_current_span("root"):
                try:
                    outcome: Any = await pool.fetchval(query, **options)
                except (asyncpg.PostgresError, TimeoutError) as error:
                    outcome = type(error)
                assert leases == {}
                async with pool.acquire() as connection:
                    assert await connection.fetchval("SELECT 2") == 2
            span, *_ = recorded.spans
            root = recorded.spans[-1]
            assert [each.parent for each in recorded.spans] == [root.context, root.context, None]
            assert recorded.spans[1].name == "SELECT"
            outcomes.append((outcome, attributes(span).get("error.type")))

        await call("SELECT 1")
        await call("SELECT 1 / 0")
        await call("SELECT pg_sleep(60)", timeout=0.1)
        assert outcomes == [
            (1, None),
            (asyncpg.DivisionByZeroError, "22012"),
            (TimeoutError, "TimeoutError"),
        ]

        recorded.clear()
        await cancelled_after(0.1, pool.fetchval("SELECT pg_sleep(60)"))
        assert leases == {}
        (span,) = recorded.spans
        assert attributes(span)["causal.cancelled"] is True
        assert await pool.fetchval("SELECT 3") == 3


@pytest.mark.asyncio
async def test_the_server_s_part_is_told(recorded: Recording, postgres_url: str) -> None:
    """What the statement took is the server's part, in a span of the method that lasts as long at least."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        with recorded.tracer.start_as_current_span("root") as root:
            await pool.execute("SELECT pg_sleep(0.3)")
        span, _ = recorded.spans
    found = assert_span(span, root)
    assert found[CAUSAL_SERVER] >= 0.24


@pytest.mark.asyncio
async def test_a_pool_with_a_reset_of_its_own_leases_nothing(recorded: Recording, postgres_url: str) -> None:
    """The user's statements in there would not be seen."""
    seen: list[bool] = []

    async def reset(connection: Any) -> None:
        seen.append(bool(leases))

    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1, reset=reset) as pool:
        with recorded.tracer.start_as_current_span("root"):
            assert await pool.fetchval("SELECT 1") == 1
    assert seen == [False]
    assert_children(recorded.spans, "SELECT", "root")


@pytest.mark.asyncio
async def test_whoever_waits_for_the_connection_has_spans_of_their_own(recorded: Recording, postgres_url: str) -> None:
    """The pool hands the connection on before the method that has used it goes on and ends."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:

        async def by_hand() -> None:
            async with pool.acquire() as connection:
                assert await connection.fetchval("SELECT 2") == 2

        with recorded.tracer.start_as_current_span("root"):
            calls = (pool.fetchval("SELECT 1, pg_sleep(0.05)"), by_hand(), pool.fetchval("SELECT 3"), by_hand())
            await asyncio.gather(*calls)
        assert leases == {}
    assert [name for name in recorded.names() if name == "SELECT"] == ["SELECT"] * 4


@pytest.mark.asyncio
async def test_a_pool_of_the_user_s_own_class_leases_nothing(recorded: Recording, postgres_url: str) -> None:
    """Its ``acquire`` may wait first, while somebody else takes the connection that was ready."""

    class Patient(asyncpg.Pool):
        async def _acquire(self, *args: Any) -> Any:
            await asyncio.sleep(0.05)
            return await super()._acquire(*args)  # type: ignore[misc]

    pool = Patient(
        postgres_url,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        min_size=1,
        max_size=1,
        max_queries=1000,
        max_inactive_connection_lifetime=0,
        loop=asyncio.get_running_loop(),
    )
    async with pool:
        with recorded.tracer.start_as_current_span("root"):
            call = asyncio.create_task(pool.fetchval("SELECT 1"))
            await asyncio.sleep(0)
            assert leases == {}
            await call
