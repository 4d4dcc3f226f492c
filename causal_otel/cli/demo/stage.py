"""Everything the demo runs on. Its services are the example ``examples/platform``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from causal_otel.cli.demo.collector import Collector
from causal_otel.cli.demo.starting import consuming, listening, starting, uvicorn, worker
from causal_otel.testing.process import LOOPBACK, Process, claim_port
from causal_otel.testing.servers import bolt, postgres, valkey

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Stage", "stage"]

_HERE = Path(__file__).parent
_PLATFORM = next(
    folder for folder in (_HERE / "platform", _HERE.parents[2] / "examples" / "platform") if folder.exists()
)
"""The example: a wheel has a copy of it, beside this file."""


@dataclass(frozen=True)
class Stage:
    """What runs while :func:`stage`'s block lasts.

    Args:
        api_url: the base URL of ``demo-api``.
        api: its process.
        worker: the process of ``demo-worker``; its tasks run in children of it.
        collector: where their spans go.
    """

    api_url: str
    api: Process
    worker: Process
    collector: Collector


@contextmanager
def stage(console: Console, api_port: int | None = None) -> Iterator[Stage]:
    """Start everything; stop everything when the block is left.

    Args:
        console: where progress is shown.
        api_port: the port of the API; None: a free one.

    Raises:
        ServerError: Something cannot be started.
    """
    if api_port:
        claim_port(api_port, "demo-api")  # a taken port is told at once, not after the others have started
    begun = time.monotonic()
    with starting(console) as start:
        start.environment["PYTHONPATH"] = os.pathsep.join(
            [str(_PLATFORM), *filter(None, [start.environment.get("PYTHONPATH")])]
        )
        kept = start.collector()
        scoring_port = claim_port(None, "demo-scoring")
        scoring = start.begin("demo-scoring", uvicorn("demo.scoring:app", scoring_port))
        postgres_url = start.up("PostgreSQL", "deliveries and analyses", postgres())
        redis_url = start.up("Valkey", "a Redis by another name: cache, and Celery's queue", valkey())
        graph = start.up("ArcadeDB", "stands in for Neo4j: it speaks Bolt and Cypher", bolt())
        start.environment |= {
            "POSTGRES_URL": postgres_url,
            "REDIS_URL": redis_url,
            "NEO4J_URL": graph.url,
            "NEO4J_USER": graph.user,
            "NEO4J_PASSWORD": graph.password,
            "SCORING_URL": f"http://{LOOPBACK}:{scoring_port}",
        }
        api_port = claim_port(api_port, "demo-api")
        api = start.begin("demo-api", uvicorn("demo.api:app", api_port))
        tasks = start.begin("demo-worker", worker("demo.tasks", 2))
        start.ready(scoring, "an external HTTP service, on Starlette", listening(scoring_port))
        start.ready(api, "FastAPI under uvicorn", listening(api_port))
        start.ready(tasks, "Celery, prefork: tasks run in other processes", consuming)
        console.print(f"\n  All up after {time.monotonic() - begun:.1f} s.")
        yield Stage(f"http://{LOOPBACK}:{api_port}", api, tasks, kept)
