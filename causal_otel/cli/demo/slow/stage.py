"""Everything the slow demo runs on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from causal_otel.cli.demo.slow.config import SlowConfig
from causal_otel.cli.demo.stage import Stage
from causal_otel.cli.demo.starting import consuming, listening, starting, uvicorn, worker
from causal_otel.testing.process import LOOPBACK, claim_port
from causal_otel.testing.servers import postgres, valkey

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["slow_stage"]


@contextmanager
def slow_stage(console: Console, api_port: int | None = None, *, loop: str = "auto") -> Iterator[Stage]:
    """Start everything; stop everything when the block is left.

    Args:
        console: where progress is shown.
        api_port: the port of the API; None: a free one.
        loop: the API's event loop: ``asyncio``, ``uvloop``, or ``auto`` for what uvicorn chooses.

    Raises:
        ServerError: Something cannot be started.
    """
    if api_port:
        claim_port(api_port, "demo-api")
    begun = time.monotonic()
    with starting(console) as start:
        kept = start.collector()
        external_port, relay_port = claim_port(None, "demo-scoring"), claim_port(None, "demo-relay")
        config = SlowConfig(
            postgres_url=start.up("PostgreSQL", "items to be ordered", postgres()),
            relay_port=relay_port,
            redis_url=start.up("Valkey", "a Redis by another name: a lock, and Celery's queue", valkey()),
            external_url=f"http://{LOOPBACK}:{external_port}",
        )
        start.environment |= config.environment()
        external = start.begin("demo-scoring", uvicorn("slow.external", external_port))
        api_port = claim_port(api_port, "demo-api")
        api = start.begin("demo-api", uvicorn("slow.app", api_port, loop=loop))
        tasks = start.begin("demo-worker", worker("slow.tasks", 1))
        start.ready(external, "an external HTTP service, which takes its time", listening(external_port))
        start.ready(api, "FastAPI under uvicorn", listening(api_port))
        start.ready(tasks, "Celery, with one process", consuming)
        console.print(f"\n  All up after {time.monotonic() - begun:.1f} s.")
        yield Stage(f"http://{LOOPBACK}:{api_port}", api, tasks, kept)
