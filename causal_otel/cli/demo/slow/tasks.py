"""The slow demo's worker: one process, which is busy while others wait for it."""

from __future__ import annotations

import time

from celery import Celery

import causal_otel
from causal_otel.cli.demo.slow.causes import PLANTED
from causal_otel.cli.demo.slow.config import SlowConfig

__all__ = ["celery"]

causal_otel.install(service_name="demo-worker")

celery = Celery("slow", broker=SlowConfig.load().redis_url)
celery.conf.broker_connection_retry_on_startup = True


@celery.task(name="work", ignore_result=True)
def work(seconds: float = PLANTED) -> None:
    """Take so long."""
    time.sleep(seconds)


@celery.task(name="letter", ignore_result=True)
def letter() -> None:
    """Take no time."""
