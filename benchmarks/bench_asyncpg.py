"""asyncpg's ``fetchval`` under a recorded parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor

from benchmarks.conftest import VARIANTS, opentelemetry, ours

if TYPE_CHECKING:
    import asyncio

    from causal_otel.cli.demo.received import ReceivedSpans


@pytest.mark.parametrize("variant", VARIANTS)
def test_fetchval(
    compare: Any, receiver: ReceivedSpans, loop: asyncio.AbstractEventLoop, postgres_url: str, variant: str
) -> None:
    """A query with one parameter on one connection."""
    url = f"{receiver.endpoint}/v1/traces"
    tracing = {
        "bare": lambda: None,
        "opentelemetry": lambda: opentelemetry(url, AsyncPGInstrumentor()),
        "causal_otel": lambda: ours(url, "asyncpg"),
    }
    connection = loop.run_until_complete(asyncpg.connect(postgres_url))
    try:
        compare(
            "asyncpg fetchval",
            variant,
            tracing[variant](),
            lambda _: connection.fetchval("SELECT relname FROM pg_class WHERE oid = $1", 1259),
            1,
        )
    finally:
        loop.run_until_complete(connection.close())
