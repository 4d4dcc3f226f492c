"""redis.asyncio's ``GET`` under a recorded parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from opentelemetry.instrumentation.redis import RedisInstrumentor

from benchmarks.conftest import VARIANTS, opentelemetry, ours

if TYPE_CHECKING:
    import asyncio

    from causal_otel.cli.demo.received import ReceivedSpans


@pytest.mark.parametrize("variant", VARIANTS)
def test_get(
    compare: Any, receiver: ReceivedSpans, loop: asyncio.AbstractEventLoop, redis_url: str, variant: str
) -> None:
    """One command on one client."""
    url = f"{receiver.endpoint}/v1/traces"
    tracing = {
        "bare": lambda: None,
        "opentelemetry": lambda: opentelemetry(url, RedisInstrumentor()),
        "causal_otel": lambda: ours(url, "redis"),
    }
    client = redis.asyncio.Redis.from_url(redis_url)
    try:
        loop.run_until_complete(client.set("benchmark", "x"))
        compare("redis GET", variant, tracing[variant](), lambda _: client.get("benchmark"), 1)
    finally:
        loop.run_until_complete(client.aclose())
