"""What Celery makes of an attempt whose process is lost is its state; what it publishes then is below the attempt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError, WorkerLostError
from opentelemetry.sdk.trace import ReadableSpan

from tests.patches import celery_app, celery_endings
from tests.patches.celery_local import execute
from tests.patches.celery_worker import attempts, running_worker
from tests.recording import recording
from tests.services.received import ReceivedSpans
from tests.span_relations import assert_span, trace_id

LOST = "billiard.exceptions.WorkerLostError"
QUEUE = "states"


@pytest.fixture(scope="module", autouse=True)
def worker(broker: str, receiver_process: ReceivedSpans) -> Iterator[None]:
    """A prefork worker whose processes export at once."""
    with running_worker(broker, receiver_process, QUEUE, *celery_endings.INCLUDE):
        yield


def publish(task: Any, *args: Any, **options: Any) -> tuple[Any, ReadableSpan]:
    """Send a task; its result, and the span of sending it."""
    with recording(["celery"]) as recorded:
        return task.apply_async(args, queue=QUEUE, **options), recorded.only()


class GreenletExit(BaseException):
    """As greenlet's."""


@pytest.mark.long
def test_errback(broker: str, receiver: ReceivedSpans) -> None:
    """An error callback of a task whose process is killed is published below the attempt, by the main process."""
    result, sent = publish(celery_app.killed, link_error=celery_app.tick.si().set(queue=QUEUE))
    with pytest.raises(WorkerLostError):
        result.get(timeout=30)
    lost, called = attempts(receiver, sent, 2)
    assert assert_span(lost, sent, error=LOST, lasts=0.2)["celery.task.state"] == "FAILURE"
    send = receiver.named("send tests.tick", trace_id(sent))
    assert send["parent_span_id"] == lost["span_id"]
    assert_span(called, send)


@pytest.mark.long
def test_errback_of_what_the_process_has_told(broker: str, receiver: ReceivedSpans) -> None:
    """The same of SystemExit, of which the process itself tells: the main process knows the span nevertheless."""
    result, sent = publish(celery_app.leave, 3, link_error=celery_app.tick.si().set(queue=QUEUE))
    with pytest.raises(WorkerLostError):
        result.get(timeout=30)
    left, called = attempts(receiver, sent, 2)
    assert_span(left, sent, error="SystemExit")
    send = receiver.named("send tests.tick", trace_id(sent))
    assert send["parent_span_id"] == left["span_id"]
    assert_span(called, send)


def test_process_that_is_killed_when_the_result_is_stored(broker: str, receiver: ReceivedSpans) -> None:
    """The attempt has succeeded, as Celery says, and an event tells that its process was lost."""
    result, sent = publish(celery_endings.done_and_killed)
    assert result.get(timeout=30) == 5
    [done] = attempts(receiver, sent, 1)
    assert assert_span(done, sent, lasts=0.2)["celery.task.state"] == "SUCCESS"
    assert [event["attributes"]["exception.type"] for event in done["events"]] == [LOST]


@pytest.mark.long
def test_retry_of_a_lost_attempt(broker: str, receiver: ReceivedSpans) -> None:
    """Where Celery retries it, the lost attempt says so, and the next is its sibling with a link to it."""
    result, sent = publish(celery_endings.lost_and_retried)
    assert result.get(timeout=30) == 1
    lost, done = attempts(receiver, sent, 2)
    found = assert_span(lost, sent, error=LOST, lasts=0.2)
    assert (found["celery.task.state"], found["celery.task.retry.reason"]) == ("RETRY", LOST)
    assert assert_span(done, sent)["celery.task.state"] == "SUCCESS"
    assert [(link["span_id"], link["attributes"]["causal.link"]) for link in done["links"]] == [
        (lost["span_id"], "retry")
    ]
    assert lost["end"] <= done["start"]


def test_process_that_is_told_to_end(broker: str, receiver: ReceivedSpans) -> None:
    """A process that somebody else sends SIGTERM is lost, and its attempt is one ERROR."""
    result, sent = publish(celery_endings.told_to_end)
    with pytest.raises(WorkerLostError):
        result.get(timeout=30)
    [lost] = attempts(receiver, sent, 1)
    assert assert_span(lost, sent, error=LOST, lasts=0.2)["celery.task.state"] == "FAILURE"


def test_revoked_while_it_runs(broker: str, receiver: ReceivedSpans) -> None:
    """A task that is revoked while it runs says in Celery's word why."""
    result, sent = publish(celery_app.hang)
    receiver.wait_for(bool, 30, trace_id=trace_id(sent))  # the task's own span: it is at work
    celery_app.app.control.revoke(result.id, terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=30)
    [revoked] = attempts(receiver, sent, 1)
    found = assert_span(revoked, sent, error="billiard.exceptions.Terminated")
    assert (found["celery.task.state"], found["celery.task.revoke.reason"]) == ("REVOKED", "terminated")


def test_greenlet_that_is_killed(local: Celery) -> None:
    """Gevent and eventlet raise it in a task that is revoked while it runs: that is no failure of its own."""

    @local.task(shared=False, name="local.killed")
    def killed() -> None:
        raise GreenletExit

    with recording(["celery"]) as recorded, pytest.raises(GreenletExit):
        execute(killed)
    found = assert_span(recorded.only(), None, error="*.GreenletExit")
    assert (found["celery.task.state"], found["celery.task.revoke.reason"]) == ("REVOKED", "terminated")


@pytest.mark.long
def test_redelivery_of_a_lost_attempt(broker: str, receiver: ReceivedSpans) -> None:
    """Where the message is delivered again, the new attempt is a sibling of the lost one with a link to it."""
    result, sent = publish(celery_app.killed_once)
    assert result.get(timeout=30) is None
    lost, done = attempts(receiver, sent, 2)
    assert assert_span(lost, sent, error=LOST, lasts=0.2)["celery.task.state"] == "REJECTED"
    assert assert_span(done, sent)["celery.task.redelivered"] is True
    assert [(link["span_id"], link["attributes"]["causal.link"]) for link in done["links"]] == [
        (lost["span_id"], "redelivery")
    ]
