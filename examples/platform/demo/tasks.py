"""The worker, ``demo-worker``: a Celery task that asks two databases and an external service."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import httpx
from celery import Celery
from celery.signals import setup_logging

import causal_otel
from demo.databases import DATABASE, connected
from demo.logs import log_as_json
from demo.settings import REDIS_URL, SCORING_URL

__all__ = ["analyse", "celery"]

causal_otel.install(service_name="demo-worker")

logger = logging.getLogger(__name__)
celery = Celery("demo", broker=REDIS_URL)
celery.conf.broker_connection_retry_on_startup = True


@setup_logging.connect  # with somebody connected here, Celery leaves logging alone
def set_up_logging(**_: Any) -> None:
    """Log as the API does."""
    log_as_json()


@celery.task(name="analyse", ignore_result=True)
def analyse(number: int, company: str) -> None:
    """Rate the risk that a company's suppliers are."""
    anyio.run(_analyse, number, company)


async def _analyse(number: int, company: str) -> None:
    suppliers: list[str] = []
    late: dict[str, float] = {}
    async with connected() as clients, httpx.AsyncClient(base_url=SCORING_URL) as scoring:

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
            logger.info("weighing %d suppliers of %s", len(suppliers), company)
            evidence = {name: late[name] for name in suppliers}
            answer = await scoring.post("/v1/score", json=evidence)
            risk = answer.raise_for_status().json()["risk"]

        await clients.postgres.execute("UPDATE analyses SET state = 'done', risk = $2 WHERE id = $1", number, risk)
        async with clients.redis.pipeline() as pipeline:
            pipeline.set(f"analysis:{number}", json.dumps({"id": number, "state": "done", "risk": risk}))
            pipeline.incr("analyses:finished")
            pipeline.delete("graph:stats")
            await pipeline.execute()
        logger.info("analysis %d is done: risk %.2f", number, risk)
