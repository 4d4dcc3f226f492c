"""Everything the slow demo runs on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from causal_otel.cli.demo.slow.config import SlowConfig
from causal_otel.cli.demo.stage import Stage
from causal_otel.cli.demo.starting import consuming, listening, starting, uvicorn
from causal_otel.cli.demo.starting import worker as celery_worker
from causal_otel.testing.process import LOOPBACK, claim_port
from causal_otel.testing.servers import postgres, valkey

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["slow_stage"]


@contextmanager
def slow_stage(
    console: Console,
    api_port: int | None = None,
    *,
    loop: str = "auto",
    environment: Mapping[str, str] | None = None,
    api: Callable[[int], list[str]] | None = None,
    worker: list[str] | None = None,
) -> Iterator[Stage]:
    """Start everything; stop everything when the block is left.

    Args:
        console: where progress is shown.
        api_port: the port of the API; None: a free one.
        loop: the API's event loop: ``asyncio``, ``uvloop``, or ``auto`` for what uvicorn chooses.
        environment: variables that the services see besides.
        api: the module, with its arguments, that serves the API on a port; default: uvicorn.
        worker: the module, with its arguments, that is the worker; default: Celery.

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
        # What is planted is slow on any machine.
        told = {"TRACING_LOOP_BLOCK_THRESHOLD": "0.05", "TRACING_SLOW_PLUMBING": "0.01"}
        start.environment |= {**config.environment(), **told, **(environment or {})}
        external = start.begin("demo-scoring", uvicorn("causal_otel.cli.demo.slow.external:app", external_port))
        api_port = claim_port(api_port, "demo-api")
        served = uvicorn("causal_otel.cli.demo.slow.app:app", api_port, loop=loop) if api is None else api(api_port)
        serving = start.begin("demo-api", served)
        tasks = start.begin(
            "demo-worker", celery_worker("causal_otel.cli.demo.slow.tasks", 1) if worker is None else worker
        )
        start.ready(external, "an external HTTP service, which takes its time", listening(external_port))
        start.ready(serving, "FastAPI under uvicorn", listening(api_port))
        start.ready(tasks, "Celery, with one process", consuming)
        console.print(f"\n  All up after {time.monotonic() - begun:.1f} s.")
        yield Stage(f"http://{LOOPBACK}:{api_port}", serving, tasks, kept)
