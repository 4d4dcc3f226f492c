"""Executions that their process does not live to end: the worker's main process ends their spans, each once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from celery.result import AsyncResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from causal_otel.patches.celery.pool_table import Attempt, PoolAttempts
from tests.faults.programs import run
from tests.patches import celery_app
from tests.patches.celery_app import app
from tests.patches.celery_worker import executions, running_worker
from tests.recording import recording
from tests.services.received import ReceivedSpan, ReceivedSpans
from tests.span_relations import assert_span

QUEUE = "lost"
BEFORE = 0.3
"""How long a task works before it is ended from outside, at the least, in seconds."""


@pytest.fixture(scope="module")
def worker(broker: str, receiver_process: ReceivedSpans) -> Iterator[None]:
    """A prefork worker whose processes export at once."""
    with running_worker(broker, receiver_process, QUEUE):
        yield


def publish(task: Any, *args: Any, **options: Any) -> tuple[AsyncResult[Any], ReadableSpan]:
    """Send a task; its result, and the span of sending it."""
    with recording(["celery"]) as recorded:
        result = task.apply_async(args, queue=QUEUE, **options)
        return result, recorded.only()


def consumers(receiver: ReceivedSpans, sent: ReadableSpan, count: int = 1) -> list[ReceivedSpan]:
    """The executions below ``sent``, of which there are ``count``, once whatever might add another is over.

    A task that is sent after them to each process of the pool flushes what they might still hold.
    """

    def enough(spans: list[ReceivedSpan]) -> bool:
        return sum(span["kind"] == "CONSUMER" for span in spans) >= count

    receiver.wait_for(enough, 30, trace_id=f"{sent.context.trace_id:032x}")
    pids = set[int]()
    deadline = time.monotonic() + 60
    while len(pids) < 2:  # at once, unless a process is still being started in place of a lost one
        assert time.monotonic() < deadline
        last = [publish(celery_app.occupy, 0.5) for _ in range(2)]
        pids = {result.get(timeout=30) for result, _ in last}
    for _, send in last:  # exported after what the same processes did before
        executions(receiver, send, 1)
    spans = receiver.spans(f"{sent.context.trace_id:032x}")
    found = [span for span in spans if span["kind"] == "CONSUMER"]
    assert len(found) == count
    return sorted(found, key=lambda span: span["start"])


def is_failed(
    span: ReceivedSpan, sent: ReadableSpan, error: str, state: str | None = "FAILURE", *, lasts: float = 0.0
) -> None:
    """Assert what every lost execution is."""
    found = assert_span(span, sent, error=error, lasts=lasts)
    assert span["status"]["message"] == error.rpartition(".")[2]
    assert found.get("celery.task.state") == state
    assert found["messaging.destination.name"] == QUEUE
    assert 0 <= found["causal.queue.wait"] < 60
    [event] = span["events"]
    assert event["attributes"]["exception.type"] == error
    assert event["attributes"]["exception.message"]


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(celery_app.hang, id="hang"),
        pytest.param(celery_app.stubborn, id="stubborn", marks=pytest.mark.long),
    ],
)
def test_hard_time_limit(broker: str, worker: None, receiver: ReceivedSpans, task: Any) -> None:
    """A task over its hard time limit is one ERROR as long as the limit, the parent of what it had traced."""
    result, sent = publish(task, time_limit=5)
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=30)
    [span] = consumers(receiver, sent)
    is_failed(span, sent, "billiard.exceptions.TimeLimitExceeded", lasts=4.9)
    work = receiver.named("work", span["trace_id"])
    assert_span(work, span)


def test_killed_process(broker: str, worker: None, receiver: ReceivedSpans) -> None:
    """A task whose process is killed, as for want of memory, is one ERROR that lasted until then."""
    result, sent = publish(celery_app.killed)
    with pytest.raises(WorkerLostError):
        result.get(timeout=30)
    [span] = consumers(receiver, sent)
    is_failed(span, sent, "billiard.exceptions.WorkerLostError", lasts=0.2)
    assert "SIGKILL" in span["events"][0]["attributes"]["exception.message"]


@pytest.mark.long
def test_process_that_exits_at_once(broker: str, worker: None, receiver: ReceivedSpans) -> None:
    """``os._exit()`` in a task is a lost process as well."""
    result, sent = publish(celery_app.exit_at_once, 3)
    with pytest.raises(WorkerLostError):
        result.get(timeout=30)
    [span] = consumers(receiver, sent)
    is_failed(span, sent, "billiard.exceptions.WorkerLostError")


@pytest.mark.parametrize("signal", ["SIGTERM", pytest.param("SIGKILL", marks=pytest.mark.long)])
def test_terminated_task(broker: str, worker: None, receiver: ReceivedSpans, signal: str) -> None:
    """A task that is revoked while it runs is one ERROR, whether its process could have ended the span or not."""
    result, sent = publish(celery_app.hang)
    receiver.wait_for(bool, 30, trace_id=f"{sent.context.trace_id:032x}")  # the task's own span: it is at work
    time.sleep(BEFORE)
    app.control.revoke(result.id, terminate=True, signal=signal)
    [span] = consumers(receiver, sent)
    is_failed(span, sent, "billiard.exceptions.Terminated", "REVOKED", lasts=BEFORE)
    work = receiver.named("work", span["trace_id"])
    assert_span(work, span)


@pytest.mark.long
def test_system_exit(broker: str, worker: None, receiver: ReceivedSpans) -> None:
    """A task that raises SystemExit is one ERROR, told by the process itself, which knows where it was raised."""
    result, sent = publish(celery_app.leave, 3)
    with pytest.raises(WorkerLostError):
        result.get(timeout=30)
    [span] = consumers(receiver, sent)
    is_failed(span, sent, "SystemExit")
    assert "in leave\n" in span["events"][0]["attributes"]["exception.stacktrace"]


def test_soft_time_limit(broker: str, worker: None, receiver: ReceivedSpans) -> None:
    """A soft time limit is raised in the task, whose process tells of it, alone."""
    result, sent = publish(celery_app.hang, soft_time_limit=1, time_limit=30)
    with pytest.raises(Exception, match="SoftTimeLimitExceeded"):
        result.get(timeout=30)
    [span] = consumers(receiver, sent)
    is_failed(span, sent, "billiard.exceptions.SoftTimeLimitExceeded", lasts=0.9)


@pytest.mark.long
def test_redelivered_task(broker: str, worker: None, receiver: ReceivedSpans) -> None:
    """A message that is delivered again is a second execution below the same sender, and says so."""
    result, sent = publish(celery_app.killed_once)
    assert result.get(timeout=30) is None
    lost, done = consumers(receiver, sent, 2)
    is_failed(lost, sent, "billiard.exceptions.WorkerLostError", "REJECTED", lasts=0.2)
    assert lost["attributes"]["celery.task.reject.requeue"] is True
    assert "celery.task.redelivered" not in lost["attributes"]
    assert lost["end"] <= done["start"]
    assert done["span_id"] != lost["span_id"]
    found = assert_span(done, sent)
    assert found["celery.task.redelivered"] is True
    assert found["celery.task.state"] == "SUCCESS"


@pytest.mark.long
def test_lost_task_of_nobody(broker: str, worker: None, receiver: ReceivedSpans) -> None:
    """A message without a trace, lost with its process, is a root with what the process had traced below it."""
    with pytest.raises(TimeLimitExceeded):
        celery_app.hang.apply_async(queue=QUEUE, time_limit=5).get(timeout=30)

    def both(spans: list[ReceivedSpan]) -> bool:
        return {"work", "process tests.hang"} <= {span["name"] for span in spans}

    spans = {span["name"]: span for span in receiver.wait_for(both, 30)}
    root, work = spans["process tests.hang"], spans["work"]
    assert_span(root, None, error="billiard.exceptions.TimeLimitExceeded", lasts=4.9)
    assert_span(work, root)


@pytest.mark.long
@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_system_exit_in_other_pools(broker: str, receiver: ReceivedSpans, pool: str) -> None:
    """Where the task runs in the worker's own process, SystemExit is one ERROR, too."""
    with running_worker(broker, receiver, QUEUE + pool, pool=pool), recording(["celery"]) as recorded:
        celery_app.leave.apply_async((3,), queue=QUEUE + pool)
        sent = recorded.only()
        [span] = executions(receiver, sent, 1)
    assert_span(span, sent, error="SystemExit")
    assert span["status"]["message"] == "SystemExit"
    assert "in leave\n" in span["events"][0]["attributes"]["exception.stacktrace"]


# -- the table --------------------------------------------------------------------------------------------------------

SPAN = SpanContext(0xABC, 0xDEF, False)


def test_a_process_tells_what_it_executes() -> None:
    """The main process gives up once what a forked one executed, and not what that has ended or does not record."""
    done = run(
        """
        import os
        from opentelemetry.trace import SpanContext
        from causal_otel.patches.celery.pool_table import Attempt, PoolAttempts

        attempts = PoolAttempts()
        span = SpanContext(0xABC, 0xDEF, False)
        pid = os.fork()
        if not pid:
            assert attempts.watched()
            attempts.skip("not recorded")
            attempts.begin("ended", span, 5)
            assert attempts.end("ended")
            attempts.begin("lost", span, 7)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert not attempts.watched()
        assert attempts.give_up(pid, "lost") == Attempt(0xABC, 0xDEF, 7, True)
        assert attempts.give_up(pid, "lost") == Attempt(0xABC, 0xDEF, 7, False)
        assert attempts.give_up(pid, "another") is None
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_has_ended_is_not_given_up() -> None:
    """An execution that its process has ended, or that is not recorded, is not reported by the main process."""
    attempts = PoolAttempts()
    attempts.begin("task", SPAN, 7)
    assert attempts.end("task")
    assert attempts.give_up(os.getpid(), "task") == Attempt(0xABC, 0xDEF, 7, False)
    attempts.skip("next")
    assert attempts.give_up(os.getpid(), "next") == Attempt(0, 0, 0, False)


def test_what_is_given_up_is_not_ended() -> None:
    """A process whose execution the main process has reported does not end the span, and does the next one's."""
    attempts = PoolAttempts()
    attempts.begin("task", SPAN, 7)
    attempts.give_up(os.getpid(), "task")
    assert not attempts.end("task")
    attempts.begin("next", SPAN, 7)
    assert attempts.end("next")


def test_processes_that_share_an_entry() -> None:
    """A process id that differs by the table's length belongs to another process: nothing is known of that one."""
    attempts = PoolAttempts()
    attempts.begin("task", SPAN, 7)
    # Whatever that length is: a power of two, of which 32,768 processes were the most that Linux used to allow.
    assert all(attempts.give_up(os.getpid() + (1 << power), "task") is None for power in range(16))
    assert attempts.give_up(os.getpid(), "task") == Attempt(0xABC, 0xDEF, 7, True)


def test_a_message_that_is_put_back() -> None:
    """The main process tells all processes of the messages that it gives to another one; the latest ones are known."""
    attempts = PoolAttempts()
    assert not attempts.has_put_back()
    assert not attempts.is_put_back(0)
    for first in range(1, 1000):
        attempts.put_back(first)
        assert attempts.is_put_back(first)
    assert attempts.has_put_back()
    assert attempts.is_put_back(999 - 255)
    assert not attempts.is_put_back(999 - 256)
