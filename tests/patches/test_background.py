"""What starts no trace: pings, waits for work, listening, and what pools do on their own account."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis
import redis.asyncio
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode
from sqlalchemy import text

from causal_otel.engine.context import suppress
from tests.patches.authors import connected, for_sqlalchemy, knows_that_it_is_closed, raw_connection
from tests.patches.either import close, settle
from tests.recording import Recording, recording
from tests.services.slow import slow
from tests.span_relations import assert_span


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording(["asyncpg", "redis"]) as recorded:
        yield recorded


QUIET: dict[str, tuple[tuple[Any, ...], ...]] = {
    "pings": (("PING",), ("ECHO", "a"), ("CLIENT", "SETNAME", "a"), ("CLIENT GETNAME",), ("client", "id"), ("HELLO",)),
    "pops": (
        ("BLPOP", "none", 0.01),
        ("BRPOP", "none", 0.01),
        ("BLMOVE", "none", "other", "LEFT", "LEFT", 0.01),
        ("BRPOPLPUSH", "none", "other", 0.01),
        ("BLMPOP", 0.01, 1, "none", "LEFT"),
        ("BZPOPMIN", "none", 0.01),
        ("BZPOPMAX", "none", 0.01),
        ("BZMPOP", 0.01, 1, "none", "MIN"),
        ("WAIT", 0, 1),
    ),
    "streams": (
        ("XREAD", "BLOCK", 1, "STREAMS", "none", "$"),
        (b"xread", b"COUNT", 1, b"block", 1, b"streams", "none", "$"),
        ("XREADGROUP", "GROUP", "g", "c", "BLOCK", 1, "STREAMS", "stream", ">"),
    ),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("what", QUIET)
async def test_pings_and_waits_for_work(recorded: Recording, library: Any, redis_url: str, what: str) -> None:
    """Outside any span they are none, alone and in a pipeline; inside one they are recorded as ever."""
    client = library.Redis.from_url(redis_url)
    with suppress(), contextlib.suppress(redis.ResponseError):
        await settle(client.xgroup_create("stream", "g", mkstream=True))

    async def use() -> int:
        for command in QUIET[what]:
            await settle(client.execute_command(*command))
        pipeline = client.pipeline(transaction=False)
        pipeline.execute_command("PING")
        pipeline.execute_command("ECHO", "a")
        await settle(pipeline.execute())
        return len(QUIET[what]) + 1

    with trace.use_span(INVALID_SPAN) if what == "pops" else contextlib.nullcontext():
        await use()
    assert recorded.names() == []
    with recorded.tracer.start_as_current_span("root") as root:
        count = await use()
    *spans, _ = recorded.spans
    assert len(spans) == count
    for span in spans:
        assert_span(span, root)
        assert span.kind is SpanKind.CLIENT
    await close(client)


@pytest.mark.asyncio
async def test_what_does_not_wait(recorded: Recording, library: Any, redis_url: str) -> None:
    """Reading a stream without waiting, popping what is there, and a pipeline with more than pings are traces."""
    client = library.Redis.from_url(redis_url)
    await settle(client.execute_command("XREAD", "STREAMS", "block", "$"))
    await settle(client.lpop("none"))
    await settle(client.pipeline(transaction=False).ping().get("none").execute())
    assert recorded.names() == ["XREAD", "LPOP", "PIPELINE"]
    for span in recorded.spans:
        assert_span(span, None)
    assert len({span.context.trace_id for span in recorded.spans}) == 3
    await close(client)


@pytest.mark.asyncio
async def test_listening(recorded: Recording, library: Any, redis_url: str) -> None:
    """Subscribing, waiting for messages, also in vain or until the connection breaks, and a monitor are no traces."""
    url = urlsplit(redis_url)
    with slow(url.hostname or "", url.port or 6379) as proxy:
        client = library.Redis(port=proxy.port, retry=None)
        channel = client.pubsub()
        await settle(channel.subscribe("news"))
        assert (await settle(channel.get_message(timeout=60)))["type"] == "subscribe"
        assert await settle(channel.get_message(timeout=0.01)) is None
        monitor = client.monitor()
        await settle(monitor.__aenter__() if library is redis.asyncio else monitor.__enter__())
        await settle(monitor.connection.disconnect())
        proxy.close()
        with pytest.raises(redis.ConnectionError):
            await settle(channel.get_message(timeout=60))
        with pytest.raises(redis.ConnectionError):
            await settle(client.ping())
    assert recorded.names() == []
    await close(channel)
    await close(client)


@pytest.mark.asyncio
async def test_a_pool_keeps_to_itself(recorded: Recording, postgres_url: str) -> None:
    """Opening a pool, connections that it lets go and makes, resetting and closing them are no traces."""
    async with asyncpg.create_pool(postgres_url, min_size=2, max_size=3, max_inactive_connection_lifetime=0.05) as pool:
        async with pool.acquire() as first, pool.acquire(), pool.acquire() as third:
            await third.execute("SET search_path TO public")
            pid = first.get_server_pid()
        deadline = asyncio.get_running_loop().time() + 60
        while pool.get_idle_size() == 3:  # it closes what has been idle for long
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        async with pool.acquire() as again:
            assert again.get_server_pid()
            assert pid
        await pool.expire_connections()
        await pool.fetchval("SELECT 1")
    assert recorded.names() == ["SET", "SELECT"]
    for span in recorded.spans:
        assert_span(span, None)


@pytest.mark.asyncio
async def test_pre_ping(recorded: Recording, postgres_url: str) -> None:
    """SQLAlchemy's ``pool_pre_ping`` is none, also where it finds that the connection has gone."""
    with suppress():
        other = await asyncpg.connect(postgres_url)
    async with connected(for_sqlalchemy(postgres_url), pool_size=1, pool_pre_ping=True) as engine:
        async with engine.connect() as connection:
            pid = await connection.scalar(text("SELECT pg_backend_pid()"))
            raw = await raw_connection(connection)
        recorded.clear()
        for gone in (False, True):
            if gone:
                with suppress():
                    await other.fetchval("SELECT pg_terminate_backend($1, 60000)", pid)
                await knows_that_it_is_closed(raw)
            async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                assert (await connection.scalar(text("SELECT 1"))) == 1
    assert "PING" not in " ".join(recorded.names())
    for span in recorded.spans:
        failed = span.status.status_code is StatusCode.ERROR
        assert not failed or span.name == "BEGIN postgres"
        assert_span(span, None, error="*" if failed else None)
    with suppress():
        await other.close()
