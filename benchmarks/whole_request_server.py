"""The service of :mod:`benchmarks.bench_whole_request`, in a process of its own: FastAPI under uvicorn, on one core.

    python -m benchmarks.whole_request_server TRACER PORT POSTGRES UPSTREAM OTLP SAMPLED

``/work/{number}`` makes one query and one GET, ``/nothing/{number}`` answers at once, and ``/many/{number}`` is the
last of 500 routes. ``/flush`` exports what has ended, so that a round pays for that itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
import asyncpg
import httpx
import uvicorn
from fastapi import FastAPI, Request

from benchmarks import tracers
from benchmarks.rounds import BARE, DDTRACE, FASTAPI, OPENTELEMETRY, OURS
from benchmarks.tracers import Flush

NO_CAUSES, ALL_CAUSES = "no causes", "all causes"
_ROUTES = 500


def _contrib_clients(provider: Any) -> Flush:
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    return tracers.opentelemetry(provider, AsyncPGInstrumentor(), HTTPXClientInstrumentor())


def _contrib(otlp: str, sampled: bool) -> Flush:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    provider = tracers.sdk(otlp, sampled)
    FastAPIInstrumentor().instrument_app(app, tracer_provider=provider)
    return _contrib_clients(provider)


def _fastapi(otlp: str, sampled: bool) -> Flush:
    """FastAPI's own telemetry, which finds the provider by itself, with contrib's instrumentations of the clients."""
    return _contrib_clients(tracers.sdk(otlp, sampled))


def _ddtrace(otlp: str, sampled: bool) -> Flush:
    return tracers.ddtrace(fastapi=True, starlette=True, asyncpg=True, httpx=True)


def _ours(otlp: str, sampled: bool) -> Flush:
    return tracers.causal_otel(otlp, sampled, os.environ.get("WR_PATCHES", "asgi asyncpg httpx").split())


def _no_causes(otlp: str, sampled: bool) -> Flush:
    """Ours without all that says why something took so long."""
    return tracers.causal_otel(otlp, sampled, ("asgi", "asyncpg", "httpx", "threads"), task_edges=False, cpu_time=False)


def _all_causes(otlp: str, sampled: bool) -> Flush:
    """Ours with all of that, what is off by default included."""
    return tracers.causal_otel(
        otlp, sampled, ("asgi", "asyncpg", "httpx", "threads", "event_loop", "locks"), code_origin=True
    )


TRACERS = {
    BARE: None,
    OPENTELEMETRY: _contrib,
    FASTAPI: _fastapi,
    DDTRACE: _ddtrace,
    OURS: _ours,
    NO_CAUSES: _no_causes,
    ALL_CAUSES: _all_causes,
}


async def _end() -> dict[str, bool]:
    return {"done": True}


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(app.state.postgres, min_size=8, max_size=8) as pool, httpx.AsyncClient() as client:
        app.state.pool, app.state.client = pool, client
        yield


async def work(request: Request, number: int) -> dict[str, int]:
    """One query and one GET."""
    state = request.app.state
    found = await state.pool.fetchval("SELECT $1::int + 1", number)
    answer = await state.client.get(state.upstream)
    return {"found": found, "status": answer.status_code}


async def nothing(number: int) -> dict[str, int]:
    """An answer at once."""
    return {"number": number}


async def flush(request: Request) -> dict[str, bool]:
    """Export what has ended."""
    await anyio.to_thread.run_sync(request.app.state.flush)
    return {"flushed": True}


app = FastAPI(lifespan=_lifespan)


def main(tracer: str, port: str, postgres: str, upstream: str, otlp: str, sampled: str) -> None:
    """Serve until the process is told to end."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    app.state.postgres, app.state.upstream = postgres, upstream
    start = TRACERS[tracer]
    app.state.flush = tracers.nothing() if start is None else start(otlp, sampled == "sampled")
    app.get("/work/{number}")(work)
    app.get("/nothing/{number}")(nothing)
    app.get("/flush")(flush)
    for number in range(_ROUTES - 1):
        app.get(f"/route-{number}/{{number}}")(_end)
    app.get("/many/{number}")(nothing)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
