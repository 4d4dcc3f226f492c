"""What comes of a task in a real worker: retries, failures, and what is no error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.patches import celery_app
from tests.patches.celery_local import ERROR_MESSAGE, SECRET
from tests.patches.celery_worker import executions
from tests.recording import recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans


def test_retries_are_attempts(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Only the state of an attempt tells that it was not the last, and it is no error."""
    with recording(["celery"]) as recorded:
        assert celery_app.flaky.delay(2).get(timeout=60) == 2
        send = recorded.only()
    spans = sorted(executions(receiver, send, 5), key=lambda span: span["start"])
    assert [span["name"].split()[0] for span in spans] == ["process", "send", "process", "send", "process"]
    for executed in spans[::2]:
        assert_span(executed, send)
    for executed, resend in zip(spans[::2], spans[1::2], strict=False):
        assert_span(resend, executed)
    attempts = [span["attributes"] for span in spans[::2]]
    assert [attempt["celery.task.state"] for attempt in attempts] == ["RETRY", "RETRY", "SUCCESS"]
    assert [attempt.get("celery.task.retries") for attempt in attempts] == [None, 1, 2]
    assert [attempt.get("celery.task.retry.reason") for attempt in attempts] == ["ConnectionError"] * 2 + [None]
    assert len({attempt["messaging.message.id"] for attempt in attempts}) == 1


def test_failing_task(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """A failure is an error named by its class, with why and where, without arguments, secrets and source lines."""
    with recording(["celery"]) as recorded:
        with pytest.raises(ValueError, match=SECRET):
            celery_app.fail.apply_async((ERROR_MESSAGE,), headers={"authorization": SECRET}).get(timeout=60)
        send = recorded.only()
    [executed] = executions(receiver, send, 1)
    assert executed["status"]["message"] == "ValueError"
    assert assert_span(executed, send, error="ValueError")["celery.task.state"] == "FAILURE"
    [event] = executed["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "ValueError"
    assert event["attributes"]["exception.message"].startswith("cannot connect to redis://")
    assert event["attributes"]["exception.message"].endswith("@cache.example/0")
    assert "in fail\n" in event["attributes"]["exception.stacktrace"]
    assert "raise ValueError(text)" not in event["attributes"]["exception.stacktrace"]
    assert SECRET not in f"{executed} {send.to_json()}"


@pytest.mark.parametrize(
    ("task", "state"),
    [(celery_app.expected, "FAILURE"), (celery_app.ignore, "IGNORED"), (celery_app.reject, "REJECTED")],
    ids=["expected", "ignore", "reject"],
)
def test_what_a_task_means_to_do_is_no_error(
    broker: str, shared_worker: None, receiver: ReceivedSpans, task: Any, state: str
) -> None:
    """Exceptions in ``throws``, Ignore and Reject leave the status unset, and the state tells them."""
    with recording(["celery"]) as recorded:
        task.delay()
        send = recorded.only()
    [executed] = executions(receiver, send, 1)
    assert executed["events"] == []
    assert assert_span(executed, send)["celery.task.state"] == state
