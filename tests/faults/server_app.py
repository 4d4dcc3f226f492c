"""The application that the servers of ``test_leaving.py`` serve: traced, and slow to export on its own account."""

from __future__ import annotations

import os

from fastapi import FastAPI

import causal_otel

# A span waits a minute for its batch: what arrives at the collector was exported because the process was ending.
causal_otel.install(schedule_delay=60.0, patches=["asgi"] if os.environ.get("PATCH_ASGI") else [])

app = FastAPI()


@app.get("/")
async def ready() -> None: ...


@app.get("/work")
async def work() -> dict[str, int]:
    with causal_otel.span("work"):
        return {"pid": os.getpid()}
