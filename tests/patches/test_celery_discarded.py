"""Messages that a worker discards before there is an attempt: each is one span without length in the sender's trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery import group
from celery.exceptions import TaskRevokedError
from kombu import Producer
from opentelemetry.sdk.trace import ReadableSpan

from tests.patches import celery_app
from tests.patches.celery_app import app
from tests.patches.celery_worker import running_worker
from tests.recording import recording
from tests.services.received import ReceivedSpan, ReceivedSpans
from tests.span_relations import assert_span, nanoseconds, trace_id, traceparent
from tests.waiting import wait_until


@pytest.fixture(
    scope="module", params=["prefork", *(pytest.param(pool, marks=pytest.mark.long) for pool in ("threads", "solo"))]
)
def queue(request: pytest.FixtureRequest, broker: str, receiver_process: ReceivedSpans) -> Iterator[str]:
    """The queue of a worker."""
    name = f"discarded-{request.param}"
    with running_worker(broker, receiver_process, name, pool=request.param):
        yield name


def publish(queue: str, name: str, *args: Any, **options: Any) -> ReadableSpan:
    """Send a task by its name; the span of sending it."""
    with recording(["celery"]) as recorded:
        app.send_task(name, args, queue=queue, **options)
        return recorded.only()


def publish_raw(queue: str, body: str, **headers: Any) -> ReadableSpan:
    """Send what no application would, inside a span."""
    with recording([]) as recorded:
        with recorded.tracer.start_as_current_span("sender") as span, app.connection_for_write() as connection:
            Producer(connection.channel()).publish(
                body,
                routing_key=queue,
                content_type="application/json",
                content_encoding="utf-8",
                headers={"traceparent": traceparent(span), **headers},
            )
        return recorded.only()


def discarded(receiver: ReceivedSpans, queue: str, sent: ReadableSpan) -> ReceivedSpan:
    """The one span of a message, once its worker has told of one that it has discarded afterwards."""

    def told(spans: list[ReceivedSpan]) -> bool:
        return any(span["kind"] == "CONSUMER" for span in spans)

    receiver.wait_for(told, 30, trace_id=trace_id(sent))
    receiver.wait_for(told, 30, trace_id=trace_id(publish(queue, "tests.barrier")))
    [span] = [each for each in receiver.spans(trace_id(sent)) if each["kind"] == "CONSUMER"]
    assert nanoseconds(span) == 0
    assert span["attributes"]["messaging.destination.name"] == queue
    return span


def is_revoked(span: ReceivedSpan, sent: ReadableSpan, reason: str) -> dict[str, Any]:
    """Assert what is true of every task that is revoked: that is no error."""
    found = assert_span(span, sent)
    assert (found["celery.task.state"], found["celery.task.revoke.reason"]) == ("REVOKED", reason)
    assert (span["name"], span["events"]) == ("process tests.add", [])
    assert 0 <= found["causal.queue.wait"] < 60
    return found


def test_revoked(queue: str, receiver: ReceivedSpans) -> None:
    """A task that is revoked by its id before the worker receives it."""
    task_id = str(uuid4())
    assert app.control.revoke(task_id, reply=True, destination=[f"{queue}@tests"], timeout=30)
    sent = publish(queue, "tests.add", 1, 2, task_id=task_id)
    found = is_revoked(discarded(receiver, queue, sent), sent, "revoked")
    assert found["messaging.message.id"] == task_id
    with pytest.raises(TaskRevokedError):
        app.AsyncResult(task_id).get(timeout=30)


def test_revoked_while_it_is_not_due(queue: str, receiver: ReceivedSpans) -> None:
    """One that the worker has received, and holds until its eta: that is when Celery looks."""
    task_id = str(uuid4())
    sent = publish(queue, "tests.add", 1, 2, task_id=task_id, countdown=2)
    worker = app.control.inspect([f"{queue}@tests"], timeout=30)
    wait_until(lambda: task_id in json.dumps(worker.scheduled()))
    assert app.control.revoke(task_id, reply=True, destination=[f"{queue}@tests"], timeout=30)
    span = discarded(receiver, queue, sent)
    assert is_revoked(span, sent, "revoked")["celery.task.eta"]
    assert sent.start_time
    assert span["start"] - sent.start_time > 1.9e9


def test_revoked_by_a_stamp(queue: str, receiver: ReceivedSpans) -> None:
    """One with a stamp that is revoked."""
    stamp = str(uuid4())
    app.control.revoke_by_stamped_headers({"crew": stamp}, reply=True, destination=[f"{queue}@tests"], timeout=30)
    sent = publish(queue, "tests.add", 1, 2, stamped_headers=["crew"], crew=stamp)
    is_revoked(discarded(receiver, queue, sent), sent, "revoked")


def test_expired(queue: str, receiver: ReceivedSpans) -> None:
    """A task that is too old when the worker receives it."""
    sent = publish(queue, "tests.add", 1, 2, expires=datetime.now(UTC) - timedelta(seconds=1))
    is_revoked(discarded(receiver, queue, sent), sent, "expired")


def test_unknown_task(queue: str, receiver: ReceivedSpans) -> None:
    """A task that the worker does not have is an ERROR, with its id and its name."""
    sent = publish(queue, "tests.nobody", 1, task_id="nobody")
    span = discarded(receiver, queue, sent)
    assert span["name"] == "process tests.nobody"
    found = assert_span(span, sent, error="celery.exceptions.NotRegistered")
    assert (found["celery.task.state"], found["messaging.message.id"]) == ("FAILURE", "nobody")
    [event] = span["events"]
    assert event["attributes"]["exception.type"] == "celery.exceptions.NotRegistered"


def test_unknown_task_with_an_endless_name(queue: str, receiver: ReceivedSpans) -> None:
    """What somebody may write into a message is not recorded at any length."""
    sent = publish_raw(queue, "[[], {}, {}]", task="tests." + "x" * 5000, id="long")
    span = discarded(receiver, queue, sent)
    found = assert_span(span, sent.context, error="celery.exceptions.NotRegistered")
    texts = (span["name"], found["celery.task.name"], span["events"][0]["attributes"]["exception.message"])
    assert all(len(text) < 300 for text in texts)


def test_unknown_task_of_the_first_protocol(queue: str, receiver: ReceivedSpans) -> None:
    """The same of a message in which the task's name is in the body."""
    body = {"task": "tests.nobody", "id": "nobody", "args": [], "kwargs": {}}
    sent = publish_raw(queue, json.dumps(body))
    span = discarded(receiver, queue, sent)
    assert span["name"] == "process tests.nobody"
    found = assert_span(span, sent.context, error="celery.exceptions.NotRegistered")
    assert (found["celery.task.state"], found["messaging.message.id"]) == ("FAILURE", "nobody")


UNREADABLE: list[tuple[str, dict[str, Any], str | None, str]] = [
    (
        "[[1, 2], {}, {}]",
        {"task": "tests.add", "id": "bad", "eta": "soon"},
        "process tests.add",
        "celery.exceptions.InvalidTaskError",
    ),
    ('{"to": "somebody else"}', {}, None, "celery.exceptions.InvalidTaskError"),
    ("{", {}, None, "kombu.exceptions.DecodeError"),
]


@pytest.mark.parametrize(
    ("body", "headers", "name", "error"),
    UNREADABLE,
    ids=["invalid", "of something else", "undecodable"],
)
def test_message_that_nobody_can_read(
    queue: str, receiver: ReceivedSpans, body: str, headers: dict[str, Any], name: str | None, error: str
) -> None:
    """What is no message of a task is an ERROR, named by its queue."""
    sent = publish_raw(queue, body, **headers)
    span = discarded(receiver, queue, sent)
    assert span["name"] == (name or f"process {queue}")
    found = assert_span(span, sent.context, error=error)
    assert found["celery.task.state"] == "REJECTED"
    assert found.get("celery.task.name") == headers.get("task")
    assert found.get("messaging.message.id") == headers.get("id")


def test_errback_of_an_expired_task(queue: str, receiver: ReceivedSpans) -> None:
    """What Celery publishes because the last member of a chord has expired is below the member's span."""
    last = celery_app.add.s(1, 2).set(task_id=str(uuid4()), queue=queue, expires=1, countdown=2)
    header = [last, celery_app.add.s(1, 2).set(queue=queue)]
    body = celery_app.total.s().set(queue=queue).on_error(celery_app.tick.si().set(queue=queue))
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("root") as root:
            (group(header) | body).apply_async()
        by_id = {(span.attributes or {}).get("messaging.message.id"): span for span in recorded.spans}

    def told(spans: list[ReceivedSpan]) -> bool:
        return {"process tests.add", "send tests.tick", "process tests.tick"} <= {span["name"] for span in spans}

    spans = receiver.wait_for(told, 30, trace_id=trace_id(root))
    [expired] = [span for span in spans if span["attributes"].get("messaging.message.id") == last.options["task_id"]]
    is_revoked(expired, by_id[last.options["task_id"]], "expired")
    [send] = [span for span in spans if span["name"] == "send tests.tick"]
    assert send["parent_span_id"] == expired["span_id"]  # which has no length: nothing is inside
