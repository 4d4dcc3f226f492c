"""Whether a server answers its real driver."""

from __future__ import annotations

import asyncpg
import neo4j
import redis

from causal_otel.testing import servers

__all__ = ["ask_bolt", "ask_postgres", "ask_valkey"]

_TIMEOUT = 60.0


async def ask_postgres(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=_TIMEOUT)
    try:
        assert await connection.fetchval("SELECT 6 * 7") == 42
        assert connection.get_server_version().major >= 18
    finally:
        await connection.close()


async def ask_valkey(url: str) -> None:
    with redis.Redis.from_url(url, socket_timeout=_TIMEOUT) as client:
        client.set("answer", "42")
        assert client.get("answer") == b"42"


async def ask_bolt(server: servers.BoltServer) -> None:
    auth = (server.user, server.password)
    async with neo4j.AsyncGraphDatabase.driver(server.url, auth=auth, connection_timeout=_TIMEOUT) as driver:
        result = await driver.execute_query("CREATE (n:Answer {is: $value}) RETURN n.is", value=42, database_="neo4j")
        assert result.records[0].value() == 42
        assert server.name in (await driver.get_server_info()).agent
