"""The taskiq broker and tasks of the tests of taskiq, and workers that execute them as processes of their own.

A worker imports this module with TESTS_TASKIQ in its environment: then it calls ``install()``, as a user's module
would, and ``broker`` is what the worker listens to. The tests make brokers of their own, with which they publish.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from opentelemetry import baggage, trace
from taskiq import Context, SimpleRetryMiddleware, TaskiqDepends
from taskiq.abc.broker import AsyncBroker
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

import causal_otel
from causal_otel.testing.process import Process, process
from tests.services.received import ReceivedSpans

__all__ = ["BROKERS", "broker", "make_broker", "publisher", "running_worker"]

BROKERS = {"list": ListQueueBroker, "stream": RedisStreamBroker}


def make_broker(url: str, queue: str, kind: str = "list", *middlewares: Any) -> AsyncBroker:
    """A broker with the tasks and a result backend."""
    options: dict[str, Any] = {"consumer_id": "0"} if kind == "stream" else {}
    # redis-py 8 gives up reading after five seconds, and so would a worker that waits for messages.
    made: AsyncBroker = BROKERS[kind](url, queue_name=queue, socket_timeout=None, **options)
    made = made.with_result_backend(RedisAsyncResultBackend(url, result_ex_time=60))
    made.add_middlewares(SimpleRetryMiddleware(default_retry_count=5), *middlewares)
    for name, function in _TASKS.items():
        made.register_task(function, f"tests:{name}")
    return made


@asynccontextmanager
async def publisher(url: str, queue: str, kind: str = "list", *middlewares: Any) -> AsyncIterator[AsyncBroker]:
    """Such a broker, connected."""
    made = make_broker(url, queue, kind, *middlewares)
    await made.startup()
    try:
        yield made
    finally:
        await made.shutdown()


# -- the tasks --------------------------------------------------------------------------------------------------------


def _seen(labels: dict[str, Any]) -> dict[str, Any]:
    current = trace.get_current_span().get_span_context()
    return {
        "labels": labels,
        "traceparent": f"00-{current.trace_id:032x}-{current.span_id:016x}-{int(current.trace_flags):02x}",
        "baggage": dict(baggage.get_all()),
        "pid": os.getpid(),
        "thread": threading.current_thread() is not threading.main_thread(),
    }


async def _inside(context: Context = TaskiqDepends()) -> dict[str, Any]:  # noqa: B008 - taskiq's way to say it
    """What a task sees: its labels, the current span and baggage, its process."""
    return _seen(context.message.labels)


def _inside_thread(context: Context = TaskiqDepends()) -> dict[str, Any]:  # noqa: B008
    """The same of a task that is no coroutine."""
    return _seen(context.message.labels)


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _fail(text: str) -> None:
    raise ValueError(text)


async def _flaky(failures: int, context: Context = TaskiqDepends()) -> int:  # noqa: B008
    """Fails as often as asked; which attempt has not."""
    attempt = int(context.message.labels.get("_retries", 0))
    if attempt < failures:
        raise ConnectionError("again")
    return attempt


async def _relay(context: Context = TaskiqDepends()) -> None:  # noqa: B008
    """Publishes a task from within one, and traces a part of itself."""
    with causal_otel.span("work"):
        task = context.broker.find_task("tests:pause")
        assert task is not None
        await task.kiq(0)


_TASKS: dict[str, Any] = {
    "inside": _inside,
    "inside_thread": _inside_thread,
    "pause": _pause,
    "fail": _fail,
    "flaky": _flaky,
    "relay": _relay,
}

# -- the worker -------------------------------------------------------------------------------------------------------

broker: AsyncBroker | None = None
if "TESTS_TASKIQ" in os.environ:
    causal_otel.install(patches=os.environ["TESTS_WORKER_PATCHES"].split(","))
    broker = make_broker(os.environ["TESTS_TASKIQ"], os.environ["TESTS_QUEUE"], os.environ["TESTS_BROKER"])


@contextmanager
def running_worker(
    url: str,
    receiver: ReceivedSpans,
    queue: str,
    *options: str,
    kind: str = "list",
    patches: str = "taskiq",
    schedule_delay: float = 0.1,
    **variables: str,
) -> Iterator[Process]:
    """A worker of that queue with one process, traced as a service of the queue's name."""
    command = [sys.executable, "-m", "taskiq", "worker", "tests.patches.taskiq_app:broker", "--workers", "1"]
    environment = {
        **os.environ,
        "OTEL_BSP_SCHEDULE_DELAY": str(int(schedule_delay * 1000)),
        "OTEL_SERVICE_NAME": queue,
        "OTLP_ENDPOINT": receiver.endpoint,
        "TESTS_BROKER": kind,
        "TESTS_QUEUE": queue,
        "TESTS_TASKIQ": url,
        "TESTS_WORKER_PATCHES": patches,
        **variables,
    }
    with process(
        [*command, *options],
        name=f"worker {queue}",
        env=environment,
        ready=lambda worker: "Listening started" in worker.output(),
    ) as worker:
        yield worker
