"""An attempt whose process is lost before the worker has heard of it, and the one that Celery makes then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.patches.celery_put_back import INCLUDE, lost_unheard
from tests.patches.celery_worker import executions, running_worker
from tests.recording import recording
from tests.services.received import ReceivedSpans
from tests.span_relations import assert_span

QUEUE = "put_back"
ERROR = "billiard.exceptions.WorkerLostError"


def test_both_attempts_are_told(
    broker: str, receiver: ReceivedSpans, receiver_process: ReceivedSpans, tmp_path: Path
) -> None:
    """The one that is lost is told as such, with its id, and the second one is another span, linked to it."""
    for attempt in range(5):
        begun = tmp_path / f"begun-{attempt}"
        variables = {"TESTS_BEGUN": str(begun)}
        with running_worker(broker, receiver_process, QUEUE, *INCLUDE, variables=variables) as worker:
            with recording(["celery"]) as recorded:
                result = lost_unheard.apply_async(queue=QUEUE)
                sent = recorded.only()
            is_lost = result.get(timeout=60) != int(begun.read_text())
        if is_lost:
            break
    else:
        pytest.fail(f"no process was lost before Celery had heard of it: {worker.output()}")
    lost, done = executions(receiver, sent, 2)
    found = assert_span(lost, sent, error=ERROR)
    assert (found["celery.task.state"], found["celery.task.reject.requeue"]) == ("REJECTED", True)
    assert 0 <= found["causal.queue.wait"] < 60
    assert not lost["links"]
    [event] = lost["events"]
    assert event["attributes"]["exception.type"] == ERROR
    assert "before the worker had heard of the attempt" in event["attributes"]["exception.message"]
    found = assert_span(done, sent)
    assert (found["celery.task.state"], found.get("celery.task.redelivered")) == ("SUCCESS", None)
    [link] = done["links"]
    assert (link["attributes"], link["span_id"]) == ({"causal.link": "redelivery"}, lost["span_id"])
