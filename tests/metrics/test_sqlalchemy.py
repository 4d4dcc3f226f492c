"""What is measured of SQLAlchemy: statements where no other patch does it, and pools whatever the driver is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Connection, exc, text

from tests.metrics.measuring import measured
from tests.patches.any_engine import any_engine, url_of
from tests.patches.authors import LATE

if TYPE_CHECKING:
    from pathlib import Path

POOL = "db.client.connection"


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_pool(postgres_url: str, tmp_path: Path, driver: str) -> None:
    """Waits, connecting, use, time-outs and connections of a pool are measured, outside of any span as well."""
    limits: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": LATE}
    parts = urlsplit(postgres_url)
    name = f"{parts.hostname}:{parts.port}/{parts.path.strip('/')}"
    with measured(["sqlalchemy"]) as measurements:
        async with any_engine(url_of(driver, postgres_url, tmp_path), known=False, **limits) as engine:

            def counts() -> dict[str, int]:
                points = measurements.points(f"{POOL}.count")
                return {point.attributes[f"{POOL}.state"]: point.value for point in points}

            def in_vain(connection: Connection) -> None:
                assert counts() == {"idle": 0, "used": 1}
                with pytest.raises(exc.TimeoutError):
                    engine.sync.connect()

            await engine.connected(in_vain)
            assert counts() == {"idle": 1, "used": 0}
            await engine.connected()
            found = {}
            for each in ("wait_time", "create_time", "use_time", "timeouts", "pending_requests"):
                attributes, point = measurements.only(f"{POOL}.{each}")
                assert attributes == {f"{POOL}.pool.name": name}
                found[each] = point
    assert (found["wait_time"].count, found["use_time"].count, found["create_time"].count) == (2, 2, 1)
    assert found["use_time"].max >= LATE
    assert (found["timeouts"].value, found["pending_requests"].value) == (1, 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_statement(postgres_url: str, tmp_path: Path, driver: str) -> None:
    """A statement is measured once, whichever patch has its span."""
    with measured(["asyncpg", "sqlalchemy"]) as measurements:
        async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
            await engine.connected(lambda connection: connection.execute(text("SELECT 1 FROM pg_class LIMIT 1")))
        points = measurements.points("db.client.operation.duration")
    counted = {point.attributes["db.query.summary"]: point.count for point in points}
    assert counted == {"SELECT pg_class": 1}
