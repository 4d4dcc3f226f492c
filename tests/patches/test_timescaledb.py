"""The asyncpg patch on TimescaleDB: hypertables are tables, and its functions are what a statement does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tests.recording import recording
from tests.services import timescale
from tests.span_relations import assert_span

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def timescale_url() -> Iterator[str]:
    """The URL of a PostgreSQL database with TimescaleDB."""
    missing = timescale.missing()
    if missing:
        reason = f"no test against the true TimescaleDB: {missing}"
        pytest.skip(reason)
    with timescale.timescale() as url:
        yield url


@pytest.mark.asyncio
async def test_hypertables(timescale_url: str) -> None:
    """A hypertable is made, filled and asked: each statement is one span that says so, without values."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [(began + timedelta(minutes=n), n % 3, n / 2) for n in range(60)]
    with recording(["asyncpg"]) as recorded:
        connection = await asyncpg.connect(timescale_url, ssl=False, command_timeout=20, timeout=20)
        await connection.execute("CREATE TABLE readings (at timestamptz NOT NULL, sensor int, value float)")
        recorded.clear()
        with recorded.tracer.start_as_current_span("root") as root:
            await connection.fetchrow(
                "SELECT create_hypertable('readings', 'at', chunk_time_interval => INTERVAL '7 days')"
            )
            await connection.executemany("INSERT INTO readings VALUES ($1, $2, $3)", rows)
            found = await connection.fetch(
                "SELECT time_bucket('10 minutes', at) AS bucket, sensor, avg(value) FROM readings "
                "WHERE at > $1 GROUP BY bucket, sensor ORDER BY bucket",
                began - timedelta(days=1),
            )
        connection.terminate()  # this server does not hear a goodbye, and its COPY is not to be relied on
    assert len(found) == 18
    spans = recorded.spans[:3]
    for span, name in zip(spans, ["SELECT create_hypertable", "INSERT readings", "SELECT readings"], strict=True):
        attributes = assert_span(span, root)
        assert (span.name, attributes["db.query.summary"]) == (name, name)
        assert (attributes["db.system.name"], attributes["db.namespace"]) == ("postgresql", "postgres")
        assert "7 days" not in str(attributes)
        assert "10 minutes" not in str(attributes)
    assert dict(spans[1].attributes or {})["db.operation.batch.size"] == 60
    assert dict(spans[2].attributes or {})["db.response.returned_rows"] == 18
