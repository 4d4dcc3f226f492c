"""A publisher or a worker of :mod:`benchmarks.bench_celery_process`, in a process of its own, on one core.

    python -m benchmarks.celery_process ROLE TRACER BROKER OTLP SAMPLED

Each tracer has a queue of its own, named after it. A publisher waits in the list ``QUEUE.ask`` for a number, sends so
many tasks inside one span, another one that tells the worker to export, and exports. The worker has the solo pool. What
was asked for is done when something is in the list ``QUEUE.done``.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
from contextlib import AbstractContextManager, nullcontext

import redis
from celery import Celery, signals

from benchmarks import tracers
from benchmarks.rounds import BARE, DDTRACE, OPENTELEMETRY, OURS
from benchmarks.tracers import Flush

app = Celery("benchmarks")
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True


@app.task(name="benchmarks.add")
def add(x: int, y: int) -> int:
    """What is measured."""
    return x + y


def _contrib(otlp: str, sampled: bool) -> Flush:
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    return tracers.opentelemetry(tracers.sdk(otlp, sampled), CeleryInstrumentor())


def _ddtrace(otlp: str, sampled: bool) -> Flush:
    return tracers.ddtrace(celery=True)


def _ours(otlp: str, sampled: bool) -> Flush:
    return tracers.causal_otel(otlp, sampled, ["celery"])


TRACERS = {BARE: None, OPENTELEMETRY: _contrib, DDTRACE: _ddtrace, OURS: _ours}


def _span(tracer: str) -> AbstractContextManager[object]:
    """A span as a request's, in which tasks are sent."""
    if tracer == BARE:
        return nullcontext()
    if tracer == DDTRACE:
        from ddtrace.trace import tracer as datadog

        return datadog.trace("root")
    from opentelemetry import trace

    return trace.get_tracer("benchmark").start_as_current_span("root")


@functools.cache
def _settle() -> None:
    """Once, after the round that warms up: what lives for ever is not looked at by each full collection of garbage.

    One of them takes as long as 40 tasks, and would fall on whoever's round it pleases.
    """
    gc.collect()
    gc.freeze()


def _publish(client: redis.Redis, queue: str, tracer: str, flush: Flush) -> None:
    send = add.apply_async
    while asked := client.blpop([f"{queue}.ask"], timeout=0):
        with _span(tracer):
            for _ in range(int(asked[1])):
                send((1, 2))
        app.send_task("benchmarks.flush")
        flush()
        _settle()
        client.rpush(f"{queue}.done", 1)


def _work(client: redis.Redis, queue: str, flush: Flush) -> None:
    @app.task(name="benchmarks.flush")
    def export() -> None:
        flush()
        _settle()
        client.rpush(f"{queue}.done", 1)

    @signals.worker_ready.connect(weak=False)
    def ready(**_: object) -> None:
        client.rpush(f"{queue}.done", 1)

    app.worker_main(
        ["worker", "-P", "solo", "-Q", queue, "-l", "WARNING", "--without-mingle", "--without-gossip", "-n", queue]
    )


def main(role: str, tracer: str, broker: str, otlp: str, sampled: str) -> None:
    """Do what is asked until the process is told to end."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    app.conf.update(broker_url=broker, task_default_queue=tracer)
    start = TRACERS[tracer]
    flush = tracers.nothing() if start is None else start(otlp, sampled == "sampled")
    client = redis.Redis.from_url(broker, socket_timeout=None)
    if role == "publisher":
        _publish(client, tracer, tracer, flush)
    else:
        _work(client, tracer, flush)


if __name__ == "__main__":
    main(*sys.argv[1:])
