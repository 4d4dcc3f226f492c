"""The databases: the clients that API and worker share, and the data in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from neo4j import AsyncDriver, AsyncGraphDatabase
from redis.asyncio import Redis

from demo.settings import NEO4J_PASSWORD, NEO4J_URL, NEO4J_USER, POSTGRES_URL, REDIS_URL

__all__ = ["DATABASE", "Clients", "connected", "seed"]

DATABASE = "neo4j"
"""The graph's database."""

_REQUESTS = 250  # at a time, which is more than redis-py allows for by default

_SUPPLIES = {"Acme": ["Bolts & Co", "Cobalt AG", "Drift Ltd"], "Bolts & Co": ["Cobalt AG"], "Drift Ltd": ["Echo SA"]}

_DAYS = 90

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (company text, day integer, days_late integer, PRIMARY KEY (company, day));
CREATE TABLE IF NOT EXISTS analyses (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, company text, state text DEFAULT 'queued', risk float8
);
"""


@dataclass(frozen=True)
class Clients:
    """A connection pool or client for each database."""

    postgres: asyncpg.Pool[asyncpg.Record]
    graph: AsyncDriver
    redis: Redis


@asynccontextmanager
async def connected() -> AsyncIterator[Clients]:
    """Connect to all databases for as long as the block lasts."""
    async with (
        asyncpg.create_pool(POSTGRES_URL, min_size=1, max_size=4) as postgres,
        AsyncGraphDatabase.driver(NEO4J_URL, auth=(NEO4J_USER, NEO4J_PASSWORD)) as graph,
        Redis.from_url(REDIS_URL, decode_responses=True, max_connections=_REQUESTS) as redis,
    ):
        yield Clients(postgres, graph, redis)


async def seed(clients: Clients) -> None:
    """Fill the databases, if they are not: who supplies whom, and how late each supplier was on each day."""
    edges = [{"from": supplier, "to": company} for company, all_of in _SUPPLIES.items() for supplier in all_of]
    await clients.graph.execute_query(
        "UNWIND $edges AS edge MERGE (s:Company {name: edge.from}) MERGE (c:Company {name: edge.to}) "
        "MERGE (s)-[:SUPPLIES]->(c)",
        edges=edges,
        database_=DATABASE,
    )
    await clients.postgres.execute(_SCHEMA)
    suppliers = sorted({edge["from"] for edge in edges})
    deliveries = [(name, day, day * len(name) % 7) for name in suppliers for day in range(_DAYS)]
    await clients.postgres.executemany("INSERT INTO deliveries VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", deliveries)
