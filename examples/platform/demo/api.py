"""The API, ``demo-api``: FastAPI on PostgreSQL, Redis and Neo4j. One line of it is about tracing."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from celery import Celery
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel

import causal_otel
from demo.databases import DATABASE, Clients, connected, seed
from demo.logs import log_as_json
from demo.settings import REDIS_URL

__all__ = ["app"]

causal_otel.install(service_name="demo-api")  # the one line; all spans of this file come from it

log_as_json()
logger = logging.getLogger(__name__)
queue = Celery("demo", broker=REDIS_URL)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Clients]]:
    """Connect once, for all requests."""
    async with connected() as clients:
        await seed(clients)
        yield {"clients": clients}


async def clients_of(request: Request) -> Clients:
    """What the lifespan has connected."""
    clients: Clients = request.state.clients
    return clients


app = FastAPI(title="Suppliers", lifespan=lifespan)
Connected = Annotated[Clients, Depends(clients_of)]


class NewAnalysis(BaseModel):
    """What to analyse."""

    company: str


@app.get("/api/graph/stats")
async def graph_stats(clients: Connected) -> dict[str, int]:
    """How much there is to analyse: from Redis, or else from all three databases at once."""
    cached = await clients.redis.get("graph:stats")
    if cached:
        found: dict[str, int] = json.loads(cached)
        return found
    logger.info("nothing is cached: counting")
    stats: dict[str, int] = {}

    async def count_companies() -> None:
        records, _, _ = await clients.graph.execute_query(
            "MATCH (c:Company) RETURN count(c) AS companies", database_=DATABASE
        )
        stats["companies"] = records[0]["companies"]

    async def count_deliveries() -> None:
        stats["deliveries"] = await clients.postgres.fetchval("SELECT count(*) FROM deliveries")

    async def count_analyses() -> None:
        stats["analyses"] = int(await clients.redis.get("analyses:finished") or 0)

    async with anyio.create_task_group() as group:
        group.start_soon(count_companies)
        group.start_soon(count_deliveries)
        group.start_soon(count_analyses)
    await clients.redis.set("graph:stats", json.dumps(stats), ex=60)
    return stats


@app.post("/api/analyses", status_code=202)
async def start_analysis(new: NewAnalysis, clients: Connected) -> dict[str, Any]:
    """Have a company analysed by the worker; answers at once with the analysis's id."""
    known, _, _ = await clients.graph.execute_query(
        "MATCH (c:Company {name: $name}) RETURN c.name", name=new.company, database_=DATABASE
    )
    if not known:
        raise HTTPException(404, f"there is no company {new.company!r}")
    number = await clients.postgres.fetchval("INSERT INTO analyses (company) VALUES ($1) RETURNING id", new.company)
    await clients.redis.set(f"analysis:{number}", json.dumps({"id": number, "state": "queued"}))
    # Celery's client blocks, so it goes to a thread; the trace goes with it.
    await anyio.to_thread.run_sync(lambda: queue.send_task("analyse", (number, new.company)))
    logger.info("analysis %d of %s is queued", number, new.company)
    return {"id": number, "state": "queued"}


@app.get("/api/analyses/{number}")
async def analysis(number: int, clients: Connected) -> dict[str, Any]:
    """How far an analysis is, and what came of it."""
    found = await clients.redis.get(f"analysis:{number}")
    if not found:
        raise HTTPException(404, f"there is no analysis {number}")
    state: dict[str, Any] = json.loads(found)
    return state
