"""Tasks of Celery that end in unusual ways. A worker imports them with ``-I tests.patches.celery_endings``."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import Task

from tests.patches.celery_app import app, hang

__all__ = ["INCLUDE"]

INCLUDE = ("-I", "tests.patches.celery_endings")


class KilledAfterwards(Task):  # type: ignore[type-arg]
    """A task whose process is killed when its result is stored."""

    def on_success(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="tests.done_and_killed", base=KilledAfterwards)
def done_and_killed() -> int:
    time.sleep(0.2)
    return 5


@app.task(name="tests.lost_and_retried", bind=True, default_retry_delay=0)
def lost_and_retried(self: Task[..., Any]) -> int:
    """Its process is lost at the first attempt, for which Celery is asked to retry it."""
    if not self.request.retries:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return self.request.retries


lost_and_retried.retry_on_worker_lost = True  # type: ignore[attr-defined]  # since 5.7


@app.task(name="tests.told_to_end")
def told_to_end() -> None:
    """Somebody sends its process SIGTERM, as a service manager does to all processes of a service."""
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)


@app.task(name="tests.late", acks_late=True)
def late(seconds: float) -> None:
    """Says that it is at work, works that long in moments, and its message is acknowledged when it is done."""
    print("at work")  # in the worker's log
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


@app.task(name="tests.late_once", bind=True, acks_late=True)
def late_once(self: Task[..., Any]) -> None:
    """Works for ever, unless its message has been delivered before."""
    if not (self.request.delivery_info or {}).get("redelivered"):
        hang.run()


@app.task(name="tests.early")
def early(seconds: float) -> None:
    """The same, acknowledged when it begins."""
    late.run(seconds)


@app.task(name="tests.large")
def large(megabytes: int) -> int:
    """Needs that much memory; which process it was."""
    _ = b"x" * (megabytes << 20)
    return os.getpid()
