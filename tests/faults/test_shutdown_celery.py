"""Every process of Celery's and every way in which it ends, with spans that wait for their batch: none is lost."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery import Celery

from causal_otel.testing.process import Process
from tests.patches.celery_worker import of_service, running_beat, running_worker
from tests.services.received import ReceivedSpans
from tests.waiting import wait_until

pytestmark = pytest.mark.long


@pytest.fixture
def queue(redis_url: str) -> str:
    """The broker, in a database of these tests alone, where nobody has left messages."""
    return urlsplit(redis_url)._replace(path="/8").geturl()


def await_output(running: Process, text: str, count: int) -> None:
    """Wait until a process has logged ``text`` that often."""
    wait_until(lambda: running.output().count(text) >= count, running.output)


@pytest.mark.parametrize(
    ("pool", "number"),
    [
        ("prefork", signal.SIGTERM),
        ("prefork", signal.SIGINT),
        # Elsewhere a cold shutdown that finds a task at work makes Celery raise NotImplementedError there (5.7).
        ("prefork", signal.SIGQUIT),
        ("threads", signal.SIGTERM),
        ("solo", signal.SIGTERM),
    ],
)
def test_worker_with_a_beat(
    queue: str, receiver: ReceivedSpans, tmp_path: Path, pool: str, number: signal.Signals
) -> None:
    """A worker with an embedded beat has exported all that beat sent and all that was executed, however it is told."""
    name = f"{pool}-{number.name.lower()}"
    options = ("-B", "-s", str(tmp_path / "schedule"))
    beating = {"TESTS_BEAT": "1"}
    with running_worker(queue, receiver, name, *options, pool=pool, schedule_delay=60, variables=beating) as worker:
        await_output(worker, "Sending due task", 4)
        await_output(worker, "succeeded in", 3)
        assert not receiver.spans()
        # A cold shutdown that finds a task at work waits for ever, now and then.
        wait_until(lambda: worker.output().count("] received") == worker.output().count("succeeded in"))
        worker.stop(number, timeout=60.0)
        output = worker.output()
    sent, executed = output.count("Sending due task"), output.count("succeeded in")
    names = [span["name"] for span in of_service(receiver.spans(), name)]
    # Beat tells of a task just before it sends it, and the last one may be cut off.
    assert 3 <= sent - 1 <= names.count("send tests.tick") <= sent, (sent, Counter(names), output)
    assert names.count("process tests.tick") >= executed >= 3
    assert names.count("tock") >= executed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_beat_of_its_own(queue: str, receiver: ReceivedSpans, number: signal.Signals) -> None:
    """A beat that is a program of its own has exported all that it sent."""
    name = f"beat-{number.name.lower()}"
    with running_beat(queue, receiver, name) as beat:
        await_output(beat, "Sending due task", 4)
        assert not receiver.spans()
        beat.stop(number, timeout=60.0)
        sent = beat.output().count("Sending due task")
    names = [span["name"] for span in of_service(receiver.spans(), name)]
    assert 3 <= sent - 1 <= names.count("send tests.tick") <= sent


@pytest.mark.parametrize("options", [(), ("--max-tasks-per-child", "1")], ids=["shutdown", "recycled"])
def test_pool_without_the_patch(queue: str, receiver: ReceivedSpans, options: tuple[str, ...]) -> None:
    """Spans of one's own in a pool's process are exported when it ends, where Celery itself is not patched, too."""
    name = "unpatched" + "-recycled" * bool(options)
    with running_worker(queue, receiver, name, *options, patches="redis", schedule_delay=60) as worker:
        with Celery("sender", broker=queue, set_as_current=False) as sender:
            for _ in range(4):
                sender.send_task("tests.tick", queue=name)
        await_output(worker, "succeeded in", 4)
        if options:
            receiver.wait_for(lambda spans: len(of_service(spans, name)) == 4, 30)
        worker.stop(timeout=60.0)
    assert [span["name"] for span in of_service(receiver.spans(), name)] == ["tock"] * 4
