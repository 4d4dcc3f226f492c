"""What spans of one kind of operation share is encoded once, whatever each of them has of its own."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import asyncpg
import pytest
import redis

from causal_otel.export.encoder import Encoder
from causal_otel.statements import sql
from tests.recording import recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

WARM, MORE = 50, 400
"""How many operations are encoded before memory is looked at, and between that and the end."""


def _growth(spans: Sequence[ReadableSpan]) -> float:
    """How many bytes the encoder's caches grow by for each of ``spans``, once they are warm."""
    assert len(spans) == WARM + MORE
    encoder = Encoder()
    list(encoder.encode(spans[:WARM]))
    tracemalloc.start()
    try:
        list(encoder.encode(spans[WARM:]))
        return tracemalloc.get_traced_memory()[0] / MORE
    finally:
        tracemalloc.stop()


def test_pipelines(redis_url: str) -> None:
    """Pipelines of one command are alike but for their size and text: nothing is remembered of each."""
    with redis.Redis.from_url(redis_url) as client, recording(["redis"]) as recorded:
        with recorded.tracer.start_as_current_span("parent"):
            for number in range(WARM + MORE):
                pipeline = client.pipeline()
                for _ in range(2 + number % 7):
                    pipeline.get("a")
                pipeline.execute()
            found = recorded.spans
        assert [span.name for span in found] == ["MULTI GET"] * len(found)
        assert _growth(found) < 50


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["fetch", "execute"])
async def test_statements_longer_than_are_read(postgres_url: str, method: str) -> None:
    """A statement with a literal of many kilobytes is described once, and nothing is remembered of each execution."""
    query = f"SELECT length('{'x' * 2 * sql.MAX_TEXT}')"
    connection = await asyncpg.connect(postgres_url)
    try:
        with recording(["asyncpg"]) as recorded:
            with recorded.tracer.start_as_current_span("parent"):
                for _ in range(WARM + MORE):
                    await getattr(connection, method)(query)
                found = recorded.spans
            texts = {(span.attributes or {})["db.query.text"] for span in found}
            assert texts == {"SELECT length(?"}
            assert _growth(found) < 50
    finally:
        await connection.close()
