"""A method of a pool is one span, and what it does for that is told to nobody but the metrics."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from causal_otel.patches.asyncpg import AsyncpgOptions
from tests.metrics.measuring import measured
from tests.recording import Recording, recording
from tests.slow_machine import assert_at_least
from tests.span_relations import assert_children, assert_span, attributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATCHES = ["asyncpg"]


@pytest.mark.asyncio
async def test_all_methods(recorded: Recording, connection: asyncpg.Connection[Any], postgres_url: str) -> None:
    """Each is one span with what the connection's method would tell, and returns what that returns."""
    await connection.execute("DROP TABLE IF EXISTS pooled; CREATE TABLE pooled (n int)")
    async with asyncpg.create_pool(postgres_url, min_size=0, max_size=1) as pool:
        for on in (pool, connection):
            recorded.clear()
            with recorded.tracer.start_as_current_span("root") as root:
                assert await on.execute("INSERT INTO pooled VALUES ($1)", 1) == "INSERT 0 1"
                assert await on.fetchval("SELECT count(*) FROM pooled") >= 1
                assert await on.fetchrow("SELECT n FROM pooled WHERE n > $1", 5) is None
                assert len(await on.fetch("SELECT n FROM pooled LIMIT 1")) == 1
                await on.executemany("INSERT INTO pooled VALUES ($1)", [(2,), (3,)])
                await on.copy_from_query("SELECT n FROM pooled WHERE n = $1", 2, output=io.BytesIO())
                await on.copy_from_table("pooled", schema_name="public", output=io.BytesIO())
                await on.copy_to_table("pooled", source=io.BytesIO(b"4\n"))
                await on.copy_records_to_table("pooled", records=[(5,)])
            *spans, _ = recorded.spans
            for span in spans:
                assert_span(span, root)
            assert [attributes(span).get("db.response.returned_rows") for span in spans[:4]] == [None, None, 0, 1]
            told = [(span.name, attributes(span)["server.port"], attributes(span)["db.namespace"]) for span in spans]
            if on is pool:
                by_pool = told
        assert by_pool == told
        assert attributes(spans[4])["db.operation.batch.size"] == 2


@pytest.mark.asyncio
async def test_queries_of_what_is_copied(recorded: Recording, postgres_url: str) -> None:
    """Rows for COPY that are queried meanwhile, from the same pool, are the spans that they would be otherwise."""

    async def rows(pool: asyncpg.Pool[Any]) -> AsyncIterator[bytes]:
        yield str(await pool.fetchval("SELECT 1")).encode() + b"\n"
        async with pool.acquire() as connection:
            yield str(await connection.fetchval("SELECT 2")).encode() + b"\n"

    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=2) as pool:
        await pool.execute("DROP TABLE IF EXISTS pooled; CREATE TABLE pooled (n int)")
        recorded.clear()
        with recorded.tracer.start_as_current_span("root"):
            await pool.copy_to_table("pooled", source=rows(pool))
        assert_children(recorded.spans, "SELECT", "SELECT", "COPY pooled", "root")


@pytest.mark.asyncio
async def test_excluded_method(postgres_url: str) -> None:
    """A statement that is excluded is no span where a pool's method runs it either."""
    with recording({"asyncpg": AsyncpgOptions(excluded=("SELECT pg_class",))}) as recorded:
        async with asyncpg.create_pool(postgres_url, min_size=0) as pool:
            with recorded.tracer.start_as_current_span("root"):
                await pool.fetchval("SELECT count(*) FROM pg_class")
        assert recorded.names() == ["root"]


@pytest.mark.asyncio
async def test_cancelled_while_it_waits(recorded: Recording, postgres_url: str) -> None:
    """A method that is cancelled while it waits for a connection is one span, marked, with the wait."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool, pool.acquire():
        recorded.clear()
        with recorded.tracer.start_as_current_span("root") as root, pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.fetchval("SELECT 1")
        span = recorded.only("SELECT")
        found = assert_span(span, root, cancelled=True, lasts=0.04)
        assert_at_least(0.04, found["causal.pool.wait"])
        assert (found["causal.pool.size"], found["causal.pool.waiting"]) == (1, 0)


POOL = "db.client.connection"


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["recorded", "unsampled"])
def test_metrics(postgres_url: str, sampler: Any) -> None:
    """A pool's waits, its connections and how long they are used are measured, recorded or not."""
    parts = urlsplit(postgres_url)
    name = {f"{POOL}.pool.name": f"{parts.hostname}:{parts.port}/{parts.path.strip('/')}"}

    async def use() -> None:
        async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
            await pool.fetchval("SELECT 1")
            async with pool.acquire():
                with pytest.raises(TimeoutError):
                    await pool.acquire(timeout=0.05)
            taken = await pool.acquire()
            waiting = asyncio.create_task(pool.fetchval("SELECT 2"))
            await asyncio.sleep(0.05)
            used, idle = [
                next(p.value for p in found.points(f"{POOL}.count") if p.attributes[f"{POOL}.state"] == state)
                for state in ("used", "idle")
            ]
            assert (used, idle) == (1, 0)
            assert found.only(f"{POOL}.pending_requests")[1].value == 1
            await pool.release(taken)
            await waiting
            # Four connections were handed out, and four given back; the pool has made one.
            for metric, count, least in (("wait_time", 4, 0.04), ("use_time", 4, 0.08), ("create_time", 1, 0)):
                attributes, point = found.only(f"{POOL}.{metric}")
                assert attributes == name
                assert (point.count, point.sum >= least) == (count, True), (metric, point)
            assert found.only(f"{POOL}.timeouts")[1].value == 1
            assert found.only(f"{POOL}.pending_requests")[1].value == 0

    with measured(["asyncpg"], sampler) as found:
        asyncio.run(use())


def test_connections_that_are_replaced_are_measured(postgres_url: str) -> None:
    """A pool makes a new connection for one that has served enough, since 0.32 in the background: all of them count."""

    async def use() -> None:
        async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1, max_queries=1) as pool:
            used = {await pool.fetchval("SELECT pg_backend_pid()") for _ in range(4)}
        _, point = found.only(f"{POOL}.create_time")
        assert len(used) == 4
        assert point.count >= len(used)

    with measured(["asyncpg"], ALWAYS_ON) as found:
        asyncio.run(use())
