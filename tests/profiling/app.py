"""A FastAPI application, a WSGI application and a Celery app that compute in functions of their own."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from celery import Celery
from fastapi import FastAPI

import causal_otel

__all__ = ["api", "celery", "planted", "wsgi"]

_SECONDS = 0.6


def planted() -> None:
    """Compute for as long as a dozen samples take, on an idle machine."""
    end = time.thread_time() + _SECONDS
    while time.thread_time() < end:
        pass


causal_otel.install()
api = FastAPI()
celery = Celery("profiled", broker=os.environ.get("CELERY_BROKER_URL"))
celery.conf.task_default_queue = "profiled"


@api.get("/async")
async def in_the_loop() -> None:
    """Compute on the loop."""
    await asyncio.sleep(0.2)
    planted()


@api.get("/sync")
def in_a_thread() -> None:
    """Compute in one of anyio's threads."""
    planted()


@causal_otel.WsgiMiddleware
def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Compute in a thread of the server's."""
    planted()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


@celery.task
def compute() -> None:
    """Compute in a child of the worker's."""
    planted()
