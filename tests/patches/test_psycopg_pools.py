"""psycopg_pool: what is waited for is told, what works in the background is nobody's, and pools are measured."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress as ignoring
from typing import TYPE_CHECKING, Any

import psycopg_pool
import pytest

from causal_otel.patches.psycopg import PsycopgOptions
from tests.metrics.measuring import measured
from tests.patches.asyncpg_failing import via
from tests.patches.either import settle
from tests.patches.psycopg_steps import Driver, driver, entered
from tests.recording import Recording, recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["driver"]

pytestmark = pytest.mark.asyncio


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """Nothing is excepted."""
    with recording({"psycopg": PsycopgOptions(slow_plumbing=0.03)}) as record:
        yield record


async def test_wait_for_a_connection(recorded: Recording, driver: Driver, postgres_url: str) -> None:
    """A wait is a span of its own before that of the statement, with the size of the pool and who waited before."""
    async with entered(driver.pool(postgres_url, min_size=1, max_size=1, open=False)) as pool:
        await settle(pool.wait())
        recorded.clear()
        held = await settle(pool.getconn())
        with recorded.tracer.start_as_current_span("root") as root:

            async def work() -> None:
                async with entered(pool.connection()) as connection:
                    await settle(connection.execute("SELECT 1"))

            if driver.is_async:
                waiting: Any = asyncio.create_task(work())
                await asyncio.sleep(0.1)
                await pool.putconn(held)
                await waiting
            else:
                timer = threading.Timer(0.1, pool.putconn, (held,))
                timer.start()
                await work()
                timer.join()
    acquire, select = (span for span in recorded.spans if span.name in ("ACQUIRE postgres", "SELECT"))
    found = assert_span(acquire, root, lasts=0.03)
    assert found["causal.pool.wait"] >= 0.03
    assert (found["causal.pool.size"], found["causal.pool.waiting"]) == (1, 0)
    assert assert_span(select, root)["db.query.text"] == "SELECT ?"


async def test_wait_in_vain(recorded: Recording, driver: Driver, postgres_url: str) -> None:
    """A pool without a free connection, or that cannot connect, is one failed ACQUIRE."""
    with recorded.tracer.start_as_current_span("root") as root:
        async with entered(driver.pool(via(postgres_url, 1), min_size=0, max_size=1, open=False)) as pool:
            with pytest.raises(psycopg_pool.PoolTimeout):
                await settle(pool.getconn(timeout=0.1))
    acquire = recorded.only("ACQUIRE postgres")
    assert_span(acquire, root, error="psycopg_pool.PoolTimeout", lasts=0.1)
    assert (acquire.attributes or {})["server.address"] == "127.0.0.1"
    others = {span.name for span in recorded.spans} - {"ACQUIRE postgres", "root", "CLOSE POOL postgres"}
    assert others == set()


async def test_null_pool_connects(recorded: Recording, driver: Driver, postgres_url: str) -> None:
    """A pool that keeps no connections fails to make one: that is one failed span, of connecting."""
    with recorded.tracer.start_as_current_span("root") as root:
        async with entered(driver.null_pool(via(postgres_url, 1), max_size=1, open=False)) as pool:
            with ignoring(Exception):
                await settle(pool.getconn(timeout=0.2))
    (failed,) = (span for span in recorded.spans if not span.status.is_unset)
    assert failed.name in ("CONNECT postgres", "ACQUIRE postgres")
    assert assert_span(failed, root, error="psycopg*")["server.port"] == 1


async def test_workers_are_nobodys(driver: Driver, postgres_url: str) -> None:
    """What is done in a pool's workers is no part of the request that opened it, nor a trace; nor is its check."""
    asked: list[str] = []

    async def configure(connection: Any) -> None:
        asked.append("configure")
        await connection.execute("SELECT 'configured'")
        await connection.commit()

    def configure_sync(connection: Any) -> None:
        asked.append("configure")
        connection.execute("SELECT 'configured'")
        connection.commit()

    async def reset(connection: Any) -> None:
        asked.append("reset")
        await connection.execute("SELECT 'reset'")
        await connection.commit()

    def reset_sync(connection: Any) -> None:
        asked.append("reset")
        connection.execute("SELECT 'reset'")
        connection.commit()

    hooks: dict[str, Any] = {
        "configure": configure if driver.is_async else configure_sync,
        "reset": reset if driver.is_async else reset_sync,
        "check": driver.pool.check_connection,
    }
    with recording({"psycopg": PsycopgOptions(slow_plumbing=60.0)}) as recorded:
        with recorded.tracer.start_as_current_span("root") as root:
            async with entered(driver.pool(postgres_url, min_size=1, open=False, **hooks)) as pool:
                async with entered(pool.connection()) as connection:
                    await settle(connection.execute("SELECT pg_sleep(0.01)"))
                async with entered(pool.connection()):
                    pass
        assert {"configure", "reset"} <= set(asked)
        select, _ = recorded.spans
        assert assert_span(select, root, lasts=0.01)["db.query.text"] == "SELECT pg_sleep(?)"


async def test_metrics(driver: Driver, postgres_url: str) -> None:
    """Waiting, using, making connections, time-outs and how many there are is measured, by the pool's name."""
    metric = "db.client.connection"
    with measured(["psycopg"]) as measurements:
        async with entered(driver.pool(postgres_url, min_size=1, max_size=1, open=False, name="shop")) as pool:
            async with entered(pool.connection()) as connection:
                await settle(connection.execute("SELECT 1"))
                with pytest.raises(psycopg_pool.PoolTimeout):
                    await settle(pool.getconn(timeout=0.05))
                points = measurements.points(f"{metric}.count")
                assert {point.attributes[f"{metric}.state"]: point.value for point in points} == {"idle": 0, "used": 1}
            found = {}
            for each in ("wait_time", "create_time", "use_time", "timeouts", "pending_requests"):
                attributes, found[each] = measurements.only(f"{metric}.{each}")
                assert attributes == {f"{metric}.pool.name": "shop"}
            assert (found["wait_time"].count, found["use_time"].count, found["create_time"].count) == (1, 1, 1)
            assert (found["timeouts"].value, found["pending_requests"].value) == (1, 0)
            attributes, _ = measurements.only("db.client.operation.duration")
            assert attributes["db.query.summary"] == "SELECT"
