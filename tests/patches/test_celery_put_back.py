"""An attempt whose process is lost before the worker has heard of it, and the one that Celery makes then."""

from __future__ import annotations

from pathlib import Path

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
    variables = {"TESTS_BEGUN": str(tmp_path / "begun")}
    with running_worker(broker, receiver_process, QUEUE, *INCLUDE, variables=variables):
        with recording(["celery"]) as recorded:
            result = lost_unheard.apply_async(queue=QUEUE)
            sent = recorded.only()
        result.get(timeout=60)
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
