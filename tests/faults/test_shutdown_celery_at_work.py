"""Workers that are told to end, or whose processes are replaced, while tasks are at work: each attempt is told once."""

from __future__ import annotations

import json
import signal
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery

from tests.patches.celery_endings import INCLUDE
from tests.patches.celery_worker import of_service, running_worker
from tests.services.received import ReceivedSpan, ReceivedSpans
from tests.span_relations import assert_span
from tests.waiting import wait_until

pytestmark = pytest.mark.long

TERMINATED = "billiard.exceptions.Terminated"


@pytest.fixture
def queue(redis_url: str) -> str:
    """The broker, in a database of these tests alone, where nobody has left messages."""
    return urlsplit(redis_url)._replace(path="/8").geturl()


def send(queue: str, name: str, *tasks: tuple[Any, ...]) -> None:
    """Send tasks by their names and arguments, untraced: their executions are roots."""
    with Celery("sender", broker=queue, set_as_current=False) as sender:
        for task, *args in tasks:
            sender.send_task(task, args, queue=name)


def await_work(queue: str, name: str, task: str) -> None:
    """Wait until a worker knows that one of its processes executes a task: what it does not know it cannot cancel."""
    with Celery("asking", broker=queue, set_as_current=False) as asking:
        worker = asking.control.inspect([f"{name}@tests"], timeout=30)
        wait_until(lambda: task in json.dumps(worker.active()))


def attempts(receiver: ReceivedSpans, service: str) -> list[ReceivedSpan]:
    """Those of a worker that has ended, in the order of their names."""
    return sorted(of_service(receiver.spans(), service), key=lambda span: span["name"])


@pytest.mark.parametrize("task", ["early", "late"])
@pytest.mark.parametrize("remapped", [False, True], ids=["SIGQUIT", "REMAP_SIGTERM"])
def test_cold_shutdown(queue: str, receiver: ReceivedSpans, task: str, remapped: bool) -> None:
    """What is at work is cancelled: one ERROR that lasted until then, which Celery calls a retry."""
    name = f"cold-{task}-{remapped}".lower()
    variables = {"REMAP_SIGTERM": "SIGQUIT"} if remapped else {}
    with running_worker(queue, receiver, name, *INCLUDE, schedule_delay=60, variables=variables) as worker:
        send(queue, name, ("tests.add", 1, 2), (f"tests.{task}", 60))
        wait_until(lambda: "succeeded in" in worker.output())
        await_work(queue, name, f"tests.{task}")
        worker.stop(signal.SIGTERM if remapped else signal.SIGQUIT, timeout=60.0)
    added, cancelled = attempts(receiver, name)
    assert assert_span(added, None)["celery.task.state"] == "SUCCESS"
    assert assert_span(cancelled, None, error=TERMINATED)["celery.task.state"] == "RETRY"


def test_soft_shutdown(queue: str, receiver: ReceivedSpans) -> None:
    """What ends in time has ended well, and the rest is cancelled when the time is over."""
    name = "soft"
    variables = {"TESTS_SETTINGS": json.dumps({"worker_soft_shutdown_timeout": 2})}
    with running_worker(queue, receiver, name, *INCLUDE, schedule_delay=60, variables=variables) as worker:
        send(queue, name, ("tests.early", 1.5), ("tests.late", 60))
        await_work(queue, name, "tests.late")
        worker.stop(signal.SIGQUIT, timeout=60.0)
    done, cancelled = attempts(receiver, name)
    assert assert_span(done, None, lasts=1.4)["celery.task.state"] == "SUCCESS"
    assert assert_span(cancelled, None, error=TERMINATED, lasts=1.5)["celery.task.state"] == "RETRY"


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_warm_shutdown(queue: str, receiver: ReceivedSpans, pool: str) -> None:
    """What is at work is waited for, and told."""
    name = f"warm-{pool}"
    with running_worker(queue, receiver, name, *INCLUDE, pool=pool, schedule_delay=60) as worker:
        send(queue, name, ("tests.early", 2))
        wait_until(lambda: "at work" in worker.output())  # what was only received is not begun then
        worker.stop(signal.SIGTERM, timeout=60.0)
        assert "succeeded in" in worker.output()
    [done] = attempts(receiver, name)
    assert assert_span(done, None, lasts=1.9)["celery.task.state"] == "SUCCESS"


@pytest.mark.parametrize(
    "options", [("--max-tasks-per-child", "3"), ("--max-memory-per-child", "1")], ids=["tasks", "memory"]
)
def test_processes_that_are_replaced(queue: str, receiver: ReceivedSpans, options: tuple[str, ...]) -> None:
    """Each process tells of all its attempts before it leaves, however many it has had."""
    name = f"replaced{options[0]}"
    with running_worker(queue, receiver, name, *INCLUDE, *options, schedule_delay=60) as worker:
        send(queue, name, *[("tests.large", 1)] * 8)
        wait_until(lambda: worker.output().count("succeeded in") == 8, worker.output, 60)
        worker.stop(timeout=60.0)
    found = attempts(receiver, name)
    assert len(found) == len({span["span_id"] for span in found}) == 8
    for span in found:
        assert assert_span(span, None)["celery.task.state"] == "SUCCESS"
    assert len({span["resource"]["service.instance.id"] for span in found}) >= 3


@pytest.mark.parametrize("how", ["time limit", "revoke", "SIGTERM", "SystemExit"])
def test_earlier_attempts_of_a_process_that_is_told_to_end(queue: str, receiver: ReceivedSpans, how: str) -> None:
    """Whatever ends a process, but for SIGKILL, it exports what it had executed before; the last one is told once."""
    name = f"earlier-{how.replace(' ', '').lower()}"
    with running_worker(queue, receiver, name, *INCLUDE, "-c", "1", schedule_delay=60) as worker:
        send(queue, name, *[("tests.add", 1, 2)] * 5)
        wait_until(lambda: worker.output().count("succeeded in") == 5)
        with Celery("sender", broker=queue, set_as_current=False) as sender:
            if how == "SIGTERM":
                sender.send_task("tests.told_to_end", queue=name)
            elif how == "SystemExit":
                sender.send_task("tests.leave", (3,), queue=name)
            else:
                limit = 1 if how == "time limit" else None
                last = sender.send_task("tests.late", (60,), queue=name, time_limit=limit)
                if how == "revoke":
                    await_work(queue, name, "tests.late")
                    sender.control.revoke(last.id, terminate=True)
        # Celery waits ten seconds for a result of a process that is gone.
        receiver.wait_for(lambda spans: len(of_service(spans, name)) >= 5, 60)
        send(queue, name, ("tests.tick",))
        wait_until(lambda: worker.output().count("succeeded in") == 6)
        wait_until(lambda: "Task handler raised error" in worker.output() or how == "revoke")
        worker.stop(timeout=60.0)
    found = [span for span in attempts(receiver, name) if span["kind"] == "CONSUMER"]
    names = [span["name"] for span in found]
    assert names.count("process tests.add") == 5
    assert names.count("process tests.tick") == 1
    assert len(found) == len({span["span_id"] for span in found}) == 7
    [last_one] = [span for span in found if span["name"] not in ("process tests.add", "process tests.tick")]
    assert_span(last_one, None, error="*")
