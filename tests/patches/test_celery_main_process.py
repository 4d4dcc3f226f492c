"""What the worker's main process makes of jobs that no process of its pool has executed, or told of."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from billiard.pool import ApplyResult
from celery import Celery
from celery.worker.request import Request
from kombu.message import Message

from tests.patches.celery_local import STALE
from tests.recording import recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

NOBODY = 1 << 22
"""More than the id of any process."""


@pytest.fixture
def memory() -> Celery:
    """An app with a task, whose broker and results are in this process."""
    app = Celery("memory", broker="memory://", backend="cache+memory://", set_as_current=False)

    @app.task(shared=False, name="local.work")
    def work() -> None: ...

    app.finalize()
    return app


def received(app: Celery, name: str) -> Any:
    """A request, as the worker makes one of a message."""
    headers: dict[str, Any] = {"id": "1", "task": name, "lang": "py", "argsrepr": "()", "kwargsrepr": "{}"}
    headers["traceparent"] = STALE
    body: Any = ((), {}, {})
    message = Message(body=body, headers=headers, delivery_info={"routing_key": "q"}, channel=None)
    return Request(message, app=app, task=app.tasks[name], headers=headers, body=body, decoded=True)


def told(span: ReadableSpan, error: str | None = None) -> dict[str, Any]:
    """Assert that it is below the message's sender and has no length; its attributes."""
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == STALE[36:52]
    found = assert_span(span, span.parent, error=error)
    assert span.start_time == span.end_time
    return found


def test_job_that_is_terminated_before_any_process_has_accepted_it(memory: Celery) -> None:
    """The process that it was written to has ended; nobody executes it, so it is revoked and no attempt."""
    with recording(["celery"]) as recorded:
        job = received(memory, "local.work")
        of_pool: Any = ApplyResult(
            {}, job.on_success, job.on_accepted, job.on_timeout, job.on_failure, correlation_id=job.id
        )
        # What billiard's pool does with such a job.
        of_pool._ack(None, time.time(), os.getpid(), None)
        of_pool._set_terminated(None)
        found = told(recorded.only("process local.work"))
    assert (found["celery.task.state"], found["celery.task.revoke.reason"]) == ("REVOKED", "terminated")


@pytest.mark.parametrize("task", ["local.work", "celery.chord_unlock"])
def test_job_whose_process_is_lost_before_it_began(memory: Celery, task: str) -> None:
    """A failure without a length; what polls the header of a chord is no span then, either."""
    with recording(["celery"]) as recorded:
        job = received(memory, task)
        job.worker_pid = NOBODY
        try:
            raise WorkerLostError("lost")
        except WorkerLostError:
            job.on_failure(ExceptionInfo())
        assert "causal-received" not in job.request_dict["delivery_info"]
        spans = recorded.spans
    if task != "local.work":
        assert spans == []
        return
    [span] = spans
    assert told(span, error="billiard.exceptions.WorkerLostError")["celery.task.state"] == "FAILURE"
