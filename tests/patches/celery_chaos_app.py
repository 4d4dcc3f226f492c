"""The Celery app of :mod:`tests.patches.test_celery_chaos`: tasks that do what their scripts say, and write down what.

A script says of each attempt at a task what becomes of it, by a word; what comes after the last one comes to that, too.
Before that the attempt appends a line to the list ``LEDGER``, by a client that nobody traces; the ledger knows nothing
of what is tested. What Celery executes again, not having heard of the attempt, is in the list ``PUT_BACK``.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import time
from collections import deque
from typing import Any

import redis
from celery import Celery, Task
from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool
from celery.exceptions import Ignore, Reject
from opentelemetry import trace

import causal_otel
from causal_otel.installation import installation

__all__ = ["HARD_LIMIT", "LEDGER", "PUT_BACK", "SOFT_LIMIT", "Expected", "app", "errback", "late", "step"]

LEDGER, PUT_BACK = "chaos-ledger", "chaos-put-back"
SOFT_LIMIT, HARD_LIMIT = 0.3, 1

if "TESTS_CHAOS_WORKER" in os.environ:
    causal_otel.install(patches=["celery"])

app = Celery("chaos", set_as_current=False)
app.conf.update(
    task_default_queue="chaos",
    result_expires=600,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_transport_options={"visibility_timeout": 3600},
)


class Expected(Exception):
    """What the tasks announce that they may raise."""


@functools.cache
def _client() -> redis.Redis:
    """Of this process: a child that is forked with one connects anew."""
    return redis.Redis.from_url(os.environ["CELERY_BROKER_URL"])


def _write(task: Task[..., Any], node: str, script: list[str]) -> str:
    """Write down that there is an attempt; what becomes of it."""
    request, span = task.request, trace.get_current_span().get_span_context()
    word = script[min(int(_client().incr(f"chaos-attempts-{request.id}")), len(script)) - 1]
    line = {
        "node": node,
        "task_id": request.id,
        "word": word,
        "pid": os.getpid(),
        "retries": request.retries,
        "redelivered": bool((request.delivery_info or {}).get("redelivered")),
        "span_id": f"{span.span_id:016x}",
    }
    _client().rpush(LEDGER, json.dumps(line))
    return word


class _Pool(AsynPool):
    """Celery's, which writes down what it does about a message whose process has ended."""

    outbound_buffer: deque[Any]

    def on_partial_read(self, job: Any, proc: Any) -> None:
        super().on_partial_read(job, proc)
        if job in self.outbound_buffer:
            _client().rpush(PUT_BACK, json.dumps({"task_id": job.correlation_id, "pid": proc.pid}))


TaskPool.Pool = _Pool


def _perform(task: Task[..., Any], node: str, script: list[str]) -> str:
    word = _write(task, node, script)
    if word == "fail":
        raise ValueError(node)
    if word == "expected":
        raise Expected(node)
    if word == "ignore":
        raise Ignore
    if word in ("reject", "requeue"):
        raise Reject(node, requeue=word == "requeue")
    if word == "retry":
        raise task.retry(exc=ConnectionError(node), countdown=0.01 * (len(node) % 5), max_retries=10)
    if word == "exit":
        raise SystemExit(3)
    if word in ("kill", "hard", "hang"):
        _export()
        if word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        _sleep(60)
    if word == "soft":
        _sleep(60)
    return node


def _export() -> None:
    """A process that is killed has not exported what ended in it just before; that is not what this is about."""
    installed = installation()
    if installed is not None:
        installed.flush(10)


def _sleep(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.01)  # in moments: Python sleeps on over a signal that comes just before it sleeps


@app.task(name="chaos.step", bind=True, throws=(Expected,))
def step(self: Task[..., Any], *_: Any, node: str, script: list[str]) -> str:
    """Acknowledged before it runs."""
    return _perform(self, node, script)


@app.task(name="chaos.late", bind=True, throws=(Expected,), acks_late=True, reject_on_worker_lost=True)
def late(self: Task[..., Any], *_: Any, node: str, script: list[str]) -> str:
    """Acknowledged when it has run, and delivered again where its process was lost."""
    return _perform(self, node, script)


@app.task(name="chaos.errback", bind=True)
def errback(self: Task[..., Any], task_id: str, *, node: str, script: list[str]) -> str:
    """What is sent for a task that has failed: with a second argument, Celery would call it where that failed."""
    return _perform(self, node, script)
