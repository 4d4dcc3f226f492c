"""Metrics of databases' clients: the conventions' names, units, buckets and attributes, whatever is sampled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import asyncpg
import neo4j
import pytest
import redis.asyncio
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from causal_otel.patches.asyncpg import AsyncpgOptions
from tests.metrics.measuring import Measurements, measured
from tests.services.fixtures import GraphServer
from tests.waiting import cancelled_after

DURATION, ROWS = "db.client.operation.duration", "db.client.response.returned_rows"

Around = Callable[[Measurements], AbstractContextManager[Any]]


def _in_span(measurements: Measurements) -> AbstractContextManager[Any]:
    return measurements.tracer.start_as_current_span("root")


SAMPLED = pytest.mark.parametrize(
    ("sampler", "around"),
    [(ALWAYS_ON, _in_span), (ALWAYS_OFF, _in_span), (ALWAYS_OFF, lambda _: nullcontext())],
    ids=["sampled", "not sampled", "outside any span, not sampled"],
)


@SAMPLED
def test_query(postgres_url: str, sampler: Sampler, around: Around) -> None:
    """A query is measured once: its duration in seconds, its rows, and its labels."""

    async def query() -> None:
        connection = await asyncpg.connect(postgres_url)
        try:
            with around(found):
                assert len(await connection.fetch("SELECT pg_sleep(0.02) FROM generate_series(1, 3)")) == 3
        finally:
            await connection.close()

    with measured(["asyncpg"], sampler) as found:
        asyncio.run(query())
        metrics = found.metrics()
        labels, duration = found.only(DURATION)
        same, rows = found.only(ROWS)
    assert (metrics[DURATION].unit, metrics[ROWS].unit) == ("s", "{row}")
    assert tuple(duration.explicit_bounds) == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
    assert tuple(rows.explicit_bounds) == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
    assert (duration.count, rows.count, rows.sum) == (1, 1, 3)
    assert duration.sum >= 0.059
    assert labels == same
    assert labels.pop("server.port", 0) != 5432
    assert labels.pop("server.address")
    assert labels.pop("db.namespace")
    assert labels == {"db.system.name": "postgresql", "db.query.summary": "SELECT generate_series"}
    assert found.spans() == (["SELECT generate_series", "root"] if sampler is ALWAYS_ON else [])


@SAMPLED
def test_a_query_that_fails_or_is_cancelled(postgres_url: str, sampler: Sampler, around: Around) -> None:
    """A failure is measured under the server's code; a cancellation with how long it took, and without an error."""

    async def query() -> None:
        connection = await asyncpg.connect(postgres_url)
        try:
            with around(found):
                with pytest.raises(asyncpg.UndefinedTableError):
                    await connection.fetch("SELECT * FROM nowhere")
                await cancelled_after(0.05, connection.fetch("SELECT pg_sleep(60)"))
        finally:
            await connection.close()

    with measured(["asyncpg"], sampler) as found:
        asyncio.run(query())
        points = found.points(DURATION)
        assert found.points(ROWS) == []
    failed, cancelled = sorted(points, key=lambda point: "error.type" not in point.attributes)
    assert failed.attributes["error.type"] == failed.attributes["db.response.status_code"] == "42P01"
    assert (failed.count, failed.attributes["db.query.summary"]) == (1, "SELECT nowhere")
    assert "error.type" not in cancelled.attributes
    assert (cancelled.count, cancelled.attributes["db.query.summary"]) == (1, "SELECT pg_sleep")
    assert cancelled.sum >= 0.05


def test_rows_where_they_are_known(postgres_url: str) -> None:
    """Rows are those that ``fetch``, ``fetchrow`` and cursors return; ``fetchval`` and ``execute`` do not tell."""

    async def query() -> None:
        connection = await asyncpg.connect(postgres_url)
        try:
            assert await connection.fetchrow("SELECT 1 WHERE false") is None
            assert await connection.fetchrow("SELECT 1 AS one") is not None
            assert await connection.fetchval("SELECT 2") == 2
            await connection.execute("SELECT 3")
            async with connection.transaction():
                cursor = await connection.cursor("SELECT * FROM generate_series(1, 7) AS cursor")
                assert len(await cursor.fetch(5)) == 5
                assert len(await cursor.fetch(5)) == 2
            statement = await connection.prepare("SELECT * FROM generate_series(1, 4) AS prepared")
            assert len(await statement.fetch()) == 4
        finally:
            await connection.close()

    with measured(["asyncpg"], ALWAYS_OFF) as found:
        asyncio.run(query())
        rows = {point.attributes["db.query.summary"]: (point.count, point.sum) for point in found.points(ROWS)}
        count = sum(point.count for point in found.points(DURATION))
    assert rows == {"SELECT": (2, 1), "SELECT generate_series": (2, 11)}
    assert count == 6


def test_plumbing_and_what_is_excluded_have_no_metrics(postgres_url: str) -> None:
    """Connecting, transactions, failed plumbing and excluded statements are not measured."""

    async def query() -> None:
        connection = await asyncpg.connect(postgres_url)
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await connection.prepare("SELEC")
        async with connection.transaction():
            await connection.execute("SELECT 1 AS heartbeat")
        await connection.close()
        with pytest.raises(asyncpg.InterfaceError):
            await connection.cursor("SELECT 1")

    with measured({"asyncpg": AsyncpgOptions(excluded=("SELECT ? AS heartbeat",))}) as found:
        asyncio.run(query())
        assert found.points(DURATION) == []


@SAMPLED
def test_redis(redis_url: str, sampler: Sampler, around: Around) -> None:
    """Commands and pipelines are measured, errors under their prefix; a ping and a wait for work are not."""

    async def work() -> None:
        client = redis.asyncio.Redis.from_url(redis_url)
        try:
            with around(found):
                await client.set("tests:metrics", "x")
                await client.get("tests:metrics")
                with pytest.raises(redis.ResponseError):
                    await client.lpush("tests:metrics", "y")
                pipeline = client.pipeline(transaction=False)
                pipeline.get("tests:metrics")
                pipeline.get("tests:metrics")
                await pipeline.execute()
                await client.ping()
                assert await client.blpop(["tests:nothing"], timeout=0.01) is None
        finally:
            await client.aclose()

    with measured(["redis"], sampler) as found:
        asyncio.run(work())
        points = {point.attributes["db.operation.name"]: point for point in found.points(DURATION)}
    assert points.keys() == {"SET", "GET", "LPUSH", "PIPELINE GET"}
    assert all(point.count == 1 and point.sum > 0 for point in points.values())
    failed = points["LPUSH"].attributes
    assert failed["error.type"] == failed["db.response.status_code"] == "WRONGTYPE"
    assert "db.query.text" not in points["GET"].attributes
    assert points["GET"].attributes["db.system.name"] == "redis"


@SAMPLED
def test_neo4j(neo4j_server: GraphServer, sampler: Sampler, around: Around) -> None:
    """Queries are measured, in managed transactions too, which themselves are not, and so are their rows."""
    query = "UNWIND range(1, 3) AS n RETURN n"
    with measured(["neo4j"], sampler) as found:
        driver = neo4j.GraphDatabase.driver(neo4j_server.url, auth=neo4j_server.auth)
        with driver, around(found):
            assert len(driver.execute_query(query, database_=neo4j_server.database).records) == 3
            with driver.session(database=neo4j_server.database) as session:
                assert session.execute_read(lambda transaction: len(list(transaction.run(query)))) == 3
                assert len(list(session.run(query))) == 3
        points = found.points(DURATION)
        (rows,) = found.points(ROWS)
    assert sum(point.count for point in points) == 3
    assert {point.attributes["db.system.name"] for point in points} == {"neo4j"}
    assert {point.attributes["db.namespace"] for point in points} == {neo4j_server.database}
    assert all("error.type" not in point.attributes for point in points)
    assert (rows.count, rows.sum) == (3, 9)
