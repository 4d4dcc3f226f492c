"""A FastAPI application and a Celery app that log in every way, each line on standard error as JSON."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from typing import Any

import loguru
import structlog
from celery import Celery
from celery.signals import setup_logging
from fastapi import FastAPI

import causal_otel
from causal_otel.logs import JSONFormatter, loguru_patcher, structlog_processor

__all__ = ["api", "app", "log"]

_standard = logging.getLogger("app")
_loguru = loguru.logger.patch(loguru_patcher)
_structlog = structlog.wrap_logger(
    structlog.PrintLogger(sys.stderr), processors=[structlog_processor, structlog.processors.JSONRenderer()]
)


@setup_logging.connect
def _set_up(**_: Any) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger().setLevel(logging.INFO)


def log(text: str) -> None:
    """Say it with each of the three."""
    _standard.info(text)
    _structlog.info(text)
    _loguru.info(text)


class _ToLogging(logging.Handler):
    """A sink of Loguru's that hands messages on to ``logging``, as its documentation has it."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)


api = FastAPI()


@api.get("/async")
async def in_the_loop() -> None:
    log("in the loop")
    await asyncio.to_thread(log, "in to_thread")


@api.get("/sync")
def in_a_thread() -> None:
    log("in the pool")
    thread = threading.Thread(target=log, args=("in a thread of its own",))
    thread.start()
    thread.join()


app = Celery("logs", set_as_current=False)
app.conf.update(
    task_default_queue=os.environ.get("TESTS_QUEUE", "celery"),
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="logs.work")
def work(text: str) -> int:
    with causal_otel.span("work"):
        log(text)
    return os.getpid()


if "TESTS_LOGS" in os.environ:
    loguru.logger.remove()
    loguru.logger.add(sys.stderr, serialize=True)
    if os.environ.get("TRACING_LOGS") == "export":
        loguru.logger.add(_ToLogging(), format="{message}")
        _structlog = structlog.wrap_logger(
            logging.getLogger("library.structlog"), processors=[structlog.stdlib.render_to_log_kwargs]
        )
    causal_otel.install(patches=["asgi", "celery"])
