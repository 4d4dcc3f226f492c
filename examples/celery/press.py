"""A press prints books: pages at once, then the binding, then the shipping, which may have to try again."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery, Task

import causal_otel

__all__ = ["app", "bind_book", "count_paper", "print_page", "ship"]

causal_otel.install()

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

app = Celery("press", broker=REDIS_URL, backend=REDIS_URL)
app.conf.broker_connection_retry_on_startup = True
app.conf.beat_schedule = {"count the paper": {"task": "press.count_paper", "schedule": 10.0}}


class NoVan(Exception):
    """All vans are on the road."""


@app.task
def print_page(number: int) -> int:
    """Print a page; returns what it weighs, in grams."""
    time.sleep(0.05)
    return 4 + number % 2


@app.task
def bind_book(grams: list[int]) -> int:
    """Bind the pages; returns what the book weighs, in grams."""
    with causal_otel.span("glue", {"pages": len(grams)}):
        return sum(grams) + 20


@app.task(bind=True, autoretry_for=(NoVan,), default_retry_delay=1)
def ship(self: Task[Any, Any], grams: int) -> str:
    """Ship the book, which never succeeds at the first attempt."""
    if self.request.retries == 0:
        raise NoVan
    return f"a book of {grams} g is on its way"


@app.task(ignore_result=True)
def count_paper() -> None:
    """Done by a schedule: each time is a trace of its own."""
