"""The application and the Celery app of ``test_errors_kept.py``, served by uvicorn and by a worker, both traced."""

from __future__ import annotations

import os

import causal_otel

if "TESTS_INSTALL" in os.environ:
    causal_otel.install(patches=["asgi", "celery"])

from celery import Celery
from fastapi import FastAPI, HTTPException

__all__ = ["api", "tasks"]

api = FastAPI()
tasks = Celery("shop", set_as_current=False)
tasks.conf.update(
    task_ignore_result=True,
    task_default_queue="shop",
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@tasks.task(name="shop.pack")
def pack(number: int, fails: bool) -> None:
    with causal_otel.span("wrap"):
        pass
    if fails:
        raise ValueError(number)


@api.get("/plain/{number}")
async def plain(number: int) -> int:
    with causal_otel.span("look"):
        return number


@api.get("/fails/{number}")
async def fails(number: int) -> None:
    with causal_otel.span("look"):
        pass
    raise HTTPException(503)


@api.get("/packed/{number}")
def packed(number: int) -> int:
    pack.delay(number, False)
    return number


@api.get("/crushed/{number}")
def crushed(number: int) -> int:
    pack.delay(number, True)
    return number
