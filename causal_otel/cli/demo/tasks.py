"""The demo's worker, ``demo-worker``: a Celery task that asks two databases and an external service."""

from __future__ import annotations

import json

import anyio
import httpx
from celery import Celery

import causal_otel
from causal_otel.cli.demo.clients import DATABASE, connected
from causal_otel.cli.demo.config import Config

__all__ = ["analyse", "celery"]

causal_otel.install(service_name="demo-worker")

config = Config.load()
celery = Celery("demo", broker=config.redis_url)
celery.conf.broker_connection_retry_on_startup = True


@celery.task(name="analyse", ignore_result=True)
def analyse(number: int, company: str) -> None:
    """Rate the risk that a company's suppliers are."""
    anyio.run(_analyse, number, company)


async def _analyse(number: int, company: str) -> None:
    suppliers: list[str] = []
    late: dict[str, float] = {}
    async with connected(config) as clients, httpx.AsyncClient(base_url=config.scoring_url, trust_env=False) as scoring:

        async def find_suppliers() -> None:
            records, _, _ = await clients.graph.execute_query(
                "MATCH (s:Company)-[:SUPPLIES*1..2]->(:Company {name: $name}) RETURN DISTINCT s.name AS name",
                name=company,
                database_=DATABASE,
            )
            suppliers.extend(record["name"] for record in records)

        async def read_deliveries() -> None:
            rows = await clients.postgres.fetch(
                "SELECT company, avg(days_late)::float8 AS late FROM deliveries GROUP BY company"
            )
            late.update((row["company"], row["late"]) for row in rows)

        async with anyio.create_task_group() as group:
            group.start_soon(find_suppliers)
            group.start_soon(read_deliveries)

        with causal_otel.span("weigh suppliers", {"suppliers": len(suppliers)}):  # a span of your own
            evidence = {name: late[name] for name in suppliers}
            answer = await scoring.post("/v1/score", json=evidence)
            risk = answer.raise_for_status().json()["risk"]

        await clients.postgres.execute("UPDATE analyses SET state = 'done', risk = $2 WHERE id = $1", number, risk)
        async with clients.redis.pipeline() as pipeline:
            pipeline.set(f"analysis:{number}", json.dumps({"id": number, "state": "done", "risk": risk}))
            pipeline.incr("analyses:finished")
            pipeline.delete("graph:stats")
            await pipeline.execute()
