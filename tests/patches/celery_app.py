"""The Celery app of the tests of Celery: imported by the tests, which publish, and by the workers that they start.

A worker is traced because the app's module calls ``install()``, as a user's would; the tests install for themselves.
Broker and result backend come from Celery's own variables, CELERY_BROKER_URL and CELERY_RESULT_BACKEND.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import redis
from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from opentelemetry import baggage, context, trace

import causal_otel
from causal_otel.installation import installation
from causal_otel.patches.celery import CeleryOptions, LinkWhen

__all__ = ["Expected", "app"]


def asked(span: trace.Span, *objects: Any) -> None:
    """A hook of the worker: which task, with which id."""
    if len(objects) == 2:  # an execution
        task, request = objects
        span.set_attribute("asked", f"{task.name} {request.id}")


def answered(span: trace.Span, *objects: Any) -> None:
    """The other: what came of it."""
    span.set_attribute("answered", repr(objects[-1]))


if "TESTS_HOOKS" in os.environ:
    causal_otel.install(patches={"celery": CeleryOptions(request_hook=asked, response_hook=answered)})
elif "TESTS_RESULT_BACKEND" in os.environ:
    causal_otel.install(patches={"celery": CeleryOptions(result_backend=True), "redis": True})
elif "TESTS_LINK" in os.environ:
    causal_otel.install(patches={"celery": CeleryOptions(link=LinkWhen(**json.loads(os.environ["TESTS_LINK"])))})
elif "TESTS_WORKER_PATCHES" in os.environ:
    causal_otel.install(patches=os.environ["TESTS_WORKER_PATCHES"].split(","))

app = Celery("tests", set_as_current=False)
app.conf.update(
    task_default_queue=os.environ.get("TESTS_QUEUE", "celery"),
    result_expires=60,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    task_publish_retry=False,
    # Looks for messages that nobody has acknowledged once a second, in place of every 100.
    broker_transport_options=(
        {"unacked_restore_interval": 1, "unacked_restore_throttle": 1} if "TESTS_ANXIOUS_BROKER" in os.environ else {}
    ),
    beat_schedule={"tick": {"task": "tests.tick", "schedule": 0.3}} if "TESTS_BEAT" in os.environ else {},
)
app.conf.update(json.loads(os.environ.get("TESTS_SETTINGS", "{}")))


class Expected(Exception):
    """What the task ``expected`` announces that it may raise."""


@app.task(name="tests.add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="tests.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="tests.fail")
def fail(text: str) -> None:
    raise ValueError(text)


@app.task(name="tests.expected", throws=(Expected,))
def expected() -> None:
    raise Expected("not today")


@app.task(name="tests.ignore")
def ignore() -> None:
    raise Ignore


@app.task(name="tests.reject")
def reject() -> None:
    raise Reject("unwanted")


@app.task(name="tests.flaky", bind=True, max_retries=5)
def flaky(self: Task[..., Any], failures: int) -> int:
    """Fails as often as asked, and is retried at once."""
    if self.request.retries < failures:
        raise self.retry(exc=ConnectionError("again"), countdown=0)
    return self.request.retries


@app.task(name="tests.inside", bind=True)
def inside(self: Task[..., Any]) -> dict[str, Any]:
    """What a task sees: its headers, the current span, its process."""
    current = trace.get_current_span().get_span_context()
    return {
        "headers": self.request.headers,
        "traceparent": f"00-{current.trace_id:032x}-{current.span_id:016x}-{int(current.trace_flags):02x}",
        "pid": os.getpid(),
    }


@app.task(name="tests.occupy")
def occupy(seconds: float) -> int:
    """Keep a process busy, so that others get the next tasks; which process it was."""
    time.sleep(seconds)
    return os.getpid()


@app.task(name="tests.tick")
def tick() -> None:
    with causal_otel.span("tock"):
        pass


@app.task(name="tests.careless")
def careless() -> None:
    """Attaches baggage inside a span, and forgets to detach it."""
    with causal_otel.span("work"):
        context.attach(baggage.set_baggage("job", "careless"))


@app.task(name="tests.leave")
def leave(code: int) -> None:
    raise SystemExit(code)


@app.task(name="tests.exit")
def exit_at_once(code: int) -> None:
    os._exit(code)


def _sleep() -> None:
    """A minute, in moments: Python sleeps on over a signal that comes just before it sleeps."""
    for _ in range(6000):
        time.sleep(0.01)


def _work_for_ever() -> None:
    """Work that is traced, once, and then waits for whatever ends it; a process that is killed has exported it."""
    with causal_otel.span("work"):
        pass
    installed = installation()
    if installed is not None:
        installed.flush(10)
    _sleep()


@app.task(name="tests.hang")
def hang() -> None:
    _work_for_ever()


@app.task(name="tests.stubborn")
def stubborn() -> None:
    """What tells it to end does not end it."""
    try:
        _work_for_ever()
    except BaseException:
        _sleep()


@app.task(name="tests.killed")
def killed() -> None:
    with causal_otel.span("work"):
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="tests.killed_once", acks_late=True, reject_on_worker_lost=True, bind=True)
def killed_once(self: Task[..., Any]) -> None:
    if not (self.request.delivery_info or {}).get("redelivered"):
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="tests.relay")
def relay() -> str:
    """Publishes a task, and traces a part of itself."""
    with causal_otel.span("work"):
        return str(add.delay(1, 2).id)


for _letter in "abcdef":  # of canvases: they take whatever they are given

    @app.task(name=f"tests.{_letter}")
    def letter(*_: Any) -> None: ...


@app.task(name="tests.rescue")
def rescue(failed: str) -> str:
    return failed


@app.task(name="tests.mourn")
def mourn(request: Any, error: Any, traceback: Any) -> None:
    """An errback that Celery calls where the attempt has failed."""
    with causal_otel.span("mourn"):
        pass


@app.task(name="tests.autoretried", bind=True, autoretry_for=(ConnectionError,), default_retry_delay=0)
def autoretried(self: Task[..., Any], failures: int) -> int:
    """Fails as often as asked; Celery retries it by itself."""
    if self.request.retries < failures:
        raise ConnectionError("again")
    return self.request.retries


@app.task(name="tests.persistent", bind=True)
def persistent(self: Task[..., Any], *_: Any) -> None:
    """Succeeds at the second attempt, whatever it is given."""
    if not self.request.retries:
        raise self.retry(countdown=0)


@app.task(name="tests.again", bind=True)
def again(self: Task[..., Any], times: int) -> None:
    """Sends itself, so many times."""
    if times:
        self.delay(times - 1)


@app.task(name="tests.counted")
def counted(url: str) -> int:
    """Uses the server of the broker for itself."""
    with redis.Redis.from_url(url) as client:
        return int(client.incr("tests.counted"))
